"""Assignment: everything a six-clear task can go through (appendix 3.1, groups B, G, V).

Read with `assignment_content` (what makes a task clear) and `assignment_state` (state and evolve).
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from contracts.assignment import (
    CONTRACT,
    AcknowledgeAssignment,
    AmendAssignment,
    ApproveExtension,
    AssignmentAcknowledged,
    AssignmentAmended,
    AssignmentCancelled,
    AssignmentCarriedOver,
    AssignmentClosedUnfinished,
    AssignmentMarkedAtRisk,
    AssignmentReassigned,
    AssignmentResumed,
    AssignmentRiskCleared,
    AssignmentSuspended,
    AssignTask,
    CancelAssignment,
    CarryOverAssignment,
    ClearRisk,
    CloseUnfinished,
    CompletionSignedOff,
    DifficultyRaised,
    DraftTask,
    ExtensionApproved,
    ExtensionRefused,
    ExtensionRequested,
    HigherDecisionRecorded,
    MarkAtRisk,
    MatterReferredUp,
    MilestoneReached,
    ProgressReported,
    RaiseDifficulty,
    ReachMilestone,
    ReassignAssignment,
    RecordHigherDecision,
    ReferMatterUp,
    RefuseExtension,
    ReportProgress,
    RequestExtension,
    ResultReturned,
    ResultSubmitted,
    ResumeAssignment,
    ReturnResult,
    SignOffCompletion,
    StartWork,
    SubmitResult,
    SubtaskDelegated,
    SuspendAssignment,
    TaskAssigned,
    TaskContent,
    TaskDrafted,
    Verdict,
    WorkStarted,
)
from contracts.deadlines import DeadlineKind, RecordDeadlineApproached, RecordDeadlinePassed
from contracts.limits import Limit
from domain.assignment_content import (
    SecondLead,
    UnknownPhase,
    limit_from,
    missing_fields,
    require_consistent,
    require_six_clear,
    require_within_parent,
)
from domain.assignment_state import OPEN, Assignment, Status, evolve
from domain.authority import (
    WrongUnit,
    by_known_actor,
    is_head,
    organisation_of,
    programme_of,
    require_authority,
    require_member,
    require_role,
    surroundings,
)
from domain.calendar import local_date
from domain.deadlines import record_approach, record_passing
from domain.escalation import leads
from domain.kernel import AlreadyExists, Change, Changes, Context, Decider, NotNow, Refused, Request, changes, dispatch
from domain.limits import by_end_of
from domain.obligation import demand_explanation
from domain.organisation import require_post, require_unit
from domain.phase import Phase
from domain.programme_state import Programme
from domain.timeliness import deciding_instant, judge

_DAYS = {"weekly": 7, "monthly": 31, "quarterly": 92, "yearly": 366}


class NotAccountable(Refused):
    """The act belongs to the accountable person."""


class NoEvidence(Refused):
    """A result is handed in with evidence (R-116)."""


class SignerIsSubmitter(Refused):
    """Who hands a result in does not sign it off (R-091)."""


class SignerIsCoordinator(Refused):
    """A coordinating unit cannot sign off (R-020)."""


class ReferralOpen(Refused):
    """A matter was referred up; the level above decides first (R-024)."""


class NoReferral(Refused):
    """Nothing was referred to this post."""


class ChildrenOpen(Refused):
    """A mandatory sub-assignment is still open (R-025)."""


class NoExtensionAsked(Refused):
    """No extension is pending."""


class ExtensionNotLater(Refused):
    """An extension moves the limit to a later instant."""


class ApproverIsRequester(Refused):
    """Nobody approves the extension they asked for (R-324)."""


class UnknownMilestone(Refused):
    """The task has no such milestone, or it was reached."""


class NothingChanges(Refused):
    """The command changes nothing."""


class HeadMissing(Refused):
    """The head's responsibility is named, or a reason why not (R-160)."""


class PartlyDoneNotAllowed(Refused):
    """This programme does not know 'partly done' (R-066)."""


