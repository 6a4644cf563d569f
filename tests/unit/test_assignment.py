"""Assignment: every row of appendix 3.1 and every refusal, by requirement (groups B, G, V)."""

from dataclasses import replace
from datetime import time
from typing import Any

import pytest

from contracts.assignment import (
    AcknowledgeAssignment,
    AmendAssignment,
    ApproveExtension,
    AssignmentCarriedOver,
    AssignTask,
    CancelAssignment,
    CarryOverAssignment,
    ClearRisk,
    CloseUnfinished,
    Deliverable,
    DraftTask,
    Due,
    ExtensionApproved,
    LeadResolution,
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
    SubmitResult,
    SuspendAssignment,
    TaskContent,
)
from contracts.base import Command
from contracts.deadlines import DeadlinePassed, RecordDeadlineApproached, RecordDeadlinePassed
from contracts.organisation import GrantAuthority, RevokeAuthority
from contracts.phase import PlanPhase, Responsibility
from contracts.programme import CloseProgramme, Settings
from domain.assignment import (
    ChildrenOpen,
    NoEvidence,
    NotAccountable,
    SignerIsCoordinator,
    SignerIsSubmitter,
    UnknownMilestone,
)
from domain.assignment_changes import (
    ApproverIsRequester,
    ExtensionNotLater,
    NoExtensionAsked,
    NoReferral,
    PartlyDoneNotAllowed,
)
from domain.assignment_content import (
    SIX,
    ChildAfterParent,
    MilestoneTwice,
    NotSixClear,
    ParentNotOpen,
    PersonOutsideLead,
    SecondLead,
    UnknownArea,
    UnknownPhase,
)
from domain.assignment_rules import NothingChanges, ReferralOpen
from domain.authority import AuthorityNotHeld, RoleRequired, WrongUnit
from domain.deadlines import TimerTooEarly
from domain.due import HourNeedsBefore
from domain.kernel import AlreadyExists, NoSuchStream, NotNow, Refused, ReservedForSauro
from domain.organisation import UnknownPost, UnknownUnit
from domain.programme_state import ProgrammeIsClosed
from domain.responsibility import HeadMissing
from tests.unit.spec import PROG, World, local, names, sample_world, text
from tests.unit.spec_tasks import (
    CLEAR,
    HANDED_IN,
    ORGANISATION,
    T,
    assigned,
    at_work,
    clear,
    day,
    office,
    sign_off,
    status,
    under_review,
)

C = f"assignment/{PROG}/T-02"
LIMIT = local("2026-06-16T00:00")
CLOSE = CloseUnfinished(cause="objective", cause_text=text("chậm vốn"), responsibility=Responsibility(head="PBCXB-TP"))
MILESTONE = Milestone(code="M-1", what="Dự thảo", due=Due(day=day(6, 8)))
EXTEND = RequestExtension(due=Due(day=day(6, 30)), reason=text("chờ ý kiến"))
PROGRESS = ReportProgress(percent=40)


def last(found: list[Any]) -> Any:
    return found[-1].data


def refused(rule: type[Refused], world: World, command: Command, actor: str = "GD", **more: Any) -> Refused:
    """The refusal; the world stays as it was, and the message names field and way out."""
    stream = more.pop("stream", T)
    events, states = len(world.events), dict(world.states)
    with pytest.raises(rule) as found:
        world.do(command, stream, actor, **more)
    assert (len(world.events), world.states) == (events, states)
    assert found.value.rule == rule.__name__
    assert found.value.field
    assert found.value.message
    return found.value


def phased() -> World:
    world = office()
    for code in ("P1", "P2"):
        planned = PlanPhase(name_vi=code, start=day(1, 1, 2027), end=day(2, 1, 2027))
        world.do(planned, f"phase/{PROG}/{code}", "VPS-CVP")
    return world


# --- drafting and assigning -------------------------------------------------------------------------------------------


def test_r023_a_draft_may_miss_any_field_and_names_what_is_missing() -> None:
    world = office()
    found = world.do(DraftTask(content=TaskContent(lead_unit="PBCXB", work="Số hóa")), T, "PBCXB-TP")
    assert names(found) == ["TaskDrafted"]
    assert last(found).missing == (
        "person", "time", "responsibility", "authority", "result", "measure", "checking",
    )  # fmt: skip
    assert status(world) == "draft"
    assert not world.state(T).is_open
    again = world.do(DraftTask(content=clear(person=None)), T, "VPS-CVP")
    assert last(again).missing == ("person",)
    refused(NotSixClear, world, AssignTask())
    world.do(DraftTask(content=CLEAR), T, "GD")
    assert names(world.do(AssignTask(), T, "GD")) == ["TaskAssigned", "DeadlineScheduled"]
    refused(AlreadyExists, world, DraftTask(content=CLEAR))
    refused(AlreadyExists, world, AssignTask(content=CLEAR))


def test_r017_assigning_holds_all_six_and_sets_the_limit() -> None:
    world = office()
    found = world.do(AssignTask(content=CLEAR), T, "GD", "2026-06-01T08:00")
    assert names(found) == ["TaskAssigned", "DeadlineScheduled"]
    state = world.state(T)
    assert (state.status, state.original.at, state.current) == ("assigned", LIMIT, state.original)
    assert last(found).key.kind == "assignment_due"
    assert [(lead.rung, lead.at) for lead in last(found).leads] == [(0, local("2026-06-13T00:00"))]
    assert found[1].policy_version == 1


_EMPTY: dict[str, dict[str, Any]] = {
    "person": {"person": None},
    "work": {"work": None},
    "time": {"due": None},
    "responsibility": {"responsibility": None},
    "authority": {"authority": None},
    "result": {"deliverables": ()},
}


def test_r017_every_one_of_six_is_in_the_table() -> None:
    assert tuple(_EMPTY) == SIX


@pytest.mark.parametrize("name", SIX)
def test_r017_each_empty_field_is_refused_by_name(name: str) -> None:
    error = refused(NotSixClear, office(), AssignTask(content=clear(**_EMPTY[name])))
    assert error.message.startswith(f"{T}: {name} is empty")
    assert error.field == {"time": "data.content.due", "result": "data.content.deliverables"}.get(
        name, f"data.content.{name}"
    )


def test_r017_all_missing_fields_are_named_at_once() -> None:
    error = refused(NotSixClear, office(), AssignTask())
    assert error.message.startswith(
        f"{T}: person, work, time, responsibility, authority, result, measure, checking, lead_unit are empty"
    )


@pytest.mark.parametrize(("gone", "name"), [({"measures": ()}, "measure"), ({"checking": None}, "checking")])
def test_r019_product_measure_date_and_check(gone: dict[str, Any], name: str) -> None:
    error = refused(NotSixClear, office(), AssignTask(content=clear(**gone)))
    assert f"{name} is empty" in error.message


