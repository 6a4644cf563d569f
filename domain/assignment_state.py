"""The state of an assignment: what folds of its events know (appendix 3.1)."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, cast

from contracts.assignment import (
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
    CompletionSignedOff,
    DifficultyRaised,
    ExtensionApproved,
    ExtensionRefused,
    ExtensionRequested,
    HigherDecisionRecorded,
    MatterReferredUp,
    MilestoneReached,
    ProgressReported,
    ResultReturned,
    ResultSubmitted,
    SubtaskDelegated,
    TaskAssigned,
    TaskContent,
    TaskDrafted,
    WorkStarted,
)
from contracts.deadlines import DeadlineMet, DeadlinePassed
from contracts.limits import Limit
from domain.deadlines import DEADLINE_FOLD, Deadlines, evolve_deadlines
from domain.kernel import Recorded, changed, folding
from domain.submissions import Submission

Status = Literal[
    "draft",
    "assigned",
    "acknowledged",
    "in_progress",
    "under_review",
    "suspended",
    "completed",
    "cancelled",
    "closed_unfinished",
]
OpenStatus = Literal["assigned", "acknowledged", "in_progress", "under_review"]
OPEN: frozenset[Status] = frozenset({"assigned", "acknowledged", "in_progress", "under_review"})
ENDED: frozenset[Status] = frozenset({"completed", "cancelled", "closed_unfinished"})


@dataclass(frozen=True, slots=True)
class ExtensionAsked:
    """A later limit that waits for the approver, and the post that asked for it when (UTC)."""

    limit: Limit
    post: str
    at: datetime


@dataclass(frozen=True)
class Assignment:
    """The state of one assignment stream."""

    code: str
    content: TaskContent
    status: Status = "draft"
    resumes_to: OpenStatus = "assigned"
    original: Limit | None = None
    current: Limit | None = None
    percent: int = 0
    submissions: int = 0
    submission: Submission | None = None
    referred_to: str | None = None
    extension: ExtensionAsked | None = None
    extensions: int = 0
    reached: frozenset[str] = frozenset()
    children: dict[str, bool] = field(default_factory=dict)
    at_risk: str | None = None
    was_overdue: bool = False
    deadlines: Deadlines = field(default_factory=Deadlines)

    @property
    def is_open(self) -> bool:
        """Whether work is still owed."""
        return self.status in OPEN or self.status == "suspended"

    @property
    def overdue(self) -> bool:
        """Whether the limit in force has passed (derived, never set by hand)."""
        due = self.deadlines.get("assignment_due")
        return due is not None and due.passed

    @property
    def unit(self) -> str | None:
        """The lead unit."""
        return self.content.lead_unit

    @property
    def accountable(self) -> str | None:
        """The accountable post."""
        return self.content.person

    @property
    def category(self) -> str | None:
        """The field of work by which a ladder may be narrowed (R-136)."""
        return self.content.category

    @property
    def phase(self) -> str | None:
        """The phase the task counts for."""
        return self.content.phase


def _on_drafted(state: Assignment | None, recorded: Recorded[TaskDrafted]) -> Assignment:
    if state is None:
        return Assignment(recorded.code, recorded.data.content)
    return changed(state, content=recorded.data.content)


def _on_assigned(state: Assignment | None, recorded: Recorded[TaskAssigned]) -> Assignment:
    data = recorded.data
    base = state or Assignment(recorded.code, data.content)
    return changed(base, content=data.content, status="assigned", original=data.original, current=data.original)


def _on_acknowledged(state: Assignment, recorded: Recorded[AssignmentAcknowledged]) -> Assignment:
    return changed(state, status="acknowledged")


def _on_started(state: Assignment, recorded: Recorded[WorkStarted]) -> Assignment:
    return changed(state, status="in_progress")


def _on_progress(state: Assignment, recorded: Recorded[ProgressReported]) -> Assignment:
    return changed(state, status="in_progress", percent=recorded.data.percent)


def _on_milestone(state: Assignment, recorded: Recorded[MilestoneReached]) -> Assignment:
    return changed(state, reached=state.reached | {recorded.data.milestone})


def _on_difficulty(state: Assignment, recorded: Recorded[DifficultyRaised]) -> Assignment:
    return state  # read as it stands in the log; whether it puts the task at risk a person says


def _on_delegated(state: Assignment, recorded: Recorded[SubtaskDelegated]) -> Assignment:
    return changed(state, children={**state.children, recorded.data.child: recorded.data.mandatory})


def _on_submitted(state: Assignment, recorded: Recorded[ResultSubmitted]) -> Assignment:
    data, actor = recorded.data, recorded.actor
    handed_in = Submission(
        data.submission, actor.post, actor.unit, recorded.occurred_at, data.decides_at, data.late_entry
    )
    return changed(state, status="under_review", submission=handed_in, submissions=data.submission)


def _on_returned(state: Assignment, recorded: Recorded[ResultReturned]) -> Assignment:
    return changed(state, status="in_progress", submission=None)


def _on_signed_off(state: Assignment, recorded: Recorded[CompletionSignedOff]) -> Assignment:
    return changed(state, status="completed", percent=100, at_risk=None)


def _on_referred(state: Assignment, recorded: Recorded[MatterReferredUp]) -> Assignment:
    return changed(state, referred_to=recorded.data.addressee)


def _on_decided(state: Assignment, recorded: Recorded[HigherDecisionRecorded]) -> Assignment:
    return changed(state, referred_to=None)


def _on_extension_requested(state: Assignment, recorded: Recorded[ExtensionRequested]) -> Assignment:
    return changed(state, extension=ExtensionAsked(recorded.data.limit, recorded.actor.post, recorded.occurred_at))


def _on_extension_approved(state: Assignment, recorded: Recorded[ExtensionApproved]) -> Assignment:
    data = recorded.data
    # Approved in time though entered after the passing was recorded: the first limit was never missed.
    in_time_after_all = not data.after_passing and state.original is not None and data.was.at == state.original.at
    return changed(
        state,
        extension=None,
        extensions=state.extensions + 1,
        current=data.limit,
        was_overdue=data.after_passing or (state.was_overdue and not in_time_after_all),
    )


def _on_extension_refused(state: Assignment, recorded: Recorded[ExtensionRefused]) -> Assignment:
    return changed(state, extension=None)


def _on_amended(state: Assignment, recorded: Recorded[AssignmentAmended]) -> Assignment:
    given = {
        name: value
        for name in ("work", "deliverables", "measures", "priority", "tags")
        if (value := getattr(recorded.data, name)) is not None
    }
    return changed(state, content=replace(state.content, **given))


def _on_reassigned(state: Assignment, recorded: Recorded[AssignmentReassigned]) -> Assignment:
    data = recorded.data
    content = replace(state.content, lead_unit=data.to_unit, person=data.to_person)
    return changed(state, content=content)


def _on_suspended(state: Assignment, recorded: Recorded[AssignmentSuspended]) -> Assignment:
    return changed(state, status="suspended", resumes_to=cast(OpenStatus, state.status))


def _on_resumed(state: Assignment, recorded: Recorded[AssignmentResumed]) -> Assignment:
    return changed(state, status=recorded.data.status)


def _on_carried_over(state: Assignment, recorded: Recorded[AssignmentCarriedOver]) -> Assignment:
    data = recorded.data
    content = replace(state.content, phase=data.to_phase)
    return changed(
        state, content=content, current=data.limit or state.current, was_overdue=state.was_overdue or data.was_overdue
    )


def _on_cancelled(state: Assignment, recorded: Recorded[AssignmentCancelled]) -> Assignment:
    return changed(state, status="cancelled", at_risk=None)


def _on_closed(state: Assignment, recorded: Recorded[AssignmentClosedUnfinished]) -> Assignment:
    return changed(state, status="closed_unfinished", at_risk=None)


def _on_at_risk(state: Assignment, recorded: Recorded[AssignmentMarkedAtRisk]) -> Assignment:
    return changed(state, at_risk=recorded.data.rule)


def _on_risk_cleared(state: Assignment, recorded: Recorded[AssignmentRiskCleared]) -> Assignment:
    return changed(state, at_risk=None)


def _on_passed(state: Assignment, recorded: Recorded[DeadlinePassed]) -> Assignment:
    after: Assignment = evolve_deadlines(state, recorded)
    key = recorded.data.key
    known = state.deadlines.get(key.kind, key.occurrence)
    # In the order of occurrence a limit may be met or moved before it passed: then it never did.
    if key.kind != "assignment_due" or known is None or known.key != key:
        return after
    return changed(after, was_overdue=True)


def _on_met(state: Assignment, recorded: Recorded[DeadlineMet]) -> Assignment:
    after: Assignment = evolve_deadlines(state, recorded)
    data = recorded.data
    in_time_after_all = data.after_passing and state.original is not None and data.met_at < state.original.at
    if data.key.kind != "assignment_due" or not in_time_after_all:
        return after
    return changed(after, was_overdue=False)


_FOLD: dict[Any, Any] = {
    **DEADLINE_FOLD,
    DeadlinePassed: _on_passed,
    DeadlineMet: _on_met,
    TaskDrafted: _on_drafted,
    TaskAssigned: _on_assigned,
    AssignmentAcknowledged: _on_acknowledged,
    WorkStarted: _on_started,
    ProgressReported: _on_progress,
    MilestoneReached: _on_milestone,
    DifficultyRaised: _on_difficulty,
    SubtaskDelegated: _on_delegated,
    ResultSubmitted: _on_submitted,
    ResultReturned: _on_returned,
    CompletionSignedOff: _on_signed_off,
    MatterReferredUp: _on_referred,
    HigherDecisionRecorded: _on_decided,
    ExtensionRequested: _on_extension_requested,
    ExtensionApproved: _on_extension_approved,
    ExtensionRefused: _on_extension_refused,
    AssignmentAmended: _on_amended,
    AssignmentReassigned: _on_reassigned,
    AssignmentSuspended: _on_suspended,
    AssignmentResumed: _on_resumed,
    AssignmentCarriedOver: _on_carried_over,
    AssignmentCancelled: _on_cancelled,
    AssignmentClosedUnfinished: _on_closed,
    AssignmentMarkedAtRisk: _on_at_risk,
    AssignmentRiskCleared: _on_risk_cleared,
}
evolve = folding(_FOLD)
