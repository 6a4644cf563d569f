"""Intake as a service: take a batch, commit it, publish receipts and dead letters, then acknowledge.

A crash anywhere between leads to redelivery and the same receipt.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from hashlib import sha256
from itertools import groupby
from typing import TypeVar

import structlog
from eventsourcing.persistence import IntegrityError, InterfaceError, OperationalError
from nats.errors import Error as NatsError

from services.bus import Bus, Message
from services.eventlog.recorder import TRANSIENT
from services.hosting import FEW, end
from services.intake.core import Ahead, Answered, DeadLetter, Intake, TooMuchContention
from services.intake.given import Given
from services.intake.reading import Incoming
from services.puller import ACK_WAIT, AHEAD, Puller, Taken
from services.settings import BATCH
from services.together import batches

log = structlog.get_logger("sauro.intake")
T = TypeVar("T")
MANY = AHEAD * 3 // 4
"""So many commands wait here where more wait in COMMANDS than it has asked for. Of messages that hold many it asks for fewer."""
PASSING = (
    *TRANSIENT,
    OperationalError,
    InterfaceError,
    IntegrityError,
    TooMuchContention,
    NatsError,
    TimeoutError,
    OSError,
)
"""Trouble that passes: nothing was stored, or (a lost commit reply) it is found stored on the next try. The same batch is
tried again. Anything else ends this instance with its error on record, and the next one begins at the same batch."""

SOON = 2.0
"""Seconds in which receipts can be told when a step has failed or the service ends."""


class IntakeService:
    """Drives an Intake from stream COMMANDS."""

    def __init__(self, intake: Intake, bus: Bus, puller: Puller, batch: int = BATCH) -> None:
        self._intake, self._bus, self._puller, self._batch = intake, bus, puller, batch
        self.usual = max(batch // 2, 1)
        """What is taken while few wait: a command waits for the batch at work and the one read ahead of it."""
        self.sequence = 0
        self.outcomes: dict[str, int] = {}
        self._ahead: tuple[list[Taken], asyncio.Task[Ahead]] | None = None
        self._telling: asyncio.Task[None] | None = None

    async def step(self, wait: float = 0.0) -> int:
        """Handle one batch; returns how many commands it held. When more wait, its receipts follow during the next step."""
        storing = asyncio.Event()
        ahead: asyncio.Task[None] | None = None
        try:
            most = self._most
            taken, read = await self._begun()
            more = await self._puller.take_arrived(most - len(taken))
            if not (taken or more):
                await self._told()  # before the consumer may begin anew
                more = await self._puller.take(most, wait)
            if not (taken or more):
                return 0
            unread = more if read else taken + more
            taken += more
            ahead = asyncio.create_task(self._read_ahead(storing))
            begin_storing = partial(asyncio.get_running_loop().call_soon_threadsafe, storing.set)
            work = partial(self._intake.process, [_incoming(item) for item in unread], begin_storing, read)
            answered = await self._until_done(partial(asyncio.to_thread, work), taken)
            storing.set()
            await self._told()
            self._telling = asyncio.create_task(self._until_done(partial(self._tell, answered, taken), taken))
            await ahead
            if not self.waiting:
                await self._told()
        except BaseException:
            await self._leave_off(ahead)
            self._puller.begin_anew()  # nothing behind this batch may come before it
            raise
        self.sequence = taken[-1].sequence - (not taken[-1].last)
        return len(taken)

    @property
    def waiting(self) -> int:
        """How many commands wait here for the next step."""
        return self._read_already + self._puller.arrived

    @property
    def _read_already(self) -> int:
        return len(self._ahead[0]) if self._ahead is not None else 0

    @property
    def _most(self) -> int:
        """How many to take at once: who is behind takes whole batches, of which each command costs less."""
        return self._batch if self.waiting >= MANY else self.usual

    async def gather(self, longest: float) -> None:
        """Let commands arrive until enough wait here, or for so many seconds."""
        await self._puller.gather(self.usual - self._read_already, longest)

    async def stop(self) -> None:
        """Take no more, and tell what is answered, if that can be done soon; otherwise it is told when it comes again."""
        await self._leave_off()
        await self._puller.stop()

    async def _told(self) -> None:
        """Wait until all that is answered is told."""
        if (telling := self._telling) is None:
            return
        try:
            await asyncio.shield(telling)
        finally:
            if telling.done():
                self._telling = None

    async def _leave_off(self, ahead: asyncio.Task[None] | None = None) -> None:
        """End what is under way beside a step, so that nothing of it meets a consumer begun anew."""
        if ahead is not None:
            await end((ahead,))
        if self._telling is not None:
            await asyncio.wait((self._telling,), timeout=SOON)
            await end((self._telling,))
        if self._ahead is not None:
            await end((self._ahead[1],))
        self._ahead = self._telling = None

    async def _read_ahead(self, storing: asyncio.Event) -> None:
        """Read what has come while PostgreSQL stores this batch: earlier it would take time from its decisions."""
        await storing.wait()
        if taken := await self._puller.take_arrived(self._most, min(FEW, self.usual)):
            incoming = [_incoming(item) for item in taken]
            self._ahead = taken, asyncio.create_task(asyncio.to_thread(self._intake.read_ahead, incoming))

    async def _begun(self) -> tuple[list[Taken], Ahead | None]:
        """What was taken ahead, and read, unless PostgreSQL was away."""
        if self._ahead is None:
            return [], None
        (taken, reading), self._ahead = self._ahead, None
        try:
            return taken, await reading
        except PASSING:
            return taken, None

    async def _until_done(self, work: Callable[[], Awaitable[T]], taken: Sequence[Taken]) -> T:
        """Try until it is done: skipping ahead would break the order of a stream."""
        delay = 0.05
        while True:
            try:
                return await work()
            except PASSING as trouble:
                if self._bus.client.is_closed:
                    raise  # for good: another connection begins at the same batch
                log.warning("trying the batch again", trouble=f"{type(trouble).__name__}: {trouble}", delay=delay)
                with suppress(NatsError, OSError):
                    await self._puller.in_progress(taken)
                await asyncio.sleep(delay)
                delay = min(delay * 2, ACK_WAIT / 6)

    async def _tell(self, answered: Answered, taken: Sequence[Taken]) -> None:
        await self._publish(answered)
        await self._puller.acknowledge(taken)
        for outcome, count in answered.outcomes.items():
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + count

    async def _publish(self, answered: Answered) -> None:
        messages: list[Message] = [
            (self._bus.names.receipt(source), batch, None)
            for source, receipts in _by_source(answered.receipts)
            for batch in batches(map(Given.cloud_event, receipts), self._bus.room)
        ]
        messages += [self._dead_letter(letter) for letter in answered.dead_letters]
        if messages:
            await self._bus.publish_all(messages)

    def _dead_letter(self, letter: DeadLetter) -> Message:
        """The original bytes with the reason; what would not fit with it is cut, and whole only at its COMMANDS sequence.

        Of a batch, the command that nobody can read.
        """
        incoming, room = letter.incoming, self._bus.room
        payload = incoming.payload
        headers = {
            "Nats-Msg-Id": f"COMMANDS:{incoming.sequence}" + (f"/{incoming.part}" if incoming.part else ""),
            "Sauro-Sequence": str(incoming.sequence),
            "Sauro-Rule": letter.refusal.rule,
            "Sauro-Field": _header(letter.refusal.field),
            "Sauro-Reason": _header(letter.refusal.message),
        }
        if len(payload) > room:
            headers |= {"Sauro-Size": str(len(payload)), "Sauro-Digest": f"sha-256={sha256(payload).hexdigest()}"}
        return self._bus.names.dead_letter(incoming.source), payload[:room], headers


def _header(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode().replace("\r", " ").replace("\n", " ")[:500]


def _by_source(receipts: Sequence[Given]) -> list[tuple[str, list[Given]]]:
    ordered = sorted(receipts, key=lambda receipt: receipt.source)
    return [(source, list(group)) for source, group in groupby(ordered, key=lambda receipt: receipt.source)]


def _incoming(item: Taken) -> Incoming:
    source, programme = _address(item.subject)
    return Incoming(source, programme, item.payload, item.sequence, item.part)


@lru_cache(maxsize=4096)
def _address(subject: str) -> tuple[str, str]:
    *_, source, programme = subject.split(".")
    return source, programme
