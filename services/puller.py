"""A JetStream pull consumer that takes what is there: a batch when there is a backlog, one message when there is one.

nats-py's `fetch` waits for a full batch or a timeout, and after an empty one may stall for over a second (nats.py #986). This
one keeps requests outstanding and hands over whatever has arrived, so an idle system answers at once and a loaded one fills
batches. One acknowledgement covers a batch and all before it (AckPolicy.ALL), which is safe because nothing is handed over
that does not follow, without a gap, on what was handed over before.
"""

import asyncio
import json
import re
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from services.bus import Bus

EXPIRES = 5.0
ACK_WAIT = 30.0
AHEAD = 2048
"""Messages asked for ahead, until as many parts wait here. A message may bring many parts; its bytes are bounded."""
MOST_BYTES = 16 * 1024 * 1024
"""What a request may bring, however many messages it asks for."""
ACKNOWLEDGED, _IN_PROGRESS = b"+ACK", b"+WPI"
_STATUS = re.compile(rb"NATS/1\.0 (\d+)")
_PENDING = re.compile(rb"\r\nNats-Pending-Messages: (\d+)")


class Taken(NamedTuple):
    """A message, or a part of it, with its place in the stream; `last`: no part of the message follows."""

    subject: str
    reply: str
    sequence: int
    payload: bytes
    part: int = 0
    last: bool = True


def whole(payload: bytes) -> Sequence[bytes]:
    """A message that has no parts."""
    return (payload,)