def _require(state: Assignment, request: Request[Any], *allowed: Status) -> None:
    if state.status not in allowed:
        raise NotNow(
            f"{request.subject} is {state.status}; {type(request.data).__name__} needs it to be {' or '.join(allowed)}"
        )


def _require_open(state: Assignment, request: Request[Any]) -> None:
    _require(state, request, *sorted(OPEN))


def _may_assign(request: Request[Any], context: Context, unit: str | None) -> None:
    if not is_head(request, context, unit):
        require_role(request, context, "assigner", "coordinating_office", "director")


def _scheduled(
    state: Assignment, kind: DeadlineKind, limit: Limit, programme: Programme, context: Context, occurrence: str = "1"
) -> Change:
    warned = leads(programme, kind, limit, state.category, context.now)
    event = state.deadlines.schedule(kind, limit, warned, occurrence)
    return Change(event, policy_version=programme.policy_version)


def _update_due(state: Assignment, at: datetime) -> Limit | None:
    """Until when the next progress report is owed, by the task's own cadence (R-140)."""
    every = state.content.update_every_days or _DAYS.get(state.content.cadence or "")
    return by_end_of(local_date(at) + timedelta(days=every)) if every else None


def _draft(request: Request[DraftTask], state: Assignment | None, context: Context) -> Changes:
    if state is not None and state.status != "draft":
        raise AlreadyExists(f"{request.subject} is {state.status} already; amend it instead")
    content = request.data.content
    _may_assign(request, context, content.lead_unit)
    require_consistent(request, content, programme_of(request, context), organisation_of(request, context), context)
    return changes(TaskDrafted(content=content, missing=missing_fields(content)))


def _assign(request: Request[AssignTask], state: Assignment | None, context: Context) -> Changes:
    if state is not None and state.status != "draft":
        raise AlreadyExists(f"{request.subject} is {state.status} already; amend or reassign it instead")
    content = request.data.content or (state.content if state else TaskContent())
    require_six_clear(request.subject, content)
    _may_assign(request, context, content.lead_unit)
    programme = programme_of(request, context)
    require_consistent(request, content, programme, organisation_of(request, context), context)
    limit = limit_from(content.due)
    delegated = None
    if content.parent is not None:
        parent = require_within_parent(request, content, limit, context)
        child = SubtaskDelegated(child=request.subject, mandatory=content.mandatory_child, due=limit)
        delegated = Change(child, stream=parent)
    fresh = Assignment(request.code, content)
    return changes(
        TaskAssigned(content=content, original=limit),
        _scheduled(fresh, "assignment_due", limit, programme, context) if limit else None,
        *_milestones(fresh, programme, context),
        _scheduled(fresh, "progress_update_due", update, programme, context)
        if (update := _update_due(fresh, request.occurred_at))
        else None,
        delegated,
    )


def _milestones(state: Assignment, programme: Programme, context: Context) -> Iterable[Change]:
    for milestone in state.content.milestones:
        if limit := limit_from(milestone.due):
            yield _scheduled(state, "assignment_milestone", limit, programme, context, milestone.code)


def _acknowledge(request: Request[AcknowledgeAssignment], state: Assignment, context: Context) -> Changes:
    _require(state, request, "assigned")
    if request.actor.post != state.accountable:
        raise NotAccountable(f"'{state.accountable}' acknowledges this task, not '{request.actor.post}'", field="actorpost")
    return changes(AssignmentAcknowledged())


def _start(request: Request[StartWork], state: Assignment, context: Context) -> Changes:
    _require(state, request, "assigned", "acknowledged")
    require_member(request, state.unit, "starting work")
    return changes(WorkStarted())


def _progress(request: Request[ReportProgress], state: Assignment, context: Context) -> Changes:
    _require(state, request, "assigned", "acknowledged", "in_progress")
    require_member(request, state.unit, "reporting progress")
    programme, data = programme_of(request, context), request.data
    reported = ProgressReported(
        percent=data.percent,
        judgement=data.judgement,
        volume=data.volume,
        difficulty=data.difficulty,
        late_entry=deciding_instant(request.occurred_at, context.now, _tolerance(programme))[1],
    )
    update = _update_due(state, request.occurred_at)
    return changes(
        reported,
        _scheduled(state, "progress_update_due", update, programme, context) if update else None,
        AssignmentRiskCleared(reason="progress was reported") if state.at_risk == "no_update" else None,
    )