def test_r017_time_may_be_a_cadence_and_then_there_is_no_limit() -> None:
    world = assigned(clear(due=None, cadence="weekly"))
    assert world.state(T).original is None
    assert [d.key.kind for d in world.state(T).deadlines.live.values()] == ["progress_update_due"]
    world.do(StartWork(), T, "PBCXB-PP")
    world.do(HANDED_IN, T, "PBCXB-PP", "2026-06-05T08:00")
    assert last(sign_off(world)[:1]).verdict.against_original == "undated"


def test_r020_lead_coordinators_and_the_accountable_person() -> None:
    world = office()
    refused(PersonOutsideLead, world, AssignTask(content=clear(person="QLVH-TP")))
    refused(UnknownPost, world, AssignTask(content=clear(person="NOBODY")))
    refused(UnknownUnit, world, AssignTask(content=clear(lead_unit="NOWHERE")))
    refused(UnknownUnit, world, AssignTask(content=clear(coordinating_units=("NOWHERE",))))
    refused(UnknownPost, world, AssignTask(content=CLEAR), "NOBODY")
    refused(UnknownPost, world, AssignTask(content=CLEAR), unit="VPS")
    checking = CLEAR.checking
    assert checking is not None
    nobody = replace(checking, checked_by="NOBODY")
    refused(UnknownPost, world, AssignTask(content=clear(checking=nobody)))


def test_r020_a_coordinating_unit_cannot_sign_off() -> None:
    world = office()
    world.do(GrantAuthority(grant="G-2", post="QLVH-TP", authority="KY", valid_from=day(1, 1)), ORGANISATION)
    world.do(AssignTask(content=clear(coordinating_units=("QLVH", "VPS"))), T, "GD", "2026-06-01T08:00")
    world.do(StartWork(), T, "PBCXB-PP")
    world.do(HANDED_IN, T, "PBCXB-PP")
    refused(SignerIsCoordinator, world, SignOffCompletion(), "QLVH-TP", authority="KY")


def test_r021_one_task_has_one_lead() -> None:
    refused(SecondLead, office(), AssignTask(content=clear(coordinating_units=("PBCXB",))))
    world = assigned(clear(coordinating_units=("QLVH",)))
    refused(SecondLead, world, ReassignAssignment(lead_unit="QLVH", reason="chuyển"))
    world = at_work()
    found = world.do(ReassignAssignment(lead_unit="QLVH", reason="sắp xếp"), T, "GD", "2026-06-05T08:00")
    moved = last(found)
    assert (moved.from_unit, moved.to_unit, moved.from_person, moved.to_person) == (
        "PBCXB", "QLVH", "PBCXB-TP", "QLVH-TP",
    )  # fmt: skip
    assert found[0].occurred_at == local("2026-06-05T08:00")
    refused(WrongUnit, world, PROGRESS, "PBCXB-PP")
    assert names(world.do(PROGRESS, T, "QLVH-PP")) == ["ProgressReported"]


def test_r022_one_accountable_person_at_any_time() -> None:
    world = assigned()
    world.do(ReassignAssignment(person="PBCXB-PP", reason="phân công"), T, "GD")
    assert (world.state(T).unit, world.state(T).accountable) == ("PBCXB", "PBCXB-PP")
    refused(NotAccountable, world, AcknowledgeAssignment(), "PBCXB-TP")
    refused(NothingChanges, world, ReassignAssignment(person="PBCXB-PP", reason="x"))
    refused(WrongUnit, world, ReassignAssignment(person="QLVH-TP", reason="x"))
    refused(UnknownPost, world, ReassignAssignment(person="NOBODY", reason="x"))
    refused(UnknownUnit, world, ReassignAssignment(lead_unit="NOWHERE", person="QLVH-TP", reason="x"))
    refused(RoleRequired, world, ReassignAssignment(person="PBCXB-TP", reason="x"), "PBCXB-PP")
    refused(NotNow, under_suspension(), ReassignAssignment(person="PBCXB-PP", reason="x"))


def test_r083_a_joint_lead_is_resolved_to_one_of_the_named() -> None:
    resolved = LeadResolution(named=("QLVH", "PBCXB"), rule="decision", reason="họp giao ban")
    world = assigned(clear(lead_resolution=resolved))
    assert world.state(T).content.lead_resolution == resolved
    other = replace(resolved, named=("QLVH", "VPS"))
    refused(SecondLead, office(), AssignTask(content=clear(lead_resolution=other)))


def test_a_head_assigns_in_the_own_unit_only() -> None:
    world = office()
    refused(RoleRequired, world, AssignTask(content=CLEAR), "QLVH-TP")
    refused(RoleRequired, world, AssignTask(content=CLEAR), "PBCXB-PP")
    refused(RoleRequired, world, DraftTask(content=TaskContent()), "PBCXB-TP")
    assert names(world.do(AssignTask(content=CLEAR), T, "PBCXB-TP"))[0] == "TaskAssigned"


def test_phase_area_and_category_are_those_of_the_programme() -> None:
    world = office(settings=Settings(categories=("LAND",)))
    refused(UnknownPhase, world, AssignTask(content=clear(phase="P9")))
    refused(UnknownArea, world, AssignTask(content=clear(content_area="AREA-9")))
    refused(UnknownArea, world, AssignTask(content=clear(category="WATER")))
    world.do(AssignTask(content=clear(content_area="AREA-1", category="LAND")), T)
    assert (world.state(T).category, world.state(T).phase) == ("LAND", None)


def test_r163_an_hour_is_written_with_before() -> None:
    world, due = office(), Due(day=day(6, 15), hour=time(15))
    milestone = replace(MILESTONE, due=due)
    for content in (clear(due=due), clear(milestones=(milestone,))):
        refused(HourNeedsBefore, world, AssignTask(content=content))
        refused(HourNeedsBefore, world, DraftTask(content=content))
    refused(HourNeedsBefore, at_work(), RequestExtension(due=due, reason=text()), "PBCXB-PP")
    world = assigned(clear(due=Due(day=day(6, 15), hour=time(15), boundary="before")))
    assert world.state(T).original.at == local("2026-06-15T15:00")


# --- work -------------------------------------------------------------------------------------------------------------


def test_the_accountable_person_acknowledges() -> None:
    world = assigned()
    refused(NotAccountable, world, AcknowledgeAssignment(), "PBCXB-PP")
    assert names(world.do(AcknowledgeAssignment(), T, "PBCXB-TP")) == ["AssignmentAcknowledged"]
    assert status(world) == "acknowledged"
    refused(NotNow, world, AcknowledgeAssignment(), "PBCXB-TP")
    assert names(world.do(StartWork(), T, "PBCXB-PP")) == ["WorkStarted"]
    refused(NotNow, world, StartWork(), "PBCXB-PP")


