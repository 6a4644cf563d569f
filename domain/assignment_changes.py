"""What changes an assignment on its way: referral, extension, amendment, another lead, suspension, carry-over, an end.

Appendix 3.1, groups B and V (R-024, R-061, R-066, R-322 to R-330).
"""

from dataclasses import replace
from typing import Any

from contracts.assignment import (
    AmendAssignment,
    ApproveExtension,
    AssignmentAmended,
    AssignmentCancelled,
    AssignmentCarriedOver,
    AssignmentClosedUnfinished,
    AssignmentReassigned,
    AssignmentResumed,
    AssignmentSuspended,
    CancelAssignment,
    CarryOverAssignment,
    CloseUnfinished,
    ExtensionApproved,
    ExtensionRefused,
    ExtensionRequested,
    HigherDecisionRecorded,
    MatterReferredUp,
    ReassignAssignment,
    RecordHigherDecision,
    ReferMatterUp,
    RefuseExtension,
    RequestExtension,
    ResumeAssignment,
    SuspendAssignment,
)
from contracts.limits import Limit
from domain.assignment_content import SecondLead, UnknownPhase, require_due_within_parent
from domain.assignment_handover import handover
from domain.assignment_rules import (
    NothingChanges,
    ReferralOpen,
    limit_moved,
    milestones,
    require_open,
    scheduled,
    tolerance,
    update_due,
)
from domain.assignment_state import OPEN, Assignment
from domain.authority import (
    WrongUnit,
    organisation_of,
    programme_of,
    require_another,
    require_member,
    require_role,
)
from domain.due import limit_from
from domain.kernel import Change, Changes, Context, Refused, Request, changes, require_status
from domain.obligation import demand_explanation
from domain.organisation import require_post, require_unit
from domain.phase import Phase
from domain.responsibility import require_head
from domain.submissions import Submission
from domain.timeliness import deciding_instant


class NoReferral(Refused):
    """Nothing was referred to this post."""


class NoExtensionAsked(Refused):
    """No extension is pending."""


class ExtensionNotLater(Refused):
    """An extension moves the limit to a later instant."""


class ApproverIsRequester(Refused):
    """Nobody approves the extension they asked for, under whichever post (R-091, R-324)."""


class PartlyDoneNotAllowed(Refused):
    """The programme does not know 'partly done' (R-066)."""


def _refer(request: Request[ReferMatterUp], state: Assignment, context: Context) -> Changes:
    require_open(state, request)
    require_member(request, state.unit, "referring a matter up")
    if state.referred_to is not None:
        raise ReferralOpen(f"a matter lies with '{state.referred_to}' already")
    addressee = request.data.addressee
    above = programme_of(request, context).roles.get("level_above", ())
    if addressee not in above:
        raise NoReferral(
            f"matters go up to {', '.join(above) or 'nobody yet'}, not to '{addressee}'", field="data.addressee"
        )
    return changes(MatterReferredUp(addressee=addressee, matter=request.data.matter))


def _decide_referral(request: Request[RecordHigherDecision], state: Assignment, context: Context) -> Changes:
    require_open(state, request)
    if state.referred_to is None or request.actor.post != state.referred_to:
        raise NoReferral(f"nothing is referred to post '{request.actor.post}'", field="actorpost")
    data = request.data
    return changes(HigherDecisionRecorded(addressee=state.referred_to, decision=data.decision, note=data.note))


def _require_later(state: Assignment, limit: Limit, field: str) -> None:
    if state.current is not None and limit.at <= state.current.at:
        raise ExtensionNotLater(f"the limit is {state.current.named}; ask for a later one", field=field)


def _ask_extension(request: Request[RequestExtension], state: Assignment, context: Context) -> Changes:
    require_open(state, request)
    require_member(request, state.unit, "asking for an extension")
    limit = limit_from(request.data.due)
    assert limit is not None  # the command requires a due day
    _require_later(state, limit, "data.due")
    require_due_within_parent(request, state.content, limit, context, "data.due")
    return changes(ExtensionRequested(limit=limit, reason=request.data.reason))


def _approve_extension(request: Request[ApproveExtension], state: Assignment, context: Context) -> Changes:
    require_open(state, request)
    asked = state.extension
    if asked is None:
        raise NoExtensionAsked(f"{request.subject} has no pending extension")
    require_role(request, context, "extension_approver")
    require_another(request, context, asked.post, (asked.at,), ApproverIsRequester)
    _require_later(state, asked.limit, "subject")
    require_due_within_parent(request, state.content, asked.limit, context, "subject")
    programme = programme_of(request, context)
    decided_at, _ = deciding_instant(request.occurred_at, context.now, tolerance(programme))
    approved = ExtensionApproved(
        limit=asked.limit,
        was=state.current or asked.limit,
        after_passing=state.current is not None and decided_at >= state.current.at,
        requested_by=asked.post,
        note=request.data.note,
    )
    return [Change(approved), *limit_moved(state, asked.limit, programme, context)]


def _refuse_extension(request: Request[RefuseExtension], state: Assignment, context: Context) -> Changes:
    require_open(state, request)
    if state.extension is None:
        raise NoExtensionAsked(f"{request.subject} has no pending extension")
    require_role(request, context, "extension_approver")
    return changes(ExtensionRefused(reason=request.data.reason))


