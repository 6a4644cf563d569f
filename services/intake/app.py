"""Intake as a FastStream app: a puller inside the app's lifespan.

FastStream's batch subscriber waits until a batch is full or its timeout has passed; the puller takes what is there.
"""

from services.hosting import Runtime, Work
from services.intake.service import IntakeService
from services.spine import command_puller, intake_for

NAME = "intake"


async def begin(runtime: Runtime) -> Work:
    """Intake at work on stream COMMANDS."""
    puller = command_puller(runtime.bus)
    await puller.start()
    intake = intake_for(runtime.store, runtime.clock)
    service = IntakeService(intake, runtime.bus, puller, runtime.settings.batch)

    async def step() -> int:
        return await service.step(wait=1.0)

    async def idle() -> None:
        if not await puller.healthy():
            await puller.start()

    return Work(step, idle, lambda: service.sequence, puller.stop)
