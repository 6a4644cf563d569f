"""How a service lives: connected, alone at its work, woken by the log, restarted after trouble, never silent about it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import psycopg
import structlog
from psycopg.conninfo import make_conninfo

from projections.status import report_follower
from services.bus import Bus
from services.clock import Clock
from services.settings import Settings
from services.store import Store

log = structlog.get_logger("sauro.hosting")
IDLE = 1.0
BEAT = 2.0


@dataclass(frozen=True)
class Runtime:
    """What a service needs of the outside: settings, store, bus, clock."""

    settings: Settings
    store: Store
    bus: Bus
    clock: Clock


class Bell:
    """Rings when PostgreSQL notifies a channel; without a ring, waiting ends after a while anyway."""

    def __init__(self, dsn: str, *channels: str) -> None:
        self._dsn, self._channels = dsn, channels
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
                    for channel in self._channels:
                        await connection.execute(f"LISTEN {channel}".encode())
                    self._rung.set()
                    async for _ in connection.notifies():
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
    """One active instance of a service: a PostgreSQL advisory lock on a connection of its own; others stand by."""

    def __init__(self, dsn: str, name: str) -> None:
        self._dsn, self._name = dsn, name

    @asynccontextmanager
    async def held(self) -> AsyncIterator[psycopg.AsyncConnection[object]]:
        """Wait for the lease and hold it."""
        dsn = make_conninfo(self._dsn, keepalives_idle=2, keepalives_interval=1, keepalives_count=2)
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            waiting = False
            while True:
                row = await (
                    await connection.execute("SELECT pg_try_advisory_lock(hashtext(%s), 0)", (f"sauro-{self._name}",))
                ).fetchone()
                if row is not None and row[0]:
                    break
                if not waiting:
                    log.info("standing by", service=self._name)
                    waiting = True
                await asyncio.sleep(IDLE / 2)
            yield connection


Step = Callable[[], Awaitable[int]]
Idle = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Work:
    """A service at work: its step, what it does when a step found nothing, and where it stands."""

    step: Step
    idle: Idle
    position: Callable[[], int | None] = lambda: None
    stop: Callable[[], Awaitable[None]] | None = None


async def supervise(name: str, runtime: Runtime, begin: Callable[[], Awaitable[Work]]) -> None:
    """Run a service until cancelled: take the lease, begin, step; after trouble, begin anew with back-off."""
    delay = 0.2
    while True:
        try:
            async with Lease(runtime.store.dsn, name).held() as lease:
                log.info("working", service=name)
                delay = await _work(name, runtime, await begin(), lease)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("beginning anew", service=name, delay=delay)
            await _report(name, runtime, None, f"{type(error).__name__}: {error}")
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)


async def _work(name: str, runtime: Runtime, work: Work, lease: psycopg.AsyncConnection[object]) -> float:
    beat = asyncio.create_task(_beat(name, runtime, work, lease))
    steps = asyncio.create_task(_steps(work))
    try:
        done, _ = await asyncio.wait({beat, steps}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task
    finally:
        for task in (beat, steps):
            task.cancel()
        await asyncio.gather(beat, steps, return_exceptions=True)
        if work.stop is not None:
            with suppress(Exception):
                await work.stop()
    return 0.2


async def _steps(work: Work) -> None:
    while True:
        if not await work.step():
            await work.idle()


async def _beat(name: str, runtime: Runtime, work: Work, lease: psycopg.AsyncConnection[object]) -> None:
    """Say every two seconds that the service lives; the same look finds out when the lease is lost."""
    while True:
        await asyncio.sleep(BEAT)
        try:
            await lease.execute("SELECT 1")
        except psycopg.Error as error:
            raise LeaseLost(name) from error
        await _report(name, runtime, work.position(), None)


async def beat_alone(name: str, runtime: Runtime) -> None:
    """The heartbeat of a service that needs no lease."""
    while True:
        await _report(name, runtime, None, None)
        await asyncio.sleep(BEAT)


async def _report(name: str, runtime: Runtime, position: int | None, error: str | None) -> None:
    def write() -> None:
        with runtime.store.recorder.transaction() as cursor:
            report_follower(cursor, name, runtime.clock.now(), position, error)

    try:
        await asyncio.to_thread(write)
    except Exception as trouble:  # the database is away: the log says so, the next beat tries again
        log.warning("could not report", service=name, trouble=str(trouble))
