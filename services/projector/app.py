"""The projector at work: woken by every append."""

import asyncio

from services.eventlog.recorder import CHANNEL
from services.hosting import Bell, Runtime, Work, gathering
from services.projector.core import BATCH, Projector

NAME = "projector"


async def begin(runtime: Runtime) -> Work:
    """The projector over the runtime's log."""
    projector = Projector(runtime.store, runtime.clock)
    await asyncio.to_thread(projector.prepare)
    bell = await Bell(runtime.store.dsn, CHANNEL).__aenter__()

    async def step() -> int:
        return await asyncio.to_thread(projector.step)

    return Work(step, bell.wait, lambda: projector.position, bell.__aexit__, lambda did: gathering(did, BATCH))