def _tolerance(programme: Programme) -> timedelta:
    return timedelta(hours=programme.settings.late_entry_tolerance_hours)


def _milestone(request: Request[ReachMilestone], state: Assignment, context: Context) -> Changes:
    _require(state, request, "acknowledged", "in_progress")
    require_member(request, state.unit, "reaching a milestone")
    code = request.data.milestone
    if code in state.reached or code not in {milestone.code for milestone in state.content.milestones}:
        raise UnknownMilestone(f"{request.subject} has no open milestone '{code}'", field="data.milestone")
    at, _ = deciding_instant(request.occurred_at, context.now, _tolerance(programme_of(request, context)))
    due = state.deadlines.get("assignment_milestone", code)
    settled = state.deadlines.meet("assignment_milestone", at, code)
    if settled is None and due is not None:
        only = state.deadlines.cancel("late_completion", "assignment_milestone")
        settled_late = [event for event in only if event.key.occurrence == code]
    else:
        settled_late = []
    cleared = AssignmentRiskCleared(reason=f"milestone {code} was reached") if state.at_risk == "missed_milestone" else None
    return changes(MilestoneReached(milestone=code), settled, *settled_late, cleared)


def _difficulty(request: Request[RaiseDifficulty], state: Assignment, context: Context) -> Changes:
    _require_open(state, request)
    require_member(request, state.unit, "raising a difficulty")
    data = request.data
    raised = DifficultyRaised(field=data.field, what=data.what, proposal=data.proposal, complete=data.proposal is not None)
    return changes(raised)


def _submit(request: Request[SubmitResult], state: Assignment, context: Context) -> Changes:
    _require(state, request, "in_progress")
    require_member(request, state.unit, "handing in the result")
    if not request.data.evidence:
        raise NoEvidence(f"{request.subject}: attach at least one document or measurement", field="data.evidence")
    decides_at, late = deciding_instant(request.occurred_at, context.now, _tolerance(programme_of(request, context)))
    submitted = ResultSubmitted(
        submission=state.submissions + 1,
        evidence=request.data.evidence,
        note=request.data.note,
        decides_at=decides_at,
        late_entry=late,
    )
    return changes(submitted, state.deadlines.meet("assignment_due", decides_at))


def _return(request: Request[ReturnResult], state: Assignment, context: Context) -> Changes:
    _require(state, request, "under_review")
    if request.actor.authority is not None and request.actor.authority == state.content.authority:
        require_authority(request, context, request.actor.authority)
    else:
        require_role(request, context, "reviewer", "coordinating_office", "director")
    returned = ResultReturned(submission=state.submissions, reason=request.data.reason)
    if state.current is None or state.deadlines.get("assignment_due") is not None:
        return changes(returned)
    again = _scheduled(state, "assignment_due", state.current, programme_of(request, context), context)
    return changes(returned, again)


def _sign_off(request: Request[SignOffCompletion], state: Assignment, context: Context) -> Changes:
    _require(state, request, "under_review")
    submission, content = state.submission, state.content
    assert submission is not None and content.authority is not None  # under review: handed in and six-clear
    if request.actor.post == submission.post:
        raise SignerIsSubmitter(f"post '{submission.post}' handed the result in; another signs it off", field="actorpost")
    if request.actor.unit in content.coordinating_units:
        raise SignerIsCoordinator(f"unit '{request.actor.unit}' only coordinates this task", field="actorunit")
    require_authority(request, context, content.authority)
    _require_settled(request, state, context)
    verdict = Verdict(
        decided_at=submission.decides_at,
        late_entry=submission.late_entry,
        against_original=judge(submission.decides_at, state.original.at if state.original else None),
        against_current=judge(submission.decides_at, state.current.at if state.current else None),
    )
    signed = CompletionSignedOff(
        submission=submission.number, submitter=submission.post, verdict=verdict, note=request.data.note
    )
    reason = "late_completion" if state.overdue else "completed"
    return changes(signed, *state.deadlines.cancel(reason))


