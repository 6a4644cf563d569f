"""Assignments, obligations, warnings and limits."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from contracts.deadlines import DeadlineKind
from contracts.obligation import ObligationKind
from contracts.types import StreamId
from domain import assignment_state, obligation_state
from projections import queries_work as queries
from projections.queries_history import organisation_of
from projections.queries_log import stream_events
from services.api import shapes
from services.api.answers import PROBLEMS, Answer, Page, PastBothReading, PastReading, encoded, joined
from services.api.history import Reads
from services.api.parameters import Before, CodePath, CodeQuery, Cursor, DueFrom, DueTo, Limit, key_of, token_of
from services.api.problems import invalid

router = APIRouter(prefix="/v1", responses=PROBLEMS)
Rows = Page[list[dict[str, Any]]]
One = Answer[dict[str, Any]]
Health = Literal["on_track", "at_risk", "overdue"]
_CODE = (str, str)


@router.get("/assignments", response_model=Rows, tags=["assignments"], summary="Assignments")
def assignments(
    reading: PastReading,
    *,
    programme: CodeQuery = None,
    unit: CodeQuery = None,
    phase: CodeQuery = None,
    status: assignment_state.Status | None = None,
    health: Health | None = None,
    due_from: DueFrom = None,
    due_to: DueTo = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """Assignments by programme and code, in pages."""
    if due_from is not None and due_to is not None and due_from > due_to:
        raise invalid("query.due_from", "due_range", "due_from lies after due_to: no limit can be in between")
    wanted = queries.AssignmentFilter(programme, unit, phase, status, health, due_from, due_to)
    rows, more = queries.assignments(reading.cursor, reading.scope, wanted, key_of(cursor, _CODE), limit)
    return reading.answer([shapes.assignment(row) for row in rows], next=token_of(more))


@router.get("/assignments/{programme}/{code}", response_model=One, tags=["assignments"], summary="One assignment")
def assignment(programme: CodePath, code: CodePath, reading: PastReading) -> Response:
    """An assignment as it stands."""
    row = queries.assignment(reading.cursor, reading.scope, programme, code)
    return reading.answer(shapes.assignment(reading.found(row, f"assignment {programme}/{code}")))


@router.get(
    "/assignments/{programme}/{code}/history", response_model=One, tags=["assignments"], summary="What came of it"
)
def history(programme: CodePath, code: CodePath, reading: PastBothReading, reader: Reads) -> Response:
    """`events`: the stream's events as stored, byte for byte. `versions`: the row from `from_pos` until `to_pos`.

    With `time=occurred`, `versions` stand in the order of what was true, from `true_from` until `true_to`. Reading it is on
    record.
    """
    stream = f"assignment/{programme}/{code}"
    events = stream_events(reading.cursor, reading.scope, stream)
    if not events:
        reading.found(None, f"assignment {programme}/{code}")
    versions = queries.assignment_versions(reading.cursor, reading.scope, programme, code)
    as_of = None if reading.moment is None else reading.moment.at
    reader.note(reading, "history", stream, organisation_of(reading.cursor, programme), programme, as_of)
    return reading.with_parts(
        {"events": joined(events), "versions": encoded([shapes.assignment(row) for row in versions])}
    )


@router.get("/obligations", response_model=Rows, tags=["obligations"], summary="Obligations")
def obligations(
    reading: PastReading,
    *,
    programme: CodeQuery = None,
    unit: CodeQuery = None,
    phase: CodeQuery = None,
    kind: ObligationKind | None = None,
    status: obligation_state.Status | None = None,
    missed: bool | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """Reports, products, commitments, explanations and milestones owed, by programme and code, in pages."""
    wanted = queries.ObligationFilter(programme, unit, phase, kind, status, missed)
    rows, more = queries.obligations(reading.cursor, reading.scope, wanted, key_of(cursor, _CODE), limit)
    return reading.answer([shapes.obligation(row) for row in rows], next=token_of(more))


@router.get("/warnings", response_model=Rows, tags=["warnings"], summary="Warnings")
def warnings(
    reading: PastReading,
    *,
    programme: CodeQuery = None,
    unit: CodeQuery = None,
    open_: Annotated[bool | None, Query(alias="open")] = None,
    level: Annotated[int | None, Query(ge=0, le=9)] = None,
    about: Annotated[StreamId | None, Query(description="the stream warned about")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """Warnings by programme and code, in pages."""
    wanted = queries.WarningFilter(programme, unit, open_, level, about)
    rows, more = queries.warnings(reading.cursor, reading.scope, wanted, key_of(cursor, _CODE), limit)
    if not rows and level is not None and level not in (known := queries.levels(reading.cursor, reading.scope)):
        there_are = f"there are {', '.join(map(str, known))}" if known else "there are none yet"
        raise invalid("query.level", "unknown_level", f"no programme's policy has a level {level}; {there_are}")
    return reading.answer([shapes.warning(row) for row in rows], next=token_of(more))


@router.get("/deadlines", response_model=Rows, tags=["deadlines"], summary="Limits in force")
def deadlines(
    reading: PastReading,
    *,
    programme: CodeQuery = None,
    kind: DeadlineKind | None = None,
    before: Before = None,
    passed: bool | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """Limits in force, the earliest first, in pages. A limit is exclusive: on time is before `limit_at`."""
    wanted = queries.DeadlineFilter(programme, kind, before, passed)
    key = key_of(cursor, (datetime, str, str, str))
    rows, more = queries.deadlines(reading.cursor, reading.scope, wanted, key, limit)
    return reading.answer([shapes.deadline(row) for row in rows], next=token_of(more))
