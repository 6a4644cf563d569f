"""Rows whose events did not come in the order in which they occurred: what was true of them is folded anew from the log."""

from collections import defaultdict
from typing import Any

from psycopg import Cursor

from domain.kernel import Recorded
from projections.model import Key
from projections.past import known_row, true_versions
from projections.rows import CannotApply, Fold, keys_of, leave_order, replace_true
from services.eventlog.codec import EventCodec
from services.eventlog.reading import states_of


class OfTwoStreams(Exception):
    """A row was touched by events of more than one stream."""


def write_apart(cursor: Cursor[Any], schema: str, fold: Fold, codec: EventCodec, last: int) -> None:
    """Write what was true of the rows that stand apart, as of the events up to a position. Raises CannotApply."""
    if not fold.apart:
        return
    leave_order(cursor, schema, fold.model, fold.left)
    found = []
    for key, events in _events(cursor, fold, codec, last).items():
        versions = true_versions(fold.model, events)
        known = fold.rows[key]
        if known is None or known_row(fold.model, events) != known[0]:
            raise CannotApply(fold.model.name, events[-1], OfTwoStreams(f"row {key} of {fold.model.name}"))
        found += versions
    replace_true(cursor, schema, fold.model, fold.apart, found)


def _events(cursor: Cursor[Any], fold: Fold, codec: EventCodec, last: int) -> dict[Key, list[Recorded[Any]]]:
    found: dict[Key, list[Recorded[Any]]] = defaultdict(list)
    for state in states_of(cursor, set(fold.apart.values()), last):
        event = codec.decode(state)
        if fold.model.handles_event(event):
            for key in keys_of(fold.model, event):
                if key in fold.apart:
                    found[key].append(event)
    return found
