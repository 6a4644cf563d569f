"""All services of one installation in one process, each a `step()`.

`sauro up` drives the steps side by side with the system clock; the simulation drives them in turn until all are quiet.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from eventsourcing.persistence import Notification

from services.bus import Bus
from services.clock import Clock
from services.intake.core import Intake
from services.intake.reading import CommandReader, Salts
from services.intake.service import IntakeService
from services.intake.states import Folder
from services.outgoing import Outgoing
from services.projector.core import BATCH as PROJECTED
from services.projector.core import Projector
from services.puller import Puller
from services.relay.core import BATCH as RELAYED
from services.relay.core import Relay
from services.senders import send
from services.settings import KEPT
from services.store import Store
from services.timekeeper.core import Timekeeper
from services.together import events_in
from services.warning.core import Warnings
from services.warning.reactions import HEARD, NOTICED

PATIENCE = 30.0


def intake_for(store: Store, clock: Clock, salts: Salts | None = None, states: int = KEPT) -> Intake:
    """Intake over a store, with so many states in memory at most."""
    reader = CommandReader(store.registry.contracts, salts=salts)
    return Intake(store.recorder, store.codec, Folder(store.registry.deciders), reader, clock, states)


def command_puller(bus: Bus) -> Puller:
    """The consumer of COMMANDS."""
    return Puller(bus, bus.names.stream("COMMANDS"), bus.names.stream("intake"), cut=events_in)


def warning_puller(bus: Bus) -> Puller:
    """The consumer of the events the warning service hears."""
    return Puller(bus, bus.names.stream("EVENTS"), bus.names.stream("warning"), Warnings.filters(bus))


class Stalled(Exception):
    """A message that was published did not come back in time."""


@dataclass
class Spine:
    """Intake, projector, relay, warning and timekeeper, stepped in turn."""

    store: Store
    bus: Bus
    clock: Clock
    salts: Salts | None = None
    rounds: int = 0
    commands: int = 0
    _sequence: int = 0
    _heard: int = 0
    _topics: frozenset[str] = field(default_factory=frozenset)

    async def start(self) -> None:
        """Connect the services; migrations and streams must exist."""
        names = (*HEARD, *NOTICED)
        types = self.store.registry.contracts.events
        self._topics = frozenset(t for t in types if t.split(".")[2] in names and _heard(t))
        self._commands, self._events = command_puller(self.bus), warning_puller(self.bus)
        await self._commands.start()
        await self._events.start()
        self.intake = IntakeService(intake_for(self.store, self.clock, self.salts), self.bus, self._commands)
        self.projector = Projector(self.store, self.clock)
        self.projector.prepare()
        self.relay = Relay(self.store, self.bus, self._published)
        self.warnings = Warnings(self.store.codec, self.bus)
        self.timekeeper = Timekeeper(self.store, self.bus, self.clock)

    def _published(self, batch: Sequence[Notification]) -> None:
        self._heard += sum(event.topic in self._topics for event in batch)

    async def publish(self, source: str, commands: Sequence[Outgoing]) -> None:
        """Publish commands as a sender would."""
        if commands:
            self._sequence = (await send(self.bus, source, commands))[-1]

    async def publish_messages(self, messages: Sequence[tuple[str, str, bytes]]) -> None:
        """Publish messages of many senders in one go, in order: source, programme, bytes."""
        if messages:
            named: list[tuple[str, bytes, dict[str, str] | None]] = [
                (self.bus.names.command(source, programme), data, None) for source, programme, data in messages
            ]
            self._sequence = (await self.bus.publish_all(named))[-1]

    async def settle(self, *, timers: bool = True) -> None:
        """Step every service until none has anything to do; `timers` False when no limit fell due since the last time.

        Intake is the only writer, so a pass in which no service sent a command ends at the head of the log. A round is one
        pass over all services; in it intake, relay and warning step until no command waits, and the projector, which the
        timekeeper reads, then takes what they led to as a whole.
        """
        if timers:
            await self.timekeeper.step()
        while True:
            self.rounds += 1
            await self._answer_all()
            while self.projector.step() >= PROJECTED:
                pass
            await self.timekeeper.step()
            if not self._waiting():
                return

    async def _answer_all(self) -> None:
        while True:
            await self._take_commands()
            while await self.relay.step() >= RELAYED:
                pass
            await self._hear()
            if not self._waiting():
                return

    def _waiting(self) -> bool:
        return max(self._sequence, self.warnings.sequence, self.timekeeper.sequence) > self.intake.sequence

    async def _take_commands(self) -> int:
        did = 0
        while self._waiting():
            taken = await self.intake.step(PATIENCE)
            if not taken:
                raise Stalled("a published command did not reach intake")
            did += taken
        self.commands += did
        return did

    async def _hear(self) -> int:
        did = 0
        while self._heard > 0:
            taken = await self._events.take(512, PATIENCE)
            if not taken:
                raise Stalled("a published event did not reach the warning service")
            await self.warnings.handle([item.payload for item in taken])
            await self._events.acknowledge(taken)
            self._heard -= len(taken)
            did += len(taken)
        return did

    async def stop(self) -> None:
        """Leave the consumers as they are; what is not acknowledged comes again."""
        await self.intake.stop()
        await self._events.stop()


def _heard(type_: str) -> bool:
    _, aggregate, name, _ = type_.split(".")
    return name in HEARD or aggregate == "warning"
