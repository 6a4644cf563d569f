"""When much waits for intake, warnings go first: explanations and deliveries are sent once it has worked off what waits."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest
from nats.js.api import AckPolicy, ConsumerConfig

from services.app import Host
from services.bus import Bus
from services.clock import Clock, SystemClock
from services.engines import EmbeddedEngines
from services.hosting import end
from services.intake.partitions import durable, filters, first_unanswered
from services.partition import Partition
from services.settings import Settings
from services.store import Store
from services.warning import app
from services.warning.core import Warnings
from services.warning.pace import LATER, MANY, URGENT, intake_is_late, limits_wait
from tests.integration.support import PASSED, commands, until

EVENTS = 60
"""Few enough that they are warned of at once."""


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
        return await intake_is_late(bus, SystemClock(), LATER.oldest)

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
    """Or are with the urgent part, which has not answered them yet."""
    events, name, clock = bus.names.stream("EVENTS"), bus.names.stream("warning"), SystemClock()
    await bus.js.add_consumer(events, ConsumerConfig(durable_name=name, ack_policy=AckPolicy.EXPLICIT))
    passed = bus.names.event("P", "assignment", "DeadlinePassed"), orjson.dumps(PASSED), None
    await bus.publish_batch([passed] * (MANY - 1))
    assert not await limits_wait(bus, clock, LATER.oldest)
    await bus.publish_all([passed])
    assert await limits_wait(bus, clock, LATER.oldest)
    follows = asyncio.create_task(replace(LATER, seconds=600.0).wait(bus, clock, 1))
    for _ in range(10):
        assert await limits_wait(bus, clock, LATER.oldest)
        assert not follows.done()
    urgent = await bus.js.pull_subscribe_bind(name, events)
    (event,) = await urgent.fetch(1, timeout=5)
    assert await limits_wait(bus, clock, LATER.oldest)
    await event.ack_sync()
    await asyncio.wait_for(follows, 10)


async def test_all_that_lies_aside_gives_way_once(store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever gives way longer than `ack_wait` would come again, and be answered again."""
    looks: list[timedelta] = []

    async def look(_bus: Bus, _clock: Clock, oldest: timedelta) -> bool:
        looks.append(oldest)
        return False

    monkeypatch.setattr(app, "URGENT", replace(URGENT, first=(look,)))
    events, name, number = bus.names.stream("EVENTS"), bus.names.stream("warning"), app.BATCH + 1
    await bus.js.add_consumer(
        events, ConsumerConfig(durable_name=name, ack_policy=AckPolicy.EXPLICIT, max_ack_pending=app.AHEAD)
    )
    passed = bus.names.event("P", "assignment", "DeadlinePassed"), orjson.dumps(PASSED), None
    await bus.publish_batch([passed] * number)
    urgent, heard = await bus.js.pull_subscribe_bind(name, events), app.Heard()
    for _ in range(number):
        for event in await urgent.fetch(1, timeout=5):
            heard.add(event)
    handling = asyncio.create_task(heard.handle(bus, SystemClock(), Warnings(store.codec, bus)))

    async def acknowledged() -> bool:
        info = await bus.js.consumer_info(events, name)
        return not info.num_ack_pending

    await until(acknowledged)
    assert len(looks) == 1
    await end((handling,))


async def test_only_instances_at_work_are_late(bus: Bus) -> None:
    """Not a consumer of somebody else's, nor one of an earlier division whose slots another has gone on with."""
    stream, clock = bus.names.stream("COMMANDS"), SystemClock()
    sequences = await bus.publish_all([(bus.names.command("DMS", "P"), b"{}", None)] * 3)
    assert not await intake_is_late(bus, clock, timedelta())
    await bus.js.add_consumer(stream, ConsumerConfig(durable_name="BACKUP", ack_policy=AckPolicy.ALL))
    assert not await intake_is_late(bus, clock, timedelta())
    for number in (1, 2):
        partition = Partition(number, 2)
        at_work = ConsumerConfig(
            durable_name=durable(bus.names, partition),
            filter_subjects=list(filters(bus.names, partition)),
            ack_policy=AckPolicy.ALL,
        )
        await bus.js.add_consumer(stream, at_work)
    assert await intake_is_late(bus, clock, timedelta())
    assert not await intake_is_late(bus, clock, timedelta(minutes=5))
    before = ConsumerConfig(durable_name=durable(bus.names, Partition()), ack_policy=AckPolicy.ALL)
    await bus.js.add_consumer(stream, before)
    whole = await bus.js.pull_subscribe_bind(durable(bus.names, Partition()), stream)
    for message in await whole.fetch(2, timeout=5):
        await message.ack_sync()
    assert await first_unanswered(bus) == sequences[-1], (
        "the one for all has come further: what the others have not done is done"
    )