@pytest.mark.parametrize("acknowledged", [True, False])
@pytest.mark.parametrize("begin", [StartWork(), PROGRESS])
def test_work_begins_with_start_or_first_progress(begin: Command, acknowledged: bool) -> None:
    world = assigned()
    if acknowledged:
        world.do(AcknowledgeAssignment(), T, "PBCXB-TP")
    refused(WrongUnit, world, begin, "QLVH-TP")
    world.do(begin, T, "PBCXB-PP")
    assert status(world) == "in_progress"


def test_nothing_happens_to_a_task_that_does_not_exist() -> None:
    refused(NoSuchStream, office(), StartWork(), "PBCXB-PP")


def test_r123_progress_holds_its_moment_and_marks_late_entry() -> None:
    world = at_work()
    found = world.do(
        ReportProgress(percent=40, judgement="difficult", difficulty=text()), T, "PBCXB-PP", "2026-06-05T08:00",
        now="2026-06-06T08:00",
    )  # fmt: skip
    assert (last(found).percent, last(found).judgement, last(found).late_entry) == (40, "difficult", False)
    late = world.do(PROGRESS, T, "PBCXB-PP", "2026-06-05T08:00", now="2026-06-06T08:01")
    assert last(late).late_entry is True
    assert world.state(T).percent == 40


def test_r126_a_milestone_is_reached_in_time_late_or_missed() -> None:
    second = Milestone(code="M-2", what="Trình", due=Due(day=day(6, 10)))
    world = at_work(clear(milestones=(MILESTONE, second)))
    refused(UnknownMilestone, world, ReachMilestone(milestone="M-9"), "PBCXB-PP")
    refused(WrongUnit, world, ReachMilestone(milestone="M-1"), "QLVH-TP")
    found = world.do(ReachMilestone(milestone="M-1"), T, "PBCXB-PP", "2026-06-08T17:00")
    assert names(found)[-2:] == ["MilestoneReached", "DeadlineMet"]
    refused(UnknownMilestone, world, ReachMilestone(milestone="M-1"), "PBCXB-PP")
    passed = world.timekeeper("2026-06-11T00:00")
    assert names(passed)[-2:] == ["DeadlinePassed", "AssignmentMarkedAtRisk"]
    assert world.state(T).at_risk == "missed_milestone"
    assert not world.state(T).overdue
    found = world.do(ReachMilestone(milestone="M-2"), T, "PBCXB-PP", "2026-06-12T08:00")
    assert names(found) == ["MilestoneReached", "DeadlineCancelled", "AssignmentRiskCleared"]
    assert found[1].data.reason == "late_completion"
    refused(NotNow, assigned(clear(milestones=(MILESTONE,))), ReachMilestone(milestone="M-1"), "PBCXB-PP")


def test_r126_a_milestone_missed_before_the_timekeeper_saw_it_is_recorded_as_passed() -> None:
    world = at_work(clear(milestones=(MILESTONE,)))
    found = world.do(ReachMilestone(milestone="M-1"), T, "PBCXB-PP", "2026-06-09T08:00")
    assert names(found) == [
        *("DeadlineApproached", "DeadlinePassed", "AssignmentMarkedAtRisk"),
        *("MilestoneReached", "DeadlineCancelled", "AssignmentRiskCleared"),
    ]
    assert found[1].occurred_at == found[2].occurred_at == local("2026-06-09T00:00")


def test_r126_each_milestone_has_its_own_code() -> None:
    refused(MilestoneTwice, office(), AssignTask(content=clear(milestones=(MILESTONE, MILESTONE))))


def test_r144_a_difficulty_is_complete_with_a_proposal() -> None:
    world = at_work()
    refused(WrongUnit, world, RaiseDifficulty(field="LAND", what=text()), "QLVH-TP")
    found = world.do(RaiseDifficulty(field="LAND", what=text()), T, "PBCXB-PP")
    assert (names(found), last(found).complete) == (["DifficultyRaised"], False)
    assert last(world.do(RaiseDifficulty(field="LAND", what=text(), proposal=text()), T, "PBCXB-PP")).complete
    assert status(world) == "in_progress"
    refused(NotNow, under_suspension(), RaiseDifficulty(field="LAND", what=text()), "PBCXB-PP")


def test_r025_a_child_is_due_no_later_and_ends_first() -> None:
    world = at_work()
    late = clear(parent="T-01", due=Due(day=day(6, 16)))
    refused(ChildAfterParent, world, AssignTask(content=late), stream=C)
    refused(ChildAfterParent, world, AssignTask(content=clear(parent="T-01", due=None, cadence="weekly")), stream=C)
    refused(NoSuchStream, world, AssignTask(content=clear(parent="T-99")), stream=C)
    found = world.do(AssignTask(content=clear(parent="T-01")), C, "PBCXB-TP", "2026-06-03T08:00")
    assert names(found) == ["TaskAssigned", "DeadlineScheduled", "SubtaskDelegated"]
    assert (found[2].stream, last(found).child, last(found).mandatory) == (T, C, True)
    world.do(HANDED_IN, T, "PBCXB-PP", "2026-06-10T08:00")
    refused(ChildrenOpen, world, SignOffCompletion(), authority="KY")
    world.do(CancelAssignment(reason="gộp"), C, "GD")
    assert names(sign_off(world))[0] == "CompletionSignedOff"
    refused(ParentNotOpen, world, AssignTask(content=clear(parent="T-01")), stream=f"{C}-B")


def test_r025_an_optional_child_may_stay_open() -> None:
    world = at_work()
    world.do(AssignTask(content=clear(parent="T-01", mandatory_child=False)), C, "GD")
    world.do(HANDED_IN, T, "PBCXB-PP", "2026-06-10T08:00")
    assert names(sign_off(world))[0] == "CompletionSignedOff"


def test_r025_a_child_is_not_moved_past_its_parent() -> None:
    world = at_work(world=phased())
    world.do(AssignTask(content=clear(parent="T-01")), C, "GD")
    refused(ChildAfterParent, world, EXTEND, "PBCXB-PP", stream=C)
    carry = CarryOverAssignment(to_phase="P2", due=Due(day=day(6, 30)), reason="x")
    refused(ChildAfterParent, world, carry, stream=C)
    world.do(EXTEND, T, "PBCXB-PP")
    world.do(ApproveExtension(), T, "GD")
    world.do(EXTEND, C, "PBCXB-PP")
    world.do(CarryOverAssignment(to_phase="P2", due=Due(day=day(6, 20)), reason="x"), T)
    refused(ChildAfterParent, world, ApproveExtension(), stream=C)


# --- result -----------------------------------------------------------------------------------------------------------


