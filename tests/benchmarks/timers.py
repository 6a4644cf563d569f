"""`storm` and `idle`: the timekeeper with 1,000,000 open limits, all services running as `sauro up` runs them."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from nats.aio.msg import Msg

from services.bus import Bus
from services.eventlog.codec import instant_text
from tests.benchmarks.bare import AWAKE, WAKE, bare
from tests.benchmarks.bench import RUNS, Bench, Installation
from tests.benchmarks.commands import chain
from tests.benchmarks.figures import Figure, median_of
from tests.benchmarks.floors import COPY, SLEEPER
from tests.benchmarks.ingest import connected
from tests.benchmarks.peers import last_receipt, raw_copy
from tests.benchmarks.processors import Processors, processor_seconds
from tests.benchmarks.running import Http, at_rest, events_begin_at, quiet, sauro, settled
from tests.benchmarks.world import Edit, World, grow, world

ASSIGNMENTS, MILESTONES = 100_000, 9
"""Ten limits an assignment: its own and nine milestones."""
STORM = 50_000
WATCHED_SECONDS = 20.0
_FALLING = (chain(started=False),)
_SINCE = (
    "WITH fresh AS (SELECT notification_id, topic FROM log.events WHERE notification_id > %s AND originator_id LIKE '%%/S-%%')"
    " SELECT max(notification_id), count(*) FILTER (WHERE topic = %s), count(*) FILTER (WHERE topic = %s) FROM fresh"
)


def _open_limits(bench: Bench) -> World:
    return World(bench.size(ASSIGNMENTS, 500), (chain(started=False, milestones=MILESTONES),))


def limit_at(instant: datetime) -> Edit:
    """Moves a task's limit to an instant, with no rung before it."""
    text = b'"at":"%b"' % instant_text(instant).encode()

    def edit(tail: bytes) -> bytes:
        tail = re.sub(rb'"leads":\[[^\]]*\]', b'"leads":[]', tail)
        return re.sub(rb'"at":"2030-12-31T17:00:00Z"', text, tail)

    return edit


async def storm(bench: Bench) -> list[Figure]:
    """Limits added for one instant a little ahead; measured from that instant until the last event is committed."""
    count = bench.size(STORM, 500)
    runs: dict[str, list[float]] = {"passed": [], "warned": [], "passed raw": [], "warned raw": []}
    async with AsyncExitStack() as stack:
        place, http, running, bus = await _services(bench, stack)
        processors = Processors(bench.engines, running)
        ahead = 20.0 + 90.0 * bench.scale
        for run in range(RUNS + 1):
            begun = time.perf_counter()
            limit = datetime.now(UTC) + timedelta(seconds=ahead)
            bench.says(f"run {run} of {RUNS}: adding {count:,} limits, {ahead:.0f} s ahead")
            head = grow(place, World(count, _FALLING), series="S", edit=limit_at(limit), first=run * count + 1)
            await settled(http, head)
            await asyncio.to_thread(place.execute, "VACUUM ANALYZE")  # as tables are that were not filled a moment ago
            left = (limit - datetime.now(UTC)).total_seconds()
            assert left > 0, f"the limits fell {-left:.1f} s before they were ready"
            before = last_receipt(place)
            bench.says(f"run {run} of {RUNS}: waiting {left:.0f} s for the limit")
            ahead = (time.perf_counter() - begun) * 2 + 5
            await asyncio.sleep((limit - datetime.now(UTC)).total_seconds())
            processors.begin()
            found = await _reached(bench, place, limit, head, count)
            if run:
                processors.end(count)
            await quiet(bus, http)
            if run:
                runs["passed"].append(found["DeadlinePassed"])
                runs["warned"].append(found["WarningRaised"])
                copied = [_copied(place, sender, before, count) for sender in ("timekeeper", "warning")]
                runs["passed raw"].append(copied[0])
                runs["warned raw"].append(sum(copied))
    if bench.profile:
        processors.show("storm, until the last is warned of", "limit")
    return [
        Figure(f"storm {name}", "s", False, tuple(runs[name]), {COPY: median_of(runs[f"{name} raw"])})
        for name in ("passed", "warned")
    ]


def _copied(place: Installation, sender: str, after: int, count: int) -> float:
    """Seconds of raw COPY for the first so many commands of a service after a receipt, with their events."""
    those = f"SELECT receipt FROM log.receipts WHERE receipt > {after} AND source = '{sender}' ORDER BY 1 LIMIT {count}"
    return raw_copy(place, f"receipt IN ({those})")


