"""The warning service at work: a FastStream subscriber to the deadline and warning events on EVENTS.

It keeps nothing and its commands derive their ids from the events, so a redelivered batch, a second instance or a restart
send the same commands again and each rung fires once.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import structlog
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy as ConsumerAckPolicy
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from services.bus import Bus, Names
from services.warning.core import Warnings

NAME = "warning"
LOOK = 2.0
log = structlog.get_logger("sauro.warning")


async def ensure_consumer(bus: Bus) -> None:
    """The durable consumer, with the subjects the service hears; FastStream itself would filter by one subject only.

    A simulation leaves one that acknowledges whole batches; it is replaced by one that goes on at its floor.
    """
    stream, durable, start = bus.names.stream("EVENTS"), bus.names.stream(NAME), 1
    try:
        info = await bus.js.consumer_info(stream, durable)
        if info.config.ack_policy == ConsumerAckPolicy.EXPLICIT:
            return
        start = 1 + ((info.ack_floor.stream_seq if info.ack_floor else 0) or 0)
        await bus.js.delete_consumer(stream, durable)
    except NotFoundError:
        pass
    await bus.js.add_consumer(
        stream,
        ConsumerConfig(
            durable_name=durable,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=start,
            ack_policy=ConsumerAckPolicy.EXPLICIT,
            ack_wait=10.0,
            max_ack_pending=4096,
            filter_subjects=list(Warnings.filters(bus)),
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


async def watch(bus: Bus, subscriber: Subscriber, warnings: Warnings) -> None:
    """Start the subscriber again when events wait, nobody asks for them, and no batch has ended between two looks.

    A silent warning service is itself an alarm: a consumer that was deleted, or a consuming task that ended with a connection,
    stalls without an error.
    """
    seen, looks = warnings.batches, 0
    while True:
        await asyncio.sleep(LOOK)
        try:
            stuck = await _nobody_asks(bus) and warnings.batches == seen
            seen, looks = warnings.batches, looks + 1 if stuck else 0
            if looks >= 2:
                log.error("the subscriber has stalled, starting it again")
                await subscriber.stop()
                await subscriber.start()
                looks = 0
        except (NatsError, TimeoutError):
            continue  # NATS is away: the connection tries again by itself
        except Exception as error:
            warnings.trouble = f"{type(error).__name__}: {error}"
            log.exception("could not look after the subscriber")


async def _nobody_asks(bus: Bus) -> bool:
    """Whether events wait and no request for them is outstanding, or the consumer was gone."""
    try:
        info = await bus.js.consumer_info(bus.names.stream("EVENTS"), bus.names.stream(NAME))
    except NotFoundError:
        await ensure_consumer(bus)
        return True
    return bool(info.num_pending) and not info.num_waiting


def subscribe(broker: NatsBroker, names: Names, handler: Callable[[], Warnings]) -> Subscriber:
    """Register the subscriber; `handler` gives the service's core once the app has connected."""
    subscriber = broker.subscriber(
        names.subject("event", ">"),
        stream=JStream(names.stream("EVENTS"), declare=False),
        durable=names.stream(NAME),
        pull_sub=PullSub(batch_size=256, timeout=0.1, batch=True),
        ack_policy=AckPolicy.MANUAL,
        decoder=_as_bytes,
        title="warning",
        description="deadline and warning events that call for warnings, escalations and notices",
    )

    @subscriber
    async def hear(stored: list[bytes], message: NatsMessage) -> None:
        await _hear(handler(), list(zip(stored, _messages(message), strict=True)))

    return subscriber


async def _hear(warnings: Warnings, events: Sequence[tuple[bytes, Any]]) -> None:
    """Handle and acknowledge; a batch that fails is handled event by event, so that one bad event holds up no other.

    What is not acknowledged comes again after the consumer's `ack_wait`; the trouble stands in the log and in the heartbeat.
    """
    try:
        await warnings.handle([stored for stored, _ in events])
    except Exception as error:
        warnings.trouble = f"{type(error).__name__}: {error}"
        if isinstance(error, NatsError | OSError) or len(events) == 1:
            log.exception("events wait to be heard again", events=len(events), first=events[0][0][:300])
            return
        for event in events:
            await _hear(warnings, [event])
        return
    for _, raw in events:
        await raw.ack()


async def _as_bytes(message: Any) -> Any:
    raw = message.raw_message
    return [one.data for one in raw] if isinstance(raw, list) else raw.data


def _messages(message: NatsMessage) -> list[Any]:
    raw: Any = message.raw_message
    return list(raw) if isinstance(raw, list) else [raw]
