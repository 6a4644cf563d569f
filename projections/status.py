"""Where the followers stand, and what is in quarantine."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from psycopg import Cursor

CHANNEL = "sauro_read"


def tell(cursor: Cursor[Any], changed: Iterable[str]) -> None:
    """Let those who listen to CHANNEL know, once it is committed, which read models have changed."""
    if names := " ".join(changed):
        cursor.execute(f"SELECT pg_notify('{CHANNEL}', %s)", (names,), prepare=True)


def positions(cursor: Cursor[Any]) -> dict[str, int]:
    """Position by follower; read models are named `<model>@<fingerprint>`."""
    rows = cursor.execute("SELECT application_name, notification_id FROM read.positions").fetchall()
    return {row["application_name"]: row["notification_id"] for row in rows}


def begin_positions(cursor: Cursor[Any], followers: Sequence[str]) -> None:
    """Let followers that have no position yet stand at 0."""
    cursor.execute(
        "INSERT INTO read.positions SELECT name, 0 FROM unnest(%s::text[]) AS name ON CONFLICT DO NOTHING",
        [list(followers)],
    )


def move_positions(cursor: Cursor[Any], moves: Mapping[str, tuple[int, int]]) -> None:
    """Move followers from one position to another; the cursor's row count falls short when one stood elsewhere."""
    wanted = [{"name": name, "was": was, "reached": reached} for name, (was, reached) in moves.items()]
    cursor.execute(
        "UPDATE read.positions p SET notification_id = m.reached"
        " FROM json_to_recordset(%s) AS m(name text, was bigint, reached bigint)"
        " WHERE p.application_name = m.name AND p.notification_id = m.was",
        (orjson.dumps(wanted).decode(),),
        prepare=True,
    )


def forget_positions(cursor: Cursor[Any], model: str) -> None:
    """Forget where a model stood in any of its shapes: its tables are gone."""
    cursor.execute("DELETE FROM read.positions WHERE split_part(application_name, '@', 1) = %s", (model,))


def quarantine(cursor: Cursor[Any], model: str, position: int, stream: str, error: str, since: datetime) -> None:
    """Record that a model cannot apply an event."""
    cursor.execute(
        "INSERT INTO read.quarantine (model, position, stream, error, since) VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (model, position) DO UPDATE SET error = excluded.error",
        (model, position, stream, error, since),
    )


def quarantined(cursor: Cursor[Any]) -> list[dict[str, Any]]:
    """What is in quarantine."""
    rows = cursor.execute("SELECT model, position, stream, error, since FROM read.quarantine ORDER BY 1, 2").fetchall()
    return [dict(row) for row in rows]


def clear_quarantine(cursor: Cursor[Any]) -> None:
    """Forget it: the projector starts and tries again."""
    cursor.execute("DELETE FROM read.quarantine")


def report_follower(
    cursor: Cursor[Any], name: str, at: datetime, position: int | None, error: str | None, duplicates: int = 0
) -> None:
    """Say that a service is alive, where it stands, and what last went wrong; an error stays until the next one.

    `duplicates`: repeated commands answered since it last said so.
    """
    cursor.execute(
        "INSERT INTO read.followers (name, beat_at, position, last_error, last_error_at, duplicates) VALUES"
        " (%(name)s, %(at)s, %(position)s, %(error)s, CASE WHEN %(error)s::text IS NOT NULL THEN %(at)s END, %(duplicates)s)"
        " ON CONFLICT (name) DO UPDATE SET beat_at = excluded.beat_at, position = excluded.position,"
        " last_error = coalesce(excluded.last_error, followers.last_error),"
        " last_error_at = coalesce(excluded.last_error_at, followers.last_error_at),"
        " duplicates = followers.duplicates + excluded.duplicates",
        {"name": name, "at": at, "position": position, "error": error, "duplicates": duplicates},
    )


def duplicates(cursor: Cursor[Any]) -> int:
    """How many repeated commands were answered, as far as the services have said."""
    row = cursor.execute("SELECT coalesce(sum(duplicates), 0)::bigint AS n FROM read.followers").fetchone()
    return row["n"] if row else 0


def followers(cursor: Cursor[Any]) -> list[dict[str, Any]]:
    """What every service last said of itself."""
    rows = cursor.execute(
        "SELECT name, beat_at, position, last_error, last_error_at FROM read.followers ORDER BY name"
    ).fetchall()
    return [dict(row) for row in rows]
