"""What stands beside our figures on the same PostgreSQL and NATS: raw COPY, raw fetch and ack, and the eventsourcing library."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from psycopg.conninfo import conninfo_to_dict

from services.bus import Bus
from tests.benchmarks.bench import Installation
from tests.benchmarks.commands import ORGANISATION, PROGRAMME, SOURCE

TOGETHER = 500
_EVENTS = "notification_id, originator_id, originator_version, topic, recorded_at, state"
_EVENT_TYPES = ["int8", "text", "int8", "text", "timestamptz", "bytea"]
_RECEIPTS = "receipt, source, command_id, outcome, digest, recorded_at, first_position, event_count, version, refusal"
_RECEIPT_TYPES = ["int8", "text", "text", "int2", "bytea", "timestamptz", "int8", "int4", "int8", "jsonb"]
_FIRST, _COUNT = 6, 7


def last_receipt(place: Installation) -> int:
    """The number of the last receipt: what comes after it is what a run leaves."""
    return place.value("SELECT max(receipt) FROM log.receipts")


def raw_tables(connection: psycopg.Connection[Any]) -> None:
    """Tables of the log's shape, with its indexes, unless they are there."""
    for name in ("events", "receipts"):
        connection.execute(f"CREATE TABLE IF NOT EXISTS raw_{name} (LIKE log.{name} INCLUDING ALL)".encode())


def refill(place: Installation, until: int) -> None:
    """Fill `raw_tables` anew with all that the log held at a receipt, in the log's order."""
    with psycopg.connect(place.dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS raw_events, raw_receipts")
        raw_tables(connection)
        connection.execute("INSERT INTO raw_receipts SELECT * FROM log.receipts WHERE receipt <= %s", (until,))
        connection.execute(
            "INSERT INTO raw_events SELECT * FROM log.events WHERE notification_id <"
            " (SELECT min(first_position) FROM log.receipts WHERE receipt > %s)",
            (until,),
        )
        connection.execute("VACUUM ANALYZE raw_events, raw_receipts")
        connection.execute("CHECKPOINT")


def raw_copy(place: Installation, which: str) -> float:
    """Seconds psycopg takes to copy receipts, and their events, once more into `raw_tables`, 500 commands a commit.

    `which` is a condition on the receipts; a row can be copied once.
    """
    with psycopg.connect(place.dsn, autocommit=True) as connection:
        raw_tables(connection)
        receipts = connection.execute(
            f"SELECT {_RECEIPTS} FROM log.receipts WHERE {which} ORDER BY 1".encode()
        ).fetchall()
        positions = [row[_FIRST] + number for row in receipts for number in range(row[_COUNT])]
        events = connection.execute(
            f"SELECT {_EVENTS} FROM log.events WHERE notification_id = ANY(%s) ORDER BY 1".encode(), (positions,)
        ).fetchall()
        begun, first = time.perf_counter(), 0
        for start in range(0, len(receipts), TOGETHER):
            part = receipts[start : start + TOGETHER]
            last = first + sum(receipt[_COUNT] for receipt in part)
            with connection.transaction(), connection.cursor() as cursor:
                copy_events(cursor, events[first:last])
                copy_receipts(cursor, part)
            first = last
        return time.perf_counter() - begun


def copy_events(cursor: psycopg.Cursor[Any], rows: Sequence[Any]) -> None:
    """COPY events into the raw table, in binary as intake does."""
    _copy(cursor, "raw_events", _EVENTS, _EVENT_TYPES, rows)


def copy_receipts(cursor: psycopg.Cursor[Any], rows: Sequence[Any]) -> None:
    """COPY receipts into the raw table."""
    _copy(cursor, "raw_receipts", _RECEIPTS, _RECEIPT_TYPES, rows)


def _copy(cursor: psycopg.Cursor[Any], table: str, columns: str, types: list[str], rows: Sequence[Any]) -> None:
    with cursor.copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)".encode()) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


