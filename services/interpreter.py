"""How Python's interpreter is set in Sauro's processes."""

import sys

from services.collecting import collect_seldom

TURN = 0.0005
"""Seconds a thread computes before another that waits gets its turn."""


def set_for_batches() -> None:
    """Threads take turns often, and the cycle collector comes seldom.

    A thread that stores a batch computes for some microseconds between waits for PostgreSQL, while another reads the next batch.
    With Python's five milliseconds a turn PostgreSQL waited for it, a twelfth of intake's time.
    """
    sys.setswitchinterval(TURN)
    collect_seldom()
