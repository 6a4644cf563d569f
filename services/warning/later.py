"""What can wait while warnings cannot: deliveries, with the notices themselves, and demands for explanation.

When thousands of limits fall at one instant, their warnings go first: whatever else follows from them stays in EVENTS until
intake has little to do and few limits wait to be warned of, one batch every few seconds excepted (`pace`). An idle system
answers at once.
"""

from services.hosting import Runtime, Work
from services.puller import Puller
from services.warning.core import Warnings
from services.warning.pace import LATER

NAME = "warning-later"
BATCH = 512
"""Few are fetched ahead, so that what waits for its turn is handled well within the puller's ACK_WAIT."""


async def begin(runtime: Runtime) -> Work:
    """The later part of the warning service; its consumer exists already, see `services.warning.app.ensure_consumers`."""
    bus, warnings = runtime.bus, Warnings(runtime.store.codec, runtime.bus)
    filters = Warnings.filters(bus, "later")
    puller = Puller(bus, bus.names.stream("EVENTS"), bus.names.stream(NAME), filters, ahead=BATCH)
    await puller.start()

    async def step() -> int:
        taken = await puller.take(BATCH, 1.0)
        if taken:
            await LATER.wait(bus, runtime.clock, len(taken))
            await warnings.handle([item.payload for item in taken], "later")
            await puller.acknowledge(taken)
        return len(taken)

    async def idle() -> None:
        if not await puller.healthy():
            await puller.start()

    return Work(step, idle, stop=puller.stop)
