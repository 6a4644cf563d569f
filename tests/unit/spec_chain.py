"""The chain from a limit to the answer, without engines: timers, warning reactions and deliveries until all is quiet."""

from datetime import datetime
from typing import Any

from contracts.warning import Notice, RecordDelivery, WarningEscalated, WarningRaised
from domain.kernel import Recorded
from services.warning.reactions import HEARD, reactions
from tests.unit.spec import World, local


class Chain:
    """A world whose timekeeper and warning service run: `until` brings both up to an instant.

    `handled` is the position the warning service has reached. Give `late` to process everything only then, as after
    a downtime.
    """

    def __init__(self, world: World, *, deliver: bool = True) -> None:
        self.world, self.deliver = world, deliver
        self.handled = len(world.events)

    def settle(self) -> None:
        """Let the warning service answer every event it has not seen."""
        while self.handled < len(self.world.events):
            event = self.world.events[self.handled]
            self.handled += 1
            self.answer(event)

    def answer(self, event: Recorded[Any]) -> None:
        """What the warning service does about one event; safe to repeat."""
        if isinstance(event.data, WarningRaised | WarningEscalated):
            if self.deliver:
                self._send(RecordDelivery(level=event.data.level, notices=_notices(event)), event.stream, event)
        elif type(event.data).__name__ in HEARD:
            for sent in reactions(event):
                self._send(sent.command, sent.subject, event)

    def _send(self, command: Any, subject: str, event: Recorded[Any]) -> None:
        self.world.do(command, subject, "SAURO", event.recorded_at, now=self.world.now, source="warning", unit="SAURO")

    def until(self, instant: str | datetime, *, late: str | datetime | None = None) -> "Chain":
        """Fire each timer due up to an instant and settle what it leads to, each at its own time or all `late`."""
        self.settle()
        end = local(instant)
        while due := self.world.next_due(end):
            at, stream, command = due
            self.world.do(
                command, stream, "TIMEKEEPER", late or max(at, self.world.now), source="timekeeper", unit="SAURO"
            )
            self.settle()
        return self

    @property
    def warnings(self) -> dict[str, Any]:
        """All warnings by stream."""
        return {stream: state for stream, state in self.world.states.items() if stream.startswith("warning/")}

    def of(self, name: str) -> list[Recorded[Any]]:
        """The events of a name, in order."""
        return [event for event in self.world.events if type(event.data).__name__ == name]


def _notices(event: Recorded[Any]) -> tuple[Notice, ...]:
    return tuple(
        Notice(recipient=post, stream_sequence=event.position * 10 + number)
        for number, post in enumerate(event.data.recipients)
    )
