"""`growth`: ingest on the same 2,000 assignments while the log around them grows to 3,000,000 events.

The log grows by cloned assignments; their receipts, like the commands that are measured, have random ids in one log and UUIDv7 in
the other. Beside it PostgreSQL alone: its own loss with random ids.
"""

import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

from services.bus import Bus
from services.clock import SystemClock
from services.spine import intake_for
from tests.benchmarks.bench import RUNS, Bench, Installation
from tests.benchmarks.commands import chain, progress, random_ids, uuid7s
from tests.benchmarks.figures import Figure, median_of
from tests.benchmarks.floors import COPY
from tests.benchmarks.ingest import connected, disconnected
from tests.benchmarks.peers import last_receipt, raw_copy, refill
from tests.benchmarks.waiting import Worked, fill
from tests.benchmarks.world import World, grow, world

LEVELS = (10_000, 100_000, 1_000_000, 3_000_000)
ASSIGNMENTS = 2_000
FILLER = (chain(reports=7),)
Rates = dict[int, list[float]]
"""Commands a second of each run, by size of the log."""


async def run(bench: Bench) -> list[Figure]:
    """At each size five runs after one to warm up."""
    figures = []
    for kind, uuid7 in (("UUIDv7", True), ("random", False)):
        rates, raw = await _kind(bench, kind, uuid7=uuid7)
        for level, runs in rates.items():
            beside = {COPY: median_of(raw[level])} if level in raw else {}
            figures.append(Figure(f"growth {level:,} {kind}", "commands/s", True, tuple(runs), beside))
        theirs = median_of(_losses(raw))
        figures.append(Figure(f"growth loss {kind}", "%", False, _losses(rates), {COPY: theirs}))
    return figures


def _losses(rates: Rates) -> tuple[float, ...]:
    """Percent of the median at the first size that each run at the last one falls short of."""
    first = median_of(rates[min(rates)])
    return tuple(100 * (1 - rate / first) for rate in rates[max(rates)])


async def _kind(bench: Bench, kind: str, *, uuid7: bool) -> tuple[Rates, Rates]:
    """By size of the log, intake's rates; and at the first and the last those of raw COPY."""
    commands = bench.size(10_000, 1_000)
    template = world(bench, World(ASSIGNMENTS, uuid7=uuid7))
    levels = [max(LEVELS[0], bench.size(level)) for level in LEVELS]
    rates: Rates = {}
    raw: Rates = {}
    with bench.installation(template) as place:
        store, bus = await connected(place)
        ids = uuid7s(int(time.time() * 1000)) if uuid7 else random_ids(7)
        for level in levels:
            bench.says(f"{kind}: growing to {level:,} events")
            _grow_to(place, level, uuid7=uuid7)
            worked = Worked(intake_for(store, SystemClock()), bus)
            bench.says(f"{kind}: measuring at {level:,} events")
            before = last_receipt(place)
            rates[level] = [rate async for rate in _rates(worked, bus, ids, commands)][1:]
            if level in (levels[0], levels[-1]):
                bench.says(f"{kind}: raw COPY beside {level:,} events")
                raw[level] = _raw(place, before, commands)
        await disconnected(store, bus)
    return rates, raw


def _raw(place: Installation, before: int, commands: int) -> list[float]:
    """The runs once more by raw COPY, one after the other, into tables that hold what the log held before them."""
    refill(place, before)
    firsts = [before + run * commands for run in range(RUNS + 1)]
    return [commands / raw_copy(place, f"receipt > {first} AND receipt <= {first + commands}") for first in firsts][1:]


async def _rates(worked: Worked, bus: Bus, ids: Iterator[str], commands: int) -> AsyncIterator[float]:
    for run in range(RUNS + 1):
        messages = progress(commands, range(ASSIGNMENTS), datetime.now(UTC), ids, run * commands)
        yield commands / await worked.seconds(await fill(bus, messages))


def _grow_to(place: Installation, level: int, *, uuid7: bool) -> None:
    missing = level - place.value("SELECT max(notification_id) FROM log.events")
    if missing > 10:
        grow(place, World(missing // 10, FILLER, uuid7), series="G", first=level)
    place.execute("VACUUM ANALYZE log.events")
    place.execute("VACUUM ANALYZE log.receipts")
    place.execute("CHECKPOINT")
