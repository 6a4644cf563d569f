"""Queries over the log itself: stored events as they are, receipts, and figures for operators."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from psycopg import Cursor
from psycopg.sql import SQL

from projections.deadlines import NEXT
from projections.queries import Row, Rows, Where, fetch
from projections.scope import ReadScope
from projections.status import quarantined

PAGE_BYTES = 1_000_000
_STREAM_VISIBLE = (
    "(split_part(originator_id, '/', 2) = ANY(%s) OR EXISTS (SELECT FROM read.assignments a"
    " WHERE originator_id = 'assignment/' || a.programme || '/' || a.code AND a.unit = ANY(%s)))"
)


def stored_events(
    cursor: Cursor[Any], scope: ReadScope, after: int, limit: int, stream: str | None = None
) -> list[tuple[int, bytes]]:
    """Positions and stored bytes after a position, in order; of one stream if it is named."""
    where = (
        Where().add("notification_id > %s", after).given("originator_id = %s", stream).within(scope, _STREAM_VISIBLE)
    )
    query = SQL("SELECT notification_id, state FROM log.events{} ORDER BY notification_id LIMIT %s").format(
        where.clause
    )
    return [(row["notification_id"], bytes(row["state"])) for row in fetch(cursor, query, [*where.values, limit])]


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as stored, with what a stream says of it."""

    position: int
    stream: str
    topic: str
    state: bytes


@dataclass(frozen=True, slots=True)
class StoredPage:
    """Events in log order, and the position up to which nothing is left out."""

    events: tuple[StoredEvent, ...]
    reached: int

    def since(self, after: int, programme: str | None) -> Self:
        """Those after a position, of one programme if it is named."""
        wanted = tuple(
            event
            for event in self.events
            if event.position > after and (programme is None or event.stream.split("/")[1] == programme)
        )
        return replace(self, events=wanted)


def stored_page(
    cursor: Cursor[Any], scope: ReadScope, after: int, until: int, limit: int, programme: str | None = None
) -> StoredPage:
    """Events after a position and up to another one: at most `limit`, and once PAGE_BYTES are reached no more."""
    where = (
        Where()
        .add("notification_id > %s AND notification_id <= %s", after, until)
        .given("split_part(originator_id, '/', 2) = %s", programme)
        .within(scope, _STREAM_VISIBLE)
    )
    query = SQL(
        "SELECT * FROM (SELECT notification_id, originator_id, topic, state, count(*) OVER () AS found,"
        " sum(octet_length(state)) OVER (ORDER BY notification_id) - octet_length(state) AS before"
        " FROM (SELECT * FROM log.events{} ORDER BY notification_id LIMIT %s) page) summed"
        " WHERE before < %s ORDER BY notification_id"
    ).format(where.clause)
    rows = fetch(cursor, query, [*where.values, limit, PAGE_BYTES])
    found = tuple(StoredEvent(r["notification_id"], r["originator_id"], r["topic"], bytes(r["state"])) for r in rows)
    whole = not rows or len(rows) == rows[0]["found"] < limit
    return StoredPage(found, until if whole else found[-1].position)


def stream_events(cursor: Cursor[Any], scope: ReadScope, stream: str) -> list[bytes]:
    """All stored events of a stream in order, as stored; of a past moment, if the transaction reads one."""
    where = Where().add("originator_id = %s", stream).within(scope, _STREAM_VISIBLE)
    query = SQL("SELECT state FROM log_events{} ORDER BY originator_version").format(where.clause)
    return [bytes(row["state"]) for row in fetch(cursor, query, where.values)]


def receipt(cursor: Cursor[Any], scope: ReadScope, source: str, command_id: str) -> Row | None:
    """The stored receipt of a command; a limited scope sees those that led to events of its programmes."""
    where = Where().add("source = %s", source).add("command_id = %s", command_id)
    if not scope.all:
        where.add(
            "EXISTS (SELECT FROM log.events e WHERE e.notification_id = first_position"
            " AND split_part(e.originator_id, '/', 2) = ANY(%s))",
            scope.programme_list,
        )
    rows = fetch(cursor, SQL("SELECT * FROM log.receipts{}").format(where.clause), where.values)
    return rows[0] if rows else None


def quarantine(cursor: Cursor[Any], scope: ReadScope) -> Rows:
    """What read models could not apply; a limited scope sees its programmes' streams."""
    rows = quarantined(cursor)
    return [row for row in rows if scope.all or row["stream"].split("/")[1] in scope.programmes]


def receipts_since(cursor: Cursor[Any], last: int) -> tuple[int, dict[int, int]]:
    """The last receipt's number, and how many receipts after `last` had which stored outcome (1, 2, 3)."""
    rows = fetch(
        cursor,
        SQL("SELECT outcome, count(*) AS number, max(receipt) AS last FROM log.receipts WHERE receipt > %s GROUP BY 1"),
        [last],
    )
    return max((row["last"] for row in rows), default=last), {row["outcome"]: row["number"] for row in rows}


def next_limit(cursor: Cursor[Any]) -> datetime | None:
    """When the timekeeper must act next, UTC; None when nothing is due."""
    (row,) = fetch(cursor, SQL(NEXT))
    found: datetime | None = row["next_at"]
    return found


def described(cursor: Cursor[Any], positions: Sequence[int]) -> Rows:
    """Position, type, stream, and when it was recorded (UTC), of some events in order."""
    query = SQL(
        "SELECT notification_id AS position, topic AS type, originator_id AS stream, recorded_at FROM log.events"
        " WHERE notification_id = ANY(%s) ORDER BY notification_id"
    )
    return fetch(cursor, query, [list(positions)])


_MOVED_BY = SQL(
    "SELECT e.notification_id, e.originator_id FROM read.log_events e"
    " WHERE e.originator_id IN (SELECT originator_id FROM log.events WHERE notification_id = ANY(%s))"
    " AND CASE WHEN e.notification_id > %s THEN e.occurred_at <= %s ELSE e.occurred_at > %s"
    " OR EXISTS (SELECT FROM read.log_events o WHERE o.originator_id = e.originator_id"
    " AND o.originator_version < e.originator_version AND o.occurred_at > e.occurred_at) END ORDER BY 1"
)


def moved_by(cursor: Cursor[Any], near: Sequence[int], at: datetime, position: int) -> dict[str, list[int]]:
    """The events that tell what was true at an instant from what was known at it, by stream; of the streams of some events.

    They were recorded after that instant (its last position is given) and occurred by it, or the other way round, or were
    recorded after another one of their stream that occurred later.
    """
    found: dict[str, list[int]] = {}
    for row in fetch(cursor, _MOVED_BY, [list(near), position, at, at]):
        found.setdefault(row["originator_id"], []).append(row["notification_id"])
    return found


def occurrences(
    cursor: Cursor[Any], first: datetime, last: datetime, programme: str | None = None
) -> list[tuple[datetime, list[int]]]:
    """Every instant after one and up to another at which something occurred, and the positions of it. Reads the whole log."""
    where = (
        Where()
        .add("occurred_at > %s AND occurred_at <= %s", first, last)
        .given("split_part(originator_id, '/', 2) = %s", programme)
    )
    query = SQL(
        "SELECT occurred_at, array_agg(notification_id ORDER BY notification_id) AS positions"
        " FROM read.log_events{} GROUP BY 1 ORDER BY 1"
    ).format(where.clause)
    return [(row["occurred_at"], row["positions"]) for row in fetch(cursor, query, where.values)]
