"""`start`: `sauro up` on an empty folder until it says it is ready, and what all its processes then hold in memory.

Memory is the proportional set size (PSS): pages that processes share are counted once.
"""

import asyncio
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from tests.benchmarks.bench import RUNS, Bench
from tests.benchmarks.figures import Figure, median_of
from tests.benchmarks.floors import ENGINES
from tests.benchmarks.processors import family
from tests.benchmarks.running import sauro, started

IDLE_SECONDS = 3.0


async def run(bench: Bench) -> list[Figure]:
    """Five starts after one to warm up (the first reads the programs from disk), with engines and their initdb.

    After each the two engines start alone, under a Python process that knows nothing else.
    """
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    for number in range(RUNS + 1):
        bench.says(f"run {number} of {RUNS}")
        ours.append(await _measured(sauro(None, "up")))
        theirs.append(await _measured(started((sys.executable, "-m", "tests.benchmarks.engines"))))
    seconds, memory = zip(*ours[1:], strict=True)
    their_seconds, their_memory = zip(*theirs[1:], strict=True)
    return [
        Figure("start", "s", False, seconds, {ENGINES: median_of(their_seconds)}),
        Figure("start memory", "MB", False, memory, {ENGINES: median_of(their_memory)}),
    ]


async def _measured(starting: AbstractAsyncContextManager[dict[str, Any]]) -> tuple[float, float]:
    """Seconds until it was ready, and the memory it holds after a rest, MB."""
    async with starting as running:
        await asyncio.sleep(IDLE_SECONDS)
        return running["seconds"], sum(proportional_memory(pid) for pid in family(running["pid"]))


def proportional_memory(pid: int) -> float:
    """PSS of a process, MB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1000
    return 0.0
