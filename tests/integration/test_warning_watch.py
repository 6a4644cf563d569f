"""A stalled warning subscriber is found and started again: a silent warning service is itself an alarm."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.js.errors import NotFoundError

from services.app import Host
from services.bus import Bus
from services.engines import EmbeddedEngines
from services.settings import Settings

EVENT = (Path(__file__).parents[1] / "golden" / "sauro.assignment.DeadlineMet.v1.json").read_bytes()


@pytest.fixture
async def host(engines: EmbeddedEngines, dsn: str, bus: Bus) -> AsyncIterator[Host]:
    """The warning service on the test's own streams."""
    settings = Settings(postgres=dsn, nats=engines.addresses.nats, subject_prefix=bus.names.prefix)
    found = Host(settings, ("warning",))
    running = asyncio.create_task(found.app.run())
    await found.ready.wait()
    yield found
    found.app.exit()
    await running


async def _heard(host: Host, bus: Bus, batches: int) -> None:
    """Until so many batches have been handled and nothing waits; each look is a round trip to NATS."""
    async with asyncio.timeout(30):
        while True:
            try:
                info = await bus.js.consumer_info(bus.names.stream("EVENTS"), bus.names.stream("warning"))
            except NotFoundError:
                continue
            if host._warnings and host._warnings.batches >= batches and not (info.num_pending or info.num_ack_pending):
                return


async def test_a_consuming_task_that_ended_and_a_deleted_consumer_are_replaced(host: Host, bus: Bus) -> None:
    subject = bus.names.event("P", "assignment", "DeadlineMet")
    await host._subscriber.stop()
    await bus.js.publish(subject, EVENT)
    await _heard(host, bus, 1)
    await bus.js.delete_consumer(bus.names.stream("EVENTS"), bus.names.stream("warning"))
    await bus.js.publish(subject, EVENT)
    await _heard(host, bus, 2)
