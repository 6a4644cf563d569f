"""`ingest` and `ingest-cold`: progress reports waiting in COMMANDS → events and receipts committed, receipts published.

Intake alone, in this process, as the service drives it. In all 200,000 commands wait for the five measured runs, a fifth
before each; the runs go over the same 20,000 assignments with fresh ids.
"""

from datetime import UTC, datetime

from services.bus import Bus
from services.clock import SystemClock
from services.spine import intake_for
from services.store import Store
from tests.benchmarks import profiling
from tests.benchmarks.bench import RUNS, Bench, Installation
from tests.benchmarks.commands import chain, progress, random_ids, uuid7s
from tests.benchmarks.figures import Figure, median_of
from tests.benchmarks.floors import COPY, FETCH, LIBRARY
from tests.benchmarks.peers import last_receipt, library, raw_copy, raw_fetch
from tests.benchmarks.profiling import show_stages, watching
from tests.benchmarks.waiting import Worked, fill
from tests.benchmarks.world import World, world

EARLIER = (130, 140, 150, 160, 170)
"""Events an assignment of `ingest-cold` has: 150 in the mean, so that snapshots lie 0 to 40 events back, as in life."""


async def warm(bench: Bench) -> list[Figure]:
    """Five runs after one to warm up; raw COPY and the library take their turn between them.

    Each run puts two more events on every stream, the library's as well; they begin where ours are after the first run.
    """
    assignments, commands = bench.size(20_000, 500), bench.size(40_000, 1000)
    theirs = max(bench.size(2_000, 250) // RUNS, 50)
    template = world(bench, World(assignments))
    rates: dict[str, list[float]] = {"ours": [], COPY: [], LIBRARY: [], FETCH: []}
    with (
        bench.installation(template) as place,
        bench.empty_database() as peer,
        library(peer, [4] * (theirs // 2), random_ids(1)) as peers,
    ):
        store, bus = await connected(place)
        worked = Worked(intake_for(store, SystemClock()), bus)
        ids = uuid7s(int(datetime.now(UTC).timestamp() * 1000))
        with watching(profiling.INGEST, on=bench.profile) as watch:
            for run in range(RUNS + 1):
                bench.says(f"run {run} of {RUNS}, {commands:,} commands")
                last = await fill(bus, progress(commands, range(assignments), datetime.now(UTC), ids, run * commands))
                before = last_receipt(place)
                spent = await worked.seconds(last)
                if run == 0:
                    watch.clear()
                    continue
                require_answered(place, commands)
                rates["ours"].append(commands / spent)
                rates[COPY].append(commands / raw_copy(place, f"receipt > {before}"))
                rates[FETCH].append(await raw_fetch(bus, last - commands + 1, commands))
                rates[LIBRARY].append(peers.rate(theirs))
        await disconnected(store, bus)
    if bench.profile:
        wall = sum(commands / rate for rate in rates["ours"])
        show_stages("ingest", watch, RUNS * commands, wall, "command")
    return [figure("ingest", rates)]


def figure(name: str, rates: dict[str, list[float]]) -> Figure:
    """A rate with the medians of what stood beside it."""
    beside = {name: median_of(runs) for name, runs in rates.items() if name != "ours"}
    return Figure(name, "commands/s", True, tuple(rates["ours"]), beside)


async def cold(bench: Bench) -> list[Figure]:
    """Each run begins with PostgreSQL restarted and an intake that has seen nothing, on a fifth of the assignments.

    The library begins anew as well, on a few aggregates with as many earlier events, each written in one save just before.
    """
    assignments = bench.size(20_000, 500)
    share = assignments // RUNS
    commands = 10 * share
    template = world(bench, World(assignments, tuple(chain(reports=count - 3) for count in EARLIER)))
    rates: dict[str, list[float]] = {"ours": [], COPY: [], LIBRARY: [], FETCH: []}
    with bench.installation(template) as place:
        ids = uuid7s(int(datetime.now(UTC).timestamp() * 1000))
        with watching(profiling.INGEST, on=bench.profile) as watch:
            for run in range(RUNS + 1):
                bench.says(f"run {run} of {RUNS}, {commands:,} commands on {share:,} cold streams")
                place.execute("CHECKPOINT")
                bench.engines.postgres.restart()
                store, bus = await connected(place)
                first = share * max(run - 1, 0)
                last = await fill(bus, progress(commands, range(first, first + share), datetime.now(UTC), ids))
                before = last_receipt(place)
                spent = await Worked(intake_for(store, SystemClock()), bus).seconds(last)
                if run == 0:
                    watch.clear()
                else:
                    rates["ours"].append(commands / spent)
                    rates[COPY].append(commands / raw_copy(place, f"receipt > {before}"))
                    rates[FETCH].append(await raw_fetch(bus, last - commands + 1, commands))
                    with bench.empty_database() as peer, library(peer, 5 * EARLIER, random_ids(run)) as peers:
                        rates[LIBRARY].append(peers.rate(100))
                await disconnected(store, bus)
    if bench.profile:
        wall = sum(commands / rate for rate in rates["ours"])
        show_stages("ingest-cold", watch, RUNS * commands, wall, "command")
    return [figure("ingest-cold", rates)]


async def connected(place: Installation) -> tuple[Store, Bus]:
    """A store and a bus with its streams."""
    bus = await Bus.connect(place.nats, place.names, name="bench")
    await bus.ensure_streams()
    return Store.open(place.dsn, application="bench"), bus


async def disconnected(store: Store, bus: Bus) -> None:
    """Give both back."""
    await bus.close()
    store.close()


def require_answered(place: Installation, commands: int) -> None:
    """The last commands were all accepted, each with one event."""
    found = place.value(
        f"SELECT count(*) FROM (SELECT * FROM log.receipts ORDER BY receipt DESC LIMIT {commands}) r"
        " WHERE outcome = 1 AND event_count = 1"
    )
    assert found == commands, f"{found} of {commands} accepted"


__all__ = ["cold", "connected", "disconnected", "figure", "warm"]
