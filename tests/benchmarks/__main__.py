"""`make bench [ONLY=ingest,rebuild] [JSON=FILE]`: runs the benchmarks, prints and writes their figures."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console

from services.cli.main import configure_logging
from services.engines import EmbeddedEngines
from tests.benchmarks import ingest, latency, rebuilding
from tests.benchmarks.figures import Figure, show, write

BENCHMARKS: dict[str, Callable[[EmbeddedEngines], Awaitable[list[Figure]]]] = {
    "ingest": ingest.run,
    "latency": latency.run,
    "rebuild": rebuilding.run,
}


def main() -> int:
    """Run all, or those named in ONLY."""
    chosen = [name for name in os.environ.get("ONLY", "").split(",") if name] or list(BENCHMARKS)
    if unknown := [name for name in chosen if name not in BENCHMARKS]:
        print(f"no benchmark '{unknown[0]}'; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    configure_logging("ERROR")
    figures: list[Figure] = []
    console = Console(stderr=True)
    with EmbeddedEngines() as engines:
        for name in chosen:
            with console.status(f"running {name}"):
                figures += asyncio.run(_run(name, engines))
    show(figures)
    if file := os.environ.get("JSON"):
        write(figures, Path(file))
    return 0


async def _run(name: str, engines: EmbeddedEngines) -> list[Figure]:
    return await BENCHMARKS[name](engines)


if __name__ == "__main__":
    raise SystemExit(main())
