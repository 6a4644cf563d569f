"""What the figures were measured on, and the proof that the engines keep what they acknowledge."""

import asyncio
import os
import platform
import random
import timeit
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import nats
import psycopg

from services.engines import EmbeddedEngines

PACKAGES = ("nats-py", "psycopg", "eventsourcing", "pydantic")


class NotDurable(Exception):
    """An engine would acknowledge what it could still lose; figures from it would be worthless."""


def processor() -> str:
    """The CPU's name, where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def loop_ms(_: int = 0) -> float:
    """Milliseconds of a million additions in a loop, the median of many: how fast a process of this interpreter is now."""
    return 1000 * median(timeit.repeat("for i in range(1_000_000): n += i", "n = 0", number=1, repeat=25))


def random_read_ns(_: int = 0) -> float:
    """Nanoseconds that a step through a list of numbers in random order takes more than one in order: memory, not Python.

    A step reads twice, the list and then the number. Both take 20 MB, more than a core's own cache and than its share of
    one that all cores of a processor, and whoever else works on it, have together.
    """
    size, steps = 500_000, 200_000
    scattered = list(range(size))
    random.Random(1).shuffle(scattered)
    following = [0] * size
    for here, there in zip(scattered, [*scattered[1:], scattered[0]], strict=True):
        following[here] = there
    in_order = [*range(1, size), 0]

    def step_ns(numbers: list[int]) -> float:
        def walk() -> None:
            at = 0
            for _ in range(steps):
                at = numbers[at]

        return 1e9 * median(timeit.repeat(walk, number=1, repeat=3)) / steps

    return step_ns(following) - step_ns(in_order)


def machine() -> dict[str, str]:
    """Cores, memory, CPU, and how fast it adds in Python: alone, and on every core at once.

    Cores that are threads of one core, or that others work on too, are slower together than one by one.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    alone, reading = loop_ms(), random_read_ns()
    spawn = get_context("spawn")
    with ProcessPoolExecutor(cores, spawn, spawn.Barrier(cores).wait) as pool:
        together, all_reading = max(pool.map(loop_ms, range(cores))), max(pool.map(random_read_ns, range(cores)))
    return {
        "cores": str(cores),
        "memory": f"{memory:.0f} GiB",
        "cpu": processor(),
        "a million additions": f"{alone:.0f} ms alone and {together:.0f} ms on every core at once",
        "two reads of memory at random": f"{reading:.0f} ns alone and {all_reading:.0f} ns on every core at once",
        "system": f"{platform.system()} {platform.release()}",
    }


def versions(engines: EmbeddedEngines) -> dict[str, str]:
    """The versions of everything the figures depend on."""
    with psycopg.connect(engines.addresses.postgres) as connection:
        number = connection.info.server_version
    return {
        "Python": platform.python_version(),
        "PostgreSQL": f"{number // 10000}.{number % 10000}",
        "NATS": asyncio.run(_nats_version(engines.addresses.nats)),
        **{package: version(package) for package in PACKAGES},
    }


async def _nats_version(url: str) -> str:
    client = await nats.connect(url)
    version_ = client.connected_server_version
    found = f"{version_.major}.{version_.minor}.{version_.patch}"
    await client.close()
    return found


def require_durable(engines: EmbeddedEngines) -> None:
    """Ask both engines whether they flush before they acknowledge. Raises NotDurable.

    PostgreSQL answers for itself. NATS does not tell a client its sync interval, so the configuration that the running
    server was started with is read.
    """
    with psycopg.connect(engines.addresses.postgres) as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            (value,) = connection.execute(f"SHOW {name}".encode()).fetchone() or ("?",)
            if value != "on":
                raise NotDurable(f"PostgreSQL runs with {name} = {value}")
    pid = engines.nats.pid
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") if pid else []
    config = Path(os.fsdecode(arguments[arguments.index(b"--config") + 1])).read_text() if arguments else ""
    if "sync_interval: always" not in config:
        raise NotDurable("NATS runs without sync_interval: always")
