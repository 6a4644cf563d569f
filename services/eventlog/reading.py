"""Reads the two logs, events and receipts: in order of position, for followers that read all; whole streams; single rows.

Bytes and instants come in PostgreSQL's binary format, as they are stored.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from eventsourcing.persistence import Notification
from psycopg import Cursor
from psycopg.rows import scalar_row, tuple_row

EVENTS, RECEIPTS = "events", "receipts"
LOGS = (EVENTS, RECEIPTS)
Row = tuple[Any, ...]
Stored = tuple[int, bytes]
"""A position and the stored form of its event."""


def states_after(cursor: Cursor[Any], position: int, limit: int, stop: int | None = None) -> list[bytes]:
    """The stored forms of at most `limit` events after a position, up to `stop` if given."""
    with cursor.connection.cursor(binary=True, row_factory=scalar_row) as rows:
        rows.execute(
            "SELECT state FROM log.events WHERE notification_id > %s AND notification_id <= %s"
            " ORDER BY notification_id LIMIT %s",
            (position, stop if stop is not None else 2**62, limit),
            prepare=True,
        )
        return rows.fetchall()


def notifications_after(cursor: Cursor[Any], position: int, limit: int) -> list[Notification]:
    """At most `limit` events after a position. The library's own has PostgreSQL write each byte of them as two digits."""
    with _tuples(cursor) as rows:
        rows.execute(
            "SELECT notification_id, originator_id, originator_version, topic, state FROM log.events"
            " WHERE notification_id > %s ORDER BY notification_id LIMIT %s",
            (position, limit),
            prepare=True,
        )
        return [
            Notification(id=at, originator_id=stream, originator_version=version, topic=topic, state=state)
            for at, stream, version, topic, state in rows
        ]


def states_of(cursor: Cursor[Any], streams: Iterable[str], until: int) -> list[bytes]:
    """The stored forms of all events of some streams up to a position, each stream's by version."""
    with cursor.connection.cursor(binary=True, row_factory=scalar_row) as rows:
        rows.execute(
            "SELECT state FROM log.events WHERE originator_id = ANY(%s) AND notification_id <= %s"
            " ORDER BY originator_id, originator_version",
            (list(streams), until),
            prepare=True,
        )
        return rows.fetchall()


def head_of(cursor: Cursor[Any], log: str) -> int:
    """The last position of a log, 0 when it is empty."""
    query = "SELECT max(notification_id) FROM log.events" if log == EVENTS else "SELECT max(receipt) FROM log.receipts"
    with _tuples(cursor) as rows:
        found = rows.execute(query).fetchone()
    return (found and found[0]) or 0


def count_of(cursor: Cursor[Any], log: str) -> int:
    """How many rows a log's table holds, whatever their positions."""
    query = "SELECT count(*) FROM log.events" if log == EVENTS else "SELECT count(*) FROM log.receipts"
    with _tuples(cursor) as rows:
        found = rows.execute(query).fetchone()
    return found[0] if found else 0


def event_rows(cursor: Cursor[Any], first: int, last: int) -> list[Row]:
    """Rows of log.events from a position to another, both included, in order.

    Position, stream, version, topic, `recorded_at` as PostgreSQL sends it (eight bytes, microseconds since 2000), stored form.
    """
    with _tuples(cursor) as rows:
        rows.execute(
            "SELECT notification_id, originator_id, originator_version, topic, timestamptz_send(recorded_at), state"
            " FROM log.events WHERE notification_id BETWEEN %s AND %s ORDER BY notification_id",
            (first, last),
            prepare=True,
        )
        return rows.fetchall()


def receipt_rows(cursor: Cursor[Any], first: int, last: int) -> list[Row]:
    """Rows of log.receipts in the table's order from a number to another, both included; `recorded_at` as in event_rows."""
    with _tuples(cursor) as rows:
        rows.execute(
            "SELECT receipt, source, command_id, outcome, digest, timestamptz_send(recorded_at), first_position,"
            " event_count, version, refusal FROM log.receipts WHERE receipt BETWEEN %s AND %s ORDER BY receipt",
            (first, last),
            prepare=True,
        )
        return rows.fetchall()