async def _reached(bench: Bench, place: Installation, limit: datetime, head: int, count: int) -> dict[str, float]:
    """Seconds after the limit until so many events of each kind are committed; looked at over one connection, to cost little."""
    topics = {"DeadlinePassed": "sauro.assignment.DeadlinePassed.v1", "WarningRaised": "sauro.warning.WarningRaised.v1"}
    found: dict[str, float] = {}
    at, seen = head, dict.fromkeys(topics, 0)
    async with asyncio.timeout(600), await psycopg.AsyncConnection.connect(place.dsn, autocommit=True) as connection:
        while len(found) < len(topics):
            cursor = await connection.execute(_SINCE, (at, *topics.values()), prepare=True)
            upper, *more = await cursor.fetchone() or (None,)
            now = (datetime.now(UTC) - limit).total_seconds()
            at = upper or at
            for (name, before), new in zip(seen.items(), more, strict=False):
                seen[name] = before + new
                if seen[name] >= count:
                    found.setdefault(name, now)
            bench.says(", ".join(f"{number:,} {name}" for name, number in seen.items()) + f" after {now:.1f} s")
            await asyncio.sleep(0.05)
    return found


async def idle(bench: Bench) -> list[Figure]:
    """CPU of the timekeeper's process over 20 s without a limit, then how long after single limits it sends its command.

    At the same time a bare process holds the same connections; then it sleeps until an instant it is told, and publishes.
    """
    runs: dict[str, list[float]] = {"share": [], "delay": [], "bare share": [], "bare delay": []}
    seconds = max(3.0, WATCHED_SECONDS * min(bench.scale, 1))
    async with AsyncExitStack() as stack:
        place, http, running, bus = await _services(bench, stack)
        sleeper = await stack.enter_async_context(bare("wake", place))
        pids = {"share": int(running["pid_timekeeper"]), "bare share": int(sleeper["pid"])}
        for run in range(RUNS + 1):
            bench.says(f"run {run} of {RUNS}, watching {seconds:.0f} s")
            before, begun = {name: processor_seconds(pid) for name, pid in pids.items()}, time.perf_counter()
            await asyncio.sleep(seconds)
            spent = time.perf_counter() - begun
            found = {name: 100 * (processor_seconds(pid) - before[name]) / spent for name, pid in pids.items()}
            found |= {"delay": await _wake(place, http, bus, run + 1), "bare delay": await _bare_wake(bus)}
            for name, value in found.items() if run else ():
                runs[name].append(value)
    shares, delays = {SLEEPER: median_of(runs["bare share"])}, {SLEEPER: median_of(runs["bare delay"])}
    return [
        Figure("idle", "% of a core", False, tuple(runs["share"]), shares),
        Figure("idle wake", "ms", False, tuple(runs["delay"]), delays),
    ]


async def _wake(place: Installation, http: Http, bus: Bus, number: int) -> float:
    """Milliseconds from a limit until the timekeeper's command for it is published."""
    async with _heard(bus, bus.names.subject("command", "timekeeper", "*")) as heard:
        limit = datetime.now(UTC) + timedelta(seconds=3)
        head = grow(place, World(1, _FALLING), series="W", edit=limit_at(limit), first=number)
        await settled(http, head)
        assert datetime.now(UTC) < limit
        return 1000 * (await heard - limit).total_seconds()


async def _bare_wake(bus: Bus) -> float:
    """The same of the bare process, told the instant a second before."""
    async with _heard(bus, bus.names.subject(AWAKE)) as heard:
        limit = datetime.now(UTC) + timedelta(seconds=1)
        await bus.client.publish(bus.names.subject(WAKE), str(limit.timestamp()).encode())
        return 1000 * (await heard - limit).total_seconds()


@asynccontextmanager
async def _heard(bus: Bus, subject: str) -> AsyncIterator["asyncio.Future[datetime]"]:
    """When something is published on a subject; the block has 70 s."""
    heard: asyncio.Future[datetime] = asyncio.get_running_loop().create_future()

    async def hear(_: Msg) -> None:
        if not heard.done():
            heard.set_result(datetime.now(UTC))

    subscription = await bus.client.subscribe(subject, cb=hear)
    async with asyncio.timeout(70):
        yield heard
    await subscription.unsubscribe()


async def _services(bench: Bench, stack: AsyncExitStack) -> tuple[Installation, Http, dict[str, Any], Bus]:
    template = world(bench, _open_limits(bench), projected=True)
    place = stack.enter_context(bench.installation(template))
    store, bus = await connected(place)
    stack.push_async_callback(bus.close)
    head = store.recorder.max_notification_id() or 0
    store.close()
    await events_begin_at(bus, head)
    bench.says("starting the services")
    running = await stack.enter_async_context(sauro(place, "up"))
    http = await stack.enter_async_context(Http(running["api"]))
    await at_rest(bus, http, head)
    return place, http, running, bus