def test_r116_a_result_is_handed_in_with_evidence_by_the_lead_unit() -> None:
    world = at_work()
    assert refused(NoEvidence, world, SubmitResult(), "PBCXB-PP").field == "data.evidence"
    refused(WrongUnit, world, HANDED_IN, "QLVH-TP")
    found = world.do(HANDED_IN, T, "PBCXB-PP", "2026-06-10T08:00")
    assert names(found) == ["ResultSubmitted", "DeadlineMet"]
    assert (status(world), found[0].data.evidence) == ("under_review", HANDED_IN.evidence)
    refused(NotNow, world, HANDED_IN, "PBCXB-PP")
    refused(NotNow, world, PROGRESS, "PBCXB-PP")
    refused(NotNow, assigned(), HANDED_IN, "PBCXB-PP")


def test_r125_a_returned_result_is_owed_again() -> None:
    world = under_review()
    refused(RoleRequired, world, ReturnResult(reason=text("thiếu")), "PBCXB-TP")
    found = world.do(ReturnResult(reason=text("thiếu phụ lục")), T, "VPS-PVP", "2026-06-12T08:00")
    assert names(found) == ["ResultReturned", "DeadlineScheduled"]
    assert (status(world), last(found).key.due_version) == ("in_progress", 2)
    refused(NotNow, world, ReturnResult(reason=text()), "VPS-PVP")
    refused(NotNow, world, SignOffCompletion(), authority="KY")


def test_the_authority_the_task_names_may_return_too() -> None:
    world = office()
    world.do(GrantAuthority(grant="G-2", post="QLVH-TP", authority="KY", valid_from=day(1, 1)), ORGANISATION)
    assigned(world=world)
    world.do(StartWork(), T, "PBCXB-PP")
    world.do(HANDED_IN, T, "PBCXB-PP")
    refused(RoleRequired, world, ReturnResult(reason=text()), "QLVH-TP")
    assert names(world.do(ReturnResult(reason=text()), T, "QLVH-TP", authority="KY"))[0] == "ResultReturned"


def test_r091_who_hands_in_does_not_sign_off() -> None:
    world = office()
    world.do(GrantAuthority(grant="G-2", post="PBCXB-PP", authority="KY", valid_from=day(1, 1)), ORGANISATION)
    assigned(world=world)
    world.do(StartWork(), T, "PBCXB-PP")
    world.do(HANDED_IN, T, "PBCXB-PP")
    refused(SignerIsSubmitter, world, SignOffCompletion(), "PBCXB-PP", authority="KY")


def test_r024_sign_off_needs_the_named_authority_then_and_now() -> None:
    world = under_review()
    refused(AuthorityNotHeld, world, SignOffCompletion())
    refused(AuthorityNotHeld, world, SignOffCompletion(), authority="KHAC")
    refused(AuthorityNotHeld, world, SignOffCompletion(), "VPS-CVP", authority="KY")
    refused(NotNow, at_work(), SignOffCompletion(), authority="KY")
    world.do(RevokeAuthority(grant="G-1", reason="x"), ORGANISATION, "GD", "2026-06-11T08:00")
    refused(AuthorityNotHeld, world, SignOffCompletion(), authority="KY", at="2026-06-11T07:00", now="2026-06-11T08:00")
    narrow = GrantAuthority(grant="G-3", post="GD", authority="KY", within_programme="OTHER", valid_from=day(1, 1))
    world.do(narrow, ORGANISATION, "GD")
    refused(AuthorityNotHeld, world, SignOffCompletion(), authority="KY")


@pytest.mark.parametrize(
    ("at", "verdict"),
    [("2026-06-14T23:59:59", "early"), ("2026-06-15T23:59:59", "on_time"), ("2026-06-16T00:00", "late")],
)
def test_r124_completion_is_early_on_time_or_late_against_both_limits(at: str, verdict: str) -> None:
    world = under_review(at)
    found = sign_off(world, "2026-06-16T09:00")
    assert found[0].data.verdict.against_original == found[0].data.verdict.against_current == verdict
    assert (found[0].data.submitter, found[0].data.submission) == ("PBCXB-PP", 1)
    assert (status(world), world.state(T).percent, world.state(T).deadlines.live) == ("completed", 100, {})


def test_r131_signing_off_late_records_the_passing_even_if_the_timekeeper_is_slow() -> None:
    world = at_work()
    found = world.do(HANDED_IN, T, "PBCXB-PP", "2026-06-17T08:00")
    assert names(found)[-2:] == ["DeadlinePassed", "ResultSubmitted"]
    assert (found[-2].occurred_at, found[-2].recorded_at) == (LIMIT, local("2026-06-17T08:00"))
    assert [event.policy_version for event in found[:-1] if "Deadline" in type(event.data).__name__] == [1, 1]
    found = sign_off(world, "2026-06-17T09:00")
    assert (found[-1].data.reason, found[-1].data.warned, found[-1].policy_version) == ("late_completion", True, 1)
    assert world.state(T).was_overdue
    seen = under_review("2026-06-17T08:00")
    seen.timekeeper("2026-06-17T08:30")
    found = sign_off(seen, "2026-06-17T09:00")
    assert names(found) == ["CompletionSignedOff", "DeadlineCancelled"]
    assert (found[1].data.reason, seen.state(T).was_overdue) == ("late_completion", True)


@pytest.mark.parametrize(
    "end", [CLOSE, CancelAssignment(reason="x"), SuspendAssignment(reason="x")], ids=lambda c: type(c).__name__
)
def test_r131_ending_a_late_task_hides_no_lateness(end: Command) -> None:
    world = at_work()
    found = world.do(end, T, "GD", "2026-06-17T08:00")
    assert {"DeadlinePassed", "DeadlineCancelled"} <= set(names(found))
    assert world.state(T).was_overdue


def test_r347_the_first_submission_that_is_later_accepted_decides() -> None:
    world = under_review("2026-06-10T08:00")
    verdict = last(sign_off(world, "2026-06-20T08:00")[:1]).verdict
    assert (verdict.decided_at, verdict.against_current) == (local("2026-06-10T08:00"), "early")
    assert not world.state(T).was_overdue


def test_r347_a_returned_submission_does_not_decide() -> None:
    world = under_review("2026-06-10T08:00")
    world.do(ReturnResult(reason=text("thiếu")), T, "VPS-PVP", "2026-06-14T08:00")
    assert "DeadlinePassed" in names(world.timekeeper("2026-06-16T00:00"))
    world.do(HANDED_IN, T, "PBCXB-PP", "2026-06-17T08:00")
    (signed, *_) = sign_off(world, "2026-06-18T08:00")
    assert (signed.data.submission, signed.data.verdict.against_original) == (2, "late")
    assert (signed.data.verdict.decided_at, world.state(T).was_overdue) == (local("2026-06-17T08:00"), True)


def test_r347_returned_after_the_limit_passes_at_the_limits_own_instant() -> None:
    world = under_review("2026-06-10T08:00")
    world.do(ReturnResult(reason=text("thiếu")), T, "VPS-PVP", "2026-06-18T08:00")
    (passed,) = world.timekeeper("2026-06-18T08:00", late="2026-06-18T08:00")
    assert (passed.data.key.due_version, passed.occurred_at) == (2, LIMIT)


