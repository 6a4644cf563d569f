"""`growth`: ingest on the same 2,000 assignments while the log around them grows to 3,000,000 events.

The log grows by cloned assignments; their receipts, like the commands that are measured, have random ids in one log and UUIDv7 in
the other.
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
from tests.benchmarks.ingest import connected, disconnected
from tests.benchmarks.waiting import Worked, fill
from tests.benchmarks.world import World, grow, world

LEVELS = (10_000, 100_000, 1_000_000, 3_000_000)
ASSIGNMENTS = 2_000
FILLER = (chain(reports=7),)


async def run(bench: Bench) -> list[Figure]:
    """At each size five runs after one to warm up."""
    figures = []
    for kind, uuid7 in (("UUIDv7", True), ("random", False)):
        rates = await _kind(bench, kind, uuid7=uuid7)
        figures += [
            Figure(f"growth {level:,} {kind}", "commands/s", True, tuple(runs)) for level, runs in rates.items()
        ]
        first = median_of(rates[min(rates)])
        losses = tuple(100 * (1 - rate / first) for rate in rates[max(rates)])
        figures.append(Figure(f"growth loss {kind}", "%", False, losses))
    return figures


async def _kind(bench: Bench, kind: str, *, uuid7: bool) -> dict[int, list[float]]:
    commands = bench.size(10_000, 1_000)
    template = world(bench, World(ASSIGNMENTS, uuid7=uuid7))
    rates: dict[int, list[float]] = {}
    with bench.installation(template) as place:
        store, bus = await connected(place)
        ids = uuid7s(int(time.time() * 1000)) if uuid7 else random_ids(7)
        for level in (max(LEVELS[0], bench.size(level)) for level in LEVELS):
            bench.says(f"{kind}: growing to {level:,} events")
            _grow_to(place, level, uuid7=uuid7)
            worked = Worked(intake_for(store, SystemClock()), bus)
            bench.says(f"{kind}: measuring at {level:,} events")
            rates[level] = [rate async for rate in _rates(worked, bus, ids, commands)][1:]
        await disconnected(store, bus)
    return rates


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
