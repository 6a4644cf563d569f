"""`ingest-mixed`: the mix of commands waiting in COMMANDS; intake alone."""

from datetime import UTC, datetime

from services.clock import SystemClock
from services.registry import REGISTRY
from services.spine import intake_for
from tests.benchmarks import profiling
from tests.benchmarks.bench import RUNS, Bench
from tests.benchmarks.figures import Figure
from tests.benchmarks.floors import COPY, FETCH
from tests.benchmarks.ingest import connected, disconnected, figure
from tests.benchmarks.mix import REFUSED, REPEATED, WHOLE, Mix, types_of
from tests.benchmarks.peers import last_receipt, raw_copy, raw_fetch
from tests.benchmarks.profiling import show_stages, watching
from tests.benchmarks.waiting import Worked, fill
from tests.benchmarks.world import World, world

TOLERANCE = 0.02


async def run(bench: Bench) -> list[Figure]:
    """Five runs after one to warm up, each the next part of one long sequence on a log with 20,000 other assignments."""
    commands = bench.size(40_000, 2_000)
    template = world(bench, World(bench.size(20_000, 500)))
    rates: dict[str, list[float]] = {"ours": [], COPY: [], FETCH: []}
    with bench.installation(template) as place:
        store, bus = await connected(place)
        worked, mix = Worked(intake_for(store, SystemClock()), bus), Mix(datetime.now(UTC))
        with watching(profiling.INGEST, on=bench.profile) as watch:
            for number in range(RUNS + 1):
                bench.says(f"run {number} of {RUNS}, {commands:,} commands")
                messages = mix.take(commands)
                assert commands < WHOLE or types_of(messages) == set(REGISTRY.contracts.commands)
                last, before = await fill(bus, messages), last_receipt(place)
                spent = await worked.seconds(last)
                if number == 0:
                    watch.clear()
                    continue
                assert worked.service is not None
                require_shares(worked.service.outcomes, commands)
                rates["ours"].append(commands / spent)
                rates[COPY].append(commands / raw_copy(place, f"receipt > {before}"))
                rates[FETCH].append(await raw_fetch(bus, last - commands + 1, commands))
        await disconnected(store, bus)
    if bench.profile:
        wall = sum(commands / rate for rate in rates["ours"])
        show_stages("ingest-mixed", watch, RUNS * commands, wall, "command")
    return [figure("ingest-mixed", rates)]


def require_shares(outcomes: dict[str, int], commands: int) -> None:
    """What intake answered is the mix that was meant."""
    refused, repeated = outcomes.get("rejected", 0) / commands, outcomes.get("duplicate", 0) / commands
    assert abs(refused - REFUSED) < TOLERANCE, outcomes
    assert abs(repeated - REPEATED) < TOLERANCE, outcomes