def _amend(request: Request[AmendAssignment], state: Assignment, context: Context) -> Changes:
    require_open(state, request)
    require_role(request, context, "assigner", "coordinating_office", "director")
    data = request.data
    given = {"work", "deliverables", "measures", "priority", "tags"} & data.model_fields_set
    if not any(getattr(data, name) is not None for name in given):
        raise NothingChanges("name at least one of work, deliverables, measures, priority, tags", field="data")
    if data.deliverables == () or data.measures == ():
        raise NothingChanges("an assignment keeps at least one deliverable and one measure (R-019)", field="data")
    return changes(AssignmentAmended(**{name: getattr(data, name) for name in given}, reason=data.reason))


def _reassign(request: Request[ReassignAssignment], state: Assignment, context: Context) -> Changes:
    require_open(state, request)
    require_role(request, context, "assigner", "coordinating_office", "director")
    data, organisation = request.data, organisation_of(request, context)
    unit = data.lead_unit or state.unit
    person = data.person or (state.accountable if unit == state.unit else organisation.head_of(unit))
    assert unit is not None  # assigned: six-clear
    assert state.unit is not None
    assert state.accountable is not None
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
    require_open(state, request)
    require_role(request, context, "assigner", "coordinating_office", "director")
    return changes(AssignmentSuspended(reason=request.data.reason), *state.deadlines.end("suspended"))


def _resume(request: Request[ResumeAssignment], state: Assignment, context: Context) -> Changes:
    require_status(state, request, "suspended")
    require_role(request, context, "assigner", "coordinating_office", "director")
    programme, handed_in = programme_of(request, context), state.submission
    # A result under review stands: the limit it met is not owed again, nor is progress until it is returned.
    due = state.current if handed_in is None or not _in_time(handed_in, state.current) else None
    update = update_due(state, request.occurred_at) if handed_in is None else None
    return changes(
        AssignmentResumed(status=state.resumes_to, reason=request.data.reason),
        scheduled(state, "assignment_due", due, programme, context) if due else None,
        *(m for m in milestones(state, programme, context) if _occurrence(m) not in state.reached),
        scheduled(state, "progress_update_due", update, programme, context) if update else None,
        *handover(replace(state, status=state.resumes_to), state.phase, programme, context),
    )


def _in_time(handed_in: Submission, limit: Limit | None) -> bool:
    return limit is not None and handed_in.decides_at < limit.at


def _occurrence(change: Change) -> str:
    return str(change.event.key.occurrence)  # type: ignore[attr-defined]


def _carry_over(request: Request[CarryOverAssignment], state: Assignment, context: Context) -> Changes:
    require_open(state, request)
    require_role(request, context, "assigner", "coordinating_office", "director")
    data = request.data
    phase = context.load(f"phase/{request.programme}/{data.to_phase}")
    if not isinstance(phase, Phase) or phase.status == "closed":
        raise UnknownPhase(f"phase '{data.to_phase}' is not planned or is closed", field="data.to_phase")
    if data.to_phase == state.phase:
        raise NothingChanges(f"the task is in phase '{data.to_phase}' already", field="data.to_phase")
    limit = limit_from(data.due)
    require_due_within_parent(request, state.content, limit, context, "data.due")
    carried = AssignmentCarriedOver(
        from_phase=state.phase,
        to_phase=data.to_phase,
        limit=limit,
        was_overdue=state.overdue,
        reason=data.reason,
    )
    programme = programme_of(request, context)
    moved = limit_moved(state, limit, programme, context) if limit is not None else []
    waiting = state.deadlines.end("superseded", "phase_handover")
    return [Change(carried), *moved, *(list(handover(state, data.to_phase, programme, context)) or waiting)]


def _cancel(request: Request[CancelAssignment], state: Assignment, context: Context) -> Changes:
    """Call the task off. Not while a matter lies with the level above: that would close it undecided (R-024)."""
    require_status(state, request, "draft", "suspended", *sorted(OPEN))
    require_role(request, context, "assigner", "director")
    _require_no_referral(state)
    return changes(AssignmentCancelled(reason=request.data.reason), *state.deadlines.end("cancelled"))


def _require_no_referral(state: Assignment) -> None:
    if state.referred_to is not None:
        raise ReferralOpen(f"a matter lies with '{state.referred_to}'; it is decided first")


def _close_unfinished(request: Request[CloseUnfinished], state: Assignment, context: Context) -> Changes:
    require_status(state, request, "suspended", *sorted(OPEN))
    require_role(request, context, "director", "coordinating_office")
    data, programme = request.data, programme_of(request, context)
    _require_no_referral(state)
    require_head(data.responsibility, "data.responsibility")
    if data.partly_done_percent is not None and not programme.settings.partly_done_allowed:
        raise PartlyDoneNotAllowed("this programme does not count partly done work", field="data.partly_done_percent")
    explanation, demanded = demand_explanation(request, state, context, "closed unfinished")
    closed = AssignmentClosedUnfinished(**dict(data), explanation=explanation)
    return changes(closed, *state.deadlines.end("closed"), *demanded)


CHANGES: dict[Any, Any] = {
    ReferMatterUp: _refer,
    RecordHigherDecision: _decide_referral,
    RequestExtension: _ask_extension,
    ApproveExtension: _approve_extension,
    RefuseExtension: _refuse_extension,
    AmendAssignment: _amend,
    ReassignAssignment: _reassign,
    SuspendAssignment: _suspend,
    ResumeAssignment: _resume,
    CarryOverAssignment: _carry_over,
    CancelAssignment: _cancel,
    CloseUnfinished: _close_unfinished,
}
"""What changes an assignment on its way, command by command."""
