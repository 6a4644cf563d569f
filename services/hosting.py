"""How a service lives: connected, alone at its work, woken by the log, restarted after trouble, never silent about it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog
from psycopg.conninfo import make_conninfo

from projections.status import report_follower
from services.bus import Bus
from services.clock import Clock
from services.collecting import collect_at_rest
from services.settings import Settings
from services.store import Store

log = structlog.get_logger("sauro.hosting")
IDLE = 1.0
BEAT = 2.0
SILENCE = 3.5
"""After so many seconds without a word PostgreSQL gives an instance's lease to another; a word is said every second."""
AGAIN = 5.0
"""Seconds after which a task that has not ended is cancelled again."""
FEW, GATHERING = 64, 0.1
"""For each message beyond so many a service lets others gather for a millisecond; for so many seconds at most."""
BACK_OFF, STEADY = 0.2, 10.0
"""The first pause before beginning anew; who worked for longer than STEADY seconds begins at it again."""


@dataclass(frozen=True)
class Runtime:
    """What a service needs of the outside: settings, store, bus, clock."""

    settings: Settings
    store: Store
    bus: Bus
    clock: Clock


class Bell:
    """Rings when PostgreSQL notifies a channel; without a ring, waiting ends after a while anyway.

    `about`: only when this is among the words of the notice.
    """

    def __init__(self, dsn: str, channel: str, *, about: str | None = None) -> None:
        self._dsn, self._channel, self._about = dsn, channel, about
        self._rung = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Bell":
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _listen(self) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as connection:
                    await connection.execute(f"LISTEN {self._channel}".encode())
                    self._rung.set()
                    async for notice in connection.notifies():
                        if self._about is None or self._about in notice.payload.split():
                            self._rung.set()
            except psycopg.Error as error:
                log.warning("listening again", error=str(error))
                await asyncio.sleep(IDLE / 2)

    async def wait(self, longest: float = IDLE) -> None:
        """Until the bell rings, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(longest, 0)):
                await self._rung.wait()
        self._rung.clear()


class LeaseLost(Exception):
    """The connection that held the lease is gone; another instance may be at work."""


class Lease:
    """One active instance: PostgreSQL advisory locks, all of them or none, on a connection of its own; others stand by.

    PostgreSQL ends that connection, and with it the locks, when nothing was heard on it for SILENCE: so an instance that hangs,
    is stopped or is cut off gives way too, not only one that died. (A stopped process keeps its connections, and would keep the
    locks with them; a transaction it was stopped in ends after the same silence, but for one in the midst of a COPY or of a
    pipeline it has not ended.) When it comes back it works on for a moment until it notices; nothing it does then counts
    twice, because every service's writes are fenced by themselves:

    - intake: a command's key (source, id) is unique in log.receipts and a stream's version in log.events;
    - projector: its position moves in the transaction of its rows, and only from where it believed to stand;
    - relay: each batch names the sequence it follows (`Nats-Expected-Last-Sequence`);
    - timekeeper: command ids derive from the limit, and the domain lets a limit fire once;
    - warning, its later part: command ids derive from the events it hears.

    The urgent part of warning and the API need no lease: warning's instances share one consumer and derive their commands' ids
    from the events they hear; the API reads, and publishes what intake recognises.
    """

    def __init__(self, dsn: str, service: str, locks: Sequence[str]) -> None:
        self._dsn, self._service, self._locks = dsn, service, locks

    @asynccontextmanager
    async def held(self) -> AsyncIterator[asyncio.Task[None]]:
        """Wait for the lease and hold it; the task that is handed over ends, with LeaseLost, when the lease is lost."""
        dsn = make_conninfo(
            self._dsn, keepalives_idle=2, keepalives_interval=1, keepalives_count=2, tcp_user_timeout=4000
        )
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            await connection.execute(f"SET idle_session_timeout = {int(SILENCE * 1000)}".encode())
            waiting = False
            while not await self._taken(connection):
                if not waiting:
                    log.info("standing by", service=self._service)
                    waiting = True
                await asyncio.sleep(IDLE / 2)
            keeping = asyncio.create_task(self._keep(connection))
            try:
                yield keeping
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)

    async def _taken(self, connection: psycopg.AsyncConnection[Any]) -> bool:
        """Take the locks in order; who finds one taken gives back the others, so that nobody waits for half a share."""
        for lock in self._locks:
            cursor = await connection.execute("SELECT pg_try_advisory_lock(hashtext(%s), 0)", (f"sauro-{lock}",))
            if (await cursor.fetchone()) != (True,):
                await connection.execute("SELECT pg_advisory_unlock_all()")
                return False
        return True

    async def _keep(self, connection: psycopg.AsyncConnection[Any]) -> None:
        while True:
            await asyncio.sleep(IDLE)
            try:
                await connection.execute("SELECT 1")
            except psycopg.Error as error:
                raise LeaseLost(self._service) from error


Step = Callable[[], Awaitable[int]]
Idle = Callable[[], Awaitable[None]]


def gathering(few: int, full: int, least: float = 0.0) -> float:
    """How long to wait, in seconds, for more to gather where so `few` are; `full` is what is taken at once.

    A batch costs milliseconds however few it holds. Below a thousand messages a second the wait shrinks from batch to batch to
    none. Above, it grows, and leaves the processors to who is behind. Who finds full batches is behind and does not wait.
    Whom nobody waits for rests for the `least` time after each batch, so that it does not take the processors from others
    with batches of one; what comes after a rest is still met at once.
    """
    return 0.0 if few >= full else min(max((few - FEW) / 1000, least), GATHERING)


@dataclass(frozen=True)
class Work:
    """A service at work: its step, what it does when a step found nothing, where it stands, and the pause after a step.

    `duplicates`: how many repeated commands it has answered.
    """

    step: Step
    idle: Idle
    position: Callable[[], int | None] = lambda: None
    stop: Callable[[], Awaitable[None]] | None = None
    pause: Callable[[int], float] = lambda did: 0.0
    duplicates: Callable[[], int] = lambda: 0


async def supervise(name: str, runtime: Runtime, begin: Callable[[], Awaitable[Work]], locks: Sequence[str]) -> None:
    """Run a service until cancelled: take the lease, begin, step; after trouble, begin anew with back-off."""
    loop, delay = asyncio.get_running_loop(), BACK_OFF
    while True:
        began = loop.time()
        try:
            async with Lease(runtime.store.dsn, name, locks).held() as lease:
                began = loop.time()
                log.info("working", service=name)
                await _until_one_ends(lease, asyncio.create_task(_live(name, runtime, begin)))
        except asyncio.CancelledError:
            raise
        except Exception as error:
            delay = BACK_OFF if loop.time() - began > STEADY else delay
            log.exception("beginning anew", service=name, delay=delay)
            await _report(name, runtime, None, f"{type(error).__name__}: {error}")
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)


async def _live(name: str, runtime: Runtime, begin: Callable[[], Awaitable[Work]]) -> None:
    work = await begin()
    try:
        await _until_one_ends(asyncio.create_task(_beat(name, runtime, work)), asyncio.create_task(_steps(work)))
    finally:
        if work.stop is not None:
            with suppress(Exception):
                await work.stop()


async def _until_one_ends(*tasks: asyncio.Task[None]) -> None:
    """Wait for the first task to end, raise what it raised, and end the others."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task
    finally:
        await end(tasks)


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended: nats-py may swallow a cancellation in the midst of a request."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)


