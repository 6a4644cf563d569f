"""What the leaves of the two trees are: an event's stored bytes; of a receipt, all its columns in one canonical form.

The leaf of log position p (of receipt number r) has index p - 1. A receipt's leaf is compact JSON in UTF-8 with these members in
this order, none left out: `receipt`, `source`, `id`, `outcome` (accepted, rejected, unreadable), `digest` (hex),
`recordedtime` (as in an event), `firstposition`, `events`, `version`, `refusal` (its members sorted by name, or null). So a
refusal is as much part of the record as an event.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from services.eventlog.codec import instant_text

EVENTS, RECEIPTS = "events", "receipts"
LOGS = (EVENTS, RECEIPTS)
_OUTCOMES = {1: "accepted", 2: "rejected", 3: "unreadable"}
_Sorted = orjson.Fragment
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class EventRow(NamedTuple):
    """A row of log.events with `recorded_at` as PostgreSQL sends it: eight bytes, microseconds since 2000.

    Any column may be None in a database somebody has been at.
    """

    position: int
    stream: str
    version: int
    topic: str
    recorded_at: bytes
    state: bytes


def receipt_leaf(row: tuple[Any, ...]) -> bytes:
    """The canonical form of a receipt, from all its columns in the table's order; `recorded_at` as in an EventRow."""
    receipt, source, command_id, outcome, digest, recorded_at, first_position, event_count, version, refusal = row
    return orjson.dumps(
        {
            "receipt": receipt,
            "source": source,
            "id": command_id,
            "outcome": _OUTCOMES.get(outcome, outcome),
            "digest": (digest or b"").hex(),
            "recordedtime": sent_text(recorded_at),
            "firstposition": first_position,
            "events": event_count,
            "version": version,
            "refusal": None if refusal is None else _Sorted(orjson.dumps(refusal, option=orjson.OPT_SORT_KEYS)),
        }
    )


@lru_cache(maxsize=4096)
def sent_text(sent: bytes | None) -> str | None:
    """An instant as an event writes it, from the bytes PostgreSQL sends; one nobody can write comes as its number."""
    if sent is None:
        return None
    microseconds = int.from_bytes(sent, "big", signed=True)
    try:
        return instant_text(_EPOCH + timedelta(microseconds=microseconds))
    except OverflowError:
        return str(microseconds)


def differences(row: EventRow) -> str | None:
    """Which column of an event's row does not say what its stored bytes say; None when all do."""
    try:
        document = orjson.loads(row.state)
        stated = (
            document["position"],
            document["subject"],
            document["streamversion"],
            document["type"],
            document["recordedtime"],
        )
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "state is no stored event"
    found = (row.position, row.stream, row.version, row.topic, sent_text(row.recorded_at))
    if found == stated:
        return None
    names = ("notification_id", "originator_id", "originator_version", "topic", "recorded_at")
    return "; ".join(
        f"{name} is {column!r}, the stored bytes say {said!r}"
        for name, column, said in zip(names, found, stated, strict=True)
        if column != said
    )
