"""PostgreSQL and NATS out of wheels, for the demo, for tests and a first look: nothing to install, no fixed port."""

from __future__ import annotations

import atexit
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from services.engines.install import installed_tree
from services.engines.nats import EmbeddedNats, nats_server
from services.engines.postgres import EmbeddedPostgres
from services.engines.process import EngineError, admit, private_folder, service_account

__all__ = ["EmbeddedEngines", "EmbeddedNats", "EmbeddedPostgres", "EngineAddresses", "EngineError"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class EngineAddresses:
    """Where the engines answer: a libpq URI (superuser, database `postgres`) and a NATS URL with its password."""

    postgres: str
    nats: str


class EmbeddedEngines:
    """Both engines over one data folder, as a context manager or by `start` and `stop`.

    `data` None means a private temporary folder that is removed at `stop`. `relaxed` gives up durability in both.
    The engines end with this process, even if it is killed (Linux). Methods block; use `asyncio.to_thread`.
    """

    def __init__(self, data: Path | None = None, *, relaxed: bool = False) -> None:
        self._given = data
        self._relaxed = relaxed
        self._owner = os.getpid()
        self._folder: Path | None = None
        self._postgres: EmbeddedPostgres | None = None
        self._nats: EmbeddedNats | None = None

    @property
    def postgres(self) -> EmbeddedPostgres:
        """The PostgreSQL server, to restart or kill it on its own. Raises EngineError before `start`."""
        return _started(self._postgres)

    @property
    def nats(self) -> EmbeddedNats:
        """The NATS server, to restart or kill it on its own. Raises EngineError before `start`."""
        return _started(self._nats)

    @property
    def data(self) -> Path:
        """The folder that holds the engines' data. Raises EngineError before `start`."""
        return _started(self._folder)

    @property
    def addresses(self) -> EngineAddresses:
        """Where the engines answer. Raises EngineError before `start`."""
        return EngineAddresses(postgres=self.postgres.dsn, nats=self.nats.url)

    def start(self) -> EngineAddresses:
        """Start both engines and return their addresses once both answer.

        Raises EngineError if the extra is missing, the folder is in use or cannot be reached, or an engine fails;
        nothing is left running then.
        """
        installed_tree()
        nats_server()
        if self._folder is None:
            self._folder = self._prepare()
            atexit.register(self._stop_at_exit)
            self._postgres = EmbeddedPostgres(self._folder / "postgres", relaxed=self._relaxed)
            self._nats = EmbeddedNats(self._folder / "nats", relaxed=self._relaxed)
        try:
            self.nats.start()
            self.postgres.start()
        except BaseException:
            self.stop()
            raise
        return self.addresses

    def stop(self) -> None:
        """Stop both engines, and remove the data if it was in a temporary folder; harmless if nothing runs."""
        for engine in (self._postgres, self._nats):
            if engine is not None:
                engine.stop()
        if self._given is None and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        atexit.unregister(self._stop_at_exit)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _stop_at_exit(self) -> None:
        if os.getpid() == self._owner:  # not in a fork of ours
            self.stop()

    def _prepare(self) -> Path:
        if self._given is None:
            return private_folder(service_account())
        folder = self._given.absolute()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        admit(service_account(folder / "postgres" / "pgdata"), folder)
        return folder


def _started(part: _T | None) -> _T:
    if part is None:
        raise EngineError("the embedded engines have not been started; call start() first")
    return part
