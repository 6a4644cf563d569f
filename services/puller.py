"""A JetStream pull consumer that takes what is there: a batch when there is a backlog, one message when there is one.

nats-py's `fetch` waits for a full batch or a timeout, and after an empty one may stall for over a second (nats.py #986). This
one keeps requests outstanding and hands over whatever has arrived, so an idle system answers at once and a loaded one fills
batches.
"""

import asyncio
import json
from collections import deque
from dataclasses import dataclass

from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from services.bus import Bus

EXPIRES = 5.0
ACK_WAIT = 30.0


@dataclass(frozen=True, slots=True)
class Taken:
    """A message with its place in the stream."""

    message: Msg
    sequence: int


class Puller:
    """One durable consumer. Messages come in stream order; a restart begins after the last acknowledged one."""

    def __init__(
        self, bus: Bus, stream: str, durable: str, filters: tuple[str, ...] = (), *, ahead: int = 1024
    ) -> None:
        self._bus, self._stream, self._durable, self._filters = bus, stream, durable, filters
        self._ahead = ahead
        self._arrived: deque[Msg] = deque()
        self._wake = asyncio.Event()
        self._outstanding = 0
        self._reconnects = 0
        self._asked_at = 0.0

    async def start(self) -> None:
        """Make the consumer begin right after its acknowledged floor, then ask for messages.

        What an earlier process took and did not acknowledge would come again only after the acknowledgement timeout, behind
        newer messages; beginning anew keeps the order.
        """
        js, start = self._bus.js, 1
        try:
            info = await js.consumer_info(self._stream, self._durable)
            start = (info.ack_floor.stream_seq if info.ack_floor else 0) + 1
            await js.delete_consumer(self._stream, self._durable)
        except NotFoundError:
            pass
        await js.add_consumer(self._stream, self._config(start))
        self._inbox = self._bus.client.new_inbox()
        self._subscription = await self._bus.client.subscribe(
            self._inbox, cb=self._on_message, pending_msgs_limit=-1, pending_bytes_limit=-1
        )
        self._reconnects = self._bus.client.stats["reconnects"]
        await self._ask()

    def _config(self, start: int) -> ConsumerConfig:
        return ConsumerConfig(
            durable_name=self._durable,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=start,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT,
            max_deliver=-1,
            max_ack_pending=self._ahead * 2,
            max_waiting=64,
            filter_subjects=list(self._filters) or None,
            inactive_threshold=0,
        )

    async def _on_message(self, message: Msg) -> None:
        if message.headers and "Status" in message.headers:
            pending = message.headers.get("Nats-Pending-Messages", "0")
            self._outstanding = max(0, self._outstanding - int(pending))
            if message.headers["Status"] == "409":  # the consumer is gone or its leader moved: ask anew
                self._outstanding = 0
        else:
            self._outstanding -= 1
            self._arrived.append(message)
        self._wake.set()

    async def _ask(self) -> None:
        reconnects = self._bus.client.stats["reconnects"]
        now = asyncio.get_running_loop().time()
        if reconnects != self._reconnects or now - self._asked_at > EXPIRES + 1:
            self._reconnects, self._outstanding = reconnects, 0
        room = self._ahead - self._outstanding - len(self._arrived)
        if room < self._ahead // 2:
            return
        self._outstanding += room
        self._asked_at = now
        request = {"batch": room, "expires": int(EXPIRES * 1e9)}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._durable}"
        await self._bus.client.publish(subject, json.dumps(request).encode(), reply=self._inbox)

    async def take(self, most: int, wait: float) -> list[Taken]:
        """Up to `most` messages: those that have arrived, or the first to arrive within `wait` seconds, or none."""
        deadline = asyncio.get_running_loop().time() + wait
        while not self._arrived:
            await self._ask()
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return []
            self._wake.clear()
            try:
                async with asyncio.timeout(min(left, 0.5)):
                    await self._wake.wait()
            except TimeoutError:
                continue
        taken = [self._arrived.popleft() for _ in range(min(most, len(self._arrived)))]
        await self._ask()
        return [Taken(message, message.metadata.sequence.stream) for message in taken]

    async def healthy(self) -> bool:
        """Whether the durable consumer still exists; a deleted one stalls a puller silently."""
        try:
            await self._bus.js.consumer_info(self._stream, self._durable)
        except NotFoundError:
            return False
        return True

    async def stop(self) -> None:
        """Stop receiving; what was not acknowledged comes again."""
        if not self._bus.client.is_closed:
            await self._subscription.unsubscribe()
