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
from services.spine import warning_puller

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


async def _heard(bus: Bus, events: int) -> None:
    """Until so many events are acknowledged; each look is a round trip to NATS."""
    async with asyncio.timeout(30):
        while True:
            try:
                info = await bus.js.consumer_info(bus.names.stream("EVENTS"), bus.names.stream("warning"))
            except NotFoundError:
                continue
            if info.ack_floor and info.ack_floor.stream_seq == events and not info.num_ack_pending:
                return


async def test_a_subscriber_that_ended_and_a_deleted_consumer_are_replaced(host: Host, bus: Bus) -> None:
    subject = bus.names.event("P", "assignment", "DeadlineMet")
    await host._subscriber.stop()
    await bus.js.publish(subject, EVENT)
    await _heard(bus, 1)
    await bus.js.delete_consumer(bus.names.stream("EVENTS"), bus.names.stream("warning"))
    await bus.js.publish(subject, EVENT)
    await _heard(bus, 2)


async def test_a_pull_consumer_of_a_simulation_is_replaced_where_it_ended(
    engines: EmbeddedEngines, dsn: str, bus: Bus
) -> None:
    subject = bus.names.event("P", "assignment", "DeadlineMet")
    puller = warning_puller(bus)
    await puller.start()
    await bus.publish_all([(subject, EVENT, None), (subject, EVENT, None)])
    await puller.acknowledge(await puller.take(1, 10))
    await puller.stop()
    settings = Settings(postgres=dsn, nats=engines.addresses.nats, subject_prefix=bus.names.prefix)
    host = Host(settings, ("warning",))
    running = asyncio.create_task(host.app.run())
    await _heard(bus, 2)
    info = await bus.js.consumer_info(bus.names.stream("EVENTS"), bus.names.stream("warning"))
    assert info.config.opt_start_seq == 2
    host.app.exit()
    await running
