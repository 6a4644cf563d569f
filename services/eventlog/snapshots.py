"""Snapshots of folded states: disposable, written in the append's own transaction."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg import Cursor
from psycopg.rows import DictRow

SnapshotRow = tuple[str, int, str, datetime | None, bytes]
"""stream, version, fingerprint of the state's shape, when the stream began, the state as JSON."""


def select_snapshots(cursor: Cursor[DictRow], streams: Sequence[str]) -> list[Mapping[str, Any]]:
    """The snapshots of many streams, which have no spaces, in one query."""
    query = "SELECT * FROM read.snapshots WHERE stream = ANY(string_to_array(%s, ' '))"
    return list(cursor.execute(query, (" ".join(streams),), prepare=True).fetchall())


def write_snapshots(cursor: Cursor[DictRow], rows: Sequence[SnapshotRow]) -> None:
    """Keep snapshots, replacing older ones of the same streams."""
    if rows:
        cursor.executemany(
            "INSERT INTO read.snapshots (stream, version, fingerprint, began_at, state) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (stream) DO UPDATE SET version = excluded.version, fingerprint = excluded.fingerprint,"
            " began_at = excluded.began_at, state = excluded.state",
            rows,
        )