def test_r347_two_clocks() -> None:
    within = under_review("2026-06-15T20:00", now="2026-06-16T20:00")
    assert (within.state(T).submission.decides_at, within.state(T).submission.late_entry) == (
        local("2026-06-15T20:00"), False,
    )  # fmt: skip
    beyond = under_review("2026-06-15T20:00", now="2026-06-16T20:01")
    submission = beyond.state(T).submission
    assert (submission.decides_at, submission.late_entry) == (local("2026-06-16T20:01"), True)
    (signed, *_) = sign_off(beyond, "2026-06-17T08:00")
    assert (signed.data.verdict.against_original, signed.data.verdict.late_entry) == ("late", True)


def test_r347_on_time_but_entered_after_the_limit_passed_is_met_after_all() -> None:
    world = at_work()
    world.timekeeper("2026-06-16T00:00")
    assert (world.state(T).overdue, world.state(T).was_overdue) == (True, True)
    found = world.do(HANDED_IN, T, "PBCXB-PP", "2026-06-15T17:00", now="2026-06-16T08:00")
    assert names(found) == ["ResultSubmitted", "DeadlineMet"]
    assert (last(found).after_passing, last(found).warned) == (True, True)
    assert (world.state(T).overdue, world.state(T).was_overdue) == (False, False)
    (signed, *_) = sign_off(world, "2026-06-17T08:00")
    assert signed.data.verdict.against_original == "on_time"


def test_r140_the_next_update_is_owed_by_the_tasks_own_cadence() -> None:
    world = assigned(clear(update_every_days=3))
    (due,) = [d for d in world.state(T).deadlines.live.values() if d.key.kind == "progress_update_due"]
    assert due.limit.at == local("2026-06-05T00:00")
    assert "AssignmentMarkedAtRisk" in names(world.timekeeper("2026-06-05T00:00"))
    assert world.state(T).at_risk == "no_update"
    found = world.do(PROGRESS, T, "PBCXB-PP", "2026-06-05T08:00")
    assert names(found) == ["ProgressReported", "DeadlineRescheduled", "AssignmentRiskCleared"]
    assert found[1].data.limit.at == local("2026-06-09T00:00")


def test_r140_an_older_report_entered_late_does_not_bring_the_next_one_forward() -> None:
    world = assigned(clear(update_every_days=3))
    world.do(PROGRESS, T, "PBCXB-PP", "2026-06-04T08:00")
    found = world.do(PROGRESS, T, "PBCXB-PP", "2026-06-02T08:00", now="2026-06-04T09:00")
    assert names(found) == ["ProgressReported"]
    assert world.state(T).deadlines.get("progress_update_due").limit.at == local("2026-06-08T00:00")


def test_r140_no_update_is_owed_while_the_result_is_under_review() -> None:
    world = under_review("2026-06-03T08:00", clear(update_every_days=3))
    assert names(world.events[-3:]) == ["ResultSubmitted", "DeadlineMet", "DeadlineCancelled"]
    assert world.timekeeper("2026-06-12T00:00") == []
    found = world.do(ReturnResult(reason=text("thiếu")), T, "VPS-PVP", "2026-06-12T08:00")
    assert [event.data.key.kind for event in found[1:]] == ["assignment_due", "progress_update_due"]
    world.do(ReportProgress(percent=80), T, "PBCXB-PP")
    world.timekeeper("2026-06-16T00:00")
    assert world.state(T).at_risk == "no_update"
    assert "AssignmentRiskCleared" in names(world.do(HANDED_IN, T, "PBCXB-PP", "2026-06-17T08:00"))


# --- referral ---------------------------------------------------------------------------------------------------------


def test_r024_a_matter_referred_up_is_decided_before_the_task_is_closed() -> None:
    world = under_review()
    refused(NoReferral, world, ReferMatterUp(addressee="VPS-CVP", matter=text()), "PBCXB-TP")
    refused(WrongUnit, world, ReferMatterUp(addressee="PGD", matter=text()), "QLVH-TP")
    refused(NoReferral, world, RecordHigherDecision(decision="approved"), "PGD")
    found = world.do(ReferMatterUp(addressee="PGD", matter=text()), T, "PBCXB-TP")
    assert (names(found), status(world)) == (["MatterReferredUp"], "under_review")
    refused(ReferralOpen, world, ReferMatterUp(addressee="PGD", matter=text()), "PBCXB-TP")
    refused(ReferralOpen, world, SignOffCompletion(), authority="KY")
    refused(ReferralOpen, world, CLOSE)
    refused(NoReferral, world, RecordHigherDecision(decision="approved"), "VPS-CVP")
    found = world.do(RecordHigherDecision(decision="approved", note=text()), T, "PGD")
    assert (names(found), last(found).decision) == (["HigherDecisionRecorded"], "approved")
    assert names(sign_off(world))[0] == "CompletionSignedOff"
    refused(NotNow, world, ReferMatterUp(addressee="PGD", matter=text()), "PBCXB-TP")
    refused(NotNow, world, RecordHigherDecision(decision="approved"), "PGD")


# --- extension --------------------------------------------------------------------------------------------------------


def test_r324_the_lead_unit_alone_cannot_extend_its_own_limit() -> None:
    world = at_work()
    refused(NoExtensionAsked, world, ApproveExtension())
    refused(NoExtensionAsked, world, RefuseExtension(reason=text()))
    refused(WrongUnit, world, EXTEND, "QLVH-TP")
    found = world.do(EXTEND, T, "PBCXB-TP", "2026-06-10T08:00")
    assert names(found) == ["ExtensionRequested"]
    assert world.state(T).current.at == LIMIT
    refused(RoleRequired, world, ApproveExtension(), "PBCXB-TP")
    refused(RoleRequired, world, RefuseExtension(reason=text()), "PBCXB-TP")
    found = world.do(ApproveExtension(), T, "GD", "2026-06-11T08:00")
    assert names(found) == ["ExtensionApproved", "DeadlineRescheduled"]
    approved = found[0].data
    assert (approved.was.at, approved.after_passing, approved.requested_by) == (LIMIT, False, "PBCXB-TP")
    state = world.state(T)
    assert (state.original.at, state.current.at, state.extensions) == (LIMIT, local("2026-07-01T00:00"), 1)
    assert state.extension is None


def test_r324_nobody_approves_the_extension_they_asked_for() -> None:
    world = office()
    world.do(AssignTask(content=clear(lead_unit="BGD", person="PGD")), T, "GD", "2026-06-01T08:00")
    world.do(EXTEND, T, "GD")
    refused(ApproverIsRequester, world, ApproveExtension())


