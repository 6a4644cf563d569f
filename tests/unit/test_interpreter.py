"""Processes of Sauro's are set for batches."""

import gc
import sys

from services.collecting import ALLOCATIONS
from services.interpreter import TURN, set_for_batches


def test_threads_take_turns_often_and_the_collector_comes_seldom() -> None:
    before = sys.getswitchinterval(), gc.get_threshold()
    try:
        set_for_batches()
        assert sys.getswitchinterval() == TURN
        assert gc.get_threshold()[0] == ALLOCATIONS
    finally:
        sys.setswitchinterval(before[0])
        gc.set_threshold(*before[1])
        gc.unfreeze()
