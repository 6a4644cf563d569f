"""The record does not depend on how fast the services are: a slow timekeeper hides no limit (R-131, R-157, R-353, R-354)."""

from collections.abc import Callable
from typing import Any

import pytest

from contracts.assignment import (
    ApproveExtension,
    AssignTask,
    CloseUnfinished,
    Due,
    Milestone,
    ReachMilestone,
    ReportProgress,
    RequestExtension,
    SuspendAssignment,
)
from contracts.limits import Offset
from contracts.obligation import AcceptObligation, ConfigureDue, DeclareObligation, Duty, SubmitObligation
from contracts.phase import Responsibility
from contracts.programme import AdoptEscalationPolicy, EscalationPolicy, Ladder, Rung
from domain.obligation_opening import explanation_stream
from tests.unit.spec import PROG, World, names, text
from tests.unit.spec_chain import Chain
from tests.unit.spec_tasks import HANDED_IN, PROGRAMME, T, at_work, clear, day, office, sign_off

OB = f"obligation/{PROG}/OB-1"
CONTENT = clear(update_every_days=5, milestones=(Milestone(code="M-1", what="x", due=Due(day=day(6, 8))),))
AT_THE_LIMIT = EscalationPolicy(
    policy_version=2,
    ours=True,
    ladders=(
        Ladder(
            kinds=("assignment_due", "obligation_due", "assignment_milestone", "progress_update_due"),
            rungs=(
                Rung(offset=Offset(days=-2), level=0, recipients=("accountable",), act="remind"),
                Rung(offset=Offset(), level=1, recipients=("accountable",), act="warn"),
                Rung(offset=Offset(), level=1, recipients=("unit_head",), act="demand_explanation"),
                Rung(offset=Offset(days=4), level=2, recipients=("director",), act="escalate"),
            ),
        ),
    ),
)
Act = Callable[[World], object]


def to(stream: str, command: Any, actor: str = "GD") -> Callable[[str], tuple[str, Act]]:
    return lambda at: (at, lambda world: world.do(command, stream, actor, at))


END = CloseUnfinished(cause="both", cause_text=text(), responsibility=Responsibility(head="PBCXB-TP"))
DONE = to(T, HANDED_IN, "PBCXB-PP")
LATER = Due(day=day(7, 20))
REPORT = DeclareObligation(duty=Duty(kind="report", title="x", unit="PBCXB"), due=Due(day=day(6, 12)))
LIVES: dict[str, list[tuple[str, Act]]] = {
    "late": [
        DONE("2026-06-17T08:00"),
        ("2026-06-17T09:00", lambda world: sign_off(world, "2026-06-17T09:00")),
    ],
    "very late": [
        to(T, ReportProgress(percent=50), "PBCXB-PP")("2026-06-09T08:00"),
        to(T, ReachMilestone(milestone="M-1"), "PBCXB-PP")("2026-06-12T08:00"),
        DONE("2026-06-25T08:00"),
        ("2026-06-26T09:00", lambda world: sign_off(world, "2026-06-26T09:00")),
    ],
    "on time, entered late": [
        (
            "2026-06-16T09:00",
            lambda world: world.do(HANDED_IN, T, "PBCXB-PP", "2026-06-15T17:00", now="2026-06-16T09:00"),
        ),
        ("2026-06-17T09:00", lambda world: sign_off(world, "2026-06-17T09:00")),
    ],
    "extended": [
        to(T, RequestExtension(due=LATER, reason=text()), "PBCXB-PP")("2026-06-14T08:00"),
        to(T, ApproveExtension())("2026-06-19T08:00"),
        DONE("2026-07-10T08:00"),
    ],
    "extended, and late again": [
        to(T, RequestExtension(due=LATER, reason=text()), "PBCXB-PP")("2026-06-14T08:00"),
        to(T, ApproveExtension())("2026-06-19T08:00"),
        to(T, END)("2026-08-03T08:00"),
    ],
    "closed": [to(T, END)("2026-06-20T08:00")],
    "suspended": [to(T, SuspendAssignment(reason="x"))("2026-06-21T08:00")],
    "report": [
        to(OB, REPORT)("2026-06-03T08:00"),
        to(OB, SubmitObligation(), "PBCXB-PP")("2026-06-16T08:00"),
        to(OB, AcceptObligation(), "VPS-CVP")("2026-06-17T08:00"),
        to(T, END)("2026-06-19T08:00"),
    ],
    "report moved": [
        to(OB, REPORT)("2026-06-03T08:00"),
        to(OB, ConfigureDue(due=Due(day=day(6, 30)), reason="x"))("2026-06-15T08:00"),
        to(T, END)("2026-06-19T08:00"),
    ],
}


