"""The log's recorder: the eventsourcing library's PostgreSQL recorder with an append of our own.

The library locks the table in EXCLUSIVE mode, which needs more rights than SELECT and INSERT, and its sequence leaves gaps
after a conflict. Ours takes an advisory transaction lock, reads the last position and instant, checks the versions of the
streams a batch has read where others have appended, and writes gapless positions by COPY. Reading is the library's; who reads
much does it in binary (`services.eventlog.reading`).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg import Cursor
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, tuple_row
from psycopg.types.json import Jsonb

from contracts.receipts import Outcome, Receipt, Refusal

APPEND_LOCK = 0x5A_55_52_4F  # any constant will do, as long as every writer takes the same
CHANNEL = "sauro_log"
_LOCK = "SELECT pg_advisory_xact_lock(%s)"
_LOCK_AND_TELL = f"{_LOCK}, pg_notify('{CHANNEL}', '')"
"""Who listens hears of it when the transaction commits, whenever in it that was asked for: one round trip less."""
_HEAD = (
    "SELECT (SELECT max(notification_id) FROM log.events) AS position, (SELECT max(receipt) FROM log.receipts) AS receipt,"
    " greatest((SELECT recorded_at FROM log.events ORDER BY notification_id DESC LIMIT 1),"
    " (SELECT recorded_at FROM log.receipts ORDER BY receipt DESC LIMIT 1)) AS recorded_at"
)
_RECEIPTS = (
    "SELECT r.* FROM unnest(%s::text[], %s::text[]) AS k(source, ids) CROSS JOIN LATERAL"
    " (SELECT * FROM log.receipts WHERE source = k.source AND command_id = ANY(string_to_array(k.ids, ' '))) r"
)
"""By sender, its ids in one text (an id has no space): looked up together; from PostgreSQL 17 on, neighbours in the index
cost next to nothing."""
_VERSIONS = (
    "SELECT stream, coalesce((SELECT max(originator_version) FROM log.events WHERE originator_id = stream), 0) AS version"
    " FROM unnest(string_to_array(%s, ' ')) AS stream"
)
_OTHERS = "SELECT DISTINCT originator_id FROM log.events WHERE notification_id > %s AND notification_id <= %s"
FAR = 10_000
"""Of so many events of others at most is asked to which streams they belong."""
_OUTCOMES: tuple[Outcome, ...] = ("accepted", "rejected", "unreadable")
FEW = 64
"""Up to so many rows go as arrays, all tables in one round trip; more go by COPY, faster a row but two round trips a table."""


class _Table:
    """How rows of a table are written, by their columns and types."""

    def __init__(self, name: str, columns: Mapping[str, str]) -> None:
        names, self.types = ", ".join(columns), list(columns.values())
        self.copy = f"COPY {name} ({names}) FROM STDIN (FORMAT BINARY)".encode()
        arrays = ", ".join(f"%b::{type_}[]" for type_ in self.types)
        self.insert = f"INSERT INTO {name} ({names}) SELECT * FROM unnest({arrays})".encode()  # noqa: S608 - names of ours


_EVENTS = _Table(
    "log.events",
    {
        "notification_id": "int8",
        "originator_id": "text",
        "originator_version": "int8",
        "topic": "text",
        "recorded_at": "timestamptz",
        "state": "bytea",
    },
)
_RECEIPT_ROWS = _Table(
    "log.receipts",
    {
        "receipt": "int8",
        "source": "text",
        "command_id": "text",
        "outcome": "int2",
        "digest": "bytea",
        "recorded_at": "timestamptz",
        "first_position": "int8",
        "event_count": "int4",
        "version": "int8",
        "refusal": "jsonb",
    },
)


class StreamsMoved(Exception):
    """Another writer appended to streams this batch has read, or the clock went on: decide again."""

    def __init__(self, streams: frozenset[str]) -> None:
        super().__init__(f"{len(streams)} streams moved")
        self.streams = streams


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the log: last position, last receipt, last instant."""

    position: int
    receipt: int
    recorded_at: datetime | None


class Appended(NamedTuple):
    """What an append met.

    The end of the log before it, and the streams to which others have appended since the position its batch knew; None when
    there is too much of theirs to look at.
    """

    head: Head
    others: frozenset[str] | None


class EncodedEvent(NamedTuple):
    """An event ready to be stored, but for its position."""

    stream: str
    version: int
    topic: str
    tail: bytes


class ReceiptRow(NamedTuple):
    """What is stored of a receipt; `events` is how many events the command led to."""

    source: str
    command_id: str
    outcome: Outcome
    digest: bytes
    events: int
    version: int | None
    refusal: Refusal | None


