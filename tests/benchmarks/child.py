"""`python -m tests.benchmarks.child rebuild|project DSN plain|profile`: one follower's work in a process of its own.

Prints what it measured as one line of JSON: seconds, events, peak memory in MB.
"""

import json
import sys
import time
from pathlib import Path

from services.cli.logs import configure_logging
from services.clock import SystemClock
from services.interpreter import set_for_batches
from services.projector.core import Projector
from services.projector.rebuild import rebuild
from services.store import Store
from tests.benchmarks import profiling
from tests.benchmarks.profiling import show_stages, watching


def main(work: str, dsn: str, profile: str) -> None:
    """Do the work and say how long it took."""
    configure_logging("ERROR")
    store = Store.open(dsn, application=f"bench-{work}")
    set_for_batches()  # as the services do when they start
    stages = profiling.PROJECTOR if work == "project" else profiling.REBUILD
    with watching(stages, on=profile == "profile") as watch:
        found = _rebuild(store) if work == "rebuild" else _project(store)
    store.close()
    if profile == "profile":
        show_stages(work, watch, int(found["events"]), found["seconds"], "event", sys.stderr)
    print(json.dumps(found | {"memory": peak_memory()}))


def _rebuild(store: Store) -> dict[str, float]:
    head = store.recorder.max_notification_id() or 0
    begun = built = time.perf_counter()

    def progress(position: int, _: int) -> None:
        nonlocal built
        if position >= head:
            built = time.perf_counter()

    equal = all(model.equal for model in rebuild(store, progress=progress, switch=True))
    assert equal, "the rebuilt read models differ from the live ones"
    return {"seconds": time.perf_counter() - begun, "built": built - begun, "events": head}


def _project(store: Store) -> dict[str, float]:
    projector = Projector(store, SystemClock())
    projector.prepare()
    begun, before = time.perf_counter(), projector.position
    while projector.step():
        pass
    return {"seconds": time.perf_counter() - begun, "events": projector.position - before}


def peak_memory() -> float:
    """The most resident memory this process had, MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1000
    return 0.0


if __name__ == "__main__":
    main(*sys.argv[1:])
