"""Assignment: the life of a six-clear task, from draft to sign-off (appendix 3.1, groups B and G).

Read with `assignment_content` (what makes a task clear), `assignment_changes` (extension, another lead, suspension,
carry-over, end without completion), `assignment_health` (at risk, overdue) and `assignment_state` (state and evolve).
"""

from typing import Any

from contracts.assignment import (
    CONTRACT,
    AcknowledgeAssignment,
    AssignmentAcknowledged,
    AssignTask,
    CompletionSignedOff,
    DifficultyRaised,
    DraftTask,
    MilestoneReached,
    ProgressReported,
    RaiseDifficulty,
    ReachMilestone,
    ReportProgress,
    ResultReturned,
    ResultSubmitted,
    ReturnResult,
    SignOffCompletion,
    StartWork,
    SubmitResult,
    SubtaskDelegated,
    TaskAssigned,
    TaskContent,
    TaskDrafted,
    WorkStarted,
)
from domain.assignment_changes import CHANGES
from domain.assignment_content import (
    missing_fields,
    require_consistent,
    require_six_clear,
    require_within_parent,
)
from domain.assignment_handover import handover
from domain.assignment_health import HEALTH
from domain.assignment_rules import (
    ReferralOpen,
    milestones,
    require_assigner,
    require_open,
    risk_over,
    scheduled,
    tolerance,
    update_due,
)
from domain.assignment_state import Assignment, evolve
from domain.authority import (
    by_known_actor,
    organisation_of,
    programme_of,
    require_another,
    require_authority,
    require_member,
    require_role,
    surroundings,
)
from domain.due import limit_from
from domain.kernel import (
    AlreadyExists,
    Change,
    Changes,
    Context,
    Decider,
    Refused,
    Request,
    changes,
    dispatch,
    require_status,
)
from domain.punctual import punctual
from domain.timeliness import deciding_instant


class NotAccountable(Refused):
    """The act belongs to the accountable person."""


class NoEvidence(Refused):
    """A result is handed in with evidence (R-116)."""


class SignerIsSubmitter(Refused):
    """Who hands a result in does not sign it off, under whichever post (R-091)."""


class SignerIsCoordinator(Refused):
    """A coordinating unit cannot sign off (R-020)."""


class ChildrenOpen(Refused):
    """A mandatory sub-assignment is still open (R-025)."""


class UnknownMilestone(Refused):
    """The task has no such milestone, or it was reached."""


def _draft(request: Request[DraftTask], state: Assignment | None, context: Context) -> Changes:
    if state is not None and state.status != "draft":
        raise AlreadyExists(f"{request.subject} is {state.status} already; amend it instead")
    content = request.data.content
    require_assigner(request, context, content.lead_unit)
    require_consistent(request, content, programme_of(request, context), organisation_of(request, context), context)
    return changes(TaskDrafted(content=content, missing=missing_fields(content)))


def _assign(request: Request[AssignTask], state: Assignment | None, context: Context) -> Changes:
    if state is not None and state.status != "draft":
        raise AlreadyExists(f"{request.subject} is {state.status} already; amend or reassign it instead")
    content = request.data.content or (state.content if state else TaskContent())
    require_six_clear(request.subject, content)
    require_assigner(request, context, content.lead_unit)
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
        scheduled(fresh, "assignment_due", limit, programme, context) if limit else None,
        *milestones(fresh, programme, context),
        scheduled(fresh, "progress_update_due", update, programme, context)
        if (update := update_due(fresh, request.occurred_at))
        else None,
        *handover(fresh, content.phase, programme, context),
        delegated,
    )


def _acknowledge(request: Request[AcknowledgeAssignment], state: Assignment, context: Context) -> Changes:
    require_status(state, request, "assigned")
    if request.actor.post != state.accountable:
        raise NotAccountable(
            f"'{state.accountable}' acknowledges this task, not '{request.actor.post}'", field="actorpost"
        )
    return changes(AssignmentAcknowledged())


def _start(request: Request[StartWork], state: Assignment, context: Context) -> Changes:
    require_status(state, request, "assigned", "acknowledged")
    require_member(request, state.unit, "starting work")
    return changes(WorkStarted(), *_begun(request, state, context))


def _begun(request: Request[Any], state: Assignment, context: Context) -> Changes:
    """Work has begun: nothing is handed on, and the limit to begin is met or ends late (R-036)."""
    if state.status == "in_progress":
        return []
    at, _ = deciding_instant(request.occurred_at, context.now, tolerance(programme_of(request, context)))
    met = state.deadlines.meet("work_start_due", at)
    return changes(
        met,
        *(() if met else state.deadlines.end("late_completion", "work_start_due")),
        *state.deadlines.end("superseded", "phase_handover"),
    )


def _progress(request: Request[ReportProgress], state: Assignment, context: Context) -> Changes:
    require_status(state, request, "assigned", "acknowledged", "in_progress")
    require_member(request, state.unit, "reporting progress")
    programme, data = programme_of(request, context), request.data
    reported = ProgressReported(
        percent=data.percent,
        judgement=data.judgement,
        volume=data.volume,
        difficulty=data.difficulty,
        late_entry=deciding_instant(request.occurred_at, context.now, tolerance(programme))[1],
    )
    update, owed = update_due(state, request.occurred_at), state.deadlines.get("progress_update_due")
    if update is not None and owed is not None and update.at < owed.limit.at:
        update = None  # an older report entered late does not bring the next one forward
    return changes(
        reported,
        *_begun(request, state, context),
        scheduled(state, "progress_update_due", update, programme, context) if update else None,
        *risk_over(state, "no_update", "progress was reported", programme),
    )


