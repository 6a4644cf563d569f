"""What changed between two moments, figure by figure, with the events that changed it.

Figures are those of every registered view, on one axis: as they were known, or as they were true with all that is known now. An
event's share in a figure comes from the view itself, computed over the versions of rows that began and ended with the event;
what several rows make together is found by halves. On the axis of what was true, the last event of a row at an instant stands
for all of them. A figure that is no count is followed by halves to the events at which it shows another value.

A figure that was reported at a moment and is another one now, as of that same moment, has moved since: by the events that were
recorded later, or out of the order in which they occurred, of the rows that differ.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from psycopg import Cursor

from projections.contributions import changes_of, moves_of
from projections.model import View
from projections.past import Axis, Moment, read_at
from projections.queries_log import described, moved_by, occurrences
from projections.queries_scorecards import view_rows
from services.audit.replay import moment_of
from services.store import Store

Key = tuple[Any, ...]
Figures = dict[Key, dict[str, Any]]
AXES: tuple[Axis, Axis] = ("recorded", "occurred")
Progress = Callable[[int, int], None]


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
class Moved:
    """A figure of one moment: as it was reported then, and as it is known now. `events` are the positions that moved it."""

    view: str
    key: dict[str, Any]
    figure: str
    as_of: datetime
    reported: Any
    now_known: Any
    events: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed between two moments of one axis, and which figures reported at either have moved since."""

    first: Moment
    last: Moment
    changed: tuple[Changed, ...]
    moved: tuple[Moved, ...]
    events: dict[int, dict[str, Any]]

    def document(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "time": self.first.axis,
            "from": {"as_of": self.first.at, "position": self.first.position},
            "to": {"as_of": self.last.at, "position": self.last.position},
            "changed": [
                _named(one) | {"before": one.before, "after": one.after, "events": one.events} for one in self.changed
            ],
            "moved_since": [
                _named(one)
                | {"as_of": one.as_of, "reported": one.reported, "now_known": one.now_known, "events": one.events}
                for one in self.moved
            ],
            "events": list(self.events.values()),
        }


def _named(one: Changed | Moved) -> dict[str, Any]:
    return {"scorecard": one.view, **one.key, "figure": one.figure}


def difference(
    store: Store,
    cursor: Cursor[Any],
    start: datetime,
    end: datetime,
    programme: str | None = None,
    progress: Progress | None = None,
    *,
    axis: Axis = "recorded",
) -> Difference:
    """What changed from one instant to a later one. The cursor is in a snapshot; `progress` counts steps, more as they show."""
    first, last = (moment_of(store, cursor, at, axis) for at in (start, end))
    way = _Way(cursor, first, last, programme)
    steps = _Steps(progress or (lambda done, total: None), len(store.registry.views))
    changed: list[Changed] = []
    moved: list[Moved] = []
    for view in store.registry.views:
        looked = _Looks(cursor, view, programme)
        found = list(_compared(view, looked.at(first), looked.at(last)))
        steps.done(more=len(found))
        shares = changes_of(cursor, store.registry.read_models, view, first, last, programme)
        for one in found:
            changed.append(_explained(one, view, shares, looked, way))
            steps.done()
        for at in dict.fromkeys((start, end)):
            moved += _moved(store, cursor, looked, at)
    told: tuple[Changed | Moved, ...] = (*changed, *moved)
    positions = sorted({position for one in told for position in one.events})
    events = {row["position"]: row for row in described(cursor, positions)}
    return Difference(first, last, tuple(changed), tuple(moved), events)


@dataclass
class _Steps:
    """Tells how far the work is; its length shows only on the way."""

    tell: Progress
    total: int
    number: int = 0

    def done(self, more: int = 0) -> None:
        self.number, self.total = self.number + 1, self.total + more
        self.tell(self.number, self.total)


class _Looks:
    """A view's figures at moments, each looked at once."""

    def __init__(self, cursor: Cursor[Any], view: View, programme: str | None) -> None:
        self._cursor, self.view, self.programme = cursor, view, programme
        self._known: dict[Moment, Figures] = {}

    def at(self, moment: Moment) -> Figures:
        """Figures by the view's key."""
        if moment not in self._known:
            read_at(self._cursor, moment)
            rows = view_rows(self._cursor, self.view, self.programme, None)
            names = self.view.key
            self._known[moment] = {tuple(row[name] for name in names): row for row in rows}
        return self._known[moment]

    def value(self, key: Key, figure: str, moment: Moment) -> Any:
        """One figure; 0 where there is no such row."""
        return self.at(moment).get(key, {}).get(figure) or 0


