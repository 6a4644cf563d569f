"""What the audit reads and writes in PostgreSQL: rows of the two logs, tiles, checkpoints, keys, exports.

Like the event store adapter, the one place of its SQL. Everything here is selected or inserted, never changed.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Cursor
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from services.audit.leaves import EVENTS, RECEIPTS, receipt_leaf
from services.audit.tiles import WIDTH

EXPORT_LOCK = 0x5A_55_52_45
Row = tuple[Any, ...]
Leaf = tuple[int, bytes]
"""A position (or receipt number) and the leaf's bytes."""


@dataclass(frozen=True, slots=True)
class FullTile:
    """A tile of 256 hashes, and the root over them, which is a hash of the level above."""

    level: int
    index: int
    hashes: bytes
    root: bytes


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint as it was signed, UTC."""

    size: int
    root: bytes
    note: str
    signed_at: datetime


def _tuples(cursor: Cursor[Any]) -> Cursor[tuple[Any, ...]]:
    return cursor.connection.cursor(binary=True, row_factory=tuple_row)


def event_rows(cursor: Cursor[Any], first: int, last: int) -> list[Row]:
    """Rows of log.events as leaves.EventRow names them, from a position to another, both included, in order."""
    with _tuples(cursor) as rows:
        rows.execute(
            "SELECT notification_id, originator_id, originator_version, topic, timestamptz_send(recorded_at), state"
            " FROM log.events WHERE notification_id BETWEEN %s AND %s ORDER BY notification_id",
            (first, last),
            prepare=True,
        )
        return rows.fetchall()


def receipt_rows(cursor: Cursor[Any], first: int, last: int) -> list[Row]:
    """Rows of log.receipts as leaves.receipt_leaf takes them, from a number to another, both included, in order."""
    with _tuples(cursor) as rows:
        rows.execute(
            "SELECT receipt, source, command_id, outcome, digest, timestamptz_send(recorded_at), first_position,"
            " event_count, version, refusal FROM log.receipts WHERE receipt BETWEEN %s AND %s ORDER BY receipt",
            (first, last),
            prepare=True,
        )
        return rows.fetchall()


def _event_leaves(cursor: Cursor[Any], first: int, last: int) -> list[Leaf]:
    with _tuples(cursor) as rows:
        rows.execute(
            "SELECT notification_id, state FROM log.events WHERE notification_id BETWEEN %s AND %s"
            " ORDER BY notification_id",
            (first, last),
            prepare=True,
        )
        return rows.fetchall()


def _receipt_leaves(cursor: Cursor[Any], first: int, last: int) -> list[Leaf]:
    return [(row[0], receipt_leaf(row)) for row in receipt_rows(cursor, first, last)]


LEAVES: dict[str, Callable[[Cursor[Any], int, int], list[Leaf]]] = {EVENTS: _event_leaves, RECEIPTS: _receipt_leaves}
"""Leaves of each log from a position to another, both included, in order."""


def head(cursor: Cursor[Any], log: str) -> int:
    """The last position of a log, 0 when it is empty."""
    query = "SELECT max(notification_id) FROM log.events" if log == EVENTS else "SELECT max(receipt) FROM log.receipts"
    with _tuples(cursor) as rows:
        found = rows.execute(query).fetchone()
    return (found and found[0]) or 0


def count(cursor: Cursor[Any], log: str) -> int:
    """How many rows a log's table holds, whatever their positions."""
    query = "SELECT count(*) FROM log.events" if log == EVENTS else "SELECT count(*) FROM log.receipts"
    with _tuples(cursor) as rows:
        found = rows.execute(query).fetchone()
    return found[0] if found else 0


