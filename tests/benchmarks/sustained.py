"""`sustained`: the mix offered at a steady rate while every service runs, as `sauro up` runs them.

Every 20 ms all that has become due is sent, in CloudEvents batches by sender and programme, as the README tells who has many.
Lag is the age of the oldest command intake has not answered, of the oldest event the read models or stream EVENTS do not hold,
or of the oldest event the warning service has not heard, whichever is longest. The figure is the highest offered rate at which
no look found more than a second. What the timekeeper sends is among the commands.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg

from services.bus import Bus
from services.warning.reactions import EXPLAINED, HEARD, NOTICED
from tests.benchmarks.bench import RUNS, Bench, Installation
from tests.benchmarks.commands import Message
from tests.benchmarks.figures import Figure
from tests.benchmarks.floors import COPY, FETCH
from tests.benchmarks.ingest import connected, figure
from tests.benchmarks.mix import Mix
from tests.benchmarks.peers import last_receipt, raw_copy, raw_fetch
from tests.benchmarks.processors import Processors
from tests.benchmarks.running import Http, at_rest, events_begin_at, quiet, sauro
from tests.benchmarks.waiting import fill_together
from tests.benchmarks.world import World, world

LONGEST_LAG = 1.0
STEP, COARSE, FIRST, LEAST, MOST = 1.1, 1.4, 800.0, 50.0, 40_000.0
SECONDS = 8.0
TICK = 0.02


async def run(bench: Bench) -> list[Figure]:
    """A coarse climb to warm up, then five climbs in steps of a tenth from below where the last one ended.

    After each, the raw engines take what its last offer left once more, while all services rest.
    """
    seconds = max(2.0, SECONDS * min(bench.scale, 1))
    async with AsyncExitStack() as stack:
        place = stack.enter_context(bench.installation(world(bench, World(bench.size(20_000, 500)), projected=True)))
        store, bus = await connected(place)
        stack.push_async_callback(bus.close)
        head = store.recorder.max_notification_id() or 0
        store.close()
        await events_begin_at(bus, head)
        running = await stack.enter_async_context(sauro(place, "up"))
        http = await stack.enter_async_context(Http(running["api"]))
        await at_rest(bus, http, head)
        climb = Climb(bench, place, bus, http, Mix(datetime.now(UTC)), seconds, Processors(bench.engines, running))
        reached = await climb.highest(FIRST, COARSE)
        rates: dict[str, list[float]] = {"ours": [], COPY: [], FETCH: []}
        for number in range(RUNS):
            climb.run = number + 1
            reached = await climb.highest(max(reached / STEP, LEAST), STEP if reached else COARSE)
            rates["ours"].append(reached)
            messages, commands = await last_command(bus) - climb.before, last_receipt(place) - climb.answered
            rates[COPY].append(commands / raw_copy(place, f"receipt > {climb.answered}"))
            rates[FETCH].append(await raw_fetch(bus, climb.before + 1, messages) * commands / messages)
    if bench.profile:
        climb.processors.show("sustained, offers that were carried", "command")
    return [figure("sustained", rates)]


async def last_command(bus: Bus) -> int:
    """The last sequence in COMMANDS."""
    return (await bus.js.stream_info(bus.names.stream("COMMANDS"))).state.last_seq


@dataclass
class Climb:
    """Offers higher and higher rates to one installation."""

    bench: Bench
    place: Installation
    bus: Bus
    http: Http
    mix: Mix
    seconds: float
    processors: Processors
    run: int = 0
    before: int = 0
    answered: int = 0
    """The last sequence in COMMANDS, and the last receipt, before the last offer."""

    async def highest(self, rate: float, step: float) -> float:
        """The last rate that was carried; goes down first if the given one is not."""
        while not await self._carried(rate):
            rate /= COARSE
            if rate < LEAST:
                return 0.0
        while rate < MOST and await self._carried(rate * step):
            rate *= step
        return rate

    async def _carried(self, rate: float) -> bool:
        self.bench.says(f"run {self.run} of {RUNS}, {rate:,.0f} commands/s for {self.seconds:.0f} s")
        messages = self.mix.take(int(rate * self.seconds))
        self.before, self.answered = await last_command(self.bus), last_receipt(self.place)
        self.processors.begin()
        async with Lag(self.place, self.bus) as lag:
            carried = await self._offer(messages, rate, lag)
            worst, where = lag.worst, lag.where
        carried = carried and worst < LONGEST_LAG
        if self.run and carried:
            self.processors.end(len(messages))
        self.bench.says(f"run {self.run} of {RUNS}, {rate:,.0f} commands/s: longest lag {worst:.2f} s, {where}")
        await quiet(self.bus, self.http)
        return carried

    async def _offer(self, messages: list[Message], rate: float, lag: "Lag") -> bool:
        begun, start = time.perf_counter(), 0
        while start < len(messages):
            now = time.perf_counter() - begun
            if lag.worst >= LONGEST_LAG:
                return False
            end = min(len(messages), int(now * rate) + 1)
            if end > start:
                lag.sent(await fill_together(self.bus, messages[start:end]))
                start = end
            await asyncio.sleep(TICK)
        await asyncio.sleep(LONGEST_LAG)  # what was sent last must get through in time too
        return time.perf_counter() - begun < len(messages) / rate + 2 * LONGEST_LAG


@dataclass
class Marks:
    """At which moment a counter had reached which number."""

    moments: list[float] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    def add(self, number: int) -> None:
        """The counter stands there now."""
        if not self.numbers or number > self.numbers[-1]:
            self.moments.append(time.perf_counter())
            self.numbers.append(number)

    def age(self, reached: int) -> float:
        """How long ago the first number beyond the one reached was there; 0 when there is none."""
        index = bisect_left(self.numbers, reached + 1)
        return time.perf_counter() - self.moments[index] if index < len(self.numbers) else 0.0


class Lag:
    """Looks ten times a second how old what waits is."""

    def __init__(self, place: Installation, bus: Bus) -> None:
        self._place, self._bus = place, bus
        self._commands, self._events, self._published = Marks(), Marks(), Marks()
        self.worst, self.where = 0.0, "nobody"
        self._over = False

    def sent(self, sequence: int) -> None:
        """Commands up to a sequence are in COMMANDS."""
        self._commands.add(sequence)

    async def __aenter__(self) -> "Lag":
        self._connection = await psycopg.AsyncConnection.connect(self._place.dsn, autocommit=True)
        self._task = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._over = True  # not cancelled: nats-py may swallow that in the midst of a request, and the task would go on
        await asyncio.gather(self._task, return_exceptions=True)
        await self._connection.close()

    async def _look(self) -> None:
        names = self._bus.names
        while not self._over:
            cursor = await self._connection.execute(
                "SELECT (SELECT max(notification_id) FROM log.events), (SELECT min(notification_id) FROM read.positions)"
            )
            head, projected = await cursor.fetchone() or (0, 0)
            self._events.add(head or 0)
            intake = await self._bus.js.consumer_info(names.stream("COMMANDS"), names.stream("intake"))
            published = (await self._bus.js.stream_info(names.stream("EVENTS"))).state.last_seq
            self._published.add(published)
            answered = intake.ack_floor.stream_seq if intake.ack_floor else 0
            ages = {
                "intake": self._commands.age(answered),
                "projector": self._events.age(projected or 0),
                "relay": self._events.age(published),
                "warning": self._published.age(await self._heard("warning", published, HEARD, ())),
                "warning-later": self._published.age(await self._heard("warning-later", published, EXPLAINED, NOTICED)),
            }
            where = max(ages, key=lambda name: ages[name])
            if ages[where] > self.worst:
                self.worst, self.where = ages[where], where
            await asyncio.sleep(0.1)

    async def _heard(self, durable: str, published: int, events: Sequence[str], of_warnings: Sequence[str]) -> int:
        """Up to which position a part of the warning service has answered: the first event beyond its floor is still open."""
        names = self._bus.names
        part = await self._bus.js.consumer_info(names.stream("EVENTS"), names.stream(durable))
        if not (part.num_pending or part.num_ack_pending):
            return published
        cursor = await self._connection.execute(
            "SELECT notification_id FROM log.events WHERE notification_id > %s AND (split_part(topic, '.', 3) = ANY(%s)"
            " OR (split_part(topic, '.', 2) = 'warning' AND split_part(topic, '.', 3) = ANY(%s)))"
            " ORDER BY notification_id LIMIT 1",
            (part.ack_floor.stream_seq if part.ack_floor else 0, list(events), list(of_warnings)),
        )
        row = await cursor.fetchone()
        return int(row[0]) - 1 if row else published