@dataclass(frozen=True, slots=True)
class SealedText:
    """The words of an erasable text, with the salt of the hash in the log."""

    ref: str
    salt: bytes
    words: str


@dataclass(frozen=True, slots=True)
class Append:
    """One transaction's worth: events and receipts in order; the receipts' events lie in the same order."""

    recorded_at: datetime
    read: Mapping[str, int]
    known_position: int
    events: Sequence[EncodedEvent]
    receipts: Sequence[ReceiptRow]
    texts: Sequence[SealedText] = ()


def datastore(
    dsn: str, *, pool_size: int = 2, application: str = "sauro", idle_in_transaction: float = 0.0
) -> PostgresDatastore:
    """The library's datastore for a libpq connection string; every connection acts as the application's role.

    PostgreSQL ends a transaction on which nothing was heard for `idle_in_transaction` seconds; 0 lets it wait for ever.
    Zone and date style are the connection's own: what the server or the database is set to must change nothing (R-355).
    """
    info: dict[str, Any] = conninfo_to_dict(
        dsn,
        application_name=application,
        options="-c role=sauro_app -c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres",
    )
    store = PostgresDatastore(
        dbname=info.pop("dbname", "postgres"),
        host=info.pop("host", "localhost"),
        port=info.pop("port", 5432),
        user=info.pop("user", "postgres"),
        password=info.pop("password", ""),
        schema="log",
        pool_size=pool_size,
        max_overflow=8,
        originator_id_type="text",
        connect_timeout=10,
        pre_ping=False,
        idle_in_transaction_session_timeout=idle_in_transaction,
    )
    assert isinstance(store.pool.kwargs, dict)
    store.pool.kwargs.update(info)
    store.pool.reconnect_timeout = (
        2.0  # the pause before the next try doubles up to this; the library's is five minutes
    )
    return store


class LogRecorder(PostgresApplicationRecorder):
    """Reads as the library does; appends as the design says. Migrations own the tables."""

    def __init__(self, store: PostgresDatastore) -> None:
        super().__init__(store, events_table_name="events")

    def create_table(self) -> None:
        """Nothing: migrations own the tables."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Refused: only intake appends, through `append`."""
        raise TypeError("the log is appended to by intake alone; use LogRecorder.append")

    def transaction(self) -> AbstractContextManager[Cursor[DictRow]]:
        """A committed transaction on a pooled connection."""
        return self.datastore.transaction(commit=True)

    def reading(self) -> AbstractContextManager[Cursor[DictRow]]:
        """A cursor in autocommit: one round trip a query, each with a snapshot of its own."""
        return self.datastore.cursor()

    def head(self) -> Head:
        """The end of the log as committed now."""
        with self.reading() as cursor:
            return _head_of(cursor.execute(_HEAD, prepare=True))

    def append(
        self,
        batch: Append,
        stored: Callable[[int, datetime, bytes], bytes],
        also: Callable[[Cursor[DictRow]], None] | None = None,
    ) -> Appended:
        """Append events, receipts and texts in one transaction.

        Raises StreamsMoved when a stream in `batch.read` is no longer at the version read, or when the log's last
        instant lies after the batch's (R-357). `also` runs in the same transaction.
        """
        few = max(len(batch.events), len(batch.receipts)) <= FEW
        with self.datastore.transaction(commit=True) as cursor, ExitStack() as stack:
            pipeline = stack.enter_context(cursor.connection.pipeline())
            cursor.execute(_LOCK_AND_TELL if batch.events else _LOCK, (APPEND_LOCK,), prepare=True)
            cursor.execute(_HEAD, prepare=True)
            pipeline.sync()  # not a fetch, whose Flush would let PostgreSQL wait for us for ever: no idle_in_transaction then
            head = _head_of(cursor)
            if not few:
                stack.close()  # COPY has no place in a pipeline
            others = self._check(cursor, batch, head)
            _write(cursor, _EVENTS, _event_rows(batch, head, stored), few=few)
            _write(cursor, _RECEIPT_ROWS, _receipt_rows(batch, head), few=few)
            if batch.texts:
                rows = [(UUID(text.ref), text.salt, text.words) for text in batch.texts]
                cursor.executemany("INSERT INTO log.texts (ref, salt, words) VALUES (%s, %s, %s)", rows)
            if also is not None:
                also(cursor)
        return Appended(head, others)

    @staticmethod
    def _check(cursor: Cursor[DictRow], batch: Append, head: Head) -> frozenset[str] | None:
        """The streams to which others have appended since the batch's known position; None: it may be any."""
        if head.recorded_at is not None and head.recorded_at > batch.recorded_at:
            raise StreamsMoved(frozenset(batch.read) if head.position != batch.known_position else frozenset())
        others = _others(cursor, batch.known_position, head.position)
        asked = [stream for stream in batch.read if others is None or stream in others]
        if asked:  # a state may have been read after they appended
            rows = cursor.execute(_VERSIONS, (" ".join(asked),), prepare=True)
            if moved := frozenset(row["stream"] for row in rows if row["version"] != batch.read[row["stream"]]):
                raise StreamsMoved(moved)
        return others

    def receipts(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[Receipt, bytes]]:
        """The first receipts of commands already known, with the digest of their content."""
        if not keys:
            return {}
        ids: dict[str, list[str]] = defaultdict(list)
        for source, command in keys:
            ids[source].append(command)
        with self.reading() as cursor:
            rows = cursor.execute(_RECEIPTS, (list(ids), [" ".join(those) for those in ids.values()]), prepare=True)
            return {(row["source"], row["command_id"]): (receipt_of(row), bytes(row["digest"])) for row in rows}

    def tails(self, streams: Sequence[str], after: Sequence[int]) -> list[tuple[str, bytes]]:
        """The stored forms of many streams after a version each, in stream and version order: one query a batch.

        A stream has no space (`contracts.types.StreamId`), so all are one text: psycopg takes ten times as long over a list.
        """
        if not streams:
            return []
        with self.reading() as pooled, pooled.connection.cursor(binary=True, row_factory=tuple_row) as cursor:
            return cursor.execute(
                "SELECT e.originator_id, e.state"
                " FROM unnest(string_to_array(%s, ' '), string_to_array(%s, ' ')::bigint[]) AS k(stream, version)"
                " JOIN log.events e ON e.originator_id = k.stream AND e.originator_version > k.version"
                " ORDER BY e.originator_id, e.originator_version",
                (" ".join(streams), " ".join(map(str, after))),
                prepare=True,
            ).fetchall()


