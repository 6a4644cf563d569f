"""`rebuild` and `catch-up`: followers of a log of 1,000,000 events on 100,000 assignments.

Each rebuild and each projector runs in a process of its own, as in production; a rebuild is timed whole: build, compare with the
live rows, switch.
"""

import asyncio
import json
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any

import orjson
import psycopg
from psycopg.rows import dict_row

from projections import queries_scorecards, queries_work
from projections.scope import EVERYTHING
from services.clock import SystemClock
from services.spine import intake_for
from tests.benchmarks.bench import RUNS, Bench, Installation
from tests.benchmarks.commands import PROGRAMME, UNIT, code_of, mixed_chains, progress, uuid7s
from tests.benchmarks.figures import Figure, median_of
from tests.benchmarks.ingest import connected, disconnected
from tests.benchmarks.running import ROOT
from tests.benchmarks.waiting import Worked, fill
from tests.benchmarks.world import World, world

ASSIGNMENTS = 100_000
SCAN = "ordered scan with orjson"
QUERIES_PER_SECOND = 50


def big(bench: Bench) -> World:
    """The world of the reading benchmarks."""
    return World(bench.size(ASSIGNMENTS, 1200), mixed_chains())


async def rebuild(bench: Bench) -> list[Figure]:
    """Five rebuilds after one to warm up; a scan of the same events after each."""
    template = world(bench, big(bench), projected=True)
    rates, builds, memory, scans = [], [], [], []
    with bench.installation(template) as place:
        events = place.value("SELECT count(*) FROM log.events")
        for run in range(RUNS + 1):
            bench.says(f"run {run} of {RUNS}, {events:,} events")
            found = await child("rebuild", place, bench.profile and run == RUNS)
            scanned = scan(place, 0)
            if run:
                rates.append(events / found["seconds"])
                builds.append(events / found["built"])
                memory.append(found["memory"])
                scans.append(scanned)
    return [
        Figure("rebuild", "events/s", True, tuple(rates), {SCAN: median_of(scans)}),
        Figure("rebuild without comparison", "events/s", True, tuple(builds)),
        Figure("rebuild memory", "MB", False, tuple(memory)),
    ]


async def catch_up(bench: Bench) -> list[Figure]:
    """The projector takes 50,000 new events while readers ask for scorecards and assignments, 50 queries a second."""
    template, commands = world(bench, big(bench), projected=True), bench.size(50_000, 2_000)
    rates, scans = [], []
    with bench.installation(template) as place:
        store, bus = await connected(place)
        worked, ids = Worked(intake_for(store, SystemClock()), bus), uuid7s(int(time.time() * 1000))
        chosen = [number for number in range(big(bench).assignments) if is_open(number)]
        for run in range(RUNS + 1):
            bench.says(f"run {run} of {RUNS}, {commands:,} events")
            head = place.value("SELECT max(notification_id) FROM log.events")
            await worked.seconds(await fill(bus, progress(commands, chosen, datetime.now(UTC), ids, run * commands)))
            with Readers(place):
                found = await child("project", place, bench.profile and run == RUNS)
            assert found["events"] == place.value("SELECT max(notification_id) FROM log.events") - head
            if run:
                rates.append(found["events"] / found["seconds"])
                scans.append(scan(place, head))
        await disconnected(store, bus)
    return [Figure("catch-up", "events/s", True, tuple(rates), {SCAN: median_of(scans)})]


def is_open(number: int) -> bool:
    """Whether an assignment of the big world can be reported on by the unit the benchmarks report for."""
    chains = mixed_chains()
    given = chains[number % len(chains)]
    return given.unit == UNIT and not given.done


async def child(work: str, place: Installation, profile: bool) -> dict[str, Any]:
    """One piece of work in a process of its own; what it measured."""
    arguments = (sys.executable, "-m", "tests.benchmarks.child", work, place.dsn, "profile" if profile else "plain")
    process = await asyncio.create_subprocess_exec(*arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, f"{work} ended with code {process.returncode}"
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def scan(place: Installation, after: int) -> float:
    """Events a second when psycopg reads them in order, 5,000 a query, and orjson parses them."""
    with psycopg.connect(place.dsn, autocommit=True) as connection, connection.cursor(binary=True) as cursor:
        begun, count = time.perf_counter(), 0
        query = b"SELECT notification_id, state FROM log.events WHERE notification_id > %s ORDER BY 1 LIMIT 5000"
        while rows := cursor.execute(query, (after,)).fetchall():
            for _, state in rows:
                orjson.loads(state)
            after, count = rows[-1][0], count + len(rows)
        return count / (time.perf_counter() - begun)


class Readers:
    """Readers at a steady pace in a thread: one scorecard in ten queries, the rest single assignments."""

    def __init__(self, place: Installation) -> None:
        self._place, self._over = place, threading.Event()
        self._thread = threading.Thread(target=self._read)
        self.queries = 0

    def __enter__(self) -> "Readers":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _read(self) -> None:
        with (
            psycopg.connect(
                self._place.dsn, autocommit=True, row_factory=dict_row, options="-c search_path=read"
            ) as connection,
            connection.cursor() as cursor,
        ):
            while not self._over.wait(1 / QUERIES_PER_SECOND):
                if self.queries % 10 == 0:
                    queries_scorecards.department_rows(cursor, EVERYTHING, PROGRAMME)
                else:
                    queries_work.assignment(cursor, EVERYTHING, PROGRAMME, code_of(self.queries))
                self.queries += 1
