"""Receipts that requests wait for: one subscription a sender, however many wait."""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import nats.errors
import orjson
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from starlette.types import Receive

from contracts.receipts import Receipt
from services.bus import Bus

_PREFERENCES = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_WAIT = re.compile(r'\s*wait\s*(?:=\s*(?:"([0-9]{1,9})"|([0-9]{1,9}))\s*)?(?:;.*)?', re.IGNORECASE)
Awaited = asyncio.Future[Receipt]


def preferred_wait(prefer: Iterable[str]) -> int:
    """Seconds of the first `wait` among Prefer headers (RFC 7240, 4.3); 0 without one, or when it is malformed."""
    for preference in _PREFERENCES.findall(",".join(prefer)):
        if found := _WAIT.fullmatch(preference):
            return int(found[1] or found[2] or 0)
    return 0


async def gone(receive: Receive) -> None:
    """Until the client has left; its request must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


@dataclass
class _Source:
    """Who waits for receipts of one sender, by command id; the earliest first."""

    by_id: dict[str, deque[Awaited]] = field(default_factory=dict)
    subscription: Subscription | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Waiting:
    """The waiters of one process. Core NATS may lose a message: who waits looks in the database before giving up."""

    def __init__(self, bus: Bus | None, most: int) -> None:
        self._bus, self._most = bus, most
        self._sources: dict[str, _Source] = {}
        self.waiters = 0
        self.closed = asyncio.Event()

    @asynccontextmanager
    async def receipt(self, source: str, id_: str) -> AsyncIterator[Awaited | None]:
        """What will be the receipt of a command that is published inside; None when too many wait, or NATS is away."""
        if self._bus is None or not self._bus.client.is_connected or self.waiters >= self._most:
            yield None
            return
        found: Awaited = asyncio.get_running_loop().create_future()
        known = self._sources.setdefault(source, _Source())
        self.waiters += 1
        known.users += 1
        known.by_id.setdefault(id_, deque()).append(found)
        try:
            await self._subscribe(self._bus, source, known)
            yield found
        finally:
            self.waiters -= 1
            known.users -= 1
            found.cancel()
            known.by_id[id_].remove(found)
            if not known.by_id[id_]:
                del known.by_id[id_]
            await self._unsubscribe(source, known)

    async def _subscribe(self, bus: Bus, source: str, known: _Source) -> None:
        async def heard(message: Msg) -> None:
            self._hear(known, message.data)

        async with known.lock:
            if known.subscription is None:
                known.subscription = await bus.client.subscribe(bus.names.receipt(source), cb=heard)

    async def _unsubscribe(self, source: str, known: _Source) -> None:
        async with known.lock:
            if known.users:
                return
            if self._sources.get(source) is known:
                del self._sources[source]
            if known.subscription is not None:
                subscription, known.subscription = known.subscription, None
                with suppress(nats.errors.Error):  # the connection is gone, and the subscription with it
                    await subscription.unsubscribe()

    async def until(self, awaited: Awaited, receive: Receive, seconds: float) -> Receipt | None:
        """The receipt; None when the time is over, the client has left, or the server stops."""
        left = asyncio.create_task(gone(receive))
        closed = asyncio.create_task(self.closed.wait())
        try:
            await asyncio.wait((awaited, left, closed), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left.cancel()
            closed.cancel()
        return awaited.result() if awaited.done() else None

    @staticmethod
    def _hear(known: _Source, batch: bytes) -> None:
        for event in orjson.loads(batch):
            receipt = event["data"]
            # A command is answered each time it is sent: one receipt for the one who waits longest.
            waiting = next((found for found in known.by_id.get(receipt["id"], ()) if not found.done()), None)
            if waiting is not None:
                waiting.set_result(Receipt.model_validate_json(orjson.dumps(receipt)))
