"""Read model `assignments`: one row a task, with status, health, limits, verdicts (R-350, R-351)."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from contracts import assignment as c
from contracts.deadlines import DeadlineCancelled, DeadlineMet, DeadlinePassed, DeadlineRescheduled, DeadlineScheduled
from domain.assignment_content import missing_fields
from domain.due import limit_from
from domain.kernel import Recorded
from projections.model import ReadModel, by_stream, handling, wide


@wide
class AssignmentRow(NamedTuple):
    """A task as it stands. Instants are UTC; `health` is on_track, at_risk or overdue and derived from events alone.

    `limit_version` is that of the limit which may pass; None without one, and once it was met.
    """

    programme: str
    code: str
    organisation: str
    status: str
    health: str
    work: str | None
    kind: str
    unit: str | None
    person: str | None
    authority: str | None
    phase: str | None
    left_phases: tuple[Any, ...]
    content_area: str | None
    category: str | None
    priority: int
    tags: tuple[str, ...]
    parent: str | None
    coordinating_units: tuple[str, ...]
    missing: tuple[str, ...]
    sample_fields: tuple[str, ...]
    original_due: datetime | None
    due: datetime | None
    due_named: str | None
    limit_version: int | None
    cadence: str | None
    percent: int
    judgement: str | None
    last_progress_at: datetime | None
    overdue: bool
    was_overdue: bool
    passed_at: datetime | None
    at_risk: str | None
    milestones_missed: int
    extensions: int
    extended_after_limit: bool
    submissions: int
    submitted_at: datetime | None
    completed_at: datetime | None
    decided_at: datetime | None
    late_entry: bool
    timeliness_original: str | None
    timeliness_current: str | None
    referred_to: str | None
    partly_done_percent: int | None
    cause: str | None
    version: int
    occurred_at: datetime
    recorded_at: datetime


OPEN = ("assigned", "acknowledged", "in_progress", "under_review")


def _begin(event: Recorded[Any], content: c.TaskContent, status: str) -> AssignmentRow:
    limit = limit_from(content.due)
    due = limit if status == "assigned" else None
    return AssignmentRow(
        programme=event.programme,
        code=event.code,
        organisation=event.organisation,
        status=status,
        health="on_track",
        work=content.work,
        kind=content.kind,
        unit=content.lead_unit,
        person=content.person,
        authority=content.authority,
        phase=content.phase,
        left_phases=(),
        content_area=content.content_area,
        category=content.category,
        priority=content.priority,
        tags=content.tags,
        parent=content.parent,
        coordinating_units=content.coordinating_units,
        missing=missing_fields(content),
        sample_fields=content.sample_fields,
        original_due=due.at if due else None,
        due=due.at if due else None,
        due_named=limit.named if limit else None,
        limit_version=None,
        cadence=content.cadence,
        percent=0,
        judgement=None,
        last_progress_at=None,
        overdue=False,
        was_overdue=False,
        passed_at=None,
        at_risk=None,
        milestones_missed=0,
        extensions=0,
        extended_after_limit=False,
        submissions=0,
        submitted_at=None,
        completed_at=None,
        decided_at=None,
        late_entry=False,
        timeliness_original=None,
        timeliness_current=None,
        referred_to=None,
        partly_done_percent=None,
        cause=None,
        version=event.version,
        occurred_at=event.occurred_at,
        recorded_at=event.recorded_at,
    )


def _progress(row: AssignmentRow, event: Recorded[c.ProgressReported]) -> AssignmentRow:
    data = event.data
    return row._replace(
        status="in_progress", percent=data.percent, judgement=data.judgement, last_progress_at=event.occurred_at
    )


def _signed_off(row: AssignmentRow, event: Recorded[c.CompletionSignedOff]) -> AssignmentRow:
    verdict = event.data.verdict
    return row._replace(
        status="completed",
        percent=100,
        completed_at=event.occurred_at,
        decided_at=verdict.decided_at,
        late_entry=verdict.late_entry,
        timeliness_original=verdict.against_original,
        timeliness_current=verdict.against_current,
        at_risk=None,
    )


def _extended(row: AssignmentRow, event: Recorded[c.ExtensionApproved]) -> AssignmentRow:
    data = event.data
    # Approved in time though entered after the passing was recorded: the first limit was never missed.
    in_time = not data.after_passing and data.was.at == row.original_due
    return row._replace(
        was_overdue=row.was_overdue and not in_time,
        extensions=row.extensions + 1,
        extended_after_limit=row.extended_after_limit or data.after_passing,
        due=data.limit.at,
        due_named=data.limit.named,
    )


def _amended(row: AssignmentRow, event: Recorded[c.AssignmentAmended]) -> AssignmentRow:
    data = event.data
    return row._replace(
        work=data.work or row.work,
        priority=data.priority or row.priority,
        tags=row.tags if data.tags is None else data.tags,
    )


def _carried(row: AssignmentRow, event: Recorded[c.AssignmentCarriedOver]) -> AssignmentRow:
    data = event.data
    left = (
        row.left_phases
        if row.phase is None
        else (
            *row.left_phases,
            (row.phase, row.was_overdue or data.was_overdue),
        )
    )
    limit = data.limit
    return row._replace(
        phase=data.to_phase,
        left_phases=left,
        due=limit.at if limit else row.due,
        due_named=limit.named if limit else row.due_named,
    )


def _closed(row: AssignmentRow, event: Recorded[c.AssignmentClosedUnfinished]) -> AssignmentRow:
    data = event.data
    return row._replace(
        status="closed_unfinished",
        completed_at=event.occurred_at,
        partly_done_percent=data.partly_done_percent,
        cause=data.cause,
        at_risk=None,
    )


def _passed(row: AssignmentRow, event: Recorded[DeadlinePassed]) -> AssignmentRow:
    key = event.data.key
    if key.kind == "assignment_milestone":
        return row._replace(milestones_missed=row.milestones_missed + 1)
    if key.kind != "assignment_due" or key.due_version != row.limit_version:
        return row  # in the order of occurrence a limit may be met or moved before it passed: then it never did
    return row._replace(overdue=True, was_overdue=True, passed_at=event.data.limit.at)


def _met(row: AssignmentRow, event: Recorded[DeadlineMet]) -> AssignmentRow:
    data = event.data
    if data.key.kind != "assignment_due":
        return row
    in_time = data.after_passing and row.original_due is not None and data.met_at < row.original_due
    return row._replace(overdue=False, limit_version=None, was_overdue=row.was_overdue and not in_time)


def _set(row: AssignmentRow, event: Recorded[DeadlineScheduled | DeadlineRescheduled]) -> AssignmentRow:
    key = event.data.key
    return row._replace(overdue=False, limit_version=key.due_version) if key.kind == "assignment_due" else row


def _cancelled(row: AssignmentRow, event: Recorded[DeadlineCancelled]) -> AssignmentRow:
    data = event.data
    if data.key.kind != "assignment_due":
        return row
    late = data.reason == "late_completion"  # judged by when it was entered, whenever it is said to have occurred
    return row._replace(overdue=False, limit_version=row.limit_version if late else None)


def _resumed(row: AssignmentRow, event: Recorded[c.AssignmentResumed]) -> AssignmentRow:
    return row._replace(status=event.data.status)


_APPLY: dict[type[Any], Callable[[Any, Recorded[Any]], AssignmentRow]] = {
    c.TaskDrafted: lambda row, e: _begin(e, e.data.content, "draft"),
    c.TaskAssigned: lambda row, e: _begin(e, e.data.content, "assigned"),
    c.AssignmentAcknowledged: lambda row, e: row._replace(status="acknowledged"),
    c.WorkStarted: lambda row, e: row._replace(status="in_progress"),
    c.ProgressReported: _progress,
    c.MilestoneReached: lambda row, e: row,
    c.DifficultyRaised: lambda row, e: row._replace(judgement="difficult"),
    c.SubtaskDelegated: lambda row, e: row,
    c.ResultSubmitted: lambda row, e: row._replace(
        status="under_review", submissions=e.data.submission, submitted_at=e.occurred_at
    ),
    c.ResultReturned: lambda row, e: row._replace(status="in_progress", submitted_at=None),
    c.CompletionSignedOff: _signed_off,
    c.MatterReferredUp: lambda row, e: row._replace(referred_to=e.data.addressee),
    c.HigherDecisionRecorded: lambda row, e: row._replace(referred_to=None),
    c.ExtensionRequested: lambda row, e: row,
    c.ExtensionApproved: _extended,
    c.ExtensionRefused: lambda row, e: row,
    c.AssignmentAmended: _amended,
    c.AssignmentReassigned: lambda row, e: row._replace(unit=e.data.to_unit, person=e.data.to_person),
    c.AssignmentSuspended: lambda row, e: row._replace(status="suspended"),
    c.AssignmentResumed: _resumed,
    c.AssignmentCarriedOver: _carried,
    c.AssignmentCancelled: lambda row, e: row._replace(status="cancelled", completed_at=e.occurred_at, at_risk=None),
    c.AssignmentClosedUnfinished: _closed,
    c.AssignmentMarkedAtRisk: lambda row, e: row._replace(at_risk=e.data.rule),
    c.AssignmentRiskCleared: lambda row, e: row._replace(at_risk=None),
    DeadlineScheduled: _set,
    DeadlineRescheduled: _set,
    DeadlinePassed: _passed,
    DeadlineMet: _met,
    DeadlineCancelled: _cancelled,
}


def apply(row: AssignmentRow | None, event: Recorded[Any]) -> AssignmentRow | None:
    """The row after an event of its stream."""
    after = _APPLY[type(event.data)](row, event)
    open_ = after.status in OPEN
    health = "overdue" if open_ and after.overdue else "at_risk" if open_ and after.at_risk else "on_track"
    return after._replace(
        health=health, version=event.version, occurred_at=event.occurred_at, recorded_at=event.recorded_at
    )


MODEL = ReadModel(
    name="assignments",
    row=AssignmentRow,
    key=("programme", "code"),
    handles=handling("assignment", _APPLY),
    keys=by_stream,
    apply=apply,
    indexes=("(programme, unit)", "(programme, phase)", "(due) WHERE completed_at IS NULL"),
    counted_by=(
        "programme",
        "phase",
        "unit",
        "kind",
        "status",
        "health",
        "overdue",
        "was_overdue",
        "extensions",
        "extended_after_limit",
        "timeliness_original",
        "timeliness_current",
        "left_phases",
    ),
)
