"""Reading audit history is itself recorded: who, what, when, why (R-358).

The record goes the way of every write: a command of source `audit` to COMMANDS, intake, log. It is published after the answer
is computed, so that reading waits for nothing:

- the API keeps records in a bounded queue that a task of its own publishes in batches, tried again until JetStream has them,
  and drained when the server stops. When NATS has taken none for PATIENCE seconds, or the queue is full, nothing more is
  shown: reading answers 503 and /readyz says why. A process that is killed loses at most what it answered since its last
  batch: a tenth of a second while NATS answers. What could not be drained at a stop is written to the service's log whole.
- the command line publishes and waits for JetStream before it prints; without it, it prints nothing.

JetStream keeps COMMANDS on disk before it acknowledges, so intake may be away. Who reads is what the reader says (header
`Sauro-Reader`, option `--by`): there is no authentication yet, and nobody named is recorded as such.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from unicodedata import normalize
from uuid import uuid4

import structlog
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError
from pydantic import TypeAdapter, ValidationError

from contracts.access import Act, Door, RecordAccess
from contracts.types import Code, Paragraph
from domain.calendar import to_local
from services.bus import Bus
from services.outgoing import Outgoing
from services.senders import SAURO, send

SOURCE = "audit"
INSTALLATION = "SAURO"
"""Whose stream holds readings that belong to no single organisation."""
CAPACITY, PART = 10_000, 500
PATIENCE, GRACE, PAUSE = 10.0, 5.0, 0.25
LINGER = 0.1
"""Seconds in which readings gather into a batch; publishing each at once would cost the next reader time."""
log = structlog.get_logger("sauro.audit.access")


_CODE, _REASON = TypeAdapter[str](Code), TypeAdapter[str](Paragraph)


def checked_reader(text: str | None) -> str | None:
    """A reader as it can be recorded; raises ValueError."""
    try:
        return None if text is None else _CODE.validate_python(text, strict=True)
    except ValidationError:
        raise ValueError("a reader is the code of a post: 1 to 40 upper-case letters, digits and hyphens") from None


def checked_reason(text: str | None) -> str | None:
    """A reason as it can be recorded, in Unicode normalisation form C; raises ValueError."""
    try:
        return None if text is None else _REASON.validate_python(normalize("NFC", text), strict=True)
    except ValidationError as error:
        raise ValueError(f"a reason is a text of 1 to 4000 characters: {error.errors()[0]['msg']}") from None


class NotRecorded(Exception):
    """A reading could not be recorded, so nothing is shown; the message says what is away."""


@dataclass(frozen=True, slots=True)
class Access:
    """One reading. `at` is when the answer was ready, UTC; `reason` are the reader's words, kept erasable."""

    act: Act
    door: Door
    about: str
    position: int
    at: datetime
    organisation: str | None = None
    programme: str | None = None
    reader: str | None = None
    reason: str | None = None
    as_of: datetime | None = None


def command_of(access: Access) -> Outgoing:
    """The command that records a reading, under an id of its own: publishing it twice records it once."""
    organisation = access.organisation or INSTALLATION
    recorded = RecordAccess(
        act=access.act,
        door=access.door,
        about=access.about[:300],
        position=access.position,
        programme=access.programme,
        reader=access.reader,
        as_of=access.as_of,
    )
    return Outgoing(
        id=str(uuid4()),
        aggregate="access",
        command=recorded,
        subject=f"access/{organisation}/{to_local(access.at):%Y-%m}",
        programme=organisation,
        organisation=organisation,
        actor=SAURO,
        occurred_at=access.at,
        texts={"reason": access.reason} if access.reason else {},
    )


async def record(bus: Bus, *accesses: Access) -> None:
    """Record readings and return once JetStream holds them; raises NotRecorded."""
    try:
        async with asyncio.timeout(GRACE):
            await send(bus, SOURCE, [command_of(access) for access in accesses])
    except (NatsError, JetStreamError, OSError, TimeoutError) as error:
        raise NotRecorded(f"the reading cannot be recorded, so nothing is shown: NATS is away ({error!r})") from error


@dataclass
class AccessQueue:
    """Readings on their way to COMMANDS. `put` from any thread; the task starts with the first one."""

    bus: Bus | None
    loop: asyncio.AbstractEventLoop | None = None
    capacity: int = CAPACITY
    _waiting: deque[tuple[float, Outgoing]] = field(default_factory=deque)
    _rung: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None
    _closing: bool = False

    def trouble(self) -> str | None:
        """Why no reading can be recorded now; None when all is well."""
        if self.bus is None:
            return "readings of the audit history cannot be recorded: no NATS is configured"
        waiting = len(self._waiting)
        if waiting >= self.capacity:
            return f"{waiting} readings of the audit history wait to be recorded, as many as are kept"
        try:
            since = self._waiting[0][0]
        except IndexError:
            return None
        if (age := time.monotonic() - since) > PATIENCE:
            return f"{waiting} readings of the audit history wait to be recorded for {age:.0f} s; NATS takes none"
        return None

    def require(self) -> None:
        """Raise NotRecorded when a reading could not be recorded; asked before anything is read."""
        if (trouble := self.trouble()) is not None:
            raise NotRecorded(trouble)

    def put(self, access: Access) -> None:
        """Take a reading whose answer is ready."""
        self._waiting.append((time.monotonic(), command_of(access)))
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self._wake)

    def start(self) -> None:
        """Remember the running loop, in which the task will live; called by whoever answers requests."""
        self.loop = self.loop or asyncio.get_running_loop()

    def _wake(self) -> None:
        self._rung.set()
        if self._task is None:
            self._task = asyncio.create_task(self._publish(), name="access records")

    async def _publish(self) -> None:
        while True:
            await self._rung.wait()
            await asyncio.sleep(LINGER)
            self._rung.clear()
            while self._waiting:
                if not await self._part():
                    await asyncio.sleep(PAUSE)
            if self._closing:
                return

    async def _part(self) -> bool:
        """Publish what waits, at most one batch; False when NATS took none of it."""
        part = [self._waiting[number][1] for number in range(min(len(self._waiting), PART))]
        assert self.bus is not None
        try:
            async with asyncio.timeout(GRACE):
                await send(self.bus, SOURCE, part)
        except (NatsError, JetStreamError, OSError, TimeoutError) as error:
            log.warning("readings wait to be recorded", waiting=len(self._waiting), trouble=repr(error))
            return False
        for _ in part:
            self._waiting.popleft()
        return True

    async def close(self) -> None:
        """Publish what waits, for a few seconds; what then remains is written to the process log, all but the reader's words."""
        self._closing = True
        if self._waiting or self._task is not None:
            self._wake()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=GRACE)  # cut short, what is on its way would be sent twice
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        while self._waiting:
            _, lost = self._waiting.popleft()
            command = lost.command.model_dump(mode="json", exclude_none=True)
            log.error("a reading was not recorded", id=lost.id, at=lost.occurred_at.isoformat(), **command)
