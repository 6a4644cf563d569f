"""Where the followers stand, and what is in quarantine."""

from datetime import datetime
from typing import Any

from psycopg import Cursor


def positions(cursor: Cursor[Any]) -> dict[str, int]:
    """Position by follower; read models are named `<model>@<fingerprint>`."""
    rows = cursor.execute("SELECT application_name, notification_id FROM read.positions").fetchall()
    return {row["application_name"]: row["notification_id"] for row in rows}


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
