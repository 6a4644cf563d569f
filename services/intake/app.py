"""Intake as a FastStream app: a puller inside the app's lifespan.

FastStream's batch subscriber waits until a batch is full or its timeout has passed; the puller takes what is there.
"""

from services.hosting import Runtime, Work, gathering
from services.intake.partitions import look_after, puller_for
from services.intake.service import IntakeService
from services.spine import intake_for

NAME = "intake"


async def begin(runtime: Runtime) -> Work:
    """Intake at work on its share of stream COMMANDS."""
    puller = await puller_for(runtime.bus, runtime.settings.partition)
    intake = intake_for(runtime.store, runtime.clock)
    full = runtime.settings.batch
    service = IntakeService(intake, runtime.bus, puller, full)

    async def step() -> int:
        return await service.step(wait=1.0)

    async def idle() -> None:
        await look_after(runtime.bus, runtime.settings.partition, puller)

    def pause(did: int) -> float:
        # What came meanwhile says whether there is more to come: a sender who waits for its receipts sends nothing until then.
        return gathering(puller.arrived, full) if did < full else 0.0

    return Work(step, idle, lambda: service.sequence, service.stop, pause)
