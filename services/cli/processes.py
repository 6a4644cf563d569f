"""Processes of services, forked from one that has imported everything: they start at once and share what it holds in memory."""

import asyncio
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import connection, parent_process
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import FrameType

import structlog

from services.cli.common import CommandFailed
from services.cli.logs import configure_logging
from services.cli.warming import CONTEXT
from services.settings import Settings

log = structlog.get_logger("sauro.processes")
Group = tuple[str, ...]
LOOK, REST = 0.05, 0.5
"""Seconds between two looks whether all are ready, and whether somebody has asked to end."""
PATIENCE = 20.0
"""Seconds in which a service that was asked to end does so."""
TOGETHER = ("relay", "warning")
"""Share a process: what one publishes the other hears, and neither has much to do. Every other service has one of its own."""


@contextmanager
def started(services: Sequence[str], environment: Mapping[str, str]) -> Iterator["Processes"]:
    """The processes of services, with these settings in their environment; they end with the block, and with this process."""
    shared = tuple(service for service in services if service in TOGETHER)
    groups = [(service,) for service in services if service not in TOGETHER] + ([shared] if shared else [])
    with tempfile.TemporaryDirectory(prefix="sauro-") as folder:
        files = {group: Path(folder) / "-".join(group) for group in groups}
        children = {
            group: CONTEXT.Process(target=_serve, args=(group, file, dict(environment)), name=file.name)
            for group, file in files.items()
        }
        running: list[ForkServerProcess] = []
        try:
            for child in children.values():
                child.start()
                running.append(child)
            yield Processes(children, files)
        finally:
            _end(running)


def _end(children: Sequence[ForkServerProcess]) -> None:
    """Ask all to end, and kill what has not when patience is over."""
    for child in children:
        child.terminate()
    until = time.monotonic() + PATIENCE
    for child in children:
        child.join(max(until - time.monotonic(), 0.0))
        if child.exitcode is None:
            log.error("killed, it did not end", process=child.name)
            child.kill()
            child.join()


class Processes:
    """The processes of groups of services; both waits raise CommandFailed when one of them ends by itself."""

    def __init__(self, children: Mapping[Group, ForkServerProcess], files: Mapping[Group, Path]) -> None:
        self._children, self._files = children, files
        self._asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True

    @property
    def pids(self) -> dict[str, int]:
        """Process id by service."""
        return {service: child.pid or 0 for group, child in self._children.items() for service in group}

    def ready(self) -> dict[str, str | None] | None:
        """Wait until all are ready, and return the addresses they wrote; None when somebody asked to end before that."""
        self._wait(LOOK, lambda: all(file.exists() for file in self._files.values()))
        if self._asked:
            return None
        found = (json.loads(file.read_text(encoding="utf-8")) for file in self._files.values())
        return {name: address for addresses in found for name, address in addresses.items() if address is not None}

    def wait(self) -> None:
        """Wait until somebody asks to end: Ctrl-C or SIGTERM."""
        self._wait(REST, lambda: False)

    def _wait(self, look: float, over: Callable[[], bool]) -> None:
        while not (self._asked or over()):
            for group, child in self._children.items():
                if child.exitcode is not None:
                    named = f"service '{group[0]}'" if len(group) == 1 else f"services {', '.join(group)}"
                    raise CommandFailed(f"{named} ended with code {child.exitcode}; the others are stopped")
            connection.wait([child.sentinel for child in self._children.values()], look)


def _serve(services: Group, file: Path, environment: dict[str, str]) -> None:
    """What a forked process does: run services, in a session of its own."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.setsid()  # Ctrl-C is for who started it, who then ends it
    os.environ.clear()
    os.environ.update(environment)
    configure_logging(os.environ.get("SAURO_LOG_LEVEL", "WARNING"))
    asyncio.run(_run(services, file))


async def _run(services: Group, file: Path) -> None:
    from services.cli.running import run

    loop, parent = asyncio.get_running_loop(), parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def orphaned() -> None:
        loop.remove_reader(sentinel)
        signal.raise_signal(signal.SIGTERM)

    loop.add_reader(sentinel, orphaned)
    await run(Settings(), services, [file], quiet=True)
