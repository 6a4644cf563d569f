"""`start`: `sauro up` on an empty folder until it says it is ready, and what all its processes then hold in memory.

Memory is the proportional set size (PSS): pages that processes share are counted once.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.bench import RUNS, Bench
from tests.benchmarks.figures import Figure
from tests.benchmarks.running import sauro

IDLE_SECONDS = 3.0


async def run(bench: Bench) -> list[Figure]:
    """Five starts after one to warm up (the first reads the programs from disk), with engines and their initdb."""
    seconds, memory = [], []
    for number in range(RUNS + 1):
        bench.says(f"run {number} of {RUNS}")
        async with sauro(None, "up") as running:
            await asyncio.sleep(IDLE_SECONDS)
            if number:
                seconds.append(running["seconds"])
                memory.append(sum(proportional_memory(pid) for pid in family(running["pid"])))
    return [Figure("start", "s", False, tuple(seconds)), Figure("start memory", "MB", False, tuple(memory))]


def family(pid: int) -> Iterator[int]:
    """A process and all that descend from it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from family(int(child))


def proportional_memory(pid: int) -> float:
    """PSS of a process, MB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1000
    return 0.0
