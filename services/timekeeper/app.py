"""The timekeeper at work: asleep until the next limit, woken when the read models change."""

from services.hosting import IDLE, Bell, Runtime, Work
from services.projector.core import CHANNEL
from services.timekeeper.core import Timekeeper

NAME = "timekeeper"
LONGEST = 60.0


async def begin(runtime: Runtime) -> Work:
    """The timekeeper over read model `deadlines`."""
    timekeeper = Timekeeper(runtime.store, runtime.bus, runtime.clock)
    bell = await Bell(runtime.store.dsn, CHANNEL).__aenter__()

    while not await timekeeper.can_see():  # the projector makes the read model
        await bell.wait(IDLE / 2)

    async def idle() -> None:
        following = await timekeeper.next_at()
        left = LONGEST if following is None else (following - runtime.clock.now()).total_seconds()
        await bell.wait(min(max(left, 0.0), LONGEST) if left > 0 else IDLE)

    return Work(timekeeper.step, idle, stop=bell.__aexit__)
