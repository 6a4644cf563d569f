"""The state machines of appendices 3.1, 3.2, 3.5 and 3.6 as rows, and how often each was passed through.

A row names what the appendix writes and which stored event counts for it. Where the design derives one fact from
another there is no second event: `ReportDeadlineMissed`, `PhaseEndReached` and `AssignmentBecameOverdue` are
`DeadlinePassed` of the obligation's limit, the phase's end and the task's limit; `MandatoryProductAccepted` is
`ObligationAccepted` of that kind; `ItemCarriedOver` is `AssignmentCarriedOver`; the explanation's events are those of
an obligation of that kind.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from domain.kernel import Recorded
from domain.obligation_state import OWED

Guard = Callable[[Recorded[Any], Any, Any], bool]
TASK_OPEN = ("assigned", "acknowledged", "in_progress", "under_review")
_RUNNING = ("open", "awaiting_review", "under_review", "reviewed")
_WARNING_OPEN = ("raised", "delivered", "acknowledged", "responded")


@dataclass(frozen=True)
class Row:
    """One row: appendix, states as the appendix names them, its event, the stored event, and when that one counts."""

    appendix: str
    before: str
    event: str
    after: str
    aggregate: str
    stored: str
    guard: Guard

    @property
    def name(self) -> str:
        """The row as one line."""
        return f"{self.appendix} {self.before} -- {self.event} --> {self.after}"


def _status(*allowed: str) -> Guard:
    return lambda event, before, after: before is not None and before.status in allowed


def _always(event: Recorded[Any], before: Any, after: Any) -> bool:
    return True


def _limit(kind: str, *allowed: str) -> Guard:
    return lambda event, before, after: event.data.key.kind == kind and (not allowed or before.status in allowed)


def _task(before: str, event: str, after: str, *allowed: str, stored: str = "", guard: Guard | None = None) -> Row:
    return Row("3.1", before, event, after, "assignment", stored or event, guard or _status(*allowed))


def _duty(before: str, event: str, after: str, stored: str, guard: Guard, appendix: str = "3.2") -> Row:
    return Row(appendix, before, event, after, "obligation", stored, guard)


def _phase(before: str, event: str, after: str, guard: Guard, stored: str = "", aggregate: str = "phase") -> Row:
    return Row("3.5", before, event, after, aggregate, stored or event, guard)


def _warning(before: str, event: str, after: str, *allowed: str, guard: Guard | None = None) -> Row:
    return Row("3.6", before, event, after, "warning", event, guard or _status(*allowed))


def _kind(*kinds: str) -> Guard:
    return lambda event, before, after: (before or after).duty.kind in kinds


def _report(*allowed: str) -> Guard:
    """A duty that is no explanation, in one of these states."""
    return lambda event, before, after: before.duty.kind != "explanation" and before.status in allowed


def _missed(missed: bool) -> Guard:
    return lambda event, before, after: before.duty.kind != "explanation" and before.missed is missed


def _ad_hoc(by_unit: bool) -> Guard:
    return lambda event, before, after: (
        after.duty.kind == "ad_hoc_report" and (event.actor.unit == after.duty.unit) is by_unit
    )


def _cause(cause: str) -> Guard:
    return lambda event, before, after: before.status == "planned" and event.data.cause == cause


def _list(name: str) -> Guard:
    return lambda event, before, after: event.data.list == name


_OPEN, _SAME = "open states", "same"
_TASKS = (
    _task("(none)", "TaskDrafted", "Draft", guard=lambda event, before, after: before is None),
    _task("Draft", "TaskAssigned", "Assigned", "draft"),
    _task("Assigned", "AssignmentAcknowledged", "Acknowledged", "assigned"),
    _task("Assigned", "WorkStarted", "InProgress", "assigned"),
    _task("Acknowledged", "WorkStarted", "InProgress", "acknowledged"),
    _task("Assigned", "first ProgressReported", "InProgress", "assigned", stored="ProgressReported"),
    _task("Acknowledged", "first ProgressReported", "InProgress", "acknowledged", stored="ProgressReported"),
    _task("InProgress", "ProgressReported", "InProgress", "in_progress"),
    _task("InProgress", "MilestoneReached", "InProgress", "in_progress"),
    _task("InProgress", "DifficultyRaised", "InProgress", "in_progress"),
    _task("InProgress", "SubtaskDelegated", "InProgress", "in_progress"),
    _task("InProgress", "ResultSubmitted", "UnderReview", "in_progress"),
    _task("UnderReview", "ResultReturned", "InProgress", "under_review"),
    _task("UnderReview", "CompletionSignedOff", "Completed", "under_review"),
    _task(_OPEN, "MatterReferredUp", "same, referral open", *TASK_OPEN),
    _task(_OPEN, "HigherDecisionRecorded", "same, referral closed", *TASK_OPEN),
    _task(_OPEN, "ExtensionRequested", _SAME, *TASK_OPEN),
    _task(_OPEN, "ExtensionApproved", _SAME, *TASK_OPEN),
    _task(_OPEN, "ExtensionRefused", _SAME, *TASK_OPEN),
    _task(_OPEN, "AssignmentAmended", _SAME, *TASK_OPEN),
    _task(_OPEN, "AssignmentReassigned", _SAME, *TASK_OPEN),
    _task(_OPEN, "AssignmentSuspended", "Suspended", *TASK_OPEN),
    _task("Suspended", "AssignmentResumed", "previous", "suspended"),
    _task(_OPEN, "AssignmentCarriedOver", "same state, new phase", *TASK_OPEN),
    _task(_OPEN, "AssignmentCancelled", "Cancelled", *TASK_OPEN),
    _task(_OPEN, "AssignmentClosedUnfinished", "ClosedUnfinished", "suspended", *TASK_OPEN),
    _task(
        _OPEN,
        "AssignmentClosedUnfinished (partly_done)",
        "ClosedUnfinished",
        stored="AssignmentClosedUnfinished",
        guard=lambda event, before, after: event.data.partly_done_percent is not None,
    ),
    _task("OnTrack", "AssignmentMarkedAtRisk", "AtRisk", guard=lambda event, before, after: before.at_risk is None),
    _task("AtRisk", "AssignmentRiskCleared", "OnTrack", guard=lambda event, before, after: before.at_risk is not None),
    _task("any", "AssignmentBecameOverdue", "Overdue", stored="DeadlinePassed", guard=_limit("assignment_due")),
)
_DUTIES = (
    _duty("DeclaredUndated", "DueRuleConfigured", "Scheduled", "DueConfigured", _report("undated")),
    _duty("Scheduled", "ReportWindowOpened", "Open", "ObligationOpened", _report("scheduled")),
    _duty("Open", "ReportSubmitted", "Submitted", "ObligationSubmitted", _missed(missed=False)),
    _duty("Submitted", "ReportAccepted", "Accepted", "ObligationAccepted", _report("submitted")),
    _duty("Accepted", "ReportConsolidated", "Consolidated", "ObligationConsolidated", _report("accepted")),
    _duty("Consolidated", "ConsolidatedReportIssued", "Forwarded", "ObligationForwarded", _report("consolidated")),
    _duty("Submitted", "ReportReturned", "Open", "ObligationReturned", _report("submitted")),
    _duty("Open", "ReportDeadlineMissed", "Missed", "DeadlinePassed", _report("open")),
    _duty("Missed", "ReportSubmitted (late)", "Submitted", "ObligationSubmitted", _missed(missed=True)),
    _duty("any open", "ReportObligationWaived", "Waived", "ObligationWaived", _report(*OWED, "submitted")),
    _duty("Accepted and later", "ReportCorrected", "same, new version", "ObligationCorrected", _always),
    _duty("(none)", "AdHocReportRequested", "Open", "ObligationDeclared", _ad_hoc(by_unit=False)),
    _duty("(none)", "ad hoc report started by the unit", "Open", "ObligationDeclared", _ad_hoc(by_unit=True)),
    _duty("Open", "NilReturnDeclared", "Submitted", "NothingToReportDeclared", _always),
)
_PHASES = (
    _phase("(none)", "PhasePlanned", "Planned", _always),
    _phase("Planned", "PhaseOpened (issuance)", "Open", _cause("issuance"), "PhaseOpened"),
    _phase("Planned", "PhaseOpened (date)", "Open", _cause("date"), "PhaseOpened"),
    _phase("Open", "PhaseEndReached", "AwaitingReview", _limit("phase_end", "open"), "DeadlinePassed"),
    _phase("AwaitingReview", "PhaseReviewStarted", "UnderReview", _status("awaiting_review")),
    _phase("UnderReview", "PhaseReviewSignedOff", "Reviewed", _status("under_review")),
    _phase("Reviewed", "PhaseClosed", "Closed", _status("reviewed")),
    _phase(
        "Open, UnderReview",
        "MandatoryProductAccepted",
        _SAME,
        _kind("mandatory_product"),
        "ObligationAccepted",
        "obligation",
    ),
    _phase("Open, UnderReview", "MandatoryProductDeclaredMissing", _SAME, _status(*_RUNNING)),
    _phase("Open, UnderReview", "ItemCarriedOver", _SAME, _always, "AssignmentCarriedOver", "assignment"),
    _phase("Open, UnderReview", "CommendationListApproved", _SAME, _status(*_RUNNING)),
    _phase("Open, UnderReview", "AccountabilityListApproved", _SAME, _status(*_RUNNING)),
    _phase("Open, UnderReview", "NilReturnDeclared", _SAME, _status(*_RUNNING)),
    _phase("Closed", "ClosedPhaseCorrected", "Closed", _status("closed")),
    _phase("Open (phase 5)", "YearReviewed", "Open", _status("open")),
)
_WARNINGS = (
    _warning("(none)", "WarningRaised", "Raised", guard=_always),
    _warning("Raised", "WarningDelivered", "Delivered", "raised"),
    _warning("Delivered", "WarningAcknowledged", "Acknowledged", "delivered"),
    _warning("Acknowledged", "ResponseRecorded", "Responded", "acknowledged"),
    _warning("Responded", "WarningResolved", "Resolved", "responded"),
    _warning("Raised, Delivered, Acknowledged", "WarningEscalated", "Delivered at next level", *_WARNING_OPEN),
    _warning("any open", "WarningDismissed", "Dismissed", *_WARNING_OPEN),
    _warning("any open", "WarningSuperseded", "Superseded", *_WARNING_OPEN),
    _duty("(none)", "ExplanationRequested", "Open", "ObligationDeclared", _kind("explanation"), "3.6"),
    _duty("Open", "ExplanationSubmitted", "Submitted", "ObligationSubmitted", _kind("explanation"), "3.6"),
    _duty("Submitted", "ExplanationAccepted", "Accepted", "ObligationAccepted", _kind("explanation"), "3.6"),
    _duty("Submitted", "ExplanationReturned", "Open", "ObligationReturned", _kind("explanation"), "3.6"),
)
ROWS: tuple[Row, ...] = (*_TASKS, *_DUTIES, *_PHASES, *_WARNINGS)
"""Every row, in the appendices' order. Decisions about people (3.6, related records) come with aggregate Decision."""


def _by_event() -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in ROWS:
        found[row.aggregate, row.stored].append(row)
    return dict(found)


_INDEX = _by_event()


@dataclass
class TransitionCounter:
    """How often each row was passed through, from events and the states around them."""

    found: Counter[str] = field(default_factory=Counter)

    def take(self, event: Recorded[Any], before: Any, after: Any) -> None:
        """Count one event with the state of its stream before and after it."""
        for row in _INDEX.get((event.aggregate, type(event.data).__name__), ()):
            if row.guard(event, before, after):
                self.found[row.name] += 1

    def counts(self) -> dict[str, int]:
        """Every row with its count, those never seen among them."""
        return {row.name: self.found[row.name] for row in ROWS}
