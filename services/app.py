"""The FastStream app of one service, of several, or of all of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from eventsourcing.persistence import InterfaceError, OperationalError
from faststream import FastStream
from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from services.api import app as api_app
from services.api.server import serve
from services.bus import Bus, Names, on_error
from services.clock import SystemClock
from services.hosting import Runtime, Work, beat_alone, supervise
from services.intake import app as intake_app
from services.projector import app as projector_app
from services.relay import app as relay_app
from services.settings import MissingEngines, Settings
from services.store import Store
from services.timekeeper import app as timekeeper_app
from services.warning import app as warning_app
from services.warning.core import Warnings

log = structlog.get_logger("sauro.app")
Begin = Callable[[Runtime], Awaitable[Work]]
BEGIN: dict[str, Begin] = {
    module.NAME: module.begin for module in (intake_app, relay_app, projector_app, timekeeper_app)
}
SERVICES = (*BEGIN, warning_app.NAME, "api")


def away(trouble: BaseException) -> str | None:
    """What is said of trouble that comes from an engine being away; None for any other."""
    while isinstance(trouble, BaseExceptionGroup):
        trouble = trouble.exceptions[0]
    if isinstance(trouble, (NatsError, JetStreamError, OSError, TimeoutError, OperationalError, InterfaceError)):
        return f"{type(trouble).__name__}: {trouble}"
    return None


class Host:
    """Some services on one connection to NATS and one pool of connections to PostgreSQL."""

    def __init__(self, settings: Settings, services: Sequence[str]) -> None:
        if settings.postgres is None or settings.nats is None:
            raise MissingEngines
        self._settings, self._services, self._dsn = settings, services, settings.postgres
        self._names = Names(settings.subject_prefix)
        self._warnings: Warnings | None = None
        self.api_address: str | None = None
        self.ready = asyncio.Event()
        self.broker = NatsBroker(
            [url.strip() for url in settings.nats.split(",")],
            name="sauro-" + "-".join(services) if len(services) < 3 else "sauro",
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            error_cb=on_error,
            logger=None,
        )
        if warning_app.NAME in services:
            self._subscriber = warning_app.subscribe(self.broker, self._names, self._handler)
        self.app = FastStream(self.broker, lifespan=self._lifespan, logger=None, after_startup=[self._set_ready])

    def _handler(self) -> Warnings:
        if self._warnings is None:
            raise RuntimeError("the warning service has not connected yet")
        return self._warnings

    async def _set_ready(self) -> None:
        self.ready.set()

    @asynccontextmanager
    async def _lifespan(self, *_: Any) -> AsyncIterator[None]:
        client: Any = await self.broker.connect()
        bus = Bus(client, client.jetstream(timeout=10, publish_async_max_pending=4096), self._names)
        await bus.ensure_streams(self._settings.replicas)
        async with AsyncExitStack() as stack:
            store = Store.open(self._dsn, application="sauro-" + "-".join(self._services)[:40])
            stack.callback(store.close)
            runtime = Runtime(self._settings, store, bus, SystemClock())
            if warning_app.NAME in self._services:
                await warning_app.ensure_consumer(bus)
                self._warnings = Warnings(store.codec, bus)
            if "api" in self._services:
                await stack.enter_async_context(self._api(runtime))
            tasks = [
                asyncio.create_task(supervise(name, runtime, lambda begin=begin: begin(runtime)), name=name)  # type: ignore[misc]
                for name, begin in BEGIN.items()
                if name in self._services
            ]
            tasks += [
                asyncio.create_task(beat_alone(name, runtime), name=f"{name} heartbeat")
                for name in (warning_app.NAME, "api")
                if name in self._services
            ]
            if self._warnings is not None:
                watching = warning_app.watch(bus, self._subscriber, self._warnings)
                tasks.append(asyncio.create_task(watching, name="warning watch"))
            stack.push_async_callback(_end, tasks)
            yield

    @asynccontextmanager
    async def _api(self, runtime: Runtime) -> AsyncIterator[None]:
        application = api_app.create_app(runtime.store, runtime.bus, runtime.clock, self._settings)
        server = await serve(application, self._settings.api_host, self._settings.api_port)
        self.api_address = server.url
        try:
            yield
        finally:
            await server.stop()


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
