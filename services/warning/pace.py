"""Who goes first when much waits: limits before warnings, warnings before what else follows from them.

A command sent into a long queue is answered no sooner, and writing it takes time from those that wait there. So a large batch
of events stays in EVENTS until intake has worked off most of what waits, or for a few seconds at most.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from nats.js.api import ConsumerInfo
from nats.js.errors import NotFoundError

from services.bus import Bus
from services.clock import Clock

LOOK = 0.1
NO_TIME = timedelta()


@dataclass(frozen=True, slots=True)
class Pace:
    """A batch of `large` events or more goes when no command has waited for `oldest`, or after so many seconds."""

    large: int
    oldest: timedelta
    seconds: float

    async def wait(self, bus: Bus, clock: Clock, events: int) -> None:
        """Until little waits, or long enough."""
        if events < self.large:
            return
        for _ in range(int(self.seconds / LOOK)):
            if await _oldest(bus, clock) < self.oldest:
                return
            await asyncio.sleep(LOOK)


URGENT, LATER = Pace(64, timedelta(seconds=1.5), 1.0), Pace(1, timedelta(seconds=1), 5.0)
"""What waits at intake under a steady load of thousands a second holds neither back; a storm of limits does."""


async def _oldest(bus: Bus, clock: Clock) -> timedelta:
    """How long the oldest command waits that intake, or one of its partitions, has not answered.

    By age, since a message may hold one command or a hundred.
    """
    stream = bus.names.stream("COMMANDS")
    waiting = [_floor(info) for info in await bus.js.consumers_info(stream) if info.num_pending or info.num_ack_pending]
    if not waiting:
        return NO_TIME
    try:
        message = await bus.js.get_msg(stream, min(waiting) + 1, direct=True)
    except NotFoundError:  # it has gone from the stream: what waits is older than COMMANDS keeps anything
        return timedelta.max
    assert message.time is not None
    return clock.now() - message.time


def _floor(consumer: ConsumerInfo) -> int:
    return (consumer.ack_floor.stream_seq if consumer.ack_floor else 0) or 0
