"""Real engines for integration tests: one pair a session, a database and a subject prefix a test."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

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
_MEMORY, _ROOM = Path("/dev/shm"), 4 << 30


@pytest.fixture(scope="session")
def engines() -> Iterator[EmbeddedEngines]:
    """PostgreSQL and NATS, durability given up.

    Their data lies in memory where there is room: a database is some three hundred files, and on a file system that keeps
    the numbers of deleted ones back for a while, those of hundreds of tests cost more than what the tests do.
    """
    with (
        TemporaryDirectory(prefix="sauro-", dir=_with_room()) as folder,
        EmbeddedEngines(Path(folder), relaxed=True) as running,
    ):
        yield running


def _with_room() -> Path | None:
    """Linux's folder in memory; None, for the usual one, if there is none, or not enough memory to spare."""
    try:
        facts = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = min(int(facts["MemAvailable"].split()[0]) << 10, shutil.disk_usage(_MEMORY).free)
    except OSError:
        return None
    return _MEMORY if free >= _ROOM else None


@pytest.fixture(scope="session")
def databases(engines: EmbeddedEngines) -> Databases:
    """Makes migrated databases, for fixtures that outlive a test; yields their libpq URI. One is migrated, the others copies."""
    server = engines.addresses.postgres

    def execute(statement: str, name: str) -> None:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(SQL(statement).format(Identifier(name)))

    execute("CREATE DATABASE {}", "migrated")
    migrate(server.replace("/postgres?", "/migrated?"))

    @contextmanager
    def database() -> Iterator[str]:
        name = f"test_{next(_numbers)}"
        execute("CREATE DATABASE {} TEMPLATE migrated", name)
        execute("GRANT CREATE ON DATABASE {} TO sauro_app", name)  # a copy has no grants on itself
        yield server.replace("/postgres?", f"/{name}?")
        execute("DROP DATABASE {} WITH (FORCE)", name)

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