def lived(life: list[tuple[str, Act]], at_limit: bool, *, timekeeper: bool, warning: bool) -> Chain:
    """A life whose services are prompt, or only begin to work when it is over."""
    world = office()
    if at_limit:
        world.do(AdoptEscalationPolicy(policy=AT_THE_LIMIT, reason="x"), PROGRAMME, "GD")
    chain = Chain(at_work(CONTENT, world))
    chain.handled = 0
    for at, act in life:
        if timekeeper:
            chain.until(at)
        act(chain.world)
        if warning:
            chain.settle()
    return chain.until(life[-1][0], late=chain.world.now)


def outcome(chain: Chain) -> dict[str, Any]:
    """Every warning with what was raised and how far it climbed and why it ended, every explanation, every lateness."""
    heard = ("WarningRaised", "WarningEscalated", "WarningSuperseded", "WarningResolved", "ResponseRecorded")
    found: dict[str, Any] = {
        stream: [
            (names([event])[0], getattr(event.data, "reason", None), getattr(event.data, "rung", None))
            for event in chain.world.events
            if event.stream == stream and names([event])[0] in heard
        ]
        for stream, state in chain.warnings.items()
        if "/EX" not in state.about  # an explanation's own limit counts from when it was asked for
    }
    # Not the reason: with all services asleep, the closing asks before the limit does; one explanation serves both.
    found |= {event.stream: event.data.duty.about for event in chain.of("ObligationDeclared")}
    task = chain.world.state(T)
    return {**found, T: (task.status, task.was_overdue, task.at_risk, task.deadlines)}


@pytest.mark.parametrize("at_limit", [False, True], ids=["demanded later", "demanded at the limit"])
@pytest.mark.parametrize("life", LIVES.values(), ids=LIVES)
def test_r131_r157_warnings_and_explanations_do_not_depend_on_the_speed_of_services(
    life: list[tuple[str, Act]], at_limit: bool
) -> None:
    prompt = outcome(lived(life, at_limit, timekeeper=True, warning=True))
    assert any(stream.startswith("warning/") for stream in prompt)
    assert outcome(lived(life, at_limit, timekeeper=False, warning=True)) == prompt
    assert outcome(lived(life, at_limit, timekeeper=True, warning=False)) == prompt
    assert outcome(lived(life, at_limit, timekeeper=False, warning=False)) == prompt


def test_r157_an_explanation_covers_what_was_late_when_it_was_settled_and_no_later_lateness() -> None:
    chain = Chain(at_work(CONTENT)).until("2026-06-18T08:00")
    first = explanation_stream(PROG, T)
    assert [event.stream for event in chain.of("ObligationDeclared")] == [first]
    chain.world.do(SubmitObligation(), first, "PBCXB-TP", "2026-06-19T08:00")
    chain.world.do(AcceptObligation(), first, "GD", "2026-06-19T09:00")
    for event in list(chain.world.events):
        chain.answer(event)
    assert len(chain.of("ObligationDeclared")) == 1
    closed = chain.world.do(END, T, "GD", "2026-09-01T08:00")
    (declared,) = (event for event in closed if names([event]) == ["ObligationDeclared"])
    assert declared.stream == explanation_stream(PROG, T, 2) == f"obligation/{PROG}/EXA-T-01-2"
    (ended,) = (event.data for event in closed if names([event]) == ["AssignmentClosedUnfinished"])
    assert ended.explanation == declared.stream


def test_r157_the_code_of_a_second_explanation_may_be_taken_by_another_subject() -> None:
    chain = Chain(at_work(CONTENT))
    other = f"assignment/{PROG}/T-01-2"
    chain.world.do(AssignTask(content=clear()), other, "GD", "2026-06-02T09:00")
    chain.until("2026-06-18T08:00")
    streams = {event.data.duty.about: event.stream for event in chain.of("ObligationDeclared")}
    assert streams == {T: f"obligation/{PROG}/EXA-T-01", other: f"obligation/{PROG}/EXA-T-01-2"}
    chain.world.do(SubmitObligation(), streams[T], "PBCXB-TP", "2026-06-19T08:00")
    chain.world.do(AcceptObligation(), streams[T], "GD", "2026-06-19T09:00")
    closed = chain.world.do(END, T, "GD", "2026-09-01T08:00")
    assert [e.stream for e in closed if names([e]) == ["ObligationDeclared"]] == [explanation_stream(PROG, T, 3)]


def test_a_limit_that_ended_unwarned_is_forgotten() -> None:
    world = at_work(CONTENT)
    world.do(ReportProgress(percent=5), T, "PBCXB-PP", "2026-06-03T08:00")
    assert world.state(T).deadlines.ended == {}
