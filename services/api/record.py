"""The record itself: stored events, receipts, what could not be applied, and the labels of keys."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from contracts.receipts import Receipt
from contracts.types import MessageId, SourceCode, StreamId
from projections import queries_log as queries
from services.api.answers import PROBLEMS, Answer, LogReading, Reading
from services.eventlog.recorder import receipt_of
from services.labels import LABELS, Labels

router = APIRouter(prefix="/v1", responses=PROBLEMS)


class StoredEvents(Answer[list[dict[str, Any]]]):
    """Stored events; `next` is the `after` of the next page, null at the end."""

    next: int | None


@router.get("/events", response_model=StoredEvents, tags=["record"], summary="Stored events")
def events(
    reading: LogReading,
    after: Annotated[int, Query(ge=0, lt=2**63, description="position after which to begin")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    stream: StreamId | None = None,
) -> Response:
    """Events in log order, each exactly as stored, published and hashed. `position` is that of the log."""
    found = queries.stored_events(reading.cursor, reading.scope, after, limit, stream)
    following = found[-1][0] if len(found) == limit and found[-1][0] < reading.standing.head else None
    return reading.stored([state for _, state in found], next=following)


# An id may hold slashes, and servers decode %2F before a path is matched.
@router.get(
    "/receipts/{source}/{command_id:path}", response_model=Answer[Receipt], tags=["record"], summary="A receipt"
)
def receipt(source: SourceCode, command_id: Annotated[MessageId, Path()], reading: LogReading) -> Response:
    """What became of a command; 404 until intake has committed its receipt. `position` is that of the log."""
    row = queries.receipt(reading.cursor, reading.scope, source, command_id)
    known = receipt_of(reading.found(row, f"a receipt of command {source}/{command_id}"))
    return reading.from_log(known.model_dump(mode="json", exclude_none=True))


@router.get("/quarantine", response_model=Answer[list[dict[str, Any]]], tags=["record"], summary="Quarantine")
def quarantine(reading: Reading) -> Response:
    """Events a read model could not apply; the model stands before the event until it can."""
    return reading.answer(queries.quarantine(reading.cursor, reading.scope))


@router.get("/labels", response_model=Answer[Labels], tags=["record"], summary="Vietnamese labels")
def labels(reading: Reading) -> Response:
    """The Vietnamese label of every key, by group."""
    return reading.answer(LABELS)