def test_r330_a_refused_extension_leaves_the_limit() -> None:
    world = at_work()
    world.do(EXTEND, T, "PBCXB-TP")
    assert names(world.do(RefuseExtension(reason=text("không đủ căn cứ")), T, "GD")) == ["ExtensionRefused"]
    assert (world.state(T).current.at, world.state(T).extension) == (LIMIT, None)


def test_an_extension_is_later_when_asked_and_still_when_approved() -> None:
    world = at_work(world=phased())
    refused(ExtensionNotLater, world, RequestExtension(due=Due(day=day(6, 15)), reason=text()), "PBCXB-PP")
    world.do(EXTEND, T, "PBCXB-PP")
    world.do(CarryOverAssignment(to_phase="P2", due=Due(day=day(7, 31)), reason="x"), T)
    refused(ExtensionNotLater, world, ApproveExtension())


@pytest.mark.parametrize("seen", [True, False], ids=["timer fired", "timer slow"])
def test_r330_an_extension_after_the_limit_keeps_the_lateness(seen: bool) -> None:
    world = at_work()
    if seen:
        world.timekeeper("2026-06-16T00:00")
    world.do(EXTEND, T, "PBCXB-PP", "2026-06-17T08:00")
    found = world.do(ApproveExtension(), T, "GD", "2026-06-17T09:00")
    assert found[0].data.after_passing is True
    assert names(world.events).count("DeadlinePassed") == 1
    assert [e.occurred_at for e in world.events if names([e]) == ["DeadlinePassed"]] == [LIMIT]
    assert (world.state(T).overdue, world.state(T).was_overdue) == (False, True)
    world.do(HANDED_IN, T, "PBCXB-PP", "2026-06-20T08:00")
    (signed, *_) = sign_off(world, "2026-06-21T08:00")
    assert (signed.data.verdict.against_original, signed.data.verdict.against_current) == ("late", "early")
    assert world.state(T).was_overdue


def test_r330_extended_on_the_last_day_of_the_new_limit_is_on_time_against_it() -> None:
    world = at_work()
    world.do(EXTEND, T, "PBCXB-PP", "2026-06-17T08:00")
    world.do(ApproveExtension(), T, "GD")
    world.do(HANDED_IN, T, "PBCXB-PP", "2026-06-30T23:59")
    (signed, *_) = sign_off(world, "2026-07-02T08:00")
    assert (signed.data.verdict.against_original, signed.data.verdict.against_current) == ("late", "on_time")


def test_an_extension_granted_under_review_is_met_by_the_result_in_hand() -> None:
    world = under_review("2026-06-17T08:00")
    world.timekeeper("2026-06-17T08:30")
    world.do(EXTEND, T, "PBCXB-PP", "2026-06-17T09:00")
    found = world.do(ApproveExtension(), T, "GD", "2026-06-17T10:00")
    assert names(found) == ["ExtensionApproved", "DeadlineRescheduled", "DeadlineMet"]
    assert world.timekeeper("2026-07-10T00:00") == []
    assert world.state(T).was_overdue


def test_an_extension_of_a_limit_already_met_schedules_nothing() -> None:
    world = under_review()
    world.do(EXTEND, T, "PBCXB-PP", "2026-06-11T08:00")
    assert names(world.do(ApproveExtension(), T, "GD")) == ["ExtensionApproved"]
    assert world.timekeeper("2026-07-10T00:00") == []


# --- amendment, suspension, carry-over --------------------------------------------------------------------------------


def test_r322_amending_keeps_what_is_absent_and_never_moves_the_limit() -> None:
    world = at_work()
    found = world.do(AmendAssignment(work="Số hóa toàn bộ", priority=1, reason="điều chỉnh"), T, "VPS-CVP")
    assert (names(found), last(found).work, last(found).measures) == (["AssignmentAmended"], "Số hóa toàn bộ", None)
    content = world.state(T).content
    assert (content.work, content.priority, content.measures, content.due) == (
        "Số hóa toàn bộ", 1, CLEAR.measures, CLEAR.due,
    )  # fmt: skip
    assert "due" not in AmendAssignment.model_fields
    refused(NothingChanges, world, AmendAssignment(reason="x"))
    refused(NothingChanges, world, AmendAssignment(deliverables=(), reason="x"))
    refused(NothingChanges, world, AmendAssignment(measures=(), reason="x"))
    refused(RoleRequired, world, AmendAssignment(work="x", reason="x"), "PBCXB-TP")
    products = (Deliverable(code="D-2", what="Đề án"),)
    world.do(AmendAssignment(deliverables=products, tags=("A",), reason="x"), T)
    assert (world.state(T).content.deliverables, world.state(T).content.tags) == (products, ("A",))


def under_suspension() -> World:
    world = at_work()
    world.do(SuspendAssignment(reason="chờ kinh phí"), T, "GD", "2026-06-05T08:00")
    return world


def test_suspended_and_resumed_to_the_status_before() -> None:
    world = at_work(clear(milestones=(MILESTONE,), update_every_days=7))
    refused(RoleRequired, world, SuspendAssignment(reason="x"), "PBCXB-TP")
    refused(NotNow, world, ResumeAssignment(reason="x"))
    found = world.do(SuspendAssignment(reason="chờ kinh phí"), T, "GD", "2026-06-05T08:00")
    assert names(found) == ["AssignmentSuspended", *["DeadlineCancelled"] * 3]
    assert (status(world), world.state(T).is_open, world.state(T).deadlines.live) == ("suspended", True, {})
    assert world.timekeeper("2026-06-20T00:00") == []
    refused(NotNow, world, SuspendAssignment(reason="x"))
    refused(NotNow, world, PROGRESS, "PBCXB-PP")
    refused(RoleRequired, world, ResumeAssignment(reason="x"), "PBCXB-TP")
    found = world.do(ResumeAssignment(reason="có kinh phí"), T, "GD", "2026-06-20T08:00")
    assert names(found) == ["AssignmentResumed", *["DeadlineScheduled"] * 3]
    assert {event.data.key.due_version for event in found[1:]} == {2}
    assert (status(world), world.state(T).current.at) == ("in_progress", LIMIT)
    assert names(world.timekeeper("2026-06-20T09:00", late="2026-06-20T09:00")).count("DeadlinePassed") == 2


def test_a_reached_milestone_is_not_scheduled_again_on_resuming() -> None:
    world = at_work(clear(milestones=(MILESTONE,)))
    world.do(ReachMilestone(milestone="M-1"), T, "PBCXB-PP", "2026-06-04T08:00")
    world.do(SuspendAssignment(reason="x"), T, "GD")
    found = world.do(ResumeAssignment(reason="x"), T, "GD")
    assert [event.data.key.kind for event in found[1:]] == ["assignment_due"]


