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

from services.audit import app as audit_app
from services.bus import Bus, Names, on_error
from services.clock import SystemClock
from services.hosting import SILENCE, Runtime, Work, beat_alone, end, supervise
from services.intake import app as intake_app
from services.intake.partitions import seat
from services.interpreter import set_for_batches
from services.projector import app as projector_app
from services.relay import app as relay_app
from services.settings import MissingEngines, Settings
from services.store import Store
from services.timekeeper import app as timekeeper_app
from services.warning import app as warning_app
from services.warning import later as warning_later
from services.warning.core import Warnings

log = structlog.get_logger("sauro.app")
Begin = Callable[[Runtime], Awaitable[Work]]
BEGIN: dict[str, Begin] = {
    module.NAME: module.begin for module in (intake_app, relay_app, projector_app, timekeeper_app, audit_app)
}
SERVICES = (*BEGIN, warning_app.NAME, "api")


def away(trouble: BaseException) -> str | None:
    """What is said of trouble that comes from an engine being away; None for any other."""
    while isinstance(trouble, BaseExceptionGroup):
        trouble = trouble.exceptions[0]
    if isinstance(trouble, (NatsError, JetStreamError, OSError, TimeoutError, OperationalError, InterfaceError)):
        return f"{type(trouble).__name__}: {trouble}"
    return None


class App(FastStream):
    """FastStream's app, which looks whether it was asked to end only once it has started: this one says so at once."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.asked_to_end = asyncio.Event()

    def exit(self) -> None:
        """End soon, because somebody asked for it; a signal calls this."""
        super().exit()
        self.asked_to_end.set()

    def give_up(self) -> None:
        """End soon, of its own accord."""
        super().exit()


class Host:
    """Some services on one connection to NATS and one pool of connections to PostgreSQL."""

    def __init__(self, settings: Settings, services: Sequence[str]) -> None:
        if settings.postgres is None or settings.nats is None:
            raise MissingEngines
        self._settings, self._services, self._dsn = settings, services, settings.postgres
        self._names = Names(settings.subject_prefix)
        self._heard = warning_app.Heard()
        self.api_address: str | None = None
        self.ready = asyncio.Event()
        self.closed = False
        """Whether NATS ended the connection for good (a violated limit, withdrawn rights): only a new process helps."""
        self._stopping = False
        self.broker = NatsBroker(
            [url.strip() for url in settings.nats.split(",")],
            name="sauro-" + "-".join(services) if len(services) < 3 else "sauro",
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            ping_interval=5,  # a server that hangs is noticed in a quarter of a minute, not in six
            error_cb=on_error,
            closed_cb=self._on_closed,
            apply_types=False,
            logger=None,
        )
        if warning_app.NAME in services:
            self._subscriber = warning_app.subscribe(self.broker, self._names, self._heard)
        self.app = App(
            self.broker,
            lifespan=self._lifespan,
            logger=None,
            after_startup=[self._set_ready],
            on_shutdown=[self._set_stopping],
        )

    @property
    def _connections(self) -> int:
        """How many connections to PostgreSQL are kept: intake fetches streams for a batch while it stores another."""
        return 2 if intake_app.NAME in self._services else 1

    async def _set_ready(self) -> None:
        self.ready.set()

    async def _set_stopping(self) -> None:
        self._stopping = True

    async def _on_closed(self) -> None:
        if not self._stopping:
            log.error("NATS closed the connection for good, ending")
            self.closed = True
            self.app.give_up()

    @asynccontextmanager
    async def _lifespan(self, *_: Any) -> AsyncIterator[None]:
        client: Any = await self.broker.connect()
        bus = Bus.over(client, self._names)
        await bus.ensure_streams(self._settings.replicas)
        async with AsyncExitStack() as stack:
            application = "sauro-" + "-".join(self._services)[:40]
            store = Store.open(
                self._dsn, application=application, pool_size=self._connections, idle_in_transaction=SILENCE
            )
            stack.callback(store.close)
            runtime = Runtime(self._settings, store, bus, SystemClock())
            if warning_app.NAME in self._services:
                await warning_app.ensure_consumers(bus)
            if "api" in self._services:
                await stack.enter_async_context(self._api(runtime))
            tasks = [self._follower(name, runtime) for name in BEGIN if name in self._services]
            if "api" in self._services:
                tasks.append(asyncio.create_task(beat_alone("api", runtime), name="api heartbeat"))
            if warning_app.NAME in self._services:
                tasks += self._warning(runtime)
            stack.push_async_callback(end, tasks)
            set_for_batches()
            yield

    def _warning(self, runtime: Runtime) -> list[asyncio.Task[None]]:
        warnings = Warnings(runtime.store.codec, runtime.bus)
        return [
            asyncio.create_task(self._heard.handle(runtime.bus, runtime.clock, warnings), name="warning"),
            asyncio.create_task(warning_app.watch(runtime.bus, self._subscriber, warnings), name="warning watch"),
            asyncio.create_task(beat_alone(warning_app.NAME, runtime, warnings.tell_trouble), name="warning heartbeat"),
            asyncio.create_task(
                supervise(warning_later.NAME, runtime, lambda: warning_later.begin(runtime), (warning_later.NAME,)),
                name=warning_later.NAME,
            ),
        ]

    def _follower(self, service: str, runtime: Runtime) -> asyncio.Task[None]:
        """One active instance of a service, or of a partition of intake, at work."""
        name, locks = seat(self._settings.partition) if service == intake_app.NAME else (service, (service,))
        return asyncio.create_task(supervise(name, runtime, lambda: BEGIN[service](runtime), locks), name=name)

    @asynccontextmanager
    async def _api(self, runtime: Runtime) -> AsyncIterator[None]:
        # Only here: FastAPI takes a third of the time a process needs to start, and no other service needs it.
        from services.api.app import create_app  # noqa: PLC0415
        from services.api.server import serve  # noqa: PLC0415

        application = create_app(runtime.store, runtime.bus, runtime.clock, self._settings)
        server = await serve(application, self._settings.api_host, self._settings.api_port)
        self.api_address = server.url
        try:
            yield
        finally:
            await server.stop()