def _require_settled(request: Request[Any], state: Assignment, context: Context) -> None:
    if state.referred_to is not None:
        raise ReferralOpen(f"a matter lies with '{state.referred_to}'; it is decided first")
    mandatory = [child for child, needed in state.children.items() if needed]
    still_open = [child for child in mandatory if isinstance(c := context.load(child), Assignment) and c.is_open]
    if still_open:
        raise ChildrenOpen(f"mandatory sub-assignments are open: {', '.join(still_open)}")


def _refer(request: Request[ReferMatterUp], state: Assignment, context: Context) -> Changes:
    _require_open(state, request)
    require_member(request, state.unit, "referring a matter up")
    if state.referred_to is not None:
        raise ReferralOpen(f"a matter lies with '{state.referred_to}' already")
    addressee = request.data.addressee
    above = programme_of(request, context).roles.get("level_above", ())
    if addressee not in above:
        raise NoReferral(f"matters go up to {', '.join(above) or 'nobody yet'}, not to '{addressee}'", field="data.addressee")
    return changes(MatterReferredUp(addressee=addressee, matter=request.data.matter))


def _decide_referral(request: Request[RecordHigherDecision], state: Assignment, context: Context) -> Changes:
    _require_open(state, request)
    if state.referred_to is None or request.actor.post != state.referred_to:
        raise NoReferral(f"nothing is referred to post '{request.actor.post}'", field="actorpost")
    data = request.data
    return changes(HigherDecisionRecorded(addressee=state.referred_to, decision=data.decision, note=data.note))


def _ask_extension(request: Request[RequestExtension], state: Assignment, context: Context) -> Changes:
    _require_open(state, request)
    require_member(request, state.unit, "asking for an extension")
    limit = limit_from(request.data.due)
    assert limit is not None  # the command requires a due day
    if state.current is not None and limit.at <= state.current.at:
        raise ExtensionNotLater(f"the limit is {state.current.named}; ask for a later one", field="data.due")
    return changes(ExtensionRequested(limit=limit, reason=request.data.reason))


def _approve_extension(request: Request[ApproveExtension], state: Assignment, context: Context) -> Changes:
    _require_open(state, request)
    asked = state.extension
    if asked is None:
        raise NoExtensionAsked(f"{request.subject} has no pending extension")
    require_role(request, context, "extension_approver")
    if request.actor.post == asked.post:
        raise ApproverIsRequester(f"post '{asked.post}' asked for it", field="actorpost")
    approved = ExtensionApproved(
        limit=asked.limit,
        was=state.current or asked.limit,
        after_passing=state.current is not None and context.now >= state.current.at,
        requested_by=asked.post,
        note=request.data.note,
    )
    if state.status == "under_review" and state.deadlines.get("assignment_due") is None:
        return changes(approved)
    programme = programme_of(request, context)
    return changes(approved, _scheduled(state, "assignment_due", asked.limit, programme, context))


def _refuse_extension(request: Request[RefuseExtension], state: Assignment, context: Context) -> Changes:
    _require_open(state, request)
    if state.extension is None:
        raise NoExtensionAsked(f"{request.subject} has no pending extension")
    require_role(request, context, "extension_approver")
    return changes(ExtensionRefused(reason=request.data.reason))


def _amend(request: Request[AmendAssignment], state: Assignment, context: Context) -> Changes:
    _require_open(state, request)
    require_role(request, context, "assigner", "coordinating_office", "director")
    data = request.data
    given = {"work", "deliverables", "measures", "priority", "tags"} & data.model_fields_set
    if not any(getattr(data, name) is not None for name in given):
        raise NothingChanges("name at least one of work, deliverables, measures, priority, tags", field="data")
    if data.deliverables == () or data.measures == ():
        raise NothingChanges("an assignment keeps at least one deliverable and one measure (R-019)", field="data")
    return changes(AssignmentAmended(**{name: getattr(data, name) for name in given}, reason=data.reason))