@pytest.mark.parametrize("seen", [True, False], ids=["timer fired", "timer slow"])
def test_r061_carried_over_keeps_identity_original_limit_and_lateness(seen: bool) -> None:
    world = at_work(clear(phase="P1"), phased())
    carry = CarryOverAssignment(to_phase="P2", due=Due(day=day(7, 31)), reason="chưa hoàn thành")
    refused(RoleRequired, world, carry, "PBCXB-TP")
    refused(UnknownPhase, world, CarryOverAssignment(to_phase="P9", reason="x"))
    refused(NothingChanges, world, CarryOverAssignment(to_phase="P1", reason="x"))
    if seen:
        world.timekeeper("2026-06-16T00:00")
    found = world.do(carry, T, "GD", "2026-06-17T08:00")
    (carried,) = (event.data for event in found if isinstance(event.data, AssignmentCarriedOver))
    assert (carried.from_phase, carried.to_phase, carried.was_overdue) == ("P1", "P2", True)
    assert names(found)[-1] == "DeadlineRescheduled"
    assert [event.stream for event in world.events if isinstance(event.data, DeadlinePassed)].count(T) == 1
    state = world.state(T)
    assert (state.code, state.phase, state.status, state.was_overdue) == ("T-01", "P2", "in_progress", True)
    assert (state.original.at, state.current.at) == (LIMIT, local("2026-08-01T00:00"))
    without = world.do(CarryOverAssignment(to_phase="P1", reason="x"), T, "GD")
    assert (names(without), world.state(T).current.at) == (["AssignmentCarriedOver"], local("2026-08-01T00:00"))
    refused(NotNow, under_suspension(), carry)


# --- ends -------------------------------------------------------------------------------------------------------------


def test_cancelled_with_authority_and_reason() -> None:
    world = at_work()
    refused(RoleRequired, world, CancelAssignment(reason="x"), "VPS-CVP")
    found = world.do(CancelAssignment(reason="không còn phù hợp"), T, "GD")
    assert names(found) == ["AssignmentCancelled", "DeadlineCancelled"]
    assert (status(world), last(found).reason) == ("cancelled", "cancelled")
    refused(NotNow, world, CancelAssignment(reason="x"))
    draft = office()
    draft.do(DraftTask(content=TaskContent()), T, "GD")
    assert names(draft.do(CancelAssignment(reason="x"), T, "GD")) == ["AssignmentCancelled"]


def test_r159_r160_closed_unfinished_with_cause_and_responsibility() -> None:
    world = at_work()
    refused(RoleRequired, world, CLOSE, "PBCXB-TP")
    nobody = CloseUnfinished(cause="both", cause_text=text(), responsibility=Responsibility(collective="PBCXB"))
    assert refused(HeadMissing, world, nobody).field == "data.responsibility.head"
    found = world.do(CLOSE, T, "GD", "2026-06-10T08:00")
    assert names(found) == [
        "AssignmentClosedUnfinished", "DeadlineCancelled", "ObligationDeclared", "DeadlineScheduled", "ObligationOpened",
    ]  # fmt: skip
    closed = found[0].data
    assert (closed.cause, closed.responsibility.head) == ("objective", "PBCXB-TP")
    assert closed.explanation == f"obligation/{PROG}/EXA-T-01"
    owed = world.state(closed.explanation)
    assert (owed.duty.kind, owed.duty.about, owed.unit, owed.accountable) == ("explanation", T, "PBCXB", "PBCXB-TP")
    assert status(world) == "closed_unfinished"
    refused(NotNow, world, CLOSE)
    reason = Responsibility(head_missing_reason="khuyết vị trí")
    other = under_suspension()
    other.do(CloseUnfinished(cause="both", cause_text=text(), responsibility=reason), T, "VPS-CVP")
    assert status(other) == "closed_unfinished"


def test_r066_partly_done_only_where_the_programme_knows_it() -> None:
    partly = CLOSE.model_copy(update={"partly_done_percent": 80, "volume": "80 km"})
    refused(PartlyDoneNotAllowed, at_work(), partly)
    world = at_work(world=office(settings=Settings(partly_done_allowed=True)))
    (closed, *_) = world.do(partly, T, "GD")
    assert (closed.data.partly_done_percent, closed.data.volume, status(world)) == (80, "80 km", "closed_unfinished")


_ACTS: tuple[tuple[Command, str, str | None], ...] = (
    (AcknowledgeAssignment(), "PBCXB-TP", None),
    (StartWork(), "PBCXB-TP", None),
    (PROGRESS, "PBCXB-TP", None),
    (ReachMilestone(milestone="M-1"), "PBCXB-TP", None),
    (RaiseDifficulty(field="A", what=text()), "PBCXB-TP", None),
    (HANDED_IN, "PBCXB-TP", None),
    (ReturnResult(reason=text()), "GD", None),
    (SignOffCompletion(), "GD", "KY"),
    (ReferMatterUp(addressee="PGD", matter=text()), "PBCXB-TP", None),
    (RecordHigherDecision(decision="refused"), "PGD", None),
    (EXTEND, "PBCXB-TP", None),
    (ApproveExtension(), "GD", None),
    (RefuseExtension(reason=text()), "GD", None),
    (AmendAssignment(work="x", reason="x"), "GD", None),
    (ReassignAssignment(person="PBCXB-PP", reason="x"), "GD", None),
    (SuspendAssignment(reason="x"), "GD", None),
    (ResumeAssignment(reason="x"), "GD", None),
    (CarryOverAssignment(to_phase="P1", reason="x"), "GD", None),
    (CancelAssignment(reason="x"), "GD", None),
    (CLOSE, "GD", None),
    (MarkAtRisk(rule="time_left"), "GD", None),
    (ClearRisk(reason="x"), "GD", None),
)


@pytest.mark.parametrize("act", _ACTS, ids=lambda act: type(act[0]).__name__)
def test_a_task_that_has_ended_takes_no_act(act: tuple[Command, str, str | None]) -> None:
    command, actor, authority = act
    completed, cancelled, unfinished = under_review(), at_work(), at_work()
    sign_off(completed)
    cancelled.do(CancelAssignment(reason="x"), T)
    unfinished.do(CLOSE, T)
    for world in (completed, cancelled, unfinished):
        refused(NotNow, world, command, actor, authority=authority)


# --- health and timers ------------------------------------------------------------------------------------------------


def test_r132_at_risk_by_rule_and_cleared() -> None:
    world = at_work()
    refused(NothingChanges, world, ClearRisk(reason="x"))
    refused(RoleRequired, world, MarkAtRisk(rule="open_difficulty"), "PBCXB-TP")
    found = world.do(MarkAtRisk(rule="open_difficulty"), T, "VPS-PVP")
    assert (names(found), last(found).rule) == (["AssignmentMarkedAtRisk"], "open_difficulty")
    refused(NothingChanges, world, MarkAtRisk(rule="time_left"))
    refused(RoleRequired, world, ClearRisk(reason="x"), "PBCXB-TP")
    assert names(world.do(ClearRisk(reason="đã gỡ"), T, "VPS-PVP")) == ["AssignmentRiskCleared"]
    assert world.state(T).at_risk is None