async def _steps(work: Work) -> None:
    while True:
        did = await work.step()
        if not did:
            collect_at_rest()
            await work.idle()
        elif pause := work.pause(did):
            await asyncio.sleep(pause)


async def _beat(name: str, runtime: Runtime, work: Work) -> None:
    """Say every two seconds that the service lives and where it stands."""
    told = 0
    while True:
        await asyncio.sleep(BEAT)
        answered = work.duplicates()
        if await _report(name, runtime, work.position(), None, answered - told):
            told = answered


async def beat_alone(name: str, runtime: Runtime, trouble: Callable[[], str | None] = lambda: None) -> None:
    """The heartbeat of a service that needs no lease; `trouble` gives what went wrong since the last beat."""
    while True:
        await _report(name, runtime, None, trouble())
        await asyncio.sleep(BEAT)


async def _report(name: str, runtime: Runtime, position: int | None, error: str | None, duplicates: int = 0) -> bool:
    """Whether it could be written down."""

    def write() -> None:
        with runtime.store.recorder.transaction() as cursor:
            report_follower(cursor, name, runtime.clock.now(), position, error, duplicates)

    try:
        await asyncio.to_thread(write)
    except Exception as trouble:  # the database is away: the log says so, the next beat tries again
        log.warning("could not report", service=name, trouble=str(trouble))
        return False
    return True
