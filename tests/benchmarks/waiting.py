"""Fills stream COMMANDS quickly, and intake alone working it off."""

import time
from collections.abc import Sequence

from services.bus import Bus
from services.intake.core import Intake
from services.intake.service import IntakeService
from services.interpreter import set_for_batches
from services.spine import command_puller
from services.together import batches
from tests.benchmarks.commands import Message

PIPELINED = 2000


async def fill(bus: Bus, messages: Sequence[Message]) -> int:
    """Publish each message by itself, as most systems do; returns the last sequence in COMMANDS."""
    last = 0
    for start in range(0, len(messages), PIPELINED):
        part = [
            (bus.names.command(sender, about), data, None)
            for sender, about, data in messages[start : start + PIPELINED]
        ]
        last = (await bus.publish_all(part))[-1]
    return last


async def fill_together(bus: Bus, messages: Sequence[Message]) -> int:
    """Publish as CloudEvents batches, in order for each programme of a sender; returns the last sequence in COMMANDS.

    Commands of two senders may pass each other, as they do in life; of the mix that refuses one more in a thousand.
    """
    together: dict[str, list[bytes]] = {}
    for sender, about, data in messages:
        together.setdefault(bus.names.command(sender, about), []).append(data)
    payloads = [(subject, payload, None) for subject, those in together.items() for payload in batches(those, bus.room)]
    return (await bus.publish_all(payloads))[-1]


class Worked:
    """Intake over one installation, run by run; its cache lives as long as this."""

    def __init__(self, intake: Intake, bus: Bus) -> None:
        self._intake, self._bus = intake, bus
        self.service: IntakeService | None = None
        set_for_batches()  # as the services do when they start

    async def seconds(self, last: int) -> float:
        """How long until everything up to a sequence is committed, its receipts published, and acknowledged."""
        puller = command_puller(self._bus)
        self.service = service = IntakeService(self._intake, self._bus, puller)
        begun = time.perf_counter()
        await puller.start()
        while service.sequence < last:
            await service.step(5.0)
        spent = time.perf_counter() - begun
        await puller.stop()
        return spent
