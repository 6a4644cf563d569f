"""NATS JetStream: the streams, their subjects, and how to reach them.

JetStream acknowledges before it flushes unless told otherwise; the server is configured with `sync_interval: always`, and a
sender's receipt comes from the log, never from the broker.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import nats
import structlog
from nats.aio.client import Client
from nats.errors import ConnectionReconnectingError
from nats.js import JetStreamContext
from nats.js.api import (
    ConsumerInfo,
    DiscardPolicy,
    PubAck,
    RetentionPolicy,
    StorageType,
    StreamConfig,
    SubjectTransform,
)
from nats.js.errors import APIError, NotFoundError

from services.partition import SLOTS
from services.wire import PATIENCE, Outbound, Wire

log = structlog.get_logger("sauro.bus")
DAY = 24 * 3600.0
ATOMIC_FROM, ATOMIC_MOST = 12, 500
"""Below a dozen messages pipelined publishing is faster than an atomic batch."""
KNOWN_IN_BATCH = 10201
HEADERS = 4096
"""Room left for a message's headers, in bytes."""
Message = Outbound
"""subject, payload, headers."""


@dataclass(frozen=True)
class Names:
    """Stream and subject names; `prefix` lets several installations share a server."""

    prefix: str = ""

    def stream(self, name: str) -> str:
        """A stream's name."""
        return f"{self.prefix}{name}"

    def subject(self, *tokens: str) -> str:
        """A subject below `sauro`."""
        return ".".join((f"{self.prefix}sauro", *tokens))

    def command(self, source: str, programme: str) -> str:
        """Where a sender publishes commands."""
        return self.subject("command", source, programme)

    def slot(self, number: int) -> str:
        """Under which subjects COMMANDS keeps the commands of a slot."""
        return self.subject("command", str(number), "*", "*")

    def receipt(self, source: str) -> str:
        """Where a sender's receipts appear."""
        return self.subject("receipt", source)

    def event(self, programme: str, aggregate: str, name: str) -> str:
        """Where an event appears."""
        return self.subject("event", programme, aggregate, name)

    def notice(self, programme: str, post: str) -> str:
        """Where a post's notices appear."""
        return self.subject("notice", programme, post)

    def checkpoint(self, log: str) -> str:
        """Where a log's signed checkpoints appear."""
        return self.subject("checkpoint", log)

    def dead_letter(self, source: str) -> str:
        """Where unreadable messages of a sender end."""
        return self.subject("deadletter", source)


@dataclass(frozen=True)
class StreamSpec:
    """A stream as the contract states it."""

    name: str
    tokens: tuple[str, ...]
    what: str
    max_age_days: int = 0
    atomic: bool = False
    for_good: bool = False
    """Nobody may delete from it or purge it, whatever their rights."""
    kept_as: tuple[str, ...] = ()
    """Subject tokens under which the stream keeps a message, where not as published (ADR-36)."""


STREAMS = (
    StreamSpec(
        "COMMANDS",
        ("command", "*", "*"),
        "commands waiting for or past intake, by slot of their programme",
        max_age_days=30,
        atomic=True,
        kept_as=("command", f"{{{{partition({SLOTS},2)}}}}", "{{wildcard(1)}}", "{{wildcard(2)}}"),
    ),
    StreamSpec("RECEIPTS", ("receipt", "*"), "receipts per sender", max_age_days=90, atomic=True),
    StreamSpec("EVENTS", ("event", ">"), "every event as stored; sequence = log position", atomic=True),
    StreamSpec("NOTICES", ("notice", "*", "*"), "warnings for posts", atomic=True),
    StreamSpec("DEADLETTERS", ("deadletter", "*"), "messages nobody could read, with the reason", max_age_days=365),
    StreamSpec(
        "CHECKPOINTS", ("checkpoint", "*"), "signed heads of the two logs, as C2SP tlog-checkpoint", for_good=True
    ),
)


def stream_config(names: Names, spec: StreamSpec, replicas: int) -> StreamConfig:
    """The configuration of a stream."""
    published = names.subject(*spec.tokens)
    return StreamConfig(
        name=names.stream(spec.name),
        subjects=[published],
        subject_transform=SubjectTransform(published, names.subject(*spec.kept_as)) if spec.kept_as else None,
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=spec.max_age_days * DAY,
        duplicate_window=120.0,
        num_replicas=replicas,
        allow_direct=True,
        allow_atomic=spec.atomic,
        deny_delete=spec.for_good,
        deny_purge=spec.for_good,
        description=spec.what,
    )


