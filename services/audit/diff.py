"""What changed between two moments, figure by figure, with the events that changed it.

Figures are those of every registered view, as they were known. An event's share in a figure comes from the view itself, computed
over the versions of rows that began and ended with the event; what several rows make together is found by halves.
A figure that was reported at a moment and is another one now, as of that same moment, has moved since.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg import Cursor

from projections.contributions import changes_of
from projections.model import View
from projections.past import Moment, read_at
from projections.queries_log import described
from projections.queries_scorecards import view_rows
from services.audit.replay import moment_of
from services.store import Store

Key = tuple[Any, ...]
Figures = dict[Key, dict[str, Any]]
Progress = Callable[[int, int], None]
_RATES = ("completion_rate", "on_time_rate", "on_time_rate_current")


@dataclass(frozen=True, slots=True)
class Changed:
    """A figure before and after; None where there was no such row. `events` are the positions that changed it."""

    view: str
    key: dict[str, Any]
    figure: str
    before: Any
    after: Any
    events: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed between two moments as they were known, and which figures of the first have moved since."""

    first: Moment
    last: Moment
    changed: tuple[Changed, ...]
    moved: tuple[Changed, ...]
    events: dict[int, dict[str, Any]]

    def document(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "from": {"as_of": self.first.at, "position": self.first.position},
            "to": {"as_of": self.last.at, "position": self.last.position},
            "changed": [_document(one, "before", "after") | {"events": one.events} for one in self.changed],
            "moved_since": [_document(one, "reported", "now_known") for one in self.moved],
            "events": list(self.events.values()),
        }


def _document(one: Changed, before: str, after: str) -> dict[str, Any]:
    return {"scorecard": one.view, **one.key, "figure": one.figure, before: one.before, after: one.after}


def difference(
    store: Store,
    cursor: Cursor[Any],
    start: datetime,
    end: datetime,
    programme: str | None = None,
    progress: Progress | None = None,
) -> Difference:
    """What changed from one instant to a later one. The cursor is in a snapshot; `progress` counts views done."""
    first, last = (moment_of(store, cursor, at, "recorded") for at in (start, end))
    true = moment_of(store, cursor, start, "occurred")
    changed: list[Changed] = []
    moved: list[Changed] = []
    views = store.registry.views
    for number, view in enumerate(views):
        if progress is not None:
            progress(number, len(views))
        looked = _Looks(cursor, view, programme)
        at_first = looked.at(first)
        found = list(_compared(view, at_first, looked.at(last)))
        shares = changes_of(cursor, store.registry.read_models, view, first.position, last.position, programme)
        changed += (_explained(one, shares, looked, first, last) for one in found)
        moved += _compared(view, at_first, looked.at(true))
    positions = sorted({position for one in changed for position in one.events})
    events = {row["position"]: row for row in described(cursor, positions)}
    return Difference(first, last, tuple(changed), tuple(moved), events)


class _Looks:
    """A view's figures at moments, each looked at once."""

    def __init__(self, cursor: Cursor[Any], view: View, programme: str | None) -> None:
        self._cursor, self._view, self._programme = cursor, view, programme
        self._known: dict[Moment, Figures] = {}

    def at(self, moment: Moment) -> Figures:
        """Figures by the view's key."""
        if moment not in self._known:
            read_at(self._cursor, moment)
            rows = view_rows(self._cursor, self._view, self._programme, None)
            names = self._view.key
            self._known[moment] = {tuple(row[name] for name in names): row for row in rows}
        return self._known[moment]

    def value(self, key: Key, figure: str, moment: Moment) -> int:
        """One figure; 0 where there is no such row."""
        return int(self.at(moment).get(key, {}).get(figure) or 0)


def _compared(view: View, before: Figures, after: Figures) -> Iterator[Changed]:
    for key in sorted({*before, *after}):
        named = dict(zip(view.key, key, strict=True))
        old, new = before.get(key, {}), after.get(key, {})
        for figure in old or new:
            was, now = old.get(figure), new.get(figure)
            if figure not in view.key and was != now and (was or now):
                yield Changed(view.name, named, figure, _number(was), _number(now))


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def _explained(
    one: Changed, shares: dict[Key, dict[int, dict[str, int]]], looked: _Looks, first: Moment, last: Moment
) -> Changed:
    key = tuple(one.key.values())
    own = shares.get(key, {})
    if one.figure in _RATES:
        return _with(one, own)  # a rate is made of the counts: whatever changed one of them
    found = {position: share[one.figure] for position, share in own.items() if one.figure in share}
    if sum(found.values()) == (one.after or 0) - (one.before or 0):
        return _with(one, found)

    def rest(position: int) -> int:
        """What the shares up to a position leave unexplained."""
        moment = Moment(last.at, "recorded", position)
        return looked.value(key, one.figure, moment) - sum(v for at, v in found.items() if at <= position)

    return _with(one, {*found, *_by_halves(rest, first.position, last.position)})


def _with(one: Changed, events: Any) -> Changed:
    return Changed(one.view, one.key, one.figure, one.before, one.after, tuple(sorted(events)))


def _by_halves(value: Callable[[int], int], low: int, high: int) -> Sequence[int]:
    """Positions at which a value changes, as far as it differs at the ends."""
    if value(low) == value(high):
        return ()
    if high - low == 1:
        return (high,)
    middle = (low + high) // 2
    return (*_by_halves(value, low, middle), *_by_halves(value, middle, high))