def _reassign(request: Request[ReassignAssignment], state: Assignment, context: Context) -> Changes:
    _require_open(state, request)
    require_role(request, context, "assigner", "coordinating_office", "director")
    data, organisation = request.data, organisation_of(request, context)
    unit = data.lead_unit or state.unit
    person = data.person or (state.accountable if unit == state.unit else organisation.head_of(unit))
    assert unit is not None and state.unit is not None and state.accountable is not None  # assigned: six-clear
    require_unit(organisation, unit, context.now, "data.lead_unit")
    if person is None or require_post(organisation, person, "data.person").unit != unit:
        raise WrongUnit(f"name an accountable post of unit '{unit}'", field="data.person")
    if unit in state.content.coordinating_units:
        raise SecondLead(f"unit '{unit}' coordinates this task; it cannot lead too", field="data.lead_unit")
    if (unit, person) == (state.unit, state.accountable):
        raise NothingChanges("lead unit and accountable post stay as they are", field="data")
    moved = AssignmentReassigned(
        from_unit=state.unit, to_unit=unit, from_person=state.accountable, to_person=person, reason=data.reason
    )
    return changes(moved)


def _suspend(request: Request[SuspendAssignment], state: Assignment, context: Context) -> Changes:
    _require(state, request, "assigned", "acknowledged", "in_progress")
    require_role(request, context, "assigner", "coordinating_office", "director")
    return changes(AssignmentSuspended(reason=request.data.reason), *state.deadlines.cancel("suspended"))


def _resume(request: Request[ResumeAssignment], state: Assignment, context: Context) -> Changes:
    _require(state, request, "suspended")
    require_role(request, context, "assigner", "coordinating_office", "director")
    programme = programme_of(request, context)
    update = _update_due(state, request.occurred_at)
    return changes(
        AssignmentResumed(reason=request.data.reason),
        _scheduled(state, "assignment_due", state.current, programme, context) if state.current else None,
        *(m for m in _milestones(state, programme, context) if _occurrence(m) not in state.reached),
        _scheduled(state, "progress_update_due", update, programme, context) if update else None,
    )


def _occurrence(change: Change) -> str:
    return str(change.event.key.occurrence)  # type: ignore[attr-defined]


def _carry_over(request: Request[CarryOverAssignment], state: Assignment, context: Context) -> Changes:
    _require_open(state, request)
    require_role(request, context, "assigner", "coordinating_office", "director")
    data = request.data
    phase = context.load(f"phase/{request.programme}/{data.to_phase}")
    if not isinstance(phase, Phase) or phase.status == "closed":
        raise UnknownPhase(f"phase '{data.to_phase}' is not planned or is closed", field="data.to_phase")
    if data.to_phase == state.phase:
        raise NothingChanges(f"the task is in phase '{data.to_phase}' already", field="data.to_phase")
    limit = limit_from(data.due)
    carried = AssignmentCarriedOver(
        from_phase=state.phase, to_phase=data.to_phase, limit=limit, was_overdue=state.overdue, reason=data.reason
    )
    if limit is None or (state.status == "under_review" and state.deadlines.get("assignment_due") is None):
        return changes(carried)
    return changes(carried, _scheduled(state, "assignment_due", limit, programme_of(request, context), context))


def _cancel(request: Request[CancelAssignment], state: Assignment, context: Context) -> Changes:
    _require(state, request, "draft", "suspended", *sorted(OPEN))
    require_role(request, context, "assigner", "director")
    return changes(AssignmentCancelled(reason=request.data.reason), *state.deadlines.cancel("cancelled"))