def _milestone(request: Request[ReachMilestone], state: Assignment, context: Context) -> Changes:
    require_status(state, request, "acknowledged", "in_progress")
    require_member(request, state.unit, "reaching a milestone")
    code = request.data.milestone
    if code in state.reached or code not in {milestone.code for milestone in state.content.milestones}:
        raise UnknownMilestone(f"{request.subject} has no open milestone '{code}'", field="data.milestone")
    programme = programme_of(request, context)
    at, _ = deciding_instant(request.occurred_at, context.now, tolerance(programme))
    met = state.deadlines.meet("assignment_milestone", at, code)
    late = [] if met else state.deadlines.end("late_completion", "assignment_milestone", occurrence=code)
    cleared = risk_over(state, "missed_milestone", f"milestone {code} was reached", programme, besides=code)
    return changes(MilestoneReached(milestone=code), met, *late, *cleared)


def _difficulty(request: Request[RaiseDifficulty], state: Assignment, context: Context) -> Changes:
    require_open(state, request)
    require_member(request, state.unit, "raising a difficulty")
    data = request.data
    raised = DifficultyRaised(
        field=data.field, what=data.what, proposal=data.proposal, complete=data.proposal is not None
    )
    return changes(raised)


def _submit(request: Request[SubmitResult], state: Assignment, context: Context) -> Changes:
    require_status(state, request, "in_progress")
    require_member(request, state.unit, "handing in the result")
    if not request.data.evidence:
        raise NoEvidence(f"{request.subject}: attach at least one document or measurement", field="data.evidence")
    programme = programme_of(request, context)
    decides_at, late = deciding_instant(request.occurred_at, context.now, tolerance(programme))
    submitted = ResultSubmitted(
        submission=state.submissions + 1,
        evidence=request.data.evidence,
        note=request.data.note,
        decides_at=decides_at,
        late_entry=late,
    )
    return changes(
        submitted,
        state.deadlines.meet("assignment_due", decides_at),
        # While the result is under review nobody can report progress: the update is owed again when it is returned.
        *state.deadlines.end("superseded", "progress_update_due"),
        *risk_over(state, "no_update", "the result was handed in", programme),
    )


def _return(request: Request[ReturnResult], state: Assignment, context: Context) -> Changes:
    require_status(state, request, "under_review")
    if request.actor.authority is not None and request.actor.authority == state.content.authority:
        require_authority(request, context, request.actor.authority)
    else:
        require_role(request, context, "reviewer", "coordinating_office", "director")
    returned = ResultReturned(submission=state.submissions, reason=request.data.reason)
    programme, update = programme_of(request, context), update_due(state, request.occurred_at)
    owed = state.current if state.deadlines.get("assignment_due") is None else None
    return changes(
        returned,
        scheduled(state, "assignment_due", owed, programme, context) if owed else None,
        scheduled(state, "progress_update_due", update, programme, context) if update else None,
    )


def _sign_off(request: Request[SignOffCompletion], state: Assignment, context: Context) -> Changes:
    require_status(state, request, "under_review")
    submission, content = state.submission, state.content
    assert submission is not None  # under review: handed in
    assert content.authority is not None  # six-clear
    require_another(request, context, submission.post, (submission.at, submission.decides_at), SignerIsSubmitter)
    if request.actor.unit in content.coordinating_units:
        raise SignerIsCoordinator(f"unit '{request.actor.unit}' only coordinates this task", field="actorunit")
    require_authority(request, context, content.authority)
    _require_settled(request, state, context)
    signed = CompletionSignedOff(
        submission=submission.number,
        submitter=submission.post,
        verdict=submission.verdict(state.original, state.current),
        note=request.data.note,
    )
    return [Change(signed), *state.deadlines.end("late_completion" if state.overdue else "completed")]


def _require_settled(request: Request[Any], state: Assignment, context: Context) -> None:
    if state.referred_to is not None:
        raise ReferralOpen(f"a matter lies with '{state.referred_to}'; it is decided first")
    mandatory = [child for child, needed in state.children.items() if needed]
    still_open = [child for child in mandatory if isinstance(c := context.load(child), Assignment) and c.is_open]
    if still_open:
        raise ChildrenOpen(f"mandatory sub-assignments are open: {', '.join(still_open)}")


def _by_known_actors(handlers: dict[Any, Any]) -> dict[Any, Any]:
    return {command: by_known_actor(handler) for command, handler in handlers.items()}


_OPENING: dict[Any, Any] = {DraftTask: _draft, AssignTask: _assign}
_LATER: dict[Any, Any] = {
    AcknowledgeAssignment: _acknowledge,
    StartWork: _start,
    ReportProgress: _progress,
    ReachMilestone: _milestone,
    RaiseDifficulty: _difficulty,
    SubmitResult: _submit,
    ReturnResult: _return,
    SignOffCompletion: _sign_off,
    **CHANGES,
    **HEALTH,
}

DECIDER = Decider(
    CONTRACT,
    Assignment,
    punctual(dispatch(CONTRACT.name, _by_known_actors(_OPENING), _by_known_actors(_LATER)), evolve),
    evolve,
    reads=surroundings,
)