@pytest.mark.parametrize(("percent", "risk"), [(79, "time_left"), (80, None)])
def test_r132_little_time_left_marks_what_is_not_nearly_done(percent: int, risk: str | None) -> None:
    world = at_work()
    world.do(ReportProgress(percent=percent), T, "PBCXB-PP")
    found = world.timekeeper("2026-06-13T00:00", late="2026-06-13T07:00")
    assert world.state(T).at_risk == risk
    assert {event.occurred_at for event in found} == {local("2026-06-13T00:00")}


def test_r131_r353_a_limit_passes_once_at_its_own_instant() -> None:
    world = at_work()
    found = world.timekeeper("2026-06-16T00:00", late="2026-06-19T08:00")
    assert names(found) == ["DeadlineApproached", "AssignmentMarkedAtRisk", "DeadlinePassed"]
    assert [event.occurred_at for event in found] == [local("2026-06-13T00:00")] * 2 + [LIMIT]
    assert {event.recorded_at for event in found} == {local("2026-06-19T08:00")}
    for twice in (RecordDeadlinePassed(key=found[2].data.key), RecordDeadlineApproached(key=found[2].data.key, rung=0)):
        assert world.do(twice, T, "TIMEKEEPER", source="timekeeper", unit="SAURO") == []


def test_r141_a_timer_for_a_moved_limit_has_no_effect() -> None:
    world = at_work()
    key = world.state(T).deadlines.get("assignment_due").key
    world.do(EXTEND, T, "PBCXB-PP", "2026-06-10T08:00")
    world.do(ApproveExtension(), T, "GD")
    late = RecordDeadlinePassed(key=key)
    assert world.do(late, T, "TIMEKEEPER", "2026-06-16T00:00", source="timekeeper", unit="SAURO") == []
    assert world.timekeeper("2026-06-27T00:00") == []
    assert names(world.timekeeper("2026-07-01T00:00"))[-1] == "DeadlinePassed"


def test_timers_are_sauros_own_and_never_early() -> None:
    world = at_work()
    key = world.state(T).deadlines.get("assignment_due").key
    passed, approached = RecordDeadlinePassed(key=key), RecordDeadlineApproached(key=key, rung=0)
    for timer in (passed, approached):
        refused(ReservedForSauro, world, timer)
        refused(TimerTooEarly, world, timer, source="timekeeper", unit="SAURO", at="2026-06-12T23:59:59")
    unknown = RecordDeadlineApproached(key=key, rung=7)
    assert world.do(unknown, T, source="timekeeper", unit="SAURO", at="2026-06-14T00:00") == []


def test_r009_a_closed_programme_takes_no_new_tasks() -> None:
    world = sample_world()
    world.do(CloseProgramme(reason="x"), f"programme/{PROG}", "GD")
    refused(ProgrammeIsClosed, world, AssignTask(content=CLEAR))


# --- what a fresh look found ------------------------------------------------------------------------------------------


def test_r126_r132_at_risk_stays_while_another_milestone_is_missed() -> None:
    second = Milestone(code="M-2", what="Trình", due=Due(day=day(6, 9)))
    world = at_work(clear(milestones=(MILESTONE, second)))
    world.timekeeper("2026-06-11T00:00")
    found = world.do(ReachMilestone(milestone="M-1"), T, "PBCXB-PP", "2026-06-11T08:00")
    assert names(found) == ["MilestoneReached", "DeadlineCancelled"]
    assert world.state(T).at_risk == "missed_milestone"
    found = world.do(ReachMilestone(milestone="M-2"), T, "PBCXB-PP", "2026-06-11T09:00")
    assert names(found)[-1] == "AssignmentRiskCleared"
    assert world.state(T).at_risk is None


def test_r126_r132_a_report_does_not_clear_the_risk_of_a_missed_milestone() -> None:
    world = at_work(clear(milestones=(MILESTONE,), update_every_days=3))
    world.timekeeper("2026-06-11T00:00")
    assert world.state(T).at_risk == "no_update"
    found = world.do(PROGRESS, T, "PBCXB-PP", "2026-06-11T08:00")
    assert names(found)[-2:] == ["AssignmentRiskCleared", "AssignmentMarkedAtRisk"]
    assert (world.state(T).at_risk, last(found).rule) == ("missed_milestone", "missed_milestone")


@pytest.mark.parametrize(("handed_in", "owed"), [("2026-06-10T08:00", False), ("2026-06-17T08:00", True)])
def test_suspended_under_review_and_resumed_the_limit_that_was_met_is_not_owed_again(
    handed_in: str, owed: bool
) -> None:
    world = under_review(handed_in, clear(update_every_days=7))
    found = world.do(SuspendAssignment(reason="x"), T, "GD", "2026-06-18T08:00")
    assert ("DeadlineCancelled" in names(found), status(world)) == (owed, "suspended")
    found = world.do(ResumeAssignment(reason="x"), T, "GD", "2026-06-20T08:00")
    assert names(found) == ["AssignmentResumed", *["DeadlineScheduled"] * owed]
    assert status(world) == "under_review"
    world.timekeeper("2026-06-21T00:00", late="2026-06-21T00:00")
    signed = sign_off(world, "2026-06-21T08:00")
    assert world.state(T).was_overdue is owed
    assert signed[0].data.verdict.against_current == ("late" if owed else "early")


@pytest.mark.parametrize("seen", [True, False], ids=["timer fired", "timer slow"])
@pytest.mark.parametrize(("entered", "after"), [("2026-06-16T09:00", False), ("2026-06-17T09:00", True)])
def test_r347_an_extension_approved_in_time_and_entered_the_next_morning_is_no_lateness(
    seen: bool, entered: str, after: bool
) -> None:
    world = at_work()
    world.do(EXTEND, T, "PBCXB-PP", "2026-06-10T08:00")
    if seen:
        world.timekeeper("2026-06-16T00:00")
    found = world.do(ApproveExtension(), T, "GD", "2026-06-15T14:00", now=entered)
    (approved,) = (event.data for event in found if isinstance(event.data, ExtensionApproved))
    assert (approved.after_passing, world.state(T).was_overdue, world.state(T).overdue) == (after, after, False)


def test_r024_a_task_is_not_called_off_while_a_matter_lies_with_the_level_above() -> None:
    world = at_work()
    world.do(ReferMatterUp(addressee="PGD", matter=text()), T, "PBCXB-TP", "2026-06-03T08:00")
    refused(ReferralOpen, world, CancelAssignment(reason="x"))
    world.do(RecordHigherDecision(decision="refused"), T, "PGD")
    assert world.do(CancelAssignment(reason="x"), T, "GD")
