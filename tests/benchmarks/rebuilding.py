"""All read models from the log, beside an ordered scan of the same events."""

import time
from datetime import UTC, datetime

import orjson

from services.engines import EmbeddedEngines
from services.projector.rebuild import rebuild
from services.store import Store
from tests.benchmarks.figures import Figure
from tests.benchmarks.world import installation, prepared, progress

TASKS, COMMANDS, RUNS = 1000, 20_000, 3


async def run(engines: EmbeddedEngines) -> list[Figure]:
    """Rebuild and compare, three times."""
    with installation(engines) as place:
        store, bus, spine = await prepared(place, engines.addresses.nats, TASKS)
        commands = progress(COMMANDS, TASKS, datetime.now(UTC))
        for start in range(0, COMMANDS, 4000):
            await spine.publish("BENCH", commands[start : start + 4000])
            await spine.settle()
        await spine.stop()
        rates = [_once(store) for _ in range(RUNS)]
        scanned = _scan(store)
        await bus.close()
        store.close()
    return [Figure("rebuild", "events/s", True, tuple(rates), {"ordered scan with orjson": scanned})]


def _once(store: Store) -> float:
    head = store.recorder.max_notification_id() or 0
    begun = time.perf_counter()
    assert all(model.equal for model in rebuild(store))
    return head / (time.perf_counter() - begun)


def _scan(store: Store) -> float:
    head = store.recorder.max_notification_id() or 0
    begun = time.perf_counter()
    for start in range(0, head, 5000):
        for event in store.recorder.select_notifications(start, 5000, inclusive_of_start=False):
            orjson.loads(event.state)
    return head / (time.perf_counter() - begun)
