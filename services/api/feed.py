"""The end of the log, shared by every stream of a process: one connection that listens, one query a wake-up.

A reader takes pages at its own pace. At the head it finds them in a ring of the last pages; one that is behind reads the log
by itself. Nothing is kept for a reader, so a slow one costs nothing but its own page.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog
from fastapi.concurrency import run_in_threadpool

from projections.queries_log import StoredPage, stored_page
from projections.scope import EVERYTHING
from services.api.problems import AWAY
from services.eventlog.recorder import CHANNEL
from services.hosting import Bell
from services.store import Store

PAGE = 200
RING = 8
SPAN = 5_000
"""Positions a filtered page may look through."""
log = structlog.get_logger("sauro.api")


class TooManyStreams(Exception):
    """All places are taken."""


@dataclass(frozen=True, slots=True)
class _Ringed:
    after: int
    page: StoredPage


class Feed:
    """Follows the log while anybody reads; `head` is the last position it has seen."""

    def __init__(self, store: Store, most: int) -> None:
        self._store, self._most = store, most
        self._ring: deque[_Ringed] = deque(maxlen=RING)
        self._moved = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self.head = 0
        self.readers = 0
        self.closed = asyncio.Event()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """A place among the readers; raises TooManyStreams. The first one starts the following, the last one ends it."""
        if self.readers >= self._most:
            raise TooManyStreams
        self.readers += 1
        try:
            if self._following is None:
                self._following = asyncio.create_task(self._follow(), name="stream feed")
            yield
        finally:
            self.readers -= 1
            if not self.readers and self._following is not None:
                following, self._following = self._following, None
                self._ring.clear()
                following.cancel()
                await asyncio.wait((following,))

    def close(self) -> None:
        """Let every reader end: the server stops."""
        self.closed.set()
        self._moved.set()

    async def look(self) -> int:
        """The last position of the log now; raises psycopg.OperationalError when PostgreSQL is away."""
        head = await run_in_threadpool(self._store.recorder.max_notification_id) or 0
        self._reach(head)
        return head

    async def page(self, after: int, programme: str | None) -> StoredPage:
        """Events after a position up to the head, of one programme if it is named, and how far they reach."""
        for known in self._ring:
            if known.after <= after < known.page.reached:
                return known.page.since(after, programme)
        until = min(self.head, after + (PAGE if programme is None else SPAN))
        return await run_in_threadpool(self._read, after, until, programme)

    async def beyond(self, position: int, seconds: float) -> bool:
        """Wait for the head to pass a position; False when the time is over, or the server stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                while self.head <= position and not self.closed.is_set():
                    await self._moved.wait()
        return self.head > position

    def _reach(self, head: int) -> None:
        if head > self.head:
            self.head = head
            self._moved.set()
            self._moved = asyncio.Event()

    async def _follow(self) -> None:
        at: int | None = None
        async with Bell(self._store.dsn, CHANNEL) as bell:
            while True:
                try:
                    if at is None:
                        at = await self.look()
                    before, at = at, await self._advance(at)
                    if at > before:
                        continue
                except AWAY as error:
                    log.warning("the streams wait for PostgreSQL", error=str(error).strip())
                await bell.wait()

    async def _advance(self, after: int) -> int:
        """Take the page after a position into the ring if anything has come; how far it reaches."""
        head = await run_in_threadpool(self._store.recorder.max_notification_id) or 0
        if head <= after:
            return after
        page = await run_in_threadpool(self._read, after, min(head, after + PAGE), None)
        self._ring.append(_Ringed(after, page))
        self._reach(page.reached)
        return page.reached

    def _read(self, after: int, until: int, programme: str | None) -> StoredPage:
        with self._store.recorder.reading() as cursor:
            return stored_page(cursor, EVERYTHING, after, until, PAGE, programme)
