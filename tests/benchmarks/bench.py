"""What every benchmark gets: engines, a scale, databases of its own, and someone to tell how far it is."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import psycopg
from rich.status import Status

from services.bus import STREAMS, Bus, Names
from services.engines import EmbeddedEngines
from services.eventlog.migrations import migrate

RUNS = 5
QUIET_SECONDS = 5.0
_numbers = count(1)


@dataclass(frozen=True)
class Installation:
    """A database and stream names of its own on the shared engines."""

    dsn: str
    nats: str
    names: Names
    database: str

    def execute(self, statement: str) -> None:
        """One statement as superuser, in autocommit."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement.encode())

    def value(self, query: str) -> int:
        """The single number a query gives."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0] or 0)


@dataclass
class Bench:
    """One run of the suite. `scale` multiplies sizes; 1 is what the figures are stated for."""

    engines: EmbeddedEngines
    scale: float = 1.0
    profile: bool = False
    status: Status | None = None
    name: str = ""
    said_at: float = 0.0
    templates: dict[object, str] = field(default_factory=dict)

    def size(self, full: int, least: int = 1) -> int:
        """A size at this scale."""
        return max(least, round(full * self.scale))

    def says(self, what: str) -> None:
        """Tell how far it is, on standard error."""
        if self.status is None:
            return
        self.status.update(f"{self.name}: {what}")
        if not self.status.console.is_terminal and time.monotonic() > self.said_at + QUIET_SECONDS:
            self.said_at = time.monotonic()
            self.status.console.print(f"{self.name}: {what}", highlight=False)

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        """A libpq URI of a new database, dropped at the end."""
        name = f"bench_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield self.dsn(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def installation(self, template: str | None = None) -> Iterator[Installation]:
        """A migrated database, or a copy of a template; database and streams are dropped at the end."""
        name = f"bench_{next(_numbers)}"
        copied = f" TEMPLATE {template} STRATEGY FILE_COPY" if template else ""
        self.execute(f"CREATE DATABASE {name}{copied}")
        if template is None:
            migrate(self.dsn(name))
        else:
            self.execute(f"GRANT CREATE ON DATABASE {name} TO sauro_app")  # a copy has no grants on itself
        place = Installation(self.dsn(name), self.engines.addresses.nats, Names(f"{name.upper()}-"), name)
        try:
            yield place
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")
            in_loop_of_its_own(lambda: delete_streams(place))

    def template(self, key: object, make: Callable[[Installation], None]) -> str:
        """The name of a database that `make` filled, made once a run of the suite; copies of it take seconds."""
        if key not in self.templates:
            name = f"world_{next(_numbers)}"
            self.execute(f"CREATE DATABASE {name}")
            place = Installation(self.dsn(name), self.engines.addresses.nats, Names(f"{name.upper()}-"), name)
            try:
                migrate(place.dsn)
                make(place)
            except BaseException:
                self.execute(f"DROP DATABASE {name} WITH (FORCE)")
                raise
            finally:
                in_loop_of_its_own(lambda: delete_streams(place))
            self.templates[key] = name
        return self.templates[key]

    def close(self) -> None:
        """Drop the templates."""
        for name in self.templates.values():
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")
        self.templates.clear()

    def execute(self, statement: str) -> None:
        """One statement as superuser on the server."""
        with psycopg.connect(self.engines.addresses.postgres, autocommit=True) as connection:
            connection.execute(statement.encode())

    def dsn(self, database: str) -> str:
        """The address of a database on the shared server."""
        return self.engines.addresses.postgres.replace("/postgres?", f"/{database}?")


async def delete_streams(place: Installation) -> None:
    """Delete the streams of an installation."""
    bus = await Bus.connect(place.nats, place.names, name="bench")
    known = {info.config.name for info in await bus.js.streams_info()}
    for spec in STREAMS:
        if place.names.stream(spec.name) in known:
            await bus.js.delete_stream(place.names.stream(spec.name))
    await bus.close()


def in_loop_of_its_own(work: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine from synchronous code, whether a loop runs in this thread or not."""

    async def run() -> None:
        await work()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    thread.join()
