"""What is kept of the two logs' trees, in schema audit: tiles, checkpoints, the keys that sign; and which exports were made.

Everything here is selected or inserted, never changed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Cursor
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

EXPORT_LOCK = 0x5A_55_52_45


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


def signed_sizes(cursor: Cursor[Any], log: str, sizes: Sequence[int]) -> set[int]:
    """Which of some sizes have a checkpoint here."""
    with _tuples(cursor) as rows:
        found = rows.execute(
            "SELECT size FROM audit.checkpoints WHERE log = %s AND size = ANY(%s)", (log, list(sizes))
        ).fetchall()
    return {row[0] for row in found}


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


def next_export(cursor: Cursor[Any]) -> int:
    """The number of the export that is being made; nobody else gets one until this transaction ends."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (EXPORT_LOCK,))
    with _tuples(cursor) as rows:
        found = rows.execute("SELECT coalesce(max(number), 0) + 1 FROM audit.exports").fetchone()
    assert found is not None
    number: int = found[0]
    return number


def count_exports(cursor: Cursor[Any]) -> tuple[int, int]:
    """How many exports are on record, and the last one's number: the same, unless one was taken away."""
    with _tuples(cursor) as rows:
        found = rows.execute("SELECT count(*), coalesce(max(number), 0) FROM audit.exports").fetchone()
    assert found is not None
    return found[0], found[1]


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