@dataclass(frozen=True)
class Bus:
    """A connection to NATS and the names in use."""

    client: Client
    js: JetStreamContext
    names: Names
    wire: Wire

    @classmethod
    def over(cls, client: Client, names: Names) -> "Bus":
        """The bus of a client that has just connected."""
        return cls(client, client.jetstream(timeout=10, publish_async_max_pending=4096), names, Wire.of(client))

    @classmethod
    async def connect(cls, url: str, names: Names | None = None, *, name: str = "sauro") -> "Bus":
        """Connect and stay connected: reconnects without end, logs what the server refuses."""
        client = await nats.connect(
            [part.strip() for part in url.split(",")],
            name=name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.2,
            ping_interval=20,
            pending_size=8 * 1024 * 1024,
            error_cb=on_error,
        )
        return cls.over(client, names or Names())

    @property
    def room(self) -> int:
        """How many bytes of payload a message may have: what the server takes, less what headers need."""
        return max(self.client.max_payload - HEADERS, HEADERS)

    async def ensure_streams(self, replicas: int = 1) -> None:
        """Create the streams that are missing, and bring the others to the stated configuration."""
        for spec in STREAMS:
            config = stream_config(self.names, spec, replicas)
            try:
                await self.js.stream_info(config.name or "")
            except NotFoundError:
                await self.js.add_stream(config)
            else:
                await self.js.update_stream(config)

    async def floor(self, stream: str, durable: str) -> int:
        """Up to which sequence of a stream a consumer has acknowledged everything; 0 where there is no such consumer."""
        with suppress(NotFoundError):
            return floor_of(await self.js.consumer_info(stream, durable))
        return 0

    async def publish_all(self, messages: Sequence[Message]) -> list[int]:
        """Publish in order, pipelined; returns the stream sequences.

        Raises what the first message that was not acknowledged met, TimeoutError when its acknowledgement was lost: nats-py
        itself would wait for that one for ever. What was published before stays published. Raises ConnectionReconnectingError,
        with nothing published, while NATS is away.
        """
        if not self.client.is_connected:
            # nats-py would buffer for later, and keep a slot for ever once its buffer is full.
            raise ConnectionReconnectingError
        futures: list[asyncio.Future[PubAck]] = []
        try:
            async with asyncio.timeout(PATIENCE) as limit:
                for subject, payload, headers in messages:
                    futures.append(await self.js.publish_async(subject, payload, headers=headers))
                    if limit.expired():
                        # nats-py swallows the cancellation while it waits for a server that reads nothing.
                        raise TimeoutError
                acks = await asyncio.gather(*futures, return_exceptions=True)
        finally:
            for future in futures:
                future.cancel()  # a no-op when done; otherwise it frees the client's slot
        for ack in acks:
            if isinstance(ack, BaseException):
                raise ack
        return [ack.seq for ack in acks if isinstance(ack, PubAck)]

    async def publish_batch(self, messages: Sequence[Message]) -> list[int]:
        """Publish to one stream in order, atomically by hundreds where that is faster; returns the stream sequences.

        A batch that holds a message id the stream knows already is refused whole; it is then published one by one.
        """
        if len(messages) < ATOMIC_FROM:
            return await self.publish_all(messages)
        sequences: list[int] = []
        for start in range(0, len(messages), ATOMIC_MOST):
            part = messages[start : start + ATOMIC_MOST]
            try:
                sequences += await self.publish_atomic(part)
            except APIError as error:
                if error.err_code != KNOWN_IN_BATCH:
                    raise
                sequences += await self.publish_all(part)
        return sequences

    async def publish_atomic(self, messages: Sequence[Message]) -> list[int]:
        """Publish to one stream all or nothing (ADR-50), at most a thousand messages; returns the stream sequences."""
        name, last = uuid4().hex, len(messages)
        numbered = [
            (subject, payload, {**(more or {}), "Nats-Batch-Id": name, "Nats-Batch-Sequence": str(number)})
            for number, (subject, payload, more) in enumerate(messages, 1)
        ]
        await self.wire.publish(numbered[:-1])
        subject, payload, headers = numbered[-1]
        ack = await self.js.publish(subject, payload, headers={**headers, "Nats-Batch-Commit": "1"}, timeout=PATIENCE)
        return list(range(ack.seq - last + 1, ack.seq + 1))

    async def close(self) -> None:
        """Flush and close."""
        if not self.client.is_closed:
            await self.client.drain()


def floor_of(consumer: ConsumerInfo) -> int:
    """Up to which sequence of its stream a consumer has acknowledged everything."""
    return (consumer.ack_floor.stream_seq if consumer.ack_floor else 0) or 0


async def on_error(error: Exception) -> None:
    """Say what the server refused or the connection lost; nothing is swallowed."""
    log.warning("nats", error=str(error) or type(error).__name__)


def headers_of(message: Any) -> dict[str, str]:
    """A message's headers, empty when it has none."""
    return dict(message.headers or {})
