"""Read model `obligations`: what is owed, by whom, by when, and what came of it (group K, appendix 3.2)."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from contracts import obligation as c
from contracts.deadlines import DeadlineCancelled, DeadlineMet, DeadlinePassed, DeadlineRescheduled, DeadlineScheduled
from domain.kernel import Recorded
from projections.model import ReadModel, by_stream, handling, wide


@wide
class ObligationRow(NamedTuple):
    """A duty as it stands. `missed`: its limit passed with nothing handed in. Verdicts are null until accepted.

    `late`: what was handed in last counts from an instant at or after the original limit; `undated`: there is no limit yet.
    `limit_version` is that of the limit which may pass; None without one, and once it was met.
    """

    programme: str
    code: str
    organisation: str
    kind: str
    title: str
    status: str
    missed: bool
    was_missed: bool
    unit: str | None
    post: str | None
    addressee: str | None
    aggregator: str | None
    phase: str | None
    mandatory: bool
    regime: str | None
    regime_version: int | None
    period: str | None
    period_start: datetime | None
    period_end: datetime | None
    about: str | None
    covers_kind: str | None
    ambiguous: str | None
    original_due: datetime | None
    due: datetime | None
    due_named: str | None
    limit_version: int | None
    submissions: int
    submitted_at: datetime | None
    decides_at: datetime | None
    late_entry: bool
    late: bool
    undated: bool
    nothing_to_report: bool
    channel: str | None
    accepted_at: datetime | None
    timeliness_first: str | None
    timeliness_original: str | None
    timeliness_current: str | None
    returns: int
    corrections: int
    consolidated_in: str | None
    version: int
    occurred_at: datetime
    recorded_at: datetime


def _declared(row: None, event: Recorded[c.ObligationDeclared]) -> ObligationRow:
    duty, limit = event.data.duty, event.data.limit
    return ObligationRow(
        programme=event.programme,
        code=event.code,
        organisation=event.organisation,
        kind=duty.kind,
        title=duty.title,
        status="scheduled" if limit else "undated",
        missed=False,
        was_missed=False,
        unit=duty.unit,
        post=duty.post,
        addressee=duty.addressee,
        aggregator=duty.aggregator,
        phase=duty.phase,
        mandatory=duty.mandatory,
        regime=duty.regime,
        regime_version=duty.regime_version,
        period=duty.period.code if duty.period else None,
        period_start=duty.period.start if duty.period else None,
        period_end=duty.period.end if duty.period else None,
        about=duty.about,
        covers_kind=duty.covers_kind,
        ambiguous=duty.ambiguous,
        original_due=limit.at if limit else None,
        due=limit.at if limit else None,
        due_named=limit.named if limit else None,
        limit_version=None,
        submissions=0,
        submitted_at=None,
        decides_at=None,
        late_entry=False,
        late=False,
        undated=limit is None,
        nothing_to_report=False,
        channel=None,
        accepted_at=None,
        timeliness_first=None,
        timeliness_original=None,
        timeliness_current=None,
        returns=0,
        corrections=0,
        consolidated_in=None,
        version=event.version,
        occurred_at=event.occurred_at,
        recorded_at=event.recorded_at,
    )


def _due_configured(row: ObligationRow, event: Recorded[c.DueConfigured]) -> ObligationRow:
    limit = event.data.limit
    return row._replace(
        status="scheduled" if row.status == "undated" else row.status,
        original_due=row.original_due or limit.at,
        due=limit.at,
        due_named=limit.named,
    )


def _submitted(row: ObligationRow, event: Recorded[Any]) -> ObligationRow:
    data = event.data
    return row._replace(
        status="submitted",
        submissions=data.submission,
        submitted_at=event.occurred_at,
        decides_at=data.decides_at,
        late_entry=data.late_entry,
        nothing_to_report=isinstance(data, c.NothingToReportDeclared),
        channel=getattr(data, "channel", "electronic"),
    )


def _accepted(row: ObligationRow, event: Recorded[c.ObligationAccepted]) -> ObligationRow:
    data = event.data
    return row._replace(
        status="accepted",
        accepted_at=event.occurred_at,
        timeliness_first=data.first_submission_verdict.against_original,
        timeliness_original=data.verdict.against_original,
        timeliness_current=data.verdict.against_current,
    )


def _returned(row: ObligationRow, event: Recorded[c.ObligationReturned]) -> ObligationRow:
    return row._replace(status="open", returns=row.returns + 1, submitted_at=None)


def _passed(row: ObligationRow, event: Recorded[DeadlinePassed]) -> ObligationRow:
    key = event.data.key
    if key.kind != "obligation_due" or key.due_version != row.limit_version:
        return row  # in the order of occurrence a limit may be met or moved before it passed: then it never did
    return row._replace(missed=True, was_missed=True)


def _met(row: ObligationRow, event: Recorded[DeadlineMet]) -> ObligationRow:
    data = event.data
    if data.key.kind != "obligation_due":
        return row
    return row._replace(missed=False, limit_version=None, was_missed=row.was_missed and not data.after_passing)


def _set(row: ObligationRow, event: Recorded[DeadlineScheduled | DeadlineRescheduled]) -> ObligationRow:
    key = event.data.key
    return row._replace(missed=False, limit_version=key.due_version) if key.kind == "obligation_due" else row


def _cancelled(row: ObligationRow, event: Recorded[DeadlineCancelled]) -> ObligationRow:
    return row._replace(missed=False, limit_version=None) if event.data.key.kind == "obligation_due" else row


_APPLY: dict[type[Any], Callable[[Any, Recorded[Any]], ObligationRow]] = {
    c.ObligationDeclared: _declared,
    c.DueConfigured: _due_configured,
    c.ObligationOpened: lambda row, e: row._replace(status="open"),
    c.OwnerSet: lambda row, e: row._replace(unit=e.data.unit, post=e.data.post),
    c.ObligationSubmitted: _submitted,
    c.NothingToReportDeclared: _submitted,
    c.ObligationAccepted: _accepted,
    c.ObligationReturned: _returned,
    c.ObligationConsolidated: lambda row, e: row._replace(
        status="consolidated", consolidated_in=e.data.consolidated_in
    ),
    c.ObligationForwarded: lambda row, e: row._replace(status="forwarded"),
    c.ObligationCorrected: lambda row, e: row._replace(corrections=row.corrections + 1),
    c.ObligationWaived: lambda row, e: row._replace(status="waived"),
    DeadlineScheduled: _set,
    DeadlineRescheduled: _set,
    DeadlinePassed: _passed,
    DeadlineMet: _met,
    DeadlineCancelled: _cancelled,
}


def apply(row: ObligationRow | None, event: Recorded[Any]) -> ObligationRow | None:
    """The row after an event of its stream."""
    after = _APPLY[type(event.data)](row, event)
    return after._replace(
        late=after.decides_at is not None and after.original_due is not None and after.decides_at >= after.original_due,
        undated=after.due is None,
        version=event.version,
        occurred_at=event.occurred_at,
        recorded_at=event.recorded_at,
    )


MODEL = ReadModel(
    name="obligations",
    row=ObligationRow,
    key=("programme", "code"),
    handles=handling("obligation", _APPLY),
    keys=by_stream,
    apply=apply,
    indexes=(
        "(programme, unit, kind)",
        "(programme, phase) WHERE phase IS NOT NULL",
        "(due)",
    ),
    counted_by=(
        "programme",
        "phase",
        "unit",
        "kind",
        "status",
        "missed",
        "was_missed",
        "late",
        "undated",
        "covers_kind",
    ),
)
