"""Publishes stored bytes to EVENTS so that the stream's sequence is the log's position.

The first message of each batch expects the sequence before it, so the broker refuses a replay, and a restart resumes
from the stream's last sequence. Above a dozen events the batch is atomic (ADR-50); below, pipelined publishing is faster.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog
from eventsourcing.persistence import Notification
from nats.js.errors import APIError

from services.bus import ATOMIC_FROM, Bus
from services.eventlog.reading import notifications_after
from services.store import Store

BATCH = 1000
"""As many as NATS takes in an atomic batch."""
EXPECTED = "Nats-Expected-Last-Sequence"
WRONG_LAST_SEQUENCE = 10071
log = structlog.get_logger("sauro.relay")


class EventsAhead(Exception):
    """EVENTS holds more than the log: it belongs to another log, or the log lost its end."""


class Relay:
    """One active relay an installation."""

    def __init__(
        self, store: Store, bus: Bus, published: Callable[[Sequence[Notification]], None] | None = None
    ) -> None:
        self._store, self._bus, self._published = store, bus, published
        self._stream = bus.names.stream("EVENTS")
        self._position: int | None = None

    async def step(self) -> int:
        """Publish one batch; returns how many events, 0 at the head of the log."""
        if self._position is None:
            self._position = await self._resume()
        batch = await asyncio.to_thread(self._read, self._position)
        if not batch:
            return 0
        try:
            await self._publish(batch, self._position)
        except APIError as error:
            if error.err_code != WRONG_LAST_SEQUENCE:
                raise
            log.warning("EVENTS moved on, resuming from its last sequence", expected=self._position)
            self._position = None
            return len(batch)
        self._position = batch[-1].id
        if self._published is not None:
            self._published(batch)
        return len(batch)

    @property
    def position(self) -> int | None:
        """The last position published; None before the first look."""
        return self._position

    async def _resume(self) -> int:
        info = await self._bus.js.stream_info(self._stream)
        head = await asyncio.to_thread(self._store.recorder.max_notification_id)
        if info.state.last_seq > (head or 0):
            raise EventsAhead(
                f"stream {self._stream} is at {info.state.last_seq}, the log at {head or 0}; "
                "recreate the stream and its consumers, or connect the right database"
            )
        return info.state.last_seq

    def _read(self, after: int) -> list[Notification]:
        with self._store.recorder.reading() as cursor:
            return notifications_after(cursor, after, BATCH)

    def _subject(self, notification: Notification) -> str:
        _, aggregate, name, _ = notification.topic.split(".")
        programme = str(notification.originator_id).split("/")[1]
        return self._bus.names.event(programme, aggregate, name)

    async def _publish(self, batch: Sequence[Notification], last: int) -> None:
        if len(batch) >= ATOMIC_FROM:
            (subject, state, _), *rest = [(self._subject(event), event.state, None) for event in batch]
            await self._bus.publish_atomic([(subject, state, {EXPECTED: str(last)}), *rest])
            return
        # Each message expects the one before it, so that they can be sent at once and none can land out of place.
        (subject, state, headers), *others = [
            (self._subject(event), event.state, {EXPECTED: str(event.id - 1)}) for event in batch
        ]
        await self._bus.js.publish(subject, state, headers=headers)  # alone: its refusal (10071) comes back as an error
        if others:
            await self._bus.publish_all(others)