def _head_of(cursor: Cursor[DictRow]) -> Head:
    row = cursor.fetchone()
    assert row is not None
    return Head(row["position"] or 0, row["receipt"] or 0, row["recorded_at"])


def _others(cursor: Cursor[DictRow], known: int, head: int) -> frozenset[str] | None:
    if head == known:
        return frozenset()
    if not 0 < head - known <= FAR:
        return None
    return frozenset(row["originator_id"] for row in cursor.execute(_OTHERS, (known, head), prepare=True))


def _write(cursor: Cursor[DictRow], table: _Table, rows: Iterable[tuple[Any, ...]], *, few: bool) -> None:
    if few:
        if columns := [list(values) for values in zip(*rows, strict=True)]:
            cursor.execute(table.insert, columns, prepare=True)
        return
    with cursor.copy(table.copy) as copy:
        copy.set_types(table.types)
        for row in rows:
            copy.write_row(row)


def _event_rows(
    batch: Append, head: Head, stored: Callable[[int, datetime, bytes], bytes]
) -> Iterator[tuple[Any, ...]]:
    at = batch.recorded_at
    for position, event in enumerate(batch.events, head.position + 1):
        yield position, event.stream, event.version, event.topic, at, stored(position, at, event.tail)


def _receipt_rows(batch: Append, head: Head) -> Iterator[tuple[Any, ...]]:
    position = head.position + 1
    for number, row in enumerate(batch.receipts, head.receipt + 1):
        yield (
            number,
            row.source,
            row.command_id,
            _OUTCOMES.index(row.outcome) + 1,
            row.digest,
            batch.recorded_at,
            position if row.events else None,
            row.events,
            row.version,
            Jsonb(row.refusal.model_dump()) if row.refusal else None,
        )
        position += row.events


def receipt_of(row: Mapping[str, Any]) -> Receipt:
    """A receipt from its row."""
    first, count = row["first_position"], row["event_count"]
    return Receipt(
        source=row["source"],
        id=row["command_id"],
        outcome=_OUTCOMES[row["outcome"] - 1],
        receipt=row["receipt"],
        recorded_at=row["recorded_at"],
        positions=tuple(range(first, first + count)) if first else (),
        version=row["version"],
        refusal=Refusal(**row["refusal"]) if row["refusal"] else None,
    )


TRANSIENT = (psycopg.OperationalError, psycopg.InterfaceError)
