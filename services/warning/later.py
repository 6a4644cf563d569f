"""What can wait while warnings cannot: deliveries, with the notices themselves, and demands for explanation.

When thousands of limits fall at one instant, their warnings go first: whatever else follows from them stays in EVENTS until
intake has little to do and few limits wait to be warned of, one batch every few seconds excepted (`pace`). An idle system
answers at once.

Its events are acknowledged in order, each with all before it: as a read model does, this part stops before an event it cannot
answer, says so in its heartbeat, and goes on there once it can.
"""

from collections.abc import Sequence

from nats.errors import Error as NatsError

from services.hosting import Runtime, Work
from services.puller import Puller, Taken
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
            await _handle(warnings, puller, taken)
        return len(taken)

    async def idle() -> None:
        if not await puller.healthy():
            await puller.start()

    return Work(step, idle, stop=puller.stop)


async def _handle(warnings: Warnings, puller: Puller, taken: Sequence[Taken]) -> None:
    """Answer and acknowledge; where one event of a batch cannot be answered, those before it are. Raises what that one met."""
    try:
        await warnings.handle([item.payload for item in taken], "later")
    except (NatsError, OSError):
        raise
    except Exception:
        if len(taken) == 1:
            raise
        for item in taken:
            await _handle(warnings, puller, [item])
        return
    await puller.acknowledge(taken)
