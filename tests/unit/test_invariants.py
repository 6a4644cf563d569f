"""Invariants of the domain under any sequence of commands: what holds after every step, and that replay equals live."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.assignment import (
    AcknowledgeAssignment,
    AmendAssignment,
    ApproveExtension,
    AssignTask,
    CancelAssignment,
    CarryOverAssignment,
    ClearRisk,
    CloseUnfinished,
    CompletionSignedOff,
    DraftTask,
    Due,
    ExtensionApproved,
    MarkAtRisk,
    Milestone,
    RaiseDifficulty,
    ReachMilestone,
    ReassignAssignment,
    RecordHigherDecision,
    ReferMatterUp,
    RefuseExtension,
    ReportProgress,
    RequestExtension,
    ResumeAssignment,
    ReturnResult,
    SignOffCompletion,
    StartWork,
    SuspendAssignment,
    TaskContent,
)
from contracts.base import Command
from contracts.deadlines import DeadlineMet, DeadlineRescheduled, DeadlineScheduled
from contracts.limits import DueRule
from contracts.obligation import (
    AcceptObligation,
    ConfigureDue,
    DeclareObligation,
    DemandExplanation,
    Duty,
    ReturnObligation,
    SubmitObligation,
    WaiveObligation,
)
from contracts.organisation import AbolishPost, GrantAuthority, RevokeAuthority
from contracts.phase import PlanPhase, Responsibility
from contracts.programme import CloseProgramme
from contracts.warning import AcknowledgeWarning, DismissWarning, RecordResponse, ResolveWarning
from domain.assignment_state import ENDED, Assignment
from domain.deadlines import Deadlines, slot
from domain.kernel import Recorded, Refused
from domain.warning_state import OPEN, Warned
from services.intake.states import Folder, Loaded
from services.registry import REGISTRY
from tests.unit.spec import PROG, World, define_regime, text
from tests.unit.spec_chain import Chain
from tests.unit.spec_tasks import HANDED_IN, ORGANISATION, PROGRAMME, T, clear, day, office

C, OB = f"assignment/{PROG}/T-02", f"obligation/{PROG}/OB-1"
WARNING = "warning"
"""Stands for one of the warnings that exist by then."""
RICH = clear(
    update_every_days=5,
    phase="P1",
    milestones=(
        Milestone(code="M-1", what="Dự thảo", due=Due(day=day(6, 8))),
        Milestone(code="M-2", what="Trình", due=Due(day=day(6, 12))),
    ),
)


@dataclass(frozen=True)
class Act:
    """A command with who would send it."""

    command: Command
    stream: str
    actor: str
    authority: str | None = None


def _of_lead(*commands: Command, stream: str = T) -> list[Act]:
    return [Act(command, stream, "PBCXB-TP") for command in commands]


def _of_director(*commands: Command, stream: str = T) -> list[Act]:
    return [Act(command, stream, "GD") for command in commands]


_END = CloseUnfinished(cause="both", cause_text=text(), responsibility=Responsibility(head="PBCXB-TP"))
LIFE = [
    *_of_lead(AcknowledgeAssignment(), StartWork(), HANDED_IN, HANDED_IN),
    *(Act(ReportProgress(percent=percent), T, "PBCXB-PP") for percent in (10, 85)),
    *_of_lead(ReachMilestone(milestone="M-1"), ReachMilestone(milestone="M-2")),
    *_of_lead(RaiseDifficulty(field="LAND", what=text()), ReferMatterUp(addressee="PGD", matter=text())),
    *_of_lead(*(RequestExtension(due=Due(day=due), reason=text()) for due in (day(6, 20), day(7, 10)))),
    *_of_director(ReturnResult(reason=text()), ApproveExtension(), ApproveExtension(), RefuseExtension(reason=text())),
    Act(SignOffCompletion(), T, "GD", "KY"),
    Act(RecordHigherDecision(decision="approved"), T, "PGD"),
    *_of_director(AmendAssignment(work="x", reason="x"), ReassignAssignment(person="PBCXB-PP", reason="x")),
    *_of_director(ReassignAssignment(lead_unit="QLVH", reason="x"), ReassignAssignment(lead_unit="PBCXB", reason="x")),
    *_of_director(SuspendAssignment(reason="x"), ResumeAssignment(reason="x"), ResumeAssignment(reason="x")),
    *_of_director(CarryOverAssignment(to_phase="P2", due=Due(day=day(8, 1)), reason="x")),
    *_of_director(CarryOverAssignment(to_phase="P1", reason="x")),
    *_of_director(MarkAtRisk(rule="open_difficulty"), ClearRisk(reason="x")),
]
MOVES = [
    *_of_lead(*[RequestExtension(due=Due(day=day(9, 1)), reason=text())] * 2),
    *_of_director(
        ApproveExtension(), ApproveExtension(), CarryOverAssignment(to_phase="P2", due=Due(day=day(8, 1)), reason="x")
    ),
    *_of_director(SuspendAssignment(reason="x"), ResumeAssignment(reason="x")),
]
FINISH = [
    *_of_lead(HANDED_IN),
    Act(ReturnResult(reason=text()), T, "VPS-PVP"),
    Act(SignOffCompletion(), T, "GD", "KY"),
]
CHILD = [
    *_of_director(AssignTask(content=clear(parent="T-01")), DraftTask(content=TaskContent()), stream=C),
    *_of_director(CancelAssignment(reason="x"), stream=C),
    *_of_lead(StartWork(), HANDED_IN, RequestExtension(due=Due(day=day(7, 1)), reason=text()), stream=C),
    *_of_director(ApproveExtension(), stream=C),
    Act(SignOffCompletion(), C, "GD", "KY"),
]
_REPORT = Duty(kind="report", title="x", unit="PBCXB")
OWED = [
    *_of_director(*[DeclareObligation(duty=_REPORT, due=Due(day=day(6, 9)))] * 3, stream=OB),
    *_of_lead(*[SubmitObligation()] * 2, stream=OB),
    *_of_director(AcceptObligation(), ReturnObligation(reason=text()), WaiveObligation(reason="x"), stream=OB),
    *_of_director(ConfigureDue(due=Due(day=day(6, 18)), reason="x"), stream=OB),
    *_of_director(DemandExplanation(about=T, reason="x"), stream=f"obligation/{PROG}/EXA-T-01"),
]
ANSWERS = [
    *_of_lead(AcknowledgeWarning(), RecordResponse(response="directive"), ResolveWarning(), stream=WARNING),
    *_of_director(DismissWarning(reason=text()), stream=WARNING),
]
RARE = [
    *_of_director(_END, CancelAssignment(reason="x")),
    *_of_director(
        RevokeAuthority(grant="G-1", reason="x"), AbolishPost(post="PBCXB-PP", reason="x"), stream=ORGANISATION
    ),
    *_of_director(GrantAuthority(grant="G-2", post="GD", authority="KY", valid_from=day(6, 1)), stream=ORGANISATION),
    *_of_director(CloseProgramme(reason="x"), stream=PROGRAMME),
]


@dataclass(frozen=True)
class Step:
    """An act after some hours, perhaps by another post, perhaps entered late; then the services catch up, or not."""

    act: Act
    hours: int
    entered_after: int
    actor: str | None
    which: int
    services: bool


def steps(*pools: list[Act]) -> st.SearchStrategy[list[Step]]:
    step = st.builds(
        Step,
        act=st.one_of([st.sampled_from(pool) for pool in pools]),
        hours=st.sampled_from([0, 1, 8, 24, 72, 120]),
        entered_after=st.sampled_from([0, 0, 0, 0, 12, 30]),
        actor=st.sampled_from([None] * 9 + ["QLVH-TP", "GD", "NOBODY"]),
        which=st.integers(0, 5),
        services=st.sampled_from([True, True, False]),
    )
    return st.lists(step, min_size=20, max_size=40)


def beginning() -> World:
    """The task assigned and begun, two phases planned, a weekly report owed."""
    world = office()
    for code in ("P1", "P2"):
        world.do(PlanPhase(name_vi=code, start=day(6, 1), end=day(7, 1)), f"phase/{PROG}/{code}", "VPS-CVP")
    define_regime(world, "R-W", "weekly", DueRule(frequency="weekly", boundary="before", weekday=3))
    world.do(AssignTask(content=RICH), T, "GD", "2026-06-01T08:00")
    world.do(StartWork(), T, "PBCXB-PP", "2026-06-02T08:00")
    return world


_BEGINNING = beginning()


def _copy(world: World) -> World:
    copied = World(world.organisation, world.programme)
    copied.states, copied.versions, copied.units = dict(world.states), dict(world.versions), dict(world.units)
    copied.events, copied.commands, copied.now = list(world.events), world.commands, world.now
    return copied


class Watch:
    """What must hold between any two steps."""

    def __init__(self, world: World) -> None:
        self.world, self.seen = world, 0
        self.ended: dict[str, Any] = {}
        self.closed: dict[str, str] = {}
        self.original: dict[str, Any] = {}
        self.late: set[str] = set()
        self.due_versions: dict[tuple[str, str], int] = {}
        self.versions: dict[str, int] = {}

    def look(self) -> None:
        fresh, self.seen = self.world.events[self.seen :], len(self.world.events)
        for event in fresh:
            self._event(event)
        for stream in {event.stream for event in fresh}:
            self._state(stream, self.world.states[stream])

    def _event(self, event: Recorded[Any]) -> None:
        assert event.version == self.versions.get(event.stream, 0) + 1, "versions are gapless"
        self.versions[event.stream] = event.version
        if isinstance(event.data, DeadlineScheduled | DeadlineRescheduled):
            key = event.data.key
            place = (event.stream, slot(key.kind, key.occurrence))
            assert key.due_version == self.due_versions.get(place, 0) + 1, "each limit of a slot has its own version"
            self.due_versions[place] = key.due_version
        if isinstance(event.data, DeadlineMet) and event.data.after_passing:
            self.late.discard(event.stream)
        if isinstance(event.data, ExtensionApproved) and not event.data.after_passing:
            self.late.discard(event.stream)  # approved in time, entered after the passing was recorded

    def _state(self, stream: str, state: Any) -> None:
        deadlines: Deadlines = getattr(state, "deadlines", Deadlines())
        for place, deadline in deadlines.live.items():
            assert place == slot(deadline.key.kind, deadline.key.occurrence)
            assert deadline.key.due_version == deadlines.versions[place], "the limit in force is the last one given"
        if isinstance(state, Assignment):
            self._assignment(stream, state)
        if isinstance(state, Warned):
            assert self.closed.get(stream, state.status) == state.status, "a closed warning stays closed"
            if state.status not in OPEN:
                self.closed[stream] = state.status
                assert not state.deadlines.live

    def _assignment(self, stream: str, state: Assignment) -> None:
        assert self.ended.get(stream, state) == state, "a task that has ended never changes"
        if state.status in ENDED:
            self.ended[stream] = state
            assert not state.deadlines.live
        if state.status != "draft":
            assert self.original.setdefault(stream, state.original) == state.original, (
                "the original limit never changes"
            )
        assert state.was_overdue or stream not in self.late, "lateness is not erased"
        assert not state.overdue or state.was_overdue
        if state.was_overdue:
            self.late.add(stream)


def play(plan: list[Step]) -> tuple[Chain, int]:
    """Play the steps under watch; only refusals may be raised. Returns the chain and how many steps were accepted."""
    world = _copy(_BEGINNING)
    chain, watch, accepted = Chain(world), Watch(world), 0
    watch.look()
    for step in plan:
        stream = _stream(step, world)
        now = world.now + timedelta(hours=step.hours)
        before = dict(world.states)
        try:
            world.do(
                step.act.command,
                stream,
                step.actor or step.act.actor,
                now - timedelta(hours=step.entered_after),
                now=now,
                authority=step.act.authority,
            )
            accepted += 1
        except Refused as refusal:
            assert refusal.message
            assert world.states == before, "a refusal changes nothing"
        watch.look()
        if step.services:
            chain.until(now)
            watch.look()
    chain.until(world.now + timedelta(days=20))
    watch.look()
    return chain, accepted


def _stream(step: Step, world: World) -> str:
    if step.act.stream != WARNING:
        return step.act.stream
    known = [stream for stream in world.states if stream.startswith("warning/")]
    return known[step.which % len(known)] if known else f"warning/{PROG}/NONE"


FOLDER = Folder(REGISTRY.deciders)


def replayed(world: World) -> dict[str, Loaded]:
    """Every stream folded again from the recorded events alone."""
    found: dict[str, Loaded] = {}
    for event in world.events:
        found[event.stream] = FOLDER.fold(found.get(event.stream, Loaded()), event)
    return found


def dumped(stream: str, loaded: Loaded) -> dict[str, Any]:
    """A snapshot row as the database hands it back."""
    columns = ("stream", "version", "fingerprint", "began_at", "state")
    return dict(zip(columns, FOLDER.dump(stream, loaded), strict=True))


def check_replay_and_snapshots(world: World) -> None:
    again = replayed(world)
    assert {stream: loaded.state for stream, loaded in again.items()} == world.states
    for stream, loaded in again.items():
        assert FOLDER.restore(dumped(stream, loaded)) == loaded


seeded = settings(
    derandomize=True,
    deadline=None,
    max_examples=45,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@seeded
@given(st.one_of(steps(LIFE), steps(LIFE, CHILD, FINISH), steps(MOVES, FINISH)))
def test_any_life_of_a_task_keeps_the_invariants(plan: list[Step]) -> None:
    check_replay_and_snapshots(play(plan)[0].world)


@seeded
@given(steps(LIFE, CHILD, OWED, ANSWERS, ANSWERS, FINISH, RARE))
def test_any_sequence_over_all_aggregates_keeps_the_invariants(plan: list[Step]) -> None:
    check_replay_and_snapshots(play(plan)[0].world)


@settings(seeded, max_examples=25)
@given(steps(LIFE, CHILD, OWED, ANSWERS))
def test_a_service_that_answers_everything_twice_changes_nothing(plan: list[Step]) -> None:
    chain, _ = play(plan)
    before = list(chain.world.events)
    for event in before:
        chain.answer(event)
    assert names_of_new(chain.world, before) == []


def names_of_new(world: World, before: list[Recorded[Any]]) -> list[str]:
    return [type(event.data).__name__ for event in world.events[len(before) :]]


@settings(seeded, max_examples=25)
@given(steps(LIFE, OWED, FINISH))
def test_a_snapshot_of_any_moment_goes_on_like_the_stream_itself(plan: list[Step]) -> None:
    world = play(plan)[0].world
    half: dict[str, Loaded] = {}
    for event in world.events[: len(world.events) // 2]:
        half[event.stream] = FOLDER.fold(half.get(event.stream, Loaded()), event)
    going_on: dict[str, Any] = {stream: FOLDER.restore(dumped(stream, loaded)) for stream, loaded in half.items()}
    for event in world.events[len(world.events) // 2 :]:
        going_on[event.stream] = FOLDER.fold(going_on.get(event.stream, Loaded()), event)
    assert {stream: loaded.state for stream, loaded in going_on.items()} == world.states


@pytest.mark.parametrize("name", [decider.name for decider in REGISTRY.deciders])
def test_a_snapshot_of_another_shape_is_not_restored(name: str) -> None:
    stream = next((known for known in _BEGINNING.states if known.startswith(f"{name}/")), None)
    if stream is None:
        assert name in ("access", "obligation", "warning")
        return
    row = FOLDER.dump(stream, Loaded(_BEGINNING.states[stream], 1))
    other = {"stream": row[0], "version": 1, "fingerprint": "older", "began_at": None, "state": row[4]}
    assert FOLDER.restore(other) is None


def test_the_sequences_reach_what_they_are_meant_to_reach() -> None:
    found: set[str] = set()

    @settings(seeded, max_examples=40)
    @given(st.one_of(steps(LIFE), steps(MOVES, FINISH), steps(OWED, FINISH)))
    def reach(plan: list[Step]) -> None:
        found.update(type(event.data).__name__ for event in play(plan)[0].world.events)

    reach()
    assert {
        "ExtensionApproved",
        "AssignmentCarriedOver",
        "DeadlineMet",
        "WarningEscalated",
        "WarningSuperseded",
    } <= found
    assert {CompletionSignedOff.__name__, "ResultReturned", "AssignmentResumed", "ObligationAccepted"} <= found


def test_a_recorded_event_is_frozen() -> None:
    event = _BEGINNING.events[0]
    assert event._replace() == event
    with pytest.raises(AttributeError):
        event.version = 2  # type: ignore[misc]
