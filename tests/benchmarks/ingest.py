"""Commands waiting in COMMANDS → events and receipts committed, receipts published; intake alone."""

import time
from datetime import UTC, datetime

import psycopg

from services.bus import Bus
from services.clock import SystemClock
from services.engines import EmbeddedEngines
from services.intake.service import IntakeService
from services.senders import send
from services.spine import command_puller, intake_for
from services.store import Store
from tests.benchmarks.figures import Figure
from tests.benchmarks.world import Installation, installation, prepared, progress

TASKS, COMMANDS, RUNS = 1000, 10_000, 5


async def run(engines: EmbeddedEngines) -> list[Figure]:
    """Five runs on one installation, after one to warm up."""
    with installation(engines) as place:
        store, bus, spine = await prepared(place, engines.addresses.nats, TASKS)
        await spine.stop()
        rates = [await _once(store, bus, number) for number in range(RUNS + 1)]
        copied = _raw_copy(place, COMMANDS)
        await bus.close()
        store.close()
    return [Figure("ingest", "commands/s", True, tuple(rates[1:]), {"raw COPY of the rows, 500 a commit": copied})]


async def _once(store: Store, bus: Bus, number: int) -> float:
    commands = progress(COMMANDS, TASKS, datetime.now(UTC), prefix=f"r{number}-")
    for start in range(0, COMMANDS, 2000):
        last = (await send(bus, "BENCH", commands[start : start + 2000]))[-1]
    puller = command_puller(bus)
    service = IntakeService(intake_for(store, SystemClock()), bus, puller)
    begun = time.perf_counter()
    await puller.start()
    while service.sequence < last:
        await service.step(5.0)
    rate = COMMANDS / (time.perf_counter() - begun)
    await puller.stop()
    return rate


def _raw_copy(place: Installation, rows: int) -> float:
    """The same stored events, copied by psycopg into an empty table of the same shape, 500 a commit."""
    columns = "notification_id, originator_id, originator_version, topic, recorded_at, state"
    with psycopg.connect(place.dsn, autocommit=True) as connection:
        found = connection.execute(f"SELECT {columns} FROM log.events ORDER BY 1 DESC LIMIT {rows}".encode()).fetchall()
        connection.execute("CREATE TABLE raw (LIKE log.events INCLUDING INDEXES)")
        begun = time.perf_counter()
        for start in range(0, len(found), 500):
            with (
                connection.transaction(),
                connection.cursor() as cursor,
                cursor.copy(f"COPY raw ({columns}) FROM STDIN (FORMAT BINARY)".encode()) as copy,
            ):
                copy.set_types(["int8", "text", "int8", "text", "timestamptz", "bytea"])
                for row in found[start : start + 500]:
                    copy.write_row(row)
        return len(found) / (time.perf_counter() - begun)
