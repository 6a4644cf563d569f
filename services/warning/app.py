"""The warning service at work: a FastStream subscriber to the deadline events on EVENTS; `later` does what can wait.

It keeps nothing and its commands derive their ids from the events, so a redelivered batch, a second instance or a restart
send the same commands again and each rung fires once.

The subscriber is a push consumer that only lays aside what comes; whatever lies there is handled as one batch, and then
acknowledged. (FastStream's batch pull subscriber waits for full batches, drops a half-fetched one when the broker is briefly
unavailable, until `ack_wait` brings it again, and spins without pause on a connection that was closed.)
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy as ConsumerAckPolicy
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from services.bus import Bus, Names, floor_of
from services.clock import Clock
from services.puller import ACKNOWLEDGED
from services.warning.core import Warnings
from services.warning.later import NAME as LATER
from services.warning.pace import URGENT

NAME = "warning"
LOOK = 2.0
BATCH = 1024
AHEAD = 2048
"""Events that may lie aside unacknowledged, in all instances together; the server sends no more until some are done."""
log = structlog.get_logger("sauro.warning")


async def ensure_consumers(bus: Bus) -> None:
    """The durable consumers of both parts, each with the subjects it hears; the later part begins where the whole was."""
    await _ensure_later(bus)
    await ensure_consumer(bus)


async def _ensure_later(bus: Bus) -> None:
    stream, durable = bus.names.stream("EVENTS"), bus.names.stream(LATER)
    try:
        await bus.js.consumer_info(stream, durable)
    except NotFoundError:
        start = 1 + await bus.floor(stream, bus.names.stream(NAME))
        filters = list(Warnings.filters(bus, "later"))
        await bus.js.add_consumer(
            stream,
            ConsumerConfig(
                durable_name=durable,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=start,
                ack_policy=ConsumerAckPolicy.ALL,
                filter_subjects=filters,
            ),
        )


async def ensure_consumer(bus: Bus) -> None:
    """The durable consumer, with the subjects the service hears; FastStream itself would filter by one subject only.

    A simulation leaves a pull consumer; it is replaced by one that goes on at its floor.
    """
    stream, durable, start = bus.names.stream("EVENTS"), bus.names.stream(NAME), 1
    try:
        info = await bus.js.consumer_info(stream, durable)
        if info.config.deliver_group == durable:
            return
        start = 1 + floor_of(info)
        await bus.js.delete_consumer(stream, durable)
    except NotFoundError:
        pass
    await bus.js.add_consumer(
        stream,
        ConsumerConfig(
            durable_name=durable,
            deliver_subject=bus.names.subject("deliver", NAME),
            deliver_group=durable,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=start,
            ack_policy=ConsumerAckPolicy.EXPLICIT,
            ack_wait=10.0,
            max_ack_pending=AHEAD,
            filter_subjects=list(Warnings.filters(bus, "urgent")),
        ),
    )


class Subscriber(Protocol):
    """What the watch needs of FastStream's subscriber."""

    async def start(self) -> None:
        """Begin to consume."""
        ...

    async def stop(self) -> None:
        """End consuming."""
        ...


class Heard:
    """Events laid aside until they are handled."""

    def __init__(self) -> None:
        self._events: list[Msg] = []
        self._came = asyncio.Event()

    def add(self, event: Msg) -> None:
        """Lay an event aside."""
        self._events.append(event)
        self._came.set()

    async def handle(self, bus: Bus, clock: Clock, warnings: Warnings) -> None:
        """Handle what lies aside, as it comes, until cancelled.

        All of it gives way once: if each batch did, those behind would wait longer than the consumer's `ack_wait`.
        """
        while True:
            await self._came.wait()
            try:
                await URGENT.wait(bus, clock, len(self._events))
            except Exception as error:  # nobody gives way then
                warnings.trouble = f"{type(error).__name__}: {error}"
                log.exception("could not see who goes first")
            events, self._events = self._events, []
            self._came.clear()
            for start in range(0, len(events), BATCH):
                await _handle(bus, warnings, events[start : start + BATCH])


async def _handle(bus: Bus, warnings: Warnings, events: Sequence[Msg]) -> None:
    """Handle and acknowledge; a batch that fails is handled event by event, so that one bad event holds up no other.

    What is not acknowledged comes again after the consumer's `ack_wait`; the trouble stands in the log and in the heartbeat.
    """
    try:
        await warnings.handle([event.data for event in events], "urgent")
        await bus.wire.publish((event.reply, ACKNOWLEDGED, None) for event in events)
    except Exception as error:
        warnings.trouble = f"{type(error).__name__}: {error}"
        if isinstance(error, NatsError | OSError) or len(events) == 1:
            log.exception("events wait to be heard again", events=len(events), first=events[0].data[:300])
            return
        for event in events:
            await _handle(bus, warnings, [event])


def subscribe(broker: NatsBroker, names: Names, heard: Heard) -> Subscriber:
    """Register the subscriber, which lays events aside in `heard`."""
    subscriber = broker.subscriber(
        names.subject("event", ">"),
        queue=names.stream(NAME),
        stream=JStream(names.stream("EVENTS"), declare=False),
        ack_policy=AckPolicy.MANUAL,
        title=NAME,
        description="deadline events that call for warnings and escalations",
    )

    async def hear(msg: Msg) -> None:
        heard.add(msg)

    subscriber(hear)  # without a handler FastStream subscribes to nothing
    # To nats-py it hands `consume`, which puts contexts and middlewares around a handler: 50 to 100 microseconds an event.
    subscriber.consume = hear  # type: ignore[method-assign]
    return subscriber


async def watch(bus: Bus, subscriber: Subscriber, warnings: Warnings) -> None:
    """Start the subscriber again when nobody takes the events that wait.

    A silent warning service is itself an alarm: a consumer that was deleted, or lost its subscriber, stalls without an error.
    """
    unbound = 0
    while True:
        await asyncio.sleep(LOOK)
        try:
            unbound = 0 if await _is_bound(bus) else unbound + 1
            if unbound >= 2:
                log.error("the subscriber has stalled, starting it again")
                await subscriber.stop()
                await subscriber.start()
                unbound = 0
        except (NatsError, TimeoutError):
            continue  # NATS is away: the connection tries again by itself
        except Exception as error:
            warnings.trouble = f"{type(error).__name__}: {error}"
            log.exception("could not look after the subscriber")


async def _is_bound(bus: Bus) -> bool:
    """Whether some instance listens to the consumer; one that was gone is made again."""
    try:
        info = await bus.js.consumer_info(bus.names.stream("EVENTS"), bus.names.stream(NAME))
    except NotFoundError:
        await ensure_consumer(bus)
        return False
    return bool(info.push_bound)