async def raw_fetch(bus: Bus, first: int, count: int) -> float:
    """Messages a second that nats-py fetches, 256 at a time, and acknowledges one by one: the same messages again."""
    stream, durable = bus.names.stream("COMMANDS"), "raw"
    config = ConsumerConfig(
        durable_name=durable,
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=first,
        ack_policy=AckPolicy.EXPLICIT,
        max_ack_pending=4096,
    )
    await bus.js.add_consumer(stream, config)
    subscription = await bus.js.pull_subscribe_bind(durable, stream)
    left, begun = count, time.perf_counter()
    while left:
        messages = await subscription.fetch(min(256, left), timeout=5)
        for message in messages:
            await message.ack()
        left -= len(messages)
    await bus.client.flush()
    rate = count / (time.perf_counter() - begun)
    await subscription.unsubscribe()
    await bus.js.delete_consumer(stream, durable)
    return rate


class Work(Aggregate):
    """An assignment as the eventsourcing library's documentation writes aggregates, with what our events carry."""

    @event("Assigned")
    def __init__(self, *, code: str, post: str, unit: str, command_id: str) -> None:
        self.code, self.post, self.unit, self.command_id = code, post, unit, command_id
        self.percent, self.status, self.judgement = 0, "assigned", "on_track"

    @event("Started")
    def start(self, *, post: str, unit: str, command_id: str) -> None:
        """Work has begun."""
        self.status = "started"

    @event("ProgressReported")
    def report_progress(
        self, *, percent: int, judgement: str, organisation: str, programme: str, subject: str, sender: str,
        post: str, unit: str, command_id: str, correlation_id: str, causation_id: str,
    ) -> None:  # fmt: skip
        """How far it is."""
        self.percent, self.judgement = percent, judgement


class Works(Application[UUID]):
    """Get, command, save: one at a time, as documented."""

    def assign(self, code: str, reports: int, ids: Iterator[str]) -> UUID:
        """An assignment that was started and reported on so many times, in one save."""
        work = Work(code=code, post="TP-TTKHCN", unit="TTKHCN", command_id=next(ids))
        work.start(post="TP-TTKHCN", unit="TTKHCN", command_id=next(ids))
        for number in range(reports):
            _report(work, number % 100, next(ids))
        self.save(work)
        return work.id

    def report_progress(self, id_: UUID, percent: int, command_id: str) -> None:
        """One progress report."""
        work: Work = self.repository.get(id_)
        _report(work, percent, command_id)
        self.save(work)


def _report(work: Work, percent: int, command_id: str) -> None:
    work.report_progress(
        percent=percent,
        judgement="on_track",
        organisation=ORGANISATION,
        programme=PROGRAMME,
        subject=f"assignment/{PROGRAMME}/{work.code}",
        sender=SOURCE,
        post="TP-TTKHCN",
        unit="TTKHCN",
        command_id=command_id,
        correlation_id=command_id,
        causation_id=command_id,
    )


class Library:
    """The library at work in a database of its own, with assignments that have so many earlier events each."""

    def __init__(self, works: Works, earlier: Sequence[int], ids: Iterator[str]) -> None:
        self._works, self._ids = works, ids
        self._known = [works.assign(f"B-{number:07}", events - 2, ids) for number, events in enumerate(earlier)]
        self._next = 0

    def _chosen(self, count: int) -> list[UUID]:
        """The next assignments, each in its turn."""
        chosen = [self._known[(self._next + number) % len(self._known)] for number in range(count)]
        self._next += count
        return chosen

    def rate(self, commands: int) -> float:
        """Commands a second."""
        chosen, ids = self._chosen(commands), [next(self._ids) for _ in range(commands)]
        begun = time.perf_counter()
        for number, (id_, command_id) in enumerate(zip(chosen, ids, strict=True)):
            self._works.report_progress(id_, number % 100, command_id)
        return commands / (time.perf_counter() - begun)

    def gets(self, count: int) -> list[float]:
        """Milliseconds of each `repository.get`."""
        times = []
        for id_ in self._chosen(count):
            begun = time.perf_counter()
            self._works.repository.get(id_)
            times.append(1000 * (time.perf_counter() - begun))
        return times


@contextmanager
def library(dsn: str, earlier: Sequence[int], ids: Iterator[str]) -> Iterator[Library]:
    """The eventsourcing library with its PostgreSQL module, configured by its environment variables."""
    info = conninfo_to_dict(dsn)
    works = Works(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": str(info["dbname"]),
            "POSTGRES_HOST": str(info["host"]),
            "POSTGRES_PORT": str(info.get("port") or 5432),
            "POSTGRES_USER": str(info.get("user") or "postgres"),
            "POSTGRES_PASSWORD": "",
        }
    )
    try:
        yield Library(works, earlier, ids)
    finally:
        works.close()
