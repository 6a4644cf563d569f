"""An aggregate that exists in this file alone: a contract, a decider, a read model, registered once, and nothing else.

It gets receipts, history, as-of and rebuild, its events on subjects of their own, and deadlines with warnings.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from contracts.base import Command, Event
from contracts.deadlines import (
    DEADLINE_COMMANDS,
    DEADLINE_EVENTS,
    DeadlinePassed,
    RecordDeadlineApproached,
    RecordDeadlinePassed,
)
from contracts.registry import AggregateContract
from contracts.types import Code, ErasableText, Instant, Line, TextRef
from domain.authority import by_known_actor, programme_of, surroundings
from domain.deadlines import DEADLINE_FOLD, Deadlines, record_approach, record_passing
from domain.escalation import leads
from domain.kernel import (
    AlreadyExists,
    Change,
    Changes,
    Context,
    Decider,
    Recorded,
    Request,
    changes,
    dispatch,
    folding,
)
from domain.limits import by_end_of
from projections.model import ReadModel, View, by_stream, handling
from projections.tables import as_of
from services.bus import Bus
from services.projector.rebuild import rebuild
from services.registry import REGISTRY, Aggregate
from services.store import Store
from tests.integration.support import (
    SOURCE,
    Sender,
    clock_at,
    events,
    founding,
    messages,
    names_in,
    play,
    publish,
    receipts,
    rows,
    spine_of,
)
from tests.unit.spec import PROG, local, text

# ---------------------------------------------------------------- contract


class PlanVisit(Command):
    """A visit to a unit, by the end of a day."""

    unit: Code
    by: dt.date
    subject_vi: Line


class HoldVisit(Command):
    """The visit took place."""

    found: ErasableText | None = None


class VisitPlanned(Event):
    """A visit is planned."""

    unit: Code
    by: dt.date
    subject_vi: Line


class VisitHeld(Event):
    """The visit took place."""

    found: TextRef | None = None
    held_at: Instant


CONTRACT = AggregateContract(
    "visit", (PlanVisit, HoldVisit, *DEADLINE_COMMANDS), (VisitPlanned, VisitHeld, *DEADLINE_EVENTS)
)

# ---------------------------------------------------------------- domain


@dataclass(frozen=True, slots=True)
class Visit:
    """A visit; what a warning asks of its subject is there too."""

    unit: str
    held: bool = False
    deadlines: Deadlines = field(default_factory=Deadlines)
    accountable: str | None = None
    category: str | None = None
    phase: str | None = None


def plan(request: Request[PlanVisit], state: Visit | None, context: Context) -> Changes:
    if state is not None:
        raise AlreadyExists(f"{request.subject} is planned already")
    data, programme = request.data, programme_of(request, context)
    limit = by_end_of(data.by)
    before = leads(programme, "assignment_milestone", limit, None, context.now)
    due = Deadlines().schedule("assignment_milestone", limit, before)
    planned = VisitPlanned(unit=data.unit, by=data.by, subject_vi=data.subject_vi)
    return changes(planned, Change(due, policy_version=programme.policy_version))


def hold(request: Request[HoldVisit], state: Visit, context: Context) -> Changes:
    held = VisitHeld(found=request.data.found, held_at=request.occurred_at)
    return changes(held, state.deadlines.meet("assignment_milestone", request.occurred_at))


def approached(request: Request[RecordDeadlineApproached], state: Visit, context: Context) -> Changes:
    return record_approach(request, state.deadlines, context.now)


def passed(request: Request[RecordDeadlinePassed], state: Visit, context: Context) -> Changes:
    return record_passing(request, state.deadlines, context.now)


EVOLVE: dict[Any, Any] = {
    **DEADLINE_FOLD,
    VisitPlanned: lambda state, event: Visit(event.data.unit),
    VisitHeld: lambda state, event: replace(state, held=True),
}
DECIDER = Decider(
    CONTRACT,
    Visit,
    dispatch(
        "visit",
        {PlanVisit: by_known_actor(plan)},
        {HoldVisit: by_known_actor(hold), RecordDeadlineApproached: approached, RecordDeadlinePassed: passed},
    ),
    folding(EVOLVE),
    reads=surroundings,
)

# ---------------------------------------------------------------- read model


@dataclass(frozen=True, slots=True)
class VisitRow:
    programme: str
    code: str
    unit: str
    by: dt.date
    status: str
    version: int


def apply(row: VisitRow | None, event: Recorded[Any]) -> VisitRow | None:
    data = event.data
    if isinstance(data, VisitPlanned):
        return VisitRow(event.programme, event.code, data.unit, data.by, "planned", event.version)
    assert row is not None
    return replace(row, status="missed" if isinstance(data, DeadlinePassed) else "held", version=event.version)


MODEL = ReadModel(
    name="visits",
    row=VisitRow,
    key=("programme", "code"),
    handles=handling("visit", (VisitPlanned, VisitHeld, DeadlinePassed)),
    keys=by_stream,
    apply=apply,
    indexes=("(unit)",),
)

CARD = View(
    "visit_card",
    ("programme", "unit"),
    "SELECT *, missed::numeric / planned AS share_missed, held::numeric / planned AS share_held FROM (SELECT programme, unit,"
    " count(*) AS planned, count(*) FILTER (WHERE status = 'held') AS held, count(*) FILTER (WHERE status = 'missed') AS missed,"
    " string_agg(status, ', ' ORDER BY status) AS told FROM visits GROUP BY 1, 2) v",
    ("planned", "held", "missed"),
    ("share_missed", "share_held"),
)

# ---------------------------------------------------------------- and it works


@pytest.fixture
def visits(dsn: str) -> Iterator[Store]:
    """A store that knows visits."""
    opened = Store.open(dsn, REGISTRY.with_aggregates([Aggregate(DECIDER, (MODEL,))]))
    yield opened
    opened.close()


def at_position(store: Store, position: int) -> dict[str, str]:
    with store.recorder.transaction() as cursor:
        found = cursor.execute(as_of("read", MODEL, position)).fetchall()
    return {row["code"]: row["status"] for row in found}


async def test_an_aggregate_of_three_modules_and_one_line(visits: Store, bus: Bus) -> None:
    clock = clock_at()
    sender, spine = Sender(clock), await spine_of(visits, bus, clock)
    await publish(spine, sender, *founding(sender))
    day = dt.date(2026, 6, 10)
    planned = [
        sender.document(PlanVisit(unit="PBCXB", by=day, subject_vi="Kiểm tra hồ sơ"), f"visit/{PROG}/V-{n}")
        for n in (1, 2)
    ]
    await publish(spine, sender, *planned, planned[0])
    start = visits.recorder.head().position
    await play(spine, "2026-06-09T09:00", clock)
    words = "chuyên viên trực vắng mặt"
    held = sender.document(HoldVisit(found=text()), f"visit/{PROG}/V-1", "VPS-CVP", texts={"found": words})
    again = sender.document(PlanVisit(unit="PBCXB", by=day, subject_vi="x"), f"visit/{PROG}/V-2")
    await publish(spine, sender, held, again)
    await play(spine, "2026-06-12T09:00", clock)
    await spine.stop()

    # receipts: accepted, duplicate, refused by a rule of its own
    answers = [answer for source, batch in await receipts(bus) if source == SOURCE for answer in batch]
    first, second, repeated, done, refused = answers[-5:]
    own = [event for event in events(visits) if event.command_id == first["id"]]
    assert first["positions"] == [event.position for event in own]
    assert (second["outcome"], done["outcome"]) == ("accepted", "accepted")
    assert repeated == first | {"duplicate": True}
    assert refused["refusal"]["rule"] == "AlreadyExists"

    # deadlines, and the warnings the policy of the programme calls for
    assert names_in(visits, f"visit/{PROG}/V-1") == [
        "VisitPlanned",
        "DeadlineScheduled",
        "DeadlineApproached",
        "VisitHeld",
        "DeadlineMet",
    ]
    assert names_in(visits, f"visit/{PROG}/V-2")[2:] == ["DeadlineApproached", "DeadlinePassed"]
    (limit,) = rows(visits, "SELECT * FROM read.deadlines WHERE stream LIKE 'visit/%%'")
    assert (limit["stream"], limit["passed"], limit["limit_at"]) == (
        f"visit/{PROG}/V-2",
        True,
        local("2026-06-11T00:00"),
    )
    warned = rows(visits, "SELECT about, kind, level, open FROM read.warnings ORDER BY about, level")
    assert [(row["about"][-3:], row["kind"], row["level"], row["open"]) for row in warned] == [
        ("V-1", "early", 0, False),
        ("V-2", "early", 0, False),
        ("V-2", "missed_milestone", 1, True),
    ]

    # published under subjects of its own, byte for byte
    published = [(subject, data) for subject, data, _ in await messages(bus, "EVENTS") if ".visit." in subject]
    stored = [n for n in visits.recorder.select_notifications(0, 10_000) if n.originator_id.startswith("visit/")]
    assert [data for _, data in published] == [notification.state for notification in stored]
    assert bus.names.event(PROG, "visit", "VisitHeld") in {subject for subject, _ in published}
    assert words.encode() not in b"".join(data for _, data in published)
    assert {row["words"] for row in rows(visits, "SELECT words FROM log.texts")} == {words}

    # history, as of any position, and a second build that is the same
    head = visits.recorder.head().position
    assert at_position(visits, start) == {"V-1": "planned", "V-2": "planned"}
    done_at = done["positions"][0]
    assert at_position(visits, done_at) == {"V-1": "held", "V-2": "planned"}
    assert at_position(visits, head) == {"V-1": "held", "V-2": "missed"}
    assert len(rows(visits, "SELECT * FROM read.visits_history")) == 2
    found = {one.name: one for one in rebuild(visits)}
    assert {"visits", "visits_history"} <= found.keys()
    assert all(one.equal for one in found.values())


def test_its_types_stand_in_the_registry() -> None:
    own = REGISTRY.with_aggregates([Aggregate(DECIDER, (MODEL,))])
    assert own.contracts.commands["sauro.visit.PlanVisit.v1"].model is PlanVisit
    assert own.contracts.events["sauro.visit.DeadlinePassed.v1"].model is DeadlinePassed
    assert ("visit", DeadlinePassed) in own.read_models[-1].handles
    assert "sauro.visit.PlanVisit.v1" not in REGISTRY.contracts.commands
    assert CONTRACT.type_of(VisitPlanned) == "sauro.visit.VisitPlanned.v1"
