"""What the leaves of the two trees are: an event's stored bytes; of a receipt, all its columns in one canonical form.

The leaf of log position p (of receipt number r) has index p - 1. A receipt's leaf is compact JSON in UTF-8 with these members in
this order, none left out: `receipt`, `source`, `id`, `outcome` (accepted, rejected, unreadable), `digest` (hex),
`recordedtime` (as in an event), `firstposition`, `events`, `version`, `refusal` (its members sorted by name, or null). So a
refusal is as much part of the record as an event.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from psycopg import Cursor

from services.eventlog.codec import instant_text
from services.eventlog.reading import EVENTS, RECEIPTS, Row, events_between, receipt_rows

Leaf = tuple[int, bytes]
"""A position (or receipt number) and the leaf's bytes."""
_OUTCOMES = {1: "accepted", 2: "rejected", 3: "unreadable"}
_Sorted = orjson.Fragment
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


_STORED = re.compile(
    rb'\{"position":(\d+),"recordedtime":"([^"]+)","specversion":"1\.0","id":"[^"]+","source":"[^"]+","type":"([^"]+)"'
    rb',"subject":"([^"]+)","time":"[^"]+","datacontenttype":"application/json","organisation":"[^"]+"'
    rb',"programme":"[^"]+","streamversion":(\d+),"actorpost":"'
)
"""How an event begins in the form intake gives it; parsing all of it as JSON takes ten times as long."""


class EventRow(NamedTuple):
    """A row of log.events as reading.event_rows gives it.

    Any column may be None in a database somebody has been at.
    """

    position: int
    stream: str
    version: int
    topic: str
    recorded_at: bytes
    state: bytes


def receipt_leaf(row: Row) -> bytes:
    """The canonical form of a receipt, from its row as reading.receipt_rows gives it."""
    receipt, source, command_id, outcome, digest, recorded_at, first_position, event_count, version, refusal = row
    leaf = orjson.dumps(
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
    return b"".join(
        (leaf, b"")
    )  # a copy as long as it is: since 3.12 orjson leaves what it gives four kilobytes or more


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


def _receipt_leaves(cursor: Cursor[Any], first: int, last: int) -> list[Leaf]:
    return [(row[0], receipt_leaf(row)) for row in receipt_rows(cursor, first, last)]


LEAVES: dict[str, Callable[[Cursor[Any], int, int], list[Leaf]]] = {EVENTS: events_between, RECEIPTS: _receipt_leaves}
"""Leaves of each log from a position to another, both included, in order."""


def disagreeing(rows: Iterable[Row]) -> Iterator[tuple[int, str]]:
    """The positions of events whose columns do not say what their stored bytes say, and how they differ.

    Whatever does not begin as intake writes it is looked at thoroughly.
    """
    begins = _STORED.match
    for row in rows:
        position, stream, version, topic, recorded_at, state = row
        if stream and topic and state and (found := begins(state)):
            said_position, said_at, said_topic, said_stream, said_version = found.groups()
            if (
                int(said_position) == position
                and int(said_version) == version
                and said_stream == stream.encode()
                and said_topic == topic.encode()
                and said_at == _sent_bytes(recorded_at)
            ):
                continue
        if different := _differences(EventRow._make(row)):
            yield position, different


@lru_cache(maxsize=4096)
def _sent_bytes(sent: bytes | None) -> bytes:
    return (sent_text(sent) or "").encode()


def _differences(row: EventRow) -> str | None:
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
