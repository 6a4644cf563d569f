"""The cycle collector: out of the way of batches, and never for good."""

import gc
import weakref

import pytest

from services import collecting
from services.collecting import no_collector


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


def test_what_batches_leave_behind_is_looked_through_when_memory_has_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    with no_collector():
        ring = Ring()
        seen = weakref.ref(ring)
    del ring
    gc.collect()
    assert seen() is not None  # kept out of collections with all that batches leave
    monkeypatch.setattr(collecting._batches, "_most", 0)
    with no_collector():
        pass
    assert seen() is None