def _close_unfinished(request: Request[CloseUnfinished], state: Assignment, context: Context) -> Changes:
    _require(state, request, "suspended", *sorted(OPEN))
    require_role(request, context, "director", "coordinating_office")
    data, programme = request.data, programme_of(request, context)
    if state.referred_to is not None:
        raise ReferralOpen(f"a matter lies with '{state.referred_to}'; it is decided first")
    if not data.responsibility.head and not data.responsibility.head_missing_reason:
        raise HeadMissing("name the responsible head, or why none is named", field="data.responsibility.head")
    if data.partly_done_percent is not None and not programme.settings.partly_done_allowed:
        raise PartlyDoneNotAllowed("this programme does not count partly done work", field="data.partly_done_percent")
    explanation, demanded = demand_explanation(request, state, context, "closed unfinished")
    closed = AssignmentClosedUnfinished(**dict(data), explanation=explanation)
    return changes(closed, *state.deadlines.cancel("closed"), *demanded)


def _mark_at_risk(request: Request[MarkAtRisk], state: Assignment, context: Context) -> Changes:
    _require_open(state, request)
    require_role(request, context, "coordinating_office", "director", "reviewer")
    if state.at_risk is not None:
        raise NothingChanges(f"{request.subject} is at risk already ({state.at_risk})")
    return changes(AssignmentMarkedAtRisk(rule=request.data.rule))


def _clear_risk(request: Request[ClearRisk], state: Assignment, context: Context) -> Changes:
    _require_open(state, request)
    require_role(request, context, "coordinating_office", "director", "reviewer")
    if state.at_risk is None:
        raise NothingChanges(f"{request.subject} is not at risk")
    return changes(AssignmentRiskCleared(reason=request.data.reason))


def _approached(request: Request[RecordDeadlineApproached], state: Assignment, context: Context) -> Changes:
    found = record_approach(request, state.deadlines, context.now)
    if not found or state.at_risk is not None or request.data.key.kind != "assignment_due" or state.percent >= 80:
        return found
    return [*found, _at_risk("time_left", request, context)]


def _passed(request: Request[RecordDeadlinePassed], state: Assignment, context: Context) -> Changes:
    found = record_passing(request, state.deadlines, context.now)
    rules: dict[str, Any] = {"assignment_milestone": "missed_milestone", "progress_update_due": "no_update"}
    rule = rules.get(request.data.key.kind)
    if not found or rule is None or state.at_risk is not None:
        return found
    return [*found, _at_risk(rule, request, context)]


def _at_risk(rule: Any, request: Request[Any], context: Context) -> Change:
    version = programme_of(request, context).policy_version
    return Change(AssignmentMarkedAtRisk(rule=rule), occurred_at=context.now, policy_version=version)


_OPENING: dict[Any, Any] = {DraftTask: by_known_actor(_draft), AssignTask: by_known_actor(_assign)}
_LATER: dict[Any, Any] = {
    command: by_known_actor(handler)
    for command, handler in (
        (AcknowledgeAssignment, _acknowledge),
        (StartWork, _start),
        (ReportProgress, _progress),
        (ReachMilestone, _milestone),
        (RaiseDifficulty, _difficulty),
        (SubmitResult, _submit),
        (ReturnResult, _return),
        (SignOffCompletion, _sign_off),
        (ReferMatterUp, _refer),
        (RecordHigherDecision, _decide_referral),
        (RequestExtension, _ask_extension),
        (ApproveExtension, _approve_extension),
        (RefuseExtension, _refuse_extension),
        (AmendAssignment, _amend),
        (ReassignAssignment, _reassign),
        (SuspendAssignment, _suspend),
        (ResumeAssignment, _resume),
        (CarryOverAssignment, _carry_over),
        (CancelAssignment, _cancel),
        (CloseUnfinished, _close_unfinished),
        (MarkAtRisk, _mark_at_risk),
        (ClearRisk, _clear_risk),
        (RecordDeadlineApproached, _approached),
        (RecordDeadlinePassed, _passed),
    )
}

DECIDER = Decider(CONTRACT, Assignment, dispatch(CONTRACT.name, _OPENING, _LATER), evolve, reads=surroundings)
