"""Intake as a service: take a batch, commit it, publish receipts and dead letters, then acknowledge.

A crash anywhere between leads to redelivery and the same receipt.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from itertools import groupby
from typing import TypeVar

import orjson
import structlog
from eventsourcing.persistence import IntegrityError, InterfaceError, OperationalError
from nats.errors import Error as NatsError

from contracts.receipts import Receipt
from services.bus import PATIENCE, Bus, Message
from services.eventlog.codec import instant_text
from services.eventlog.recorder import TRANSIENT
from services.intake.core import Answered, Batch, DeadLetter, Intake, TooMuchContention
from services.intake.reading import Incoming
from services.puller import ACK_WAIT, Puller, Taken

log = structlog.get_logger("sauro.intake")
T = TypeVar("T")
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

BATCH = 1024
HEADERS = 4096
"""Room left for a message's headers, in bytes."""


class IntakeService:
    """Drives an Intake from stream COMMANDS."""

    def __init__(self, intake: Intake, bus: Bus, puller: Puller, batch: int = BATCH) -> None:
        self._intake, self._bus, self._puller, self._batch = intake, bus, puller, batch
        self.sequence = 0
        self.outcomes: dict[str, int] = {}
        self._ahead: tuple[list[Taken], asyncio.Task[Batch]] | None = None
        self._telling: asyncio.Task[None] | None = None

    async def step(self, wait: float = 0.0) -> int:
        """Handle one batch; returns how many messages it held. With a backlog, its receipts follow during the next step."""
        if self._ahead is not None:
            (taken, reading), self._ahead = self._ahead, None
            work = partial(self._intake.answer, await reading)
        else:
            taken = await self._puller.take(self._batch, wait)
            if not taken:
                return 0
            work = partial(self._intake.process, [_incoming(item) for item in taken])
        try:
            answered = await self._answer(work, taken)
            await self._told()
            self._telling = asyncio.create_task(self._until_done(partial(self._tell, answered, taken), taken))
            if self._ahead is None:
                await self._told()
        except BaseException:
            self._ahead = None  # nothing behind this batch may come before it
            self._puller.begin_anew()
            raise
        self.sequence = taken[-1].sequence
        return len(taken)

    async def stop(self) -> None:
        """Take no more, and tell what is answered, if that can be done soon; otherwise it is told when it comes again."""
        if self._telling is not None:
            await asyncio.wait((self._telling,), timeout=PATIENCE)
            self._telling.cancel()
        await self._puller.stop()

    async def _told(self) -> None:
        """Wait until all that is answered is told."""
        if self._telling is not None:
            telling, self._telling = self._telling, None
            await telling

    async def _answer(self, work: Callable[[Callable[[], None]], Answered], taken: Sequence[Taken]) -> Answered:
        """Answer a batch. With a backlog the next one is read while PostgreSQL stores this one.

        Not before: it would only take the time of this one's decisions.
        """
        loop, storing = asyncio.get_running_loop(), asyncio.Event()

        def begin_storing() -> None:
            loop.call_soon_threadsafe(storing.set)

        ahead = asyncio.create_task(self._read_ahead(storing))
        try:
            answered = await self._until_done(partial(asyncio.to_thread, work, begin_storing), taken)
            storing.set()
            await ahead
        except BaseException:
            ahead.cancel()
            raise
        return answered

    async def _read_ahead(self, storing: asyncio.Event) -> None:
        await storing.wait()
        if taken := await self._puller.take_full(self._batch):
            incoming = [_incoming(item) for item in taken]
            self._ahead = taken, asyncio.create_task(asyncio.to_thread(self._intake.read, incoming))

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
            for batch in receipt_batches(receipts, self._room)
        ]
        messages += [self._dead_letter(letter) for letter in answered.dead_letters]
        if messages:
            await self._bus.publish_all(messages)

    @property
    def _room(self) -> int:
        """How many bytes of payload a message may have: what the server takes, less what headers need."""
        return max(self._bus.client.max_payload - HEADERS, HEADERS)

    def _dead_letter(self, letter: DeadLetter) -> Message:
        """The original bytes with the reason; what would not fit with it is cut, and whole only at its COMMANDS sequence."""
        payload, room = letter.incoming.payload, self._room
        headers = {
            "Nats-Msg-Id": f"COMMANDS:{letter.incoming.sequence}",
            "Sauro-Sequence": str(letter.incoming.sequence),
            "Sauro-Rule": letter.refusal.rule,
            "Sauro-Field": _header(letter.refusal.field),
            "Sauro-Reason": _header(letter.refusal.message),
        }
        if len(payload) > room:
            headers |= {"Sauro-Size": str(len(payload)), "Sauro-Digest": f"sha-256={sha256(payload).hexdigest()}"}
        return self._bus.names.dead_letter(letter.incoming.source), payload[:room], headers


def _header(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode().replace("\r", " ").replace("\n", " ")[:500]


def _by_source(receipts: Sequence[Receipt]) -> list[tuple[str, list[Receipt]]]:
    ordered = sorted(receipts, key=lambda receipt: receipt.source)
    return [(source, list(group)) for source, group in groupby(ordered, key=lambda receipt: receipt.source)]


def receipt_batches(receipts: Sequence[Receipt], room: int) -> Iterator[bytes]:
    """Receipts of one sender as CloudEvents JSON batches of at most `room` bytes: one message, unless it does not fit."""
    parts: list[bytes] = []
    size = 2
    for receipt in receipts:
        part = _cloud_event(receipt)
        if parts and size + len(part) + 1 > room:
            yield b"[" + b",".join(parts) + b"]"
            parts, size = [], 2
        parts.append(part)
        size += len(part) + 1
    yield b"[" + b",".join(parts) + b"]"


def _cloud_event(receipt: Receipt) -> bytes:
    head = orjson.dumps(
        {
            "specversion": "1.0",
            "id": str(receipt.receipt),
            "source": "//sauro/receipts",
            "type": "sauro.receipt.v1",
            "subject": f"{receipt.source}/{receipt.id}",
            "time": instant_text(receipt.recorded_at),
            "datacontenttype": "application/json",
        }
    )
    data: bytes = receipt.__pydantic_serializer__.to_json(receipt, exclude_none=True)
    return head[:-1] + b',"data":' + data + b"}"


def _incoming(item: Taken) -> Incoming:
    *_, source, programme = item.message.subject.split(".")
    return Incoming(source, programme, item.message.data, item.sequence)