class Puller:
    """One durable consumer. Messages come in stream order; a restart begins after the last acknowledged one.

    `cut` divides a message's payload, in order, into at least one part; each is taken by itself, and what is counted are parts.
    A message is acknowledged with its last one.

    A delivery lost with a connection would come again only after the acknowledgement timeout, behind newer messages. So the
    consumer is begun anew after a reconnect, and when its own numbering of deliveries shows a gap: then somebody else takes
    from it, too.
    """

    def __init__(
        self,
        bus: Bus,
        stream: str,
        durable: str,
        filters: tuple[str, ...] = (),
        *,
        ahead: int = AHEAD,
        cut: Callable[[bytes], Sequence[bytes]] = whole,
    ) -> None:
        self._bus, self._stream, self._durable, self._filters = bus, stream, durable, filters
        self._ahead, self._cut = ahead, cut
        self._arrived: deque[Taken] = deque()
        self._wake, self._enough, self._wanted = asyncio.Event(), asyncio.Event(), 0
        self._subscription: Subscription | None = None
        self._outstanding = self._delivered = self._reconnects = 0
        self._gap = False
        self._asked_at = 0.0

    async def start(self) -> None:
        """Make the consumer begin right after its acknowledged floor, then ask for messages.

        A second consumer, never asked, holds the floor while the first is replaced: a crash in between loses nothing.
        """
        await self.stop()
        self._arrived.clear()
        self._outstanding = self._delivered = 0
        self._gap = False
        js, holder = self._bus.js, f"{self._durable}-floor"
        start = 1 + max([await self._bus.floor(self._stream, name) for name in (self._durable, holder)])
        await self._delete(holder)
        await js.add_consumer(self._stream, self._config(holder, start))
        await self._delete(self._durable)
        await js.add_consumer(self._stream, self._config(self._durable, start))
        await self._delete(holder)
        self._inbox = self._bus.client.new_inbox()
        self._subscription = await self._bus.wire.subscribe(self._inbox, self._receive)
        self._reconnects = self._bus.client.stats["reconnects"]
        await self._ask()

    async def _delete(self, durable: str) -> None:
        with suppress(NotFoundError):
            await self._bus.js.delete_consumer(self._stream, durable)

    def _config(self, durable: str, start: int) -> ConsumerConfig:
        return ConsumerConfig(
            durable_name=durable,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=start,
            ack_policy=AckPolicy.ALL,
            ack_wait=ACK_WAIT,
            max_deliver=-1,
            max_ack_pending=self._ahead * 3,
            max_waiting=64,
            filter_subjects=list(self._filters) or None,
            inactive_threshold=0,
        )

    def _receive(self, subject: str, reply: str, payload: bytes, headers: bytes) -> None:
        if not reply and (status := _STATUS.match(headers)):  # a command comes with a reply, whatever its headers say
            if pending := _PENDING.search(headers):  # what this request will not bring; of others nothing is said
                self._outstanding = max(0, self._outstanding - int(pending[1]))
            elif status[1] == b"409":  # the consumer is gone: ask anew
                self._outstanding = 0
        else:
            self._outstanding -= 1
            parts = self._cut(payload)
            sequence, delivery = _places(reply)
            self._gap = self._gap or delivery != self._delivered + 1
            self._delivered = delivery
            if not self._gap:
                self._arrived += [
                    Taken(subject, reply, sequence, content, part, part == len(parts) - 1)
                    for part, content in enumerate(parts)
                ]
        self._wake.set()
        if len(self._arrived) >= self._wanted:
            self._enough.set()

    async def _ask(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._asked_at > 2 * EXPIRES:  # no word of it came
            self._outstanding = 0
        room = self._ahead - self._outstanding - len(self._arrived)
        if room < self._ahead // 2:
            return
        self._outstanding += room
        self._asked_at = now
        request = {"batch": room, "max_bytes": MOST_BYTES, "expires": int(EXPIRES * 1e9)}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._durable}"
        await self._bus.client.publish(subject, json.dumps(request).encode(), reply=self._inbox)

    async def take(self, most: int, wait: float) -> list[Taken]:
        """Up to `most` messages: those that have arrived, or the first to arrive within `wait` seconds, or none."""
        deadline = asyncio.get_running_loop().time() + wait
        while self._is_broken() or not self._arrived:
            if self._is_broken():
                await self.start()
            await self._ask()
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return []
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, 0.5)):
                    await self._wake.wait()
        return await self._hand_over(most)

    async def take_arrived(self, most: int, least: int = 1) -> list[Taken]:
        """Up to `most` messages, when at least so many have arrived; otherwise none. Never begins the consumer anew."""
        return await self._hand_over(most) if len(self._arrived) >= least and not self._is_broken() else []

    @property
    def arrived(self) -> int:
        """How many messages wait here to be taken."""
        return len(self._arrived)

    async def gather(self, number: int, longest: float) -> None:
        """Let messages arrive until so many wait here, or for so many seconds."""
        if longest <= 0 or len(self._arrived) >= number:
            return
        self._wanted = number
        self._enough.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(longest):
                await self._enough.wait()

    def begin_anew(self) -> None:
        """What was handed over will not be acknowledged: the next `take` begins after what was."""
        self._gap = True

    async def _hand_over(self, most: int) -> list[Taken]:
        taken = [self._arrived.popleft() for _ in range(min(most, len(self._arrived)))]
        await self._ask()
        return taken

    def _is_broken(self) -> bool:
        return self._gap or self._bus.client.stats["reconnects"] != self._reconnects

    async def acknowledge(self, taken: Sequence[Taken]) -> None:
        """Say that a batch and all before it is done: one acknowledgement. A message of which parts are left waits for them."""
        if (done := next((item.reply for item in reversed(taken) if item.last), None)) is not None:
            await self._bus.client.publish(done, ACKNOWLEDGED)

    async def in_progress(self, taken: Sequence[Taken]) -> None:
        """Ask for more time before a batch is sent again."""
        for item in taken:
            if item.last or item is taken[-1]:
                await self._bus.client.publish(item.reply, _IN_PROGRESS)

    async def healthy(self) -> bool:
        """Whether the durable consumer still exists; a deleted one stalls a puller silently."""
        try:
            await self._bus.js.consumer_info(self._stream, self._durable)
        except NotFoundError:
            return False
        return True

    async def stop(self) -> None:
        """Stop receiving; what was not acknowledged comes again."""
        if self._subscription is not None:
            await self._bus.wire.unsubscribe(self._subscription)
        self._subscription = None


def _places(reply: str) -> tuple[int, int]:
    """Sequence in the stream and number of the delivery, off the reply subject; `message.metadata` builds far more."""
    tokens = reply.split(".")
    at = 5 if len(tokens) == 9 else 7  # the newer form names domain and account
    return int(tokens[at]), int(tokens[at + 1])