def events_between(cursor: Cursor[Any], first: int, last: int) -> list[Stored]:
    """Events from a position to another, both included, in order."""
    with _tuples(cursor) as rows:
        rows.execute(
            "SELECT notification_id, state FROM log.events WHERE notification_id BETWEEN %s AND %s"
            " ORDER BY notification_id",
            (first, last),
            prepare=True,
        )
        return rows.fetchall()


def events_at(cursor: Cursor[Any], positions: Sequence[int]) -> list[Stored]:
    """Events by position, in order."""
    with _tuples(cursor) as rows:
        return rows.execute(
            "SELECT notification_id, state FROM log.events WHERE notification_id = ANY(%s) ORDER BY 1",
            (list(positions),),
        ).fetchall()


def positions_of(cursor: Cursor[Any], streams: Sequence[str], up_to: int) -> list[int]:
    """Positions of all events of some streams, in order."""
    with _tuples(cursor) as rows:
        found = rows.execute(
            "SELECT notification_id FROM log.events WHERE originator_id = ANY(%s) AND notification_id <= %s"
            " ORDER BY notification_id",
            (list(streams), up_to),
        ).fetchall()
    return [row[0] for row in found]


def streams_like(cursor: Cursor[Any], pattern: str, up_to: int) -> list[str]:
    """Streams whose ids fit a LIKE pattern, with an event up to a position."""
    with _tuples(cursor) as rows:
        found = rows.execute(
            "SELECT DISTINCT originator_id FROM log.events WHERE originator_id LIKE %s AND notification_id <= %s"
            " ORDER BY 1",
            (pattern, up_to),
        ).fetchall()
    return [row[0] for row in found]


def receipts_of(cursor: Cursor[Any], commands: Sequence[tuple[str, str]], up_to: int) -> list[Row]:
    """The receipts of some commands (source and id), by number, as receipt_rows gives them."""
    with _tuples(cursor) as rows:
        rows.execute(
            "SELECT r.receipt, r.source, r.command_id, r.outcome, r.digest, timestamptz_send(r.recorded_at),"
            " r.first_position, r.event_count, r.version, r.refusal"
            " FROM unnest(%s::text[], %s::text[]) AS k(source, command_id)"
            " JOIN log.receipts r USING (source, command_id) WHERE r.receipt <= %s ORDER BY r.receipt",
            ([source for source, _ in commands], [command for _, command in commands], up_to),
        )
        return rows.fetchall()


def texts_unlike(cursor: Cursor[Any], sealed: Sequence[tuple[int, bytes, bytes]]) -> list[Row]:
    """Which texts are not what events say: of (position, reference, salted SHA-256 in hex) those that differ or are gone.

    Gives position, reference, and whether it is gone: erasing a text is allowed.
    """
    with _tuples(cursor) as rows:
        rows.execute(
            "SELECT s.position, s.ref::text, t.ref IS NULL"
            " FROM unnest(%s::bigint[], %s::text[]::uuid[], %s::text[]) AS s(position, ref, digest)"
            " LEFT JOIN log.texts t ON t.ref = s.ref"
            " WHERE encode(sha256(t.salt || convert_to(t.words, 'UTF8')), 'hex') IS DISTINCT FROM s.digest",
            (
                [position for position, _, _ in sealed],
                [ref.decode() for _, ref, _ in sealed],
                [digest.decode() for _, _, digest in sealed],
            ),
            prepare=True,
        )
        return rows.fetchall()


def events_receipted(cursor: Cursor[Any], receipts: int) -> int:
    """The position up to which every event has its receipt among the first so many."""
    with _tuples(cursor) as rows:
        found = rows.execute(
            "SELECT first_position + event_count - 1 FROM log.receipts"
            " WHERE receipt <= %s AND first_position IS NOT NULL ORDER BY receipt DESC LIMIT 1",
            (receipts,),
        ).fetchone()
    return found[0] if found else 0


def _tuples(cursor: Cursor[Any]) -> Cursor[tuple[Any, ...]]:
    return cursor.connection.cursor(binary=True, row_factory=tuple_row)
