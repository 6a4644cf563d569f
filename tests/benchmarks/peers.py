"""What stands beside ingest, on the same PostgreSQL and NATS: raw COPY, raw fetch and ack, and the eventsourcing library."""

import statistics
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
_RECEIPTS = "receipt, source, command_id, outcome, digest, recorded_at, first_position, event_count, version"
_RECEIPT_TYPES = ["int8", "text", "text", "int2", "bytea", "timestamptz", "int8", "int4", "int8"]


def raw_copy(place: Installation, commands: int) -> float:
    """Commands a second when psycopg copies the last events and receipts again, 500 a commit, into tables of the same shape."""
    with psycopg.connect(place.dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS raw_events (LIKE log.events INCLUDING ALL)")
        connection.execute("CREATE TABLE IF NOT EXISTS raw_receipts (LIKE log.receipts INCLUDING ALL)")
        receipts = connection.execute(
            f"SELECT {_RECEIPTS} FROM log.receipts ORDER BY 1 DESC LIMIT {commands}".encode()
        ).fetchall()
        events = connection.execute(
            f"SELECT {_EVENTS} FROM log.events ORDER BY 1 DESC LIMIT {commands}".encode()
        ).fetchall()
        receipts.reverse()
        events.reverse()
        begun = time.perf_counter()
        for start in range(0, commands, TOGETHER):
            with connection.transaction(), connection.cursor() as cursor:
                _copy(cursor, "raw_events", _EVENTS, _EVENT_TYPES, events[start : start + TOGETHER])
                _copy(cursor, "raw_receipts", _RECEIPTS, _RECEIPT_TYPES, receipts[start : start + TOGETHER])
        return commands / (time.perf_counter() - begun)


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

    def assign(self, code: str, command_id: str) -> UUID:
        """A new assignment."""
        work = Work(code=code, post="TP-TTKHCN", unit="TTKHCN", command_id=command_id)
        work.start(post="TP-TTKHCN", unit="TTKHCN", command_id=command_id)
        self.save(work)
        return work.id

    def report_progress(self, id_: UUID, percent: int, command_id: str) -> None:
        """One progress report."""
        work: Work = self.repository.get(id_)
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
        self.save(work)


class Library:
    """The library at work in a database of its own, with assignments that were assigned and started."""

    def __init__(self, works: Works, assignments: int, ids: Iterator[str]) -> None:
        self._works, self._ids = works, ids
        self._known = [works.assign(f"B-{number:07}", next(ids)) for number in range(assignments)]
        self._next = 0

    def rate(self, commands: int) -> float:
        """Commands a second."""
        chosen = [self._known[(self._next + number) % len(self._known)] for number in range(commands)]
        self._next += commands
        ids = [next(self._ids) for _ in range(commands)]
        begun = time.perf_counter()
        for number, (id_, command_id) in enumerate(zip(chosen, ids, strict=True)):
            self._works.report_progress(id_, number % 100, command_id)
        return commands / (time.perf_counter() - begun)

    def stored_bytes(self) -> float:
        """Mean bytes of a stored progress report."""
        found = self._works.recorder.select_notifications(2 * len(self._known), 100)
        return statistics.mean(len(stored.state) for stored in found)


@contextmanager
def library(dsn: str, assignments: int, ids: Iterator[str]) -> Iterator[Library]:
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
        yield Library(works, assignments, ids)
    finally:
        works.close()