@dataclass(frozen=True)
class _Way:
    """The places from one moment to a later one at which a figure may change, numbered from `low` to `high`.

    They are the positions of the log, or the instants at which something occurred; `low` is the first moment itself.
    """

    cursor: Cursor[Any]
    first: Moment
    last: Moment
    programme: str | None

    @cached_property
    def _instants(self) -> list[tuple[datetime, list[int]]]:
        found = occurrences(self.cursor, self.first.at, self.last.at, self.programme)
        return [(self.first.at, []), *found]

    @cached_property
    def _numbers(self) -> dict[int, int]:
        return {at: number for number, (_, positions) in enumerate(self._instants) for at in positions}

    @property
    def low(self) -> int:
        return self.first.position if self.first.axis == "recorded" else 0

    @property
    def high(self) -> int:
        return self.last.position if self.first.axis == "recorded" else len(self._instants) - 1

    def moment(self, number: int) -> Moment:
        """The moment a place stands for."""
        if self.first.axis == "recorded":
            return replace(self.last, position=number)
        return replace(self.last, at=self._instants[number][0])

    def events(self, number: int) -> Sequence[int]:
        """The positions of the events there."""
        return (number,) if self.first.axis == "recorded" else self._instants[number][1]

    def number(self, position: int) -> int:
        """At which place an event lies; one that is said to have occurred before its stream began lies at the beginning."""
        return position if self.first.axis == "recorded" else self._numbers.get(position, 0)


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


def _moved(store: Store, cursor: Cursor[Any], looked: _Looks, at: datetime) -> Iterator[Moved]:
    """The figures of a moment that were reported otherwise than is known now, with the events that tell."""
    known, true = (moment_of(store, cursor, at, axis) for axis in AXES)
    found = list(_compared(looked.view, looked.at(known), looked.at(true)))
    if not found:
        return
    shares = moves_of(cursor, store.registry.read_models, looked.view, known, true, looked.programme)
    near = [position for share in shares.values() for position in share]
    late = moved_by(cursor, near, at, known.position)
    streams = {row["position"]: row["stream"] for row in described(cursor, near)}
    for one in found:
        own = shares.get(tuple(one.key.values()), {})
        counted = {position for position, share in own.items() if one.figure in share}
        moving = {streams[position] for position in counted or own or near}  # else of the rows it may rest on
        events = sorted(position for stream in moving for position in late.get(stream, ()))
        yield Moved(one.view, one.key, one.figure, at, one.before, one.after, tuple(events))


def _explained(
    one: Changed, view: View, shares: dict[Key, dict[int, dict[str, int]]], looked: _Looks, way: _Way
) -> Changed:
    key = tuple(one.key.values())
    own = shares.get(key, {})
    if one.figure in view.rates:
        return _with(one, own)  # a rate is made of the counts: whatever changed one of them
    if one.figure not in view.counts:

        def shown(number: int) -> Any:
            return looked.value(key, one.figure, way.moment(number))

        return _with(one, (at for number in _by_halves(shown, way.low, way.high) for at in way.events(number)))
    found = {position: share[one.figure] for position, share in own.items() if one.figure in share}
    if sum(found.values()) == (one.after or 0) - (one.before or 0):
        return _with(one, found)

    def rest(number: int) -> int:
        """What the shares up to a place leave unexplained."""
        shown = int(looked.value(key, one.figure, way.moment(number)))
        return shown - sum(share for at, share in found.items() if way.number(at) <= number)

    return _with(one, {*found, *(at for number in _by_halves(rest, way.low, way.high) for at in way.events(number))})


def _with(one: Changed, events: Any) -> Changed:
    return replace(one, events=tuple(sorted(events)))


def _by_halves(value: Callable[[int], Any], low: int, high: int) -> Sequence[int]:
    """Numbers at which a value changes, as far as it differs at the ends."""
    if value(low) == value(high):
        return ()
    if high - low == 1:
        return (high,)
    middle = (low + high) // 2
    return (*_by_halves(value, low, middle), *_by_halves(value, middle, high))
