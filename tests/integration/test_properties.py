"""Hypothesis on the real engines: duplicates, redelivery and the cutting of batches change nothing; rebuild equals incremental.

Issue 2, section 8; R-313, R-352, R-356.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.assignment import (
    AcknowledgeAssignment,
    AssignTask,
    CheckingRule,
    Deliverable,
    Due,
    Evidence,
    Measure,
    ReportProgress,
    RequestExtension,
    ReturnResult,
    SignOffCompletion,
    StartWork,
    SubmitResult,
    SuspendAssignment,
    TaskContent,
)
from contracts.base import Command
from contracts.envelope import Actor
from services.clock import SimulatedClock
from services.intake.reading import Incoming, SeededSalts
from services.outgoing import BESIDE, Outgoing, to_json
from services.projector.core import Projector
from services.projector.rebuild import rebuild
from services.spine import intake_for
from services.store import Store
from tests.integration.conftest import Databases
from tests.integration.support import imported
from tests.integration.test_faults import DEPUTY, DIRECTOR, HEAD, ORGANISATION, PROGRAMME

NOW = datetime(2026, 6, 3, 2, tzinfo=UTC)
SOURCE = "DMS-TEST"
OFFICE = Actor(post="TP-VP", unit="VP")
CONTENT = TaskContent(
    person=HEAD.post,
    work="Nhiệm vụ mẫu",
    due=Due(day=date(2026, 9, 30)),
    responsibility="sample",
    authority="APPROVE-RESULT",
    deliverables=(Deliverable(code="D1", what="sample"),),
    measures=(Measure(what="sample"),),
    checking=CheckingRule(checked_by="TP-VP", every="weekly"),
    lead_unit=HEAD.unit,
)
STEPS: tuple[tuple[Command, Actor], ...] = (
    (AssignTask(content=CONTENT), DIRECTOR),
    (AcknowledgeAssignment(), HEAD),
    (StartWork(), HEAD),
    (ReportProgress(percent=30), HEAD),
    (ReportProgress(percent=60), DEPUTY),
    (RequestExtension(due=Due(day=date(2026, 12, 31)), reason=BESIDE), HEAD),
    (SuspendAssignment(reason="sample"), OFFICE),
    (SubmitResult(evidence=(Evidence(system="DMS", number="1"),)), DEPUTY),
    (ReturnResult(reason=BESIDE), OFFICE),
    (SignOffCompletion(), DIRECTOR),
    (SignOffCompletion(), Actor(post=DEPUTY.post, unit=DEPUTY.unit, authority="APPROVE-RESULT")),
)


def _incoming(position: int, task: int, step: int) -> Incoming:
    command, actor = STEPS[step]
    subject = f"assignment/{PROGRAMME}/H-{task}"
    at = NOW + timedelta(seconds=position)
    outgoing = Outgoing(f"h-{position}", "assignment", command, subject, PROGRAMME, ORGANISATION, actor, at)
    if isinstance(command, RequestExtension | ReturnResult):
        outgoing = outgoing._replace(texts={"reason": "sample"})
    return Incoming(SOURCE, PROGRAMME, to_json(outgoing, SOURCE), position + 1)


def _world(store: Store) -> None:
    commands = imported(NOW, "skhcn-td500")
    messages = [Incoming("IMPORT", c.programme, to_json(c, "IMPORT"), n) for n, c in enumerate(commands)]
    intake_for(store, SimulatedClock(NOW)).process(messages)


def _played(dsn: str, batches: list[list[Incoming]], project_every: int) -> tuple[list[Any], list[bytes], bool]:
    """Outcomes by command, the stored bytes, and whether a rebuild equals the live read models."""
    store = Store.open(dsn)
    _world(store)
    clock = SimulatedClock(NOW + timedelta(hours=1))
    salts = SeededSalts(7)
    intake, projector = intake_for(store, clock, salts), Projector(store, clock)
    outcomes: dict[str, Any] = {}
    projector.prepare()
    for number, batch in enumerate(batches):
        if number % 3 == 2:
            intake = intake_for(store, clock, salts)  # a restart: nothing cached
        for receipt in intake.process(batch).receipts:
            first = outcomes.setdefault(receipt.id, (receipt.outcome, receipt.positions, receipt.refusal))
            assert first == (receipt.outcome, receipt.positions, receipt.refusal)
        if number % project_every == 0:
            projector.step()
    while projector.step():
        pass
    stored = [notification.state for notification in store.recorder.select_notifications(1, 100_000)]
    equal = all(model.equal for model in rebuild(store))
    store.close()
    return sorted(outcomes.items()), stored, equal


@pytest.mark.parametrize("project_every", [1, 4])
@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_duplicates_and_batches_change_nothing(databases: Databases, project_every: int, data: st.DataObject) -> None:
    steps = data.draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, len(STEPS) - 1)), min_size=6, max_size=40), label="steps"
    )
    wanted = [_incoming(position, task, step) for position, (task, step) in enumerate(steps)]
    cuts = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=8), label="batch sizes")
    again = data.draw(st.lists(st.integers(0, len(wanted) - 1), max_size=10), label="redelivered")
    batches, position, number = [], 0, 0
    while position < len(wanted):
        size = cuts[number % len(cuts)]
        late = [wanted[index] for index in again if index < position]
        batches.append([*late, *wanted[position : position + size]])
        position, number = position + size, number + 1
    with databases() as calm, databases() as disturbed:
        one_by_one = _played(calm, [[message] for message in wanted], project_every)
        cut = _played(disturbed, batches, project_every)
    assert cut == one_by_one
    assert cut[2]
