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
    intake = intake_for(runtime.store, runtime.clock, states=runtime.settings.states)
    service = IntakeService(intake, runtime.bus, puller, runtime.settings.batch)

    async def step() -> int:
        did = await service.step(wait=1.0)
        await service.gather(gathering(service.waiting, service.usual))
        return did

    async def idle() -> None:
        await look_after(runtime.bus, runtime.settings.partition, puller)

    return Work(
        step, idle, lambda: service.sequence, service.stop, duplicates=lambda: service.outcomes.get("duplicate", 0)
    )