def insert_tiles(cursor: Cursor[Any], log: str, tiles: Iterable[FullTile]) -> None:
    """Keep full tiles."""
    with cursor.copy("COPY audit.tiles (log, level, index, hashes, root) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["text", "int2", "int8", "bytea", "bytea"])
        for tile in tiles:
            copy.write_row((log, tile.level, tile.index, tile.hashes, tile.root))


def tile_hashes(cursor: Cursor[Any], log: str, level: int, index: int) -> bytes | None:
    """A full tile as kept."""
    with _tuples(cursor) as rows:
        found = rows.execute(
            "SELECT hashes FROM audit.tiles WHERE log = %s AND level = %s AND index = %s",
            (log, level, index),
            prepare=True,
        ).fetchone()
    return found[0] if found else None


def level_tiles(cursor: Cursor[Any], log: str, level: int, first: int, below: int) -> list[tuple[int, bytes, bytes]]:
    """Index, hashes and root of the full tiles of a level, from an index to below another."""
    with _tuples(cursor) as rows:
        return rows.execute(
            "SELECT index, hashes, root FROM audit.tiles WHERE log = %s AND level = %s AND index >= %s AND index < %s"
            " ORDER BY index",
            (log, level, first, below),
            prepare=True,
        ).fetchall()


def tile_roots(cursor: Cursor[Any], log: str, level: int, first: int, below: int) -> list[bytes]:
    """The roots of full tiles of a level, from an index to below another, in order; shorter where one is missing."""
    with _tuples(cursor) as rows:
        found = rows.execute(
            "SELECT index, root FROM audit.tiles WHERE log = %s AND level = %s AND index >= %s AND index < %s"
            " ORDER BY index",
            (log, level, first, below),
            prepare=True,
        ).fetchall()
    return [root for place, (index, root) in enumerate(found, first) if index == place]


def insert_checkpoint(cursor: Cursor[Any], log: str, checkpoint: SignedCheckpoint) -> None:
    """Keep a checkpoint; raises UniqueViolation when its size has one already."""
    cursor.execute(
        "INSERT INTO audit.checkpoints (log, size, root, note, signed_at) VALUES (%s, %s, %s, %s, %s)",
        (log, checkpoint.size, checkpoint.root, checkpoint.note, checkpoint.signed_at),
    )


def checkpoints(
    cursor: Cursor[Any], log: str, *, after: int = 0, up_to: int | None = None, newest: int | None = None
) -> list[SignedCheckpoint]:
    """Checkpoints of a log by size; only the `newest` so many, if asked."""
    with _tuples(cursor) as rows:
        found = rows.execute(
            "SELECT size, root, note, signed_at FROM audit.checkpoints WHERE log = %s AND size > %s AND size <= %s"
            " ORDER BY size DESC LIMIT %s",
            (log, after, 2**62 if up_to is None else up_to, newest),
        ).fetchall()
    return [SignedCheckpoint(*row) for row in reversed(found)]


def last_checkpoint(cursor: Cursor[Any], log: str) -> SignedCheckpoint | None:
    """The last checkpoint signed."""
    return next(iter(checkpoints(cursor, log, newest=1)), None)


def insert_key(cursor: Cursor[Any], log: str, vkey: str, at: datetime) -> None:
    """Remember a public key that signs from now on."""
    cursor.execute(
        "INSERT INTO audit.keys (vkey, log, since) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", (vkey, log, at)
    )


def keys(cursor: Cursor[Any]) -> list[tuple[str, str, datetime]]:
    """Public keys that signed: key, log, since when; oldest first."""
    with _tuples(cursor) as rows:
        return rows.execute("SELECT vkey, log, since FROM audit.keys ORDER BY since, vkey").fetchall()


def tail_leaves(cursor: Cursor[Any], log: str, size: int) -> list[Leaf]:
    """The leaves of the last, partial tile of a tree."""
    begin = size - size % WIDTH
    return LEAVES[log](cursor, begin + 1, size)


def stream_positions(cursor: Cursor[Any], streams: Sequence[str], up_to: int) -> list[int]:
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


def events_at(cursor: Cursor[Any], positions: Sequence[int]) -> list[Leaf]:
    """Events by position, in order."""
    with _tuples(cursor) as rows:
        return rows.execute(
            "SELECT notification_id, state FROM log.events WHERE notification_id = ANY(%s) ORDER BY 1",
            (list(positions),),
        ).fetchall()


def receipts_of(cursor: Cursor[Any], commands: Sequence[tuple[str, str]], up_to: int) -> list[Row]:
    """The receipts of some commands (source and id), by number, as leaves.receipt_leaf takes them."""
    with _tuples(cursor) as rows:
        rows.execute(
            "SELECT r.receipt, r.source, r.command_id, r.outcome, r.digest, timestamptz_send(r.recorded_at),"
            " r.first_position, r.event_count, r.version, r.refusal"
            " FROM unnest(%s::text[], %s::text[]) AS k(source, command_id)"
            " JOIN log.receipts r USING (source, command_id) WHERE r.receipt <= %s ORDER BY r.receipt",
            ([source for source, _ in commands], [command for _, command in commands], up_to),
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


def next_export(cursor: Cursor[Any]) -> int:
    """The number of the export that is being made; nobody else gets one until this transaction ends."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (EXPORT_LOCK,))
    with _tuples(cursor) as rows:
        found = rows.execute("SELECT coalesce(max(number), 0) + 1 FROM audit.exports").fetchone()
    assert found is not None
    number: int = found[0]
    return number


def insert_export(
    cursor: Cursor[Any],
    number: int,
    made_at: datetime,
    by_post: str,
    reason: str,
    scope: dict[str, Any],
    sizes: tuple[int, int],
    manifest: bytes,
) -> None:
    """Record an export: who, when, why, what of, and the digest of its manifest."""
    cursor.execute(
        "INSERT INTO audit.exports (number, made_at, by_post, reason, scope, events_size, receipts_size, manifest)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (number, made_at, by_post, reason, Jsonb(scope), *sizes, manifest),
    )
