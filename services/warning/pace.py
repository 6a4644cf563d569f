"""Who goes first when much waits: limits before warnings, warnings before what else follows from them.

A command sent into a long queue is answered no sooner, and writing it takes time from those that wait there. So a large batch
of events stays in EVENTS until those that go first have worked off most of what waits, or for a few seconds at most.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from nats.js.api import ConsumerInfo
from nats.js.errors import NotFoundError

from services.bus import Bus
from services.clock import Clock

LOOK = 0.1
NO_TIME = timedelta()


class First(NamedTuple):
    """Who goes first: all consumers of a stream, or the durable one that is named."""

    stream: str
    durable: str | None = None

    async def _consumers(self, bus: Bus) -> list[ConsumerInfo]:
        stream = bus.names.stream(self.stream)
        if self.durable is None:
            return await bus.js.consumers_info(stream)
        try:
            return [await bus.js.consumer_info(stream, bus.names.stream(self.durable))]
        except NotFoundError:
            return []

    async def waits(self, bus: Bus, clock: Clock) -> timedelta:
        """For how long the oldest message has waited to be answered; by age, since one may hold a command or a hundred."""
        waiting = [_floor(c) for c in await self._consumers(bus) if c.num_pending or c.num_ack_pending]
        if not waiting:
            return NO_TIME
        try:
            message = await bus.js.get_msg(bus.names.stream(self.stream), min(waiting) + 1, direct=True)
        except NotFoundError:  # it has gone from the stream: what waits is older than the stream keeps anything
            return timedelta.max
        assert message.time is not None
        return clock.now() - message.time


def _floor(consumer: ConsumerInfo) -> int:
    return (consumer.ack_floor.stream_seq if consumer.ack_floor else 0) or 0


@dataclass(frozen=True, slots=True)
class Pace:
    """A batch of `large` events or more goes when nothing `before` it has waited for `oldest`, or after so many seconds."""

    large: int
    oldest: timedelta
    seconds: float
    before: tuple[First, ...]

    async def wait(self, bus: Bus, clock: Clock, events: int) -> None:
        """Until little waits, or long enough."""
        if events < self.large:
            return
        for _ in range(int(self.seconds / LOOK)):
            if max([await first.waits(bus, clock) for first in self.before]) < self.oldest:
                return
            await asyncio.sleep(LOOK)


INTAKE, WARNINGS = First("COMMANDS"), First("EVENTS", "warning")
URGENT = Pace(64, timedelta(seconds=1.5), 1.0, (INTAKE,))
LATER = Pace(1, timedelta(seconds=1), 5.0, (INTAKE, WARNINGS))
"""What waits under a steady load of thousands a second holds neither back; a storm of limits does."""
