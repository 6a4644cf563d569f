"""`make bench [ONLY=ingest,rebuild] [JSON=FILE] [PROFILE=1] [SCALE=0.1]`: runs the benchmarks, prints and writes figures.

A run at full scale, not profiled, also renews its rows of results.json, README.md and the charts, each benchmark's as it ends.
"""

import asyncio
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from services.cli.logs import configure_logging
from services.engines import EmbeddedEngines
from tests.benchmarks import (
    following,
    growth,
    ingest,
    latency,
    machine,
    mixed,
    reading,
    replaying,
    report,
    starting,
    sustained,
    timers,
    verifying,
)
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure, show, write

Found = Mapping[str, Sequence[Figure]]
BENCHMARKS: dict[str, Callable[[Bench], Awaitable[list[Figure]]]] = {
    "ingest": ingest.warm,
    "ingest-cold": ingest.cold,
    "ingest-mixed": mixed.run,
    "sustained": sustained.run,
    "receipt": latency.receipt,
    "visible": latency.visible,
    "rebuild": following.rebuild,
    "catch-up": following.catch_up,
    "history": reading.history,
    "scorecards": reading.scorecards,
    "replay": replaying.replay,
    "verify": verifying.verify,
    "storm": timers.storm,
    "idle": timers.idle,
    "growth": growth.run,
    "start": starting.run,
}


def main() -> int:
    """Run all, or those named in ONLY; 1 when one of them failed, 2 when there is no such benchmark."""
    if len(sys.argv) > 1:
        print(__doc__)
        return 0 if sys.argv[1] in ("-h", "--help") else 2
    chosen = [name.strip() for name in os.environ.get("ONLY", "").split(",") if name.strip()] or list(BENCHMARKS)
    if unknown := [name for name in chosen if name not in BENCHMARKS]:
        print(f"no benchmark '{unknown[0]}'; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    scale, profile = float(os.environ.get("SCALE") or 1), os.environ.get("PROFILE") == "1"
    configure_logging("ERROR")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that services and engines end with it, as on Ctrl-C
    console = Console(stderr=True)
    with EmbeddedEngines() as engines:
        machine.require_durable(engines)
        about = machine.machine() | machine.versions(engines)
        with console.status("starting") as status:
            bench = Bench(engines, scale, profile, status)
            kept = partial(report.keep, about=about, order=list(BENCHMARKS)) if scale == 1 and not profile else None
            found = _run_all(bench, chosen, console, kept)
    figures = [figure for name in found for figure in found[name]]
    show(figures, f"scale {scale:g}; " + ", ".join(f"{name} {value}" for name, value in about.items()))
    if file := os.environ.get("JSON"):
        write(figures, Path(file))
    failed = [name for name in chosen if name not in found]
    if failed:
        console.print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def _run_all(
    bench: Bench, chosen: Sequence[str], console: Console, keep: Callable[[Found], None] | None
) -> dict[str, list[Figure]]:
    """The figures of each benchmark, kept as they come; one that fails says why, and the others go on."""
    found: dict[str, list[Figure]] = {}
    for name in chosen:
        begun, bench.name = time.monotonic(), name
        try:
            found[name] = asyncio.run(_run(name, bench))
        except Exception:
            console.print(traceback.format_exc(), markup=False, highlight=False)
            continue
        if keep is not None:
            keep({name: found[name]})
        said = ", ".join(f"{one.name} {one.median:,.4g} {one.unit}" for one in found[name])
        console.print(f"{name}: {said} [{time.monotonic() - begun:.0f} s]", highlight=False)
    bench.close()
    return found


async def _run(name: str, bench: Bench) -> list[Figure]:
    return await BENCHMARKS[name](bench)


if __name__ == "__main__":
    raise SystemExit(main())
