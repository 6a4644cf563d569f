"""Read model `deadlines`: the limits in force of every subject, with their next rung (R-353).

One model for every aggregate that has limits. `next_at` is when the timekeeper acts next; null once the limit has passed.
"""

from datetime import datetime
from typing import Any, NamedTuple

from contracts.deadlines import (
    DEADLINE_EVENTS,
    DeadlineApproached,
    DeadlinePassed,
    DeadlineRescheduled,
    DeadlineScheduled,
)
from contracts.registry import AggregateContract
from domain.kernel import Recorded
from projections.model import Key, ReadModel, wide

NAME = "deadlines"


@wide
class DeadlineRow(NamedTuple):
    """A limit in force. Instants are UTC, limits exclusive; `leads` holds (rung, instant) still to come."""

    stream: str
    kind: str
    occurrence: str
    programme: str
    organisation: str
    due_version: int
    limit_at: datetime
    boundary: str
    named: str
    leads: tuple[Any, ...]
    next_at: datetime | None
    next_rung: int | None
    passed: bool
    policy_version: int | None
    scheduled_at: datetime


def keys(event: Recorded[Any]) -> tuple[Key, ...]:
    """The limit an event speaks of."""
    key = event.data.key
    return ((event.stream, key.kind, key.occurrence),)


def apply(row: DeadlineRow | None, event: Recorded[Any]) -> DeadlineRow | None:
    """The limit after an event; met and cancelled ones leave the table."""
    data = event.data
    if isinstance(data, DeadlineScheduled | DeadlineRescheduled):
        return _next(_scheduled(event))
    if row is None or data.key.due_version != row.due_version:
        return row
    if isinstance(data, DeadlineApproached):
        return _next(row._replace(leads=tuple(lead for lead in row.leads if lead[0] != data.rung)))
    if isinstance(data, DeadlinePassed):
        return row._replace(passed=True, leads=(), next_at=None, next_rung=None)
    return None


def _scheduled(event: Recorded[Any]) -> DeadlineRow:
    data = event.data
    return DeadlineRow(
        stream=event.stream,
        kind=data.key.kind,
        occurrence=data.key.occurrence,
        programme=event.programme,
        organisation=event.organisation,
        due_version=data.key.due_version,
        limit_at=data.limit.at,
        boundary=data.limit.boundary,
        named=data.limit.named,
        leads=tuple((lead.rung, lead.at.isoformat()) for lead in data.leads),
        next_at=None,
        next_rung=None,
        passed=False,
        policy_version=event.policy_version,
        scheduled_at=event.recorded_at,
    )


def _next(row: DeadlineRow) -> DeadlineRow:
    if not row.leads:
        return row._replace(next_at=row.limit_at, next_rung=None)
    rung, at = min(row.leads, key=lambda lead: (lead[1], lead[0]))
    return row._replace(next_at=datetime.fromisoformat(at), next_rung=rung)


def model_for(contracts: tuple[AggregateContract, ...]) -> ReadModel:
    """The model over every aggregate whose contract has deadline events."""
    handled = frozenset(
        (contract.name, event) for contract in contracts for event in contract.events if event in DEADLINE_EVENTS
    )
    return ReadModel(
        name=NAME,
        row=DeadlineRow,
        key=("stream", "kind", "occurrence"),
        handles=handled,
        keys=keys,
        apply=apply,
        indexes=("(next_at, stream) WHERE next_at IS NOT NULL", "(programme, limit_at)"),
    )


DUE = (
    "SELECT next_at, stream, kind, occurrence, due_version, next_rung, organisation, limit_at, leads"
    " FROM read.deadlines WHERE next_at <= %s AND (next_at, stream, kind, occurrence) > (%s, %s, %s, %s)"
    " ORDER BY next_at, stream, kind, occurrence LIMIT %s"
)
"""The limits and rungs due by an instant, in order, after a place."""

NEXT = "SELECT min(next_at) AS next_at FROM read.deadlines WHERE next_at IS NOT NULL"
"""When the timekeeper must act next."""

NEXT_AFTER = "SELECT min(next_at) AS next_at FROM read.deadlines WHERE next_at > %s"
"""When the first limit or rung after an instant falls due."""

EXISTS = "SELECT to_regclass('read.deadlines') IS NOT NULL AS found"
"""Whether the read model has been made."""
