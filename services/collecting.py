"""Python's cycle collector, set for processes that keep many small, long-lived values."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

ALLOCATIONS = 50_000


def collect_seldom() -> None:
    """What lives after the start stays out of collections, and those that remain come every 50,000 net allocations.

    Folded states, rows and events are frozen values without cycles: reference counting frees them. With Python's default
    of 700 allocations the collector walked the caches over and over, a quarter of intake's time with 20,000 states.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS, 20, 50)
    _batches.looked_through()


class _Batches:
    """Counts the batches at work; of several threads they may overlap, and the collector comes back with the last one's end.

    What a batch leaves behind, states and rows, is kept out of later collections. Cycles among it would never be freed; so all
    is looked through once memory, counted in blocks, has doubled from what it was at its least since the last time. That takes
    a third of a second where a hundred thousand states are kept: it is done at rest, or when memory has doubled again.
    """

    def __init__(self) -> None:
        self._gate, self._count, self._most = Lock(), 0, 0

    def begin(self) -> None:
        with self._gate:
            self._count += 1
            gc.disable()

    def end(self) -> None:
        with self._gate:
            self._count -= 1
            if not self._count:
                blocks = sys.getallocatedblocks()
                if blocks > 2 * self._most:
                    self._look_through()
                self._most = min(self._most, 2 * blocks)
                gc.freeze()
                gc.enable()

    def rest(self) -> None:
        with self._gate:
            if not self._count and sys.getallocatedblocks() > self._most:
                self._look_through()
                gc.freeze()

    def _look_through(self) -> None:
        gc.unfreeze()
        gc.collect()
        self.looked_through()

    def looked_through(self) -> None:
        """All there is has just been looked through."""
        self._most = 2 * sys.getallocatedblocks()


_batches = _Batches()


def collect_at_rest() -> None:
    """There is nothing to do just now: look through what batches have left, if there is much of it."""
    _batches.rest()


@contextmanager
def no_collector() -> Iterator[None]:
    """Without the collector for a batch: what a batch makes is freed by its end, and would be looked through in vain."""
    _batches.begin()
    try:
        yield
    finally:
        _batches.end()
