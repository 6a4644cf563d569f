"""`receipt` and `visible`: 500 commands a second from one sender, all services running as `sauro up` runs them.

Latencies are taken from the moment the sender hands a command to its connection.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import orjson
import psycopg
from nats.aio.msg import Msg

from services.bus import Bus
from tests.benchmarks.bare import answering, subject_of
from tests.benchmarks.bench import RUNS, Bench
from tests.benchmarks.commands import PROGRAMME, SOURCE, Message, chain, code_of, progress, uuid7s
from tests.benchmarks.figures import Figure, median_of
from tests.benchmarks.floors import LOOP
from tests.benchmarks.ingest import connected
from tests.benchmarks.processors import Processors
from tests.benchmarks.reading import keep
from tests.benchmarks.running import Http, at_rest, events_begin_at, sauro, settled
from tests.benchmarks.world import World, world

PER_SECOND, SECONDS, THEIR_SECONDS = 500, 10, 3
ASSIGNMENTS = 5_000
EARLIER = chain()
Asked = Callable[[int], Awaitable[int]]
"""The version at which a reader sees an assignment."""


async def receipt(bench: Bench) -> list[Figure]:
    """From publish until the sender hears its receipt."""
    return await _figures(bench, "receipt", visible=False)


async def visible(bench: Bench) -> list[Figure]:
    """From publish until `GET /v1/assignments/…` shows the report; one reader asks without pause."""
    return await _figures(bench, "visible", visible=True)


async def _figures(bench: Bench, name: str, *, visible: bool) -> list[Figure]:
    runs: dict[str, list[float]] = {}
    template = world(bench, World(ASSIGNMENTS, (EARLIER,)))
    async with AsyncExitStack() as stack:
        place = stack.enter_context(bench.installation(template))
        store, bus = await connected(place)
        stack.push_async_callback(bus.close)
        base = len(store.recorder.tails([subject_of(0)], [0]))
        head = store.recorder.max_notification_id() or 0
        store.close()
        await events_begin_at(bus, head)
        running = await stack.enter_async_context(sauro(place, "up"))
        http = await stack.enter_async_context(Http(running["api"]))
        processors = Processors(bench.engines, running)
        bench.says("waiting for the read models")
        await at_rest(bus, http, head)
        raw = await stack.enter_async_context(answering(place, ASSIGNMENTS, base))
        sql = await stack.enter_async_context(await psycopg.AsyncConnection.connect(place.dsn, autocommit=True))

        async def by_http(assignment: int) -> int:
            row = await http.json(f"/v1/assignments/{PROGRAMME}/{code_of(assignment)}")
            return int(row["data"]["version"])

        async def by_sql(assignment: int) -> int:
            query = "SELECT version FROM raw_rows WHERE subject = %s"
            (version,) = await (await sql.execute(query, (subject_of(assignment),), prepare=True)).fetchone() or (0,)
            return int(version)

        sides: tuple[tuple[str, Bus, int, Asked], ...] = (
            (name, bus, SECONDS, by_http),
            (LOOP, raw, THEIR_SECONDS, by_sql),
        )
        for run in range(RUNS + 1):
            for whose, its, full, ask in sides:
                seconds = max(2.0, full * min(bench.scale, 1))
                bench.says(f"run {run} of {RUNS}, {whose}: {PER_SECOND} commands/s for {seconds:.0f} s")
                count = int(PER_SECOND * seconds)
                load = Load(its, count, run, base)
                processors.begin()
                found = await (load.visible(ask) if visible else load.receipts())
                if run and whose == name:
                    processors.end(count)
                await settled(http, 0)
                if run:
                    keep(runs, whose, found)
    if bench.profile:
        processors.show(f"{name}, {PER_SECOND} commands/s", "command")
    return [
        Figure(f"{name} {cut}", "ms", False, tuple(runs[f"{name} {cut}"]), {LOOP: median_of(runs[f"{LOOP} {cut}"])})
        for cut in ("p50", "p99")
    ]


class Load:
    """One run of one sender."""

    def __init__(self, bus: Bus, count: int, run: int, base: int) -> None:
        self._bus, self._count, self._base = bus, count, base
        self._first = run * count
        ids = uuid7s(int(datetime.now(UTC).timestamp() * 1000))
        self._messages: Sequence[Message] = progress(count, range(ASSIGNMENTS), datetime.now(UTC), ids, self._first)
        self._sent: list[float] = []
        self._received: dict[str, float] = {}

    async def receipts(self) -> list[float]:
        """Milliseconds until each receipt, as core NATS delivers it."""
        complete = asyncio.Event()

        async def hear(message: Msg) -> None:
            now = time.perf_counter()
            for one in orjson.loads(message.data):
                self._received.setdefault(one["data"]["id"], now)
            if len(self._received) == self._count:
                complete.set()

        subscription = await self._bus.client.subscribe(self._bus.names.receipt(SOURCE), cb=hear)
        await self._bus.client.flush()
        await self._send()
        async with asyncio.timeout(60):
            await complete.wait()
        await subscription.unsubscribe()
        ids = [orjson.loads(data)["id"] for _, _, data in self._messages]
        return [1000 * (self._received[id_] - at) for id_, at in zip(ids, self._sent, strict=True)]

    async def visible(self, ask: Asked) -> list[float]:
        """Milliseconds until a report shows; the reader always turns to the command sent last."""
        sending = asyncio.create_task(self._send())
        found, seen = [], -1
        while not sending.done():
            last = len(self._sent) - 1
            if last <= seen:
                await asyncio.sleep(0.0005)
                continue
            seen, number = last, self._first + last
            wanted = self._base + 1 + number // ASSIGNMENTS
            async with asyncio.timeout(60):
                while await ask(number % ASSIGNMENTS) < wanted:
                    pass
            found.append(1000 * (time.perf_counter() - self._sent[last]))
        await sending
        return found

    async def _send(self) -> None:
        begun = time.perf_counter()
        for number, (source, programme, data) in enumerate(self._messages):
            wait = begun + number / PER_SECOND - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            subject = self._bus.names.command(source, programme)
            self._sent.append(time.perf_counter())
            await self._bus.client.publish(subject, data)
