"""Who goes first when much waits: limits before warnings, warnings before what else follows from them.

A command sent into a long queue is answered no sooner, and writing it takes time from those that wait there. So a large batch
of events stays in EVENTS until those that go first have worked off most of what waits, or for a few seconds at most.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from services.bus import Bus
from services.clock import Clock
from services.intake.partitions import first_unanswered

LOOK = 0.1
MANY = 500
"""Events that wait for the urgent part; a steady load leaves fewer, a storm of limits thousands."""
Look = Callable[[Bus, Clock, timedelta], Awaitable[bool]]


async def intake_is_late(bus: Bus, clock: Clock, oldest: timedelta) -> bool:
    """Whether a command has waited longer for intake; by age, since a message may hold one command or a thousand.

    The age is of NATS's clock by ours: a second between them lets too many through, or holds them for the longest time.
    """
    if (sequence := await first_unanswered(bus)) is None:
        return False
    try:
        message = await bus.js.get_msg(bus.names.stream("COMMANDS"), sequence, direct=True)
    except NotFoundError:  # it has gone from the stream: what waits is older than COMMANDS keeps anything
        return True
    assert message.time is not None
    return clock.now() - message.time > oldest


async def limits_wait(bus: Bus, clock: Clock, oldest: timedelta) -> bool:
    """Whether many events wait for the urgent part or are with it unanswered, at whatever age.

    A few that nobody can read, and that come again for ever, hold nobody up; hundreds hold the rest to a batch every few seconds.
    """
    try:
        urgent = await bus.js.consumer_info(bus.names.stream("EVENTS"), bus.names.stream("warning"))
    except NotFoundError:
        return False
    return (urgent.num_pending or 0) + (urgent.num_ack_pending or 0) >= MANY


@dataclass(frozen=True, slots=True)
class Pace:
    """A batch of `large` events or more goes when nobody is late by `oldest` any more, or after so many seconds."""

    large: int
    oldest: timedelta
    seconds: float
    first: tuple[Look, ...]

    async def wait(self, bus: Bus, clock: Clock, events: int) -> None:
        """Until those that go first have little to do, or long enough."""
        if events < self.large:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + self.seconds
        try:
            for _ in range(int(self.seconds / LOOK)):
                if loop.time() >= until or not await self._others_first(bus, clock):
                    return
                await asyncio.sleep(LOOK)
        except (NatsError, OSError):
            return  # courtesy ends where NATS cannot be asked; what is sent next tells of the trouble

    async def _others_first(self, bus: Bus, clock: Clock) -> bool:
        for look in self.first:
            if await look(bus, clock, self.oldest):
                return True
        return False


URGENT = Pace(64, timedelta(seconds=1.5), 3.0, (intake_is_late,))
LATER = Pace(1, timedelta(seconds=1), 5.0, (intake_is_late, limits_wait))
"""What waits under a steady load of thousands a second holds neither back; a storm of limits does."""
