"""How Sauro's own services send commands: through the same door as everyone else, with ids that derive from their cause."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from uuid import UUID

from contracts.base import Command
from contracts.envelope import Actor
from services.bus import Bus, Message
from services.ids import named_uuid
from services.outgoing import Outgoing, to_json
from services.together import batches

SAURO = Actor(post="SAURO", unit="SAURO")
TOGETHER = 100
"""Commands in a message, at most: enough that its own cost no longer counts, and few enough to be soon at intake."""
_COMMANDS = UUID("6a3c2f0e-5b0a-5c7e-9d1e-53617572af01").bytes


def derived_id(*cause: object) -> str:
    """The same cause gives the same id, so a command found twice is sent once."""
    return named_uuid(_COMMANDS, "|".join(map(str, cause)))


def system_command(
    command: Command,
    subject: str,
    organisation: str,
    occurred_at: datetime,
    id_: str,
    *,
    correlation_id: str | None = None,
    causation_id: str | None = None,
) -> Outgoing:
    """A command of one of Sauro's services."""
    return Outgoing(
        id=id_,
        aggregate=subject.split("/", 1)[0],
        command=command,
        subject=subject,
        programme=subject.split("/")[1],
        organisation=organisation,
        actor=SAURO,
        occurred_at=occurred_at,
        correlation_id=correlation_id,
        causation_id=causation_id,
    )


async def send(bus: Bus, source: str, commands: Sequence[Outgoing]) -> list[int]:
    """Publish commands in order, many of one programme in a message; returns the messages' sequences in COMMANDS."""
    messages: list[Message] = []
    for programme, those in groupby(commands, key=lambda command: command.programme):
        subject, events = bus.names.command(source, programme), [to_json(command, source) for command in those]
        payloads = batches(events, bus.room, TOGETHER) if len(events) > 1 else events
        messages += [(subject, payload, None) for payload in payloads]
    return await bus.publish_batch(messages)
