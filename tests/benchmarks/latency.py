"""One sender at a steady pace: publish → receipt, and publish → visible through the HTTP API."""

import asyncio
import json
import statistics
import time
from datetime import UTC, datetime

import httpx
from nats.aio.msg import Msg

from services.app import SERVICES, Host
from services.engines import EmbeddedEngines
from services.outgoing import to_json
from services.settings import Settings
from tests.benchmarks.figures import Figure
from tests.benchmarks.world import installation, prepared, progress

TASKS, PER_SECOND, SECONDS = 200, 200, 5


async def run(engines: EmbeddedEngines) -> list[Figure]:
    """All services in one process, one sender, the receipts heard as they come; every tenth command looked up by HTTP."""
    with installation(engines) as place:
        store, bus, spine = await prepared(place, engines.addresses.nats, TASKS)
        await spine.stop()
        settings = Settings(postgres=place.dsn, nats=engines.addresses.nats, subject_prefix=place.names.prefix)
        host = Host(settings, SERVICES)
        running = asyncio.create_task(host.app.run())
        await host.ready.wait()
        sent: dict[str, float] = {}
        received: dict[str, float] = {}
        complete = asyncio.Event()

        async def hear(message: Msg) -> None:
            now = time.perf_counter()
            for event in json.loads(message.data):
                received.setdefault(event["data"]["id"], now)
            if len(received) == PER_SECOND * SECONDS:
                complete.set()

        await bus.client.subscribe(bus.names.receipt("BENCH"), cb=hear)
        visible = asyncio.create_task(_watch(host.api_address or "", sent))
        for command in progress(PER_SECOND * SECONDS, TASKS, datetime.now(UTC), prefix="l"):
            sent[command.id] = time.perf_counter()
            await bus.client.publish(bus.names.command("BENCH", command.programme), to_json(command, "BENCH"))
            await asyncio.sleep(1 / PER_SECOND)
        async with asyncio.timeout(30):
            await complete.wait()
        seen = await visible
        host.app.exit()
        await running
        await bus.close()
        store.close()
    receipts = [1000 * (received[id_] - at) for id_, at in sent.items()]
    return [*_quantiles("receipt", receipts), *_quantiles("visible", seen)]


async def _watch(address: str, sent: dict[str, float]) -> list[float]:
    """How long until a progress report shows in the assignment's row."""
    found: list[float] = []
    async with httpx.AsyncClient(base_url=address) as client:
        for number in range(0, PER_SECOND * SECONDS, 10):
            task = number % TASKS
            while f"l{number}" not in sent:
                await asyncio.sleep(0.001)
            while True:
                row = (await client.get(f"/v1/assignments/SKHCN-TD500/B-{task:06}")).json()["data"]
                if row["version"] >= 4 + number // TASKS:
                    break
            found.append(1000 * (time.perf_counter() - sent[f"l{number}"]))
    return found


def _quantiles(name: str, values: list[float]) -> list[Figure]:
    cuts = statistics.quantiles(values, n=100)
    return [Figure(f"{name} p50", "ms", False, (cuts[49],)), Figure(f"{name} p99", "ms", False, (cuts[98],))]
