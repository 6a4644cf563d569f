"""Reads the log: in order of position, for followers that read all of it; and whole streams."""

from collections.abc import Iterable
from typing import Any

from psycopg import Cursor
from psycopg.rows import scalar_row


def states_after(cursor: Cursor[Any], position: int, limit: int, stop: int | None = None) -> list[bytes]:
    """The stored forms of at most `limit` events after a position, up to `stop` if given.

    In binary, so that the bytes come as they are stored.
    """
    with cursor.connection.cursor(binary=True, row_factory=scalar_row) as rows:
        rows.execute(
            "SELECT state FROM log.events WHERE notification_id > %s AND notification_id <= %s"
            " ORDER BY notification_id LIMIT %s",
            (position, stop if stop is not None else 2**62, limit),
            prepare=True,
        )
        return rows.fetchall()


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
