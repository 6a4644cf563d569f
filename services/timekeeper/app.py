"""The timekeeper at work: asleep until the next limit, woken when limits change."""

import asyncio

from projections.deadlines import NAME as DEADLINES
from projections.status import CHANNEL
from services.hosting import IDLE, Bell, Runtime, Work
from services.timekeeper.core import Timekeeper

NAME = "timekeeper"
LONGEST = 60.0


async def begin(runtime: Runtime) -> Work:
    """The timekeeper over read model `deadlines`."""
    timekeeper = Timekeeper(runtime.store, runtime.bus, runtime.clock)
    bell = await Bell(runtime.store.dsn, CHANNEL, about=DEADLINES).__aenter__()

    async def step() -> int:
        return await timekeeper.step() if await timekeeper.can_see() else 0  # the projector makes the read model

    async def idle() -> None:
        following = await timekeeper.next_unseen() if await timekeeper.can_see() else None
        left = LONGEST if following is None else max((following - runtime.clock.now()).total_seconds(), 0.0)
        pause = min(left, timekeeper.pause)
        await asyncio.sleep(pause)
        await bell.wait(min(left - pause, IDLE if pause else LONGEST))

    return Work(step, idle, stop=bell.__aexit__)
