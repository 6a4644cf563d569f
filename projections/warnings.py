"""Read model `warnings`: raised, delivered, acknowledged, answered, escalated, closed (groups H and I)."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from contracts import warning as c
from domain.kernel import Recorded
from projections.model import ReadModel, by_stream, handling, wide


@wide
class WarningRow(NamedTuple):
    """A warning as it stands. `open` until resolved, dismissed or superseded; `delivered` lists (level, post, sequence).

    `closing_reason`: why it was superseded. Why it was dismissed stands in its history alone, where it can be erased; a plain
    line of version 1 cannot, and stands here, too.
    """

    programme: str
    code: str
    organisation: str
    about: str
    deadline_kind: str
    occurrence: str
    due_version: int
    unit: str | None
    phase: str | None
    kind: str
    rule: str
    rung: int
    level: int
    act: str
    status: str
    open: bool
    recipients: tuple[str, ...]
    delivered: tuple[Any, ...]
    limit_at: datetime
    raised_at: datetime
    acknowledged_at: datetime | None
    response: str | None
    responded_at: datetime | None
    closed_at: datetime | None
    closing_reason: str | None
    escalations: int
    policy_version: int | None
    version: int
    recorded_at: datetime


def _raised(row: None, event: Recorded[c.WarningRaised]) -> WarningRow:
    data = event.data
    return WarningRow(
        programme=event.programme,
        code=event.code,
        organisation=event.organisation,
        about=data.about,
        deadline_kind=data.key.kind,
        occurrence=data.key.occurrence,
        due_version=data.key.due_version,
        unit=data.unit,
        phase=data.phase,
        kind=data.kind,
        rule=data.rule,
        rung=data.rung,
        level=data.level,
        act=data.act,
        status="raised",
        open=True,
        recipients=data.recipients,
        delivered=(),
        limit_at=data.limit.at,
        raised_at=event.occurred_at,
        acknowledged_at=None,
        response=None,
        responded_at=None,
        closed_at=None,
        closing_reason=None,
        escalations=0,
        policy_version=event.policy_version,
        version=event.version,
        recorded_at=event.recorded_at,
    )


def _delivered(row: WarningRow, event: Recorded[c.WarningDelivered]) -> WarningRow:
    data = event.data
    status = "delivered" if row.status == "raised" and data.level == row.level else row.status
    notices = ((data.level, notice.recipient, notice.stream_sequence) for notice in data.notices)
    return row._replace(status=status, delivered=(*row.delivered, *notices))


def _escalated(row: WarningRow, event: Recorded[c.WarningEscalated]) -> WarningRow:
    data = event.data
    return row._replace(
        status="raised",
        level=data.level,
        rung=data.rung,
        act=data.act,
        recipients=data.recipients,
        escalations=row.escalations + 1,
    )


def _closed(status: str) -> Callable[[WarningRow, Recorded[Any]], WarningRow]:
    def close(row: WarningRow, event: Recorded[Any]) -> WarningRow:
        reason = getattr(event.data, "reason", None)
        plain = reason if isinstance(reason, str) else None
        return row._replace(status=status, open=False, closed_at=event.occurred_at, closing_reason=plain)

    return close


_APPLY: dict[type[Any], Callable[[Any, Recorded[Any]], WarningRow]] = {
    c.WarningRaised: _raised,
    c.WarningDelivered: _delivered,
    c.WarningAcknowledged: lambda row, e: row._replace(status="acknowledged", acknowledged_at=e.occurred_at),
    c.ResponseRecorded: lambda row, e: row._replace(
        status="responded", response=e.data.response, responded_at=e.occurred_at
    ),
    c.WarningEscalated: _escalated,
    c.WarningResolved: _closed("resolved"),
    c.WarningDismissed: _closed("dismissed"),
    c.WarningSuperseded: _closed("superseded"),
}


def apply(row: WarningRow | None, event: Recorded[Any]) -> WarningRow | None:
    """The row after an event of its stream."""
    after = _APPLY[type(event.data)](row, event)
    return after._replace(version=event.version, recorded_at=event.recorded_at)


MODEL = ReadModel(
    name="warnings",
    row=WarningRow,
    key=("programme", "code"),
    handles=handling("warning", _APPLY),
    keys=by_stream,
    apply=apply,
    indexes=("(programme, unit) WHERE open", "(about)"),
    counted_by=("programme", "phase", "unit", "open", "level"),
)
