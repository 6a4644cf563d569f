"""Handles a batch of events from EVENTS: sends the commands they call for, and notices to the posts a warning names.

`WarningDelivered` follows JetStream's acknowledgement of the notice, not the raise. What an event calls for has two parts, which
the service sends apart: warnings at once, deliveries and demands for explanation when no warning waits.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from contracts.warning import Notice, RecordDelivery, WarningEscalated, WarningRaised
from domain.kernel import Recorded
from services.bus import Bus
from services.eventlog.codec import EventCodec, instant_text
from services.outgoing import Outgoing
from services.senders import derived_id, send, system_command
from services.warning.reactions import EXPLAINED, HEARD, NOTICED, Part, reactions

SOURCE = "warning"
RAISED = (WarningRaised, WarningEscalated)


class Warnings:
    """The warning service's handler; it keeps nothing between batches."""

    def __init__(self, codec: EventCodec, bus: Bus) -> None:
        self._codec, self._bus = codec, bus
        self.sequence = 0
        self.trouble: str | None = None
        """What went wrong since it was last told."""

    def tell_trouble(self) -> str | None:
        """What went wrong since it was last told, for the heartbeat."""
        told, self.trouble = self.trouble, None
        return told

    @staticmethod
    def filters(bus: Bus, part: Part = "all") -> tuple[str, ...]:
        """The subjects of EVENTS the service hears."""
        heard = tuple(bus.names.event("*", "*", name) for name in (EXPLAINED if part == "later" else HEARD))
        return heard if part == "urgent" else (*heard, *(bus.names.event("*", "warning", name) for name in NOTICED))

    async def handle(self, stored: Sequence[bytes], part: Part = "all") -> int:
        """Answer a batch of stored events, or one part of it; returns how many commands were sent. Safe to repeat."""
        events = [self._codec.decode(state) for state in stored]
        raised = [event for event in events if isinstance(event.data, RAISED)]
        delivered = {} if part == "urgent" else await self._deliver(raised)
        commands = [command for event in events for command in _called_for(event, delivered, part)]
        if commands:
            self.sequence = (await send(self._bus, SOURCE, commands))[-1]
        return len(commands)

    async def _deliver(self, raised: Sequence[Recorded[Any]]) -> dict[str, Outgoing]:
        """Publish the notices of many warnings at once; by event, the command that records what JetStream acknowledged."""
        notices = [(event, post) for event in raised for post in event.data.recipients]
        sequences = await self._bus.publish_batch(
            [
                (
                    self._bus.names.notice(event.programme, post),
                    _notice(event, post),
                    {"Nats-Msg-Id": f"{event.id}:{post}"},
                )
                for event, post in notices
            ]
        )
        acknowledged: dict[str, list[Notice]] = {event.id: [] for event in raised}
        for (event, post), sequence in zip(notices, sequences, strict=True):
            acknowledged[event.id].append(Notice(recipient=post, stream_sequence=sequence))
        return {
            event.id: system_command(
                RecordDelivery(level=event.data.level, notices=tuple(acknowledged[event.id])),
                event.stream,
                event.organisation,
                event.recorded_at,
                derived_id(SOURCE, event.id, "delivered"),
                correlation_id=event.correlation_id,
                causation_id=event.id,
            )
            for event in raised
        }


def _called_for(event: Recorded[Any], delivered: Mapping[str, Outgoing], part: Part) -> Iterator[Outgoing]:
    if isinstance(event.data, RAISED):
        if part != "urgent":
            yield delivered[event.id]
        return
    yield from reactions(event, part)


def _notice(event: Recorded[Any], post: str) -> bytes:
    """A notice as a CloudEvent: which warning, how high, about what."""
    data = event.data
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"{event.id}:{post}",
            "source": f"//sauro/{event.organisation}",
            "type": "sauro.notice.v1",
            "subject": event.stream,
            "time": instant_text(event.recorded_at),
            "datacontenttype": "application/json",
            "data": {
                "post": post,
                "warning": event.stream,
                "level": data.level,
                "act": data.act,
                "about": getattr(data, "about", None),
                "limit": instant_text(data.limit.at) if isinstance(data, WarningRaised) else None,
            },
        }
    )
