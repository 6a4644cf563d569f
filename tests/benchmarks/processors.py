"""`PROFILE=1` where all services run: how much processor time each of their processes, and the engines, took of each item."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from services.engines import EmbeddedEngines

GONE = (FileNotFoundError, ProcessLookupError)
"""What reading of a process that has ended raises."""


def processor_seconds(pid: int, *, ended: bool = False) -> float:
    """Seconds of CPU a process has used, all its threads, user and system; with those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11 : 15 if ended else 13])) / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> Iterator[int]:
    """A process and all that descend from it, but for those that end meanwhile."""
    yield pid
    tasks: list[Path] = []
    with suppress(*GONE):
        tasks += Path(f"/proc/{pid}/task").iterdir()
    for task in tasks:
        children = ""
        with suppress(*GONE):  # of this task only: what its brothers started goes on
            children = (task / "children").read_text()
        for child in children.split():
            yield from family(int(child))


class Processors:
    """Processor time by process of a running `sauro up` or `sauro serve api`, of the engines, and of whoever offers the work."""

    def __init__(self, engines: EmbeddedEngines, running: Mapping[str, Any]) -> None:
        self._postgres, nats = engines.postgres.pid, engines.nats.pid
        assert self._postgres is not None
        assert nats is not None
        parts = {name.removeprefix("pid_"): int(pid) for name, pid in running.items() if name.startswith("pid_")}
        parts = parts or {"api": int(running["pid"])}
        self._pids = {pid: name for name, pid in parts.items()} | {nats: "nats", os.getpid(): "benchmark"}
        self._seconds: dict[str, float] = {}
        self._items = 0

    def _now(self) -> dict[str, float]:
        found = {name: processor_seconds(pid) for pid, name in self._pids.items()}
        assert self._postgres is not None
        found["postgres"] = 0.0
        for pid in family(self._postgres):
            with suppress(*GONE):  # the next look finds its seconds among those of the server's ended children
                found["postgres"] += processor_seconds(pid, ended=pid == self._postgres)
        return found

    def begin(self) -> None:
        """What follows counts."""
        self._before = self._now()

    def end(self, items: int) -> None:
        """What was done since `begin` were so many items."""
        for name, seconds in self._now().items():
            self._seconds[name] = self._seconds.get(name, 0.0) + seconds - self._before[name]
        self._items += items

    def show(self, title: str, what: str) -> None:
        """Microseconds of processor an item by process, and how many items a second all processors of the machine could do."""
        table = Table("process", f"µs of processor a {what}", title=title)
        each = {name: 1e6 * spent / self._items for name, spent in self._seconds.items()}
        for name, spent in sorted(each.items(), key=lambda item: -item[1]):
            table.add_row(name, f"{spent:.1f}")
        table.add_row("all", f"{sum(each.values()):.1f}")
        most = (os.cpu_count() or 1) * 1e6 / sum(each.values())
        table.add_row(f"{os.cpu_count()} processors do at most", f"{most:,.0f}/s")
        Console().print(table)
