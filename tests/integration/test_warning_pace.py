"""When much waits for intake, warnings go first: explanations and deliveries are sent once it has worked off what waits."""

import asyncio
from dataclasses import replace
from pathlib import Path

import orjson
from nats.js.api import ConsumerConfig

from services.app import Host
from services.bus import Bus
from services.clock import SystemClock
from services.engines import EmbeddedEngines
from services.settings import Settings
from services.warning.pace import INTAKE, LATER, WARNINGS
from tests.integration.support import commands, until

PASSED = orjson.loads((Path(__file__).parents[1] / "golden" / "sauro.assignment.DeadlinePassed.v1.json").read_bytes())
EVENTS = 200


async def _sent(bus: Bus, least: int) -> list[str]:
    """The types of the warning service's commands in order, once there are so many; each look is a round trip to NATS."""
    async with asyncio.timeout(30):
        while True:
            found = [orjson.loads(c.payload)["type"] for c in await commands(bus) if c.source == "warning"]
            if len(found) >= least:
                return found


async def test_warnings_go_before_what_else_follows(engines: EmbeddedEngines, dsn: str, bus: Bus) -> None:
    subject = bus.names.event("P", "assignment", "DeadlinePassed")
    events = [PASSED | {"id": f"E-{number}", "subject": f"assignment/P/T-{number}"} for number in range(EVENTS)]
    await bus.publish_batch([(subject, orjson.dumps(event), None) for event in events])
    commands = bus.names.stream("COMMANDS")
    await bus.js.add_consumer(commands, ConsumerConfig(durable_name=bus.names.stream("intake")))
    await bus.publish_all([(bus.names.command("DMS", "P"), b"{}", None)])

    async def waits_long() -> bool:
        return await INTAKE.waits(bus, SystemClock()) > LATER.oldest

    await until(waits_long)
    settings = Settings(postgres=dsn, nats=engines.addresses.nats, subject_prefix=bus.names.prefix)
    host = Host(settings, ("warning",))
    running = asyncio.create_task(host.app.run())
    raised = await _sent(bus, EVENTS)
    assert set(raised) == {"sauro.warning.RaiseWarning.v1"}
    await bus.js.delete_consumer(commands, bus.names.stream("intake"))
    assert (await _sent(bus, 2 * EVENTS))[EVENTS:] == ["sauro.obligation.DemandExplanation.v1"] * EVENTS
    host.app.exit()
    await running


async def test_nothing_else_follows_while_limits_wait_to_be_warned_of(bus: Bus) -> None:
    events, clock = bus.names.stream("EVENTS"), SystemClock()
    await bus.js.add_consumer(events, ConsumerConfig(durable_name=bus.names.stream("warning")))
    await bus.publish_all([(bus.names.event("P", "assignment", "DeadlinePassed"), orjson.dumps(PASSED), None)])

    async def waits_long() -> bool:
        return await WARNINGS.waits(bus, clock) > LATER.oldest

    await until(waits_long)
    follows = asyncio.create_task(replace(LATER, seconds=600.0).wait(bus, clock, 1))
    for _ in range(10):
        assert await waits_long()
        assert not follows.done()
    await bus.js.delete_consumer(events, bus.names.stream("warning"))
    await asyncio.wait_for(follows, 10)
