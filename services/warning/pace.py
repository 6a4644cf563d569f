"""Who goes first when much waits: limits before warnings, warnings before what else follows from them.

A command sent into a long queue is answered no sooner, and writing it takes time from those that wait there. So a large batch
of events stays in EVENTS until intake has worked off most of what waits, or for a few seconds at most.
"""

import asyncio
from dataclasses import dataclass

from services.bus import Bus

LOOK = 0.1


@dataclass(frozen=True, slots=True)
class Pace:
    """A batch of `large` events or more goes when less than `most` commands wait, or after so many seconds."""

    large: int
    most: int
    seconds: float

    async def wait(self, bus: Bus, events: int) -> None:
        """Until little waits, or long enough."""
        if events < self.large:
            return
        for _ in range(int(self.seconds / LOOK)):
            if await _waiting(bus) < self.most:
                return
            await asyncio.sleep(LOOK)


URGENT, LATER = Pace(64, 8192, 1.0), Pace(1, 4096, 5.0)
"""What waits at intake under a steady load of thousands a second holds neither back; a storm of limits does."""


async def _waiting(bus: Bus) -> int:
    """How many commands intake, or the busiest of its partitions, has not answered."""
    found = await bus.js.consumers_info(bus.names.stream("COMMANDS"))
    return max(((info.num_pending or 0) + (info.num_ack_pending or 0) for info in found), default=0)
