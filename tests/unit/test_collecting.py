"""The cycle collector: out of the way of batches, and never for good."""

import gc
import sys
import weakref
from collections.abc import Callable

import pytest

from services import collecting
from services.collecting import collect_at_rest, no_collector


def test_the_collector_comes_back_with_the_last_batch() -> None:
    """A batch is read while another is stored: the end of either leaves the other one without the collector."""
    stored, read = no_collector(), no_collector()
    with stored:
        read.__enter__()
    assert not gc.isenabled()
    read.__exit__(None, None, None)
    assert gc.isenabled()


class Ring:
    """What only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def left_behind(monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    """A cycle that a batch has left: gone once this says None. What tests before have kept does not count."""
    monkeypatch.setattr(collecting, "_batches", batches := collecting._Batches())
    batches.looked_through()
    with no_collector():
        ring = Ring()
        seen = weakref.ref(ring)
    del ring
    gc.collect()
    assert seen() is not None  # kept out of collections with all that batches leave
    return seen


def test_what_batches_leave_behind_is_looked_through_at_rest_when_memory_has_doubled(
    monkeypatch: pytest.MonkeyPatch, left_behind: Callable[[], object]
) -> None:
    collect_at_rest()
    assert left_behind() is not None  # little has come since
    monkeypatch.setattr(collecting._batches, "_most", sys.getallocatedblocks() * 3 // 4)
    with no_collector():
        pass
    assert left_behind() is not None  # others may wait for the next batch
    collect_at_rest()
    assert left_behind() is None


def test_who_never_rests_looks_through_when_memory_has_doubled_twice(
    monkeypatch: pytest.MonkeyPatch, left_behind: Callable[[], object]
) -> None:
    monkeypatch.setattr(collecting._batches, "_most", sys.getallocatedblocks() // 3)
    with no_collector():
        pass
    assert left_behind() is None
