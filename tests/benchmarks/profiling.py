"""`PROFILE=1`: where the time of a command goes, measured around the real functions; the services hold no timers.

Times are exclusive within a thread: what a stage calls of another stage counts there. Stages of several threads overlap, so they
add up to more than the wall clock. The wrappers themselves cost about half a microsecond a call: figures of a profiled run are
for proportions.
"""

import functools
import inspect
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

Stages = Sequence[tuple[str, tuple[str, ...]]]

INGEST: Stages = (
    ("fetch", ("services.puller:Puller._receive", "services.puller:Puller.take_arrived")),
    ("validate", ("services.intake.reading:CommandReader.read", "services.intake.service:_incoming")),
    (
        "load",
        (
            "services.intake.states:StateCache.load",
            "services.intake.states:StateCache.fetch",
            "services.eventlog.recorder:LogRecorder.receipts",
        ),
    ),
    ("decide", ("services.intake.core:Intake._decide",)),
    ("encode", ("services.eventlog.codec:EventCodec.tail", "services.eventlog.codec:EventCodec.stored")),
    (
        "insert",
        (
            "services.eventlog.recorder:_write",
            "services.intake.core:write_snapshots",
        ),
    ),
    ("commit", ("services.eventlog.recorder:LogRecorder.append",)),
    ("answer", ("services.intake.core:Intake._answered",)),
    ("receipt", ("services.intake.service:IntakeService._publish",)),
    ("ack", ("services.puller:Puller.acknowledge",)),
)
PROJECTOR: Stages = (
    ("read", ("services.projector.core:states_after",)),
    ("decode", ("services.eventlog.codec:EventCodec.decode",)),
    ("fold", ("services.projector.core:fold_batch",)),
    ("write", ("services.projector.core:write_fold",)),
    ("track", ("services.projector.core:move_positions",)),
    ("commit", ("services.projector.core:Projector._apply_to",)),
)
REBUILD: Stages = (
    ("read", ("services.projector.building:states_after",)),
    ("decode", ("services.eventlog.codec:EventCodec.decode",)),
    ("fold and write", ("services.projector.building:Builder.advance",)),
    ("compare", ("services.projector.rebuild:_compare",)),
    ("switch", ("services.projector.rebuild:switch_to",)),
)
VERIFY: Stages = (
    ("read", ("services.audit.rows:event_rows", "services.audit.rows:receipt_rows")),
    ("compare columns", ("services.audit.rows:_event_hashes",)),
    ("hash, receipts' form", ("services.audit.rows:_aligned",)),
    ("tree", ("services.audit.rows:check_stretch", "services.audit.rows:_check_tiles")),
)


@dataclass
class Stopwatch:
    """Exclusive seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    _open: threading.local = field(default_factory=threading.local)

    def wrap(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed. A coroutine's time is the wall clock until it is done."""
        self.seconds.setdefault(stage, 0.0)

        @functools.wraps(function)
        def timed(*args: Any, **named: Any) -> Any:
            stack: list[float] = self._open.__dict__.setdefault("stack", [])
            stack.append(0.0)
            begun = time.perf_counter()
            try:
                return function(*args, **named)
            finally:
                spent = time.perf_counter() - begun
                self._add(stage, spent - stack.pop())
                if stack:
                    stack[-1] += spent

        @functools.wraps(function)
        async def awaited(*args: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            try:
                return await function(*args, **named)
            finally:
                self._add(stage, time.perf_counter() - begun)

        return awaited if inspect.iscoroutinefunction(function) else timed

    def _add(self, stage: str, spent: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + spent
        self.calls[stage] = self.calls.get(stage, 0) + 1

    def clear(self) -> None:
        """Forget what was measured so far, such as a warm-up."""
        self.seconds = dict.fromkeys(self.seconds, 0.0)
        self.calls.clear()


@contextmanager
def watching(stages: Stages, *, on: bool) -> Iterator[Stopwatch]:
    """The stages' functions replaced by timed ones for as long as the block lasts."""
    watch = Stopwatch()
    undo: list[tuple[Any, str, Any]] = []
    try:
        for stage, places in stages if on else ():
            for place in places:
                module, path = place.split(":")
                *owners, name = path.split(".")
                owner = functools.reduce(getattr, owners, import_module(module))
                original = inspect.getattr_static(owner, name, None)
                if original is None:
                    Console(stderr=True).print(f"profile: {place} is gone; stage '{stage}' misses it")
                    continue
                undo.append((owner, name, original))
                bare = original.__func__ if isinstance(original, staticmethod) else original
                wrapped: Any = watch.wrap(stage, bare)
                setattr(owner, name, staticmethod(wrapped) if isinstance(original, staticmethod) else wrapped)
        yield watch
    finally:
        for owner, name, original in undo:
            setattr(owner, name, original)


def show_stages(title: str, watch: Stopwatch, items: int, wall: float, what: str, file: TextIO | None = None) -> None:
    """Microseconds an item by stage; the rest is what no stage covers, or less than nothing where they overlap."""
    table = Table("stage", f"µs a {what}", "share", "calls", title=title)
    for stage, spent in watch.seconds.items():
        table.add_row(
            stage, f"{1e6 * spent / items:.1f}", f"{100 * spent / wall:.0f} %", f"{watch.calls.get(stage, 0):,}"
        )
    rest = wall - sum(watch.seconds.values())
    table.add_row("rest", f"{1e6 * rest / items:.1f}", f"{100 * rest / wall:.0f} %", "")
    table.add_row("all", f"{1e6 * wall / items:.1f}", "", "")
    Console(file=file).print(table)


__all__ = ["INGEST", "PROJECTOR", "REBUILD", "VERIFY", "Stopwatch", "show_stages", "watching"]
