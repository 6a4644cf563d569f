"""Real engines for integration tests: one pair a session, a database and a subject prefix a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from services.audit.notes import Signer
from services.bus import Bus, Names
from services.engines import EmbeddedEngines
from services.eventlog.migrations import migrate
from services.store import Store
from tests.integration.processes import Installation, installation

Databases = Callable[[], AbstractContextManager[str]]
_numbers = count(1)


@pytest.fixture(scope="session")
def engines() -> Iterator[EmbeddedEngines]:
    """PostgreSQL and NATS, durability given up."""
    with EmbeddedEngines(relaxed=True) as running:
        yield running


@pytest.fixture(scope="session")
def databases(engines: EmbeddedEngines) -> Databases:
    """Makes migrated databases, for fixtures that outlive a test; yields their libpq URI."""
    server = engines.addresses.postgres

    @contextmanager
    def database() -> Iterator[str]:
        name = f"test_{next(_numbers)}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        address = server.replace("/postgres?", f"/{name}?")
        migrate(address)
        yield address
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))

    return database


@pytest.fixture
def dsn(databases: Databases) -> Iterator[str]:
    """A migrated database of the test's own."""
    with databases() as address:
        yield address


@pytest.fixture
def store(dsn: str) -> Iterator[Store]:
    """The test's log and read models."""
    opened = Store.open(dsn)
    yield opened
    opened.close()


@pytest.fixture
def names() -> Names:
    """Streams and subjects of the test's own."""
    return Names(f"T{next(_numbers)}-")


@pytest.fixture
async def bus(engines: EmbeddedEngines, names: Names) -> AsyncIterator[Bus]:
    """A connection with the test's streams, which go with the test."""
    connected = await Bus.connect(engines.addresses.nats, names)
    await connected.ensure_streams()
    yield connected
    if connected.client.is_connected:
        for stream in await connected.js.streams_info():
            if (stream.config.name or "").startswith(names.prefix):
                await connected.js.delete_stream(stream.config.name or "")
    await connected.close()


@pytest.fixture
def processes(engines: EmbeddedEngines, dsn: str, bus: Bus, tmp_path: Path) -> Iterator[Installation]:
    """No process yet; those that a test starts are ended."""
    with installation(engines, dsn, bus.names.prefix, (), tmp_path) as found:
        yield found


@pytest.fixture
def signer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Signer:
    """The installation's key, as the audit's process finds it."""
    key = Signer.generate("sauro.local")
    key.write(tmp_path / "audit.key")
    monkeypatch.setenv("SAURO_AUDIT_KEY", str(tmp_path / "audit.key"))
    monkeypatch.setenv("SAURO_AUDIT_DIR", str(tmp_path / "audit"))
    return key
