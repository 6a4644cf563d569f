"""Replays an aggregate: the state its own `evolve` gives as of a moment, for any aggregate that is registered.

Two axes (R-348). `recorded`: the events the log held at that moment, by version. `occurred`: all events known now that
had occurred by then, in the order in which they occurred.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime
from typing import Any

from psycopg import Cursor
from pydantic import BaseModel

from domain.calendar import to_local
from domain.kernel import Decider, Recorded
from projections.past import Axis, Moment, first_event, in_order, last_recorded, position_at, read_at
from projections.queries import begin_snapshot, standing
from services.clock import Clock
from services.store import Store


@dataclass(frozen=True, slots=True)
class Replayed:
    """An aggregate's state as of a moment, and the events that led to it, in the order in which they were folded."""

    stream: str
    version: int
    state: Any
    events: tuple[Recorded[Any], ...]

    def document(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "stream": self.stream,
            "aggregate": self.stream.split("/", 1)[0],
            "version": self.version,
            "state": plain(self.state),
            "events": [_event(event) for event in self.events],
        }


def replay(decider: Decider[Any], events: Sequence[Recorded[Any]], moment: Moment | None) -> Replayed | None:
    """Fold a stream's events, given by version, as of a moment; None if the stream had not begun by then.

    Without a moment: all of them, as they were recorded.
    """
    chosen = by_then(events, moment)
    if not chosen:
        return None
    state = None
    for event in chosen:
        state = decider.evolve(state, event)
    return Replayed(chosen[0].stream, max(event.version for event in chosen), state, tuple(chosen))


def by_then(events: Sequence[Recorded[Any]], moment: Moment | None) -> list[Recorded[Any]]:
    """The events of a stream that count at a moment, in its order."""
    if moment is None or not events:
        return list(events)
    if moment.axis == "recorded":
        return [event for event in events if event.position <= moment.position]
    return [event for at, event in in_order(events) if at <= moment.at and event.position <= moment.position]


def _event(event: Recorded[Any]) -> dict[str, Any]:
    return {
        "id": event.id,
        "position": event.position,
        "version": event.version,
        "type": type(event.data).__name__,
        "occurred_at": event.occurred_at,
        "recorded_at": event.recorded_at,
    }


def plain(value: Any) -> Any:
    """A state of the domain as JSON has it: objects, lists, texts, numbers; instants and days are left as they are."""
    if value is None or isinstance(value, str | int | float | bool | datetime | date):
        return value
    if isinstance(value, BaseModel):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: plain(each) for key, each in value.items()}
        return [{"key": plain(key), "value": plain(each)} for key, each in value.items()]
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value), key=repr)
    if isinstance(value, Iterable):
        return [plain(each) for each in value]
    return str(value)


class NoSuchMoment(Exception):
    """The moment has not come yet, or lies before the log; the message says which ones there are."""


@contextmanager
def reading_at(
    store: Store, clock: Clock, at: datetime | None, axis: Axis, *, of_log: bool = False
) -> Iterator[tuple[Cursor[Any], Moment | None]]:
    """One snapshot, read as of a moment, or as things stand. `of_log`: of the log itself, which read models may lag behind.

    Raises NoSuchMoment for one to come, and for one before the log began.
    """
    with store.recorder.transaction() as cursor:
        begin_snapshot(cursor)
        moment = None
        if at is not None:
            _check(cursor, at, axis, clock.now())
            moment = moment_of(store, cursor, at, axis, of_log=of_log)
            read_at(cursor, moment)
        yield cursor, moment


def _check(cursor: Cursor[Any], at: datetime, axis: Axis, now: datetime) -> None:
    last, first = last_recorded(cursor), first_event(cursor)
    if last is None or first is None:
        raise NoSuchMoment("the log is empty: no moment can be read before the first event is recorded")
    if at > max(now, last):
        raise NoSuchMoment(f"{_text(at)} has not come yet; ask for a moment up to now, {_text(now)}")
    recorded, occurred = first
    if axis == "recorded" and at < recorded:
        raise NoSuchMoment(
            f"nothing was recorded by {_text(at)}: the log begins at {_text(recorded)}; ask for that moment or a later"
            " one, or for what was true then (time=occurred)"
        )
    if axis == "occurred" and at < occurred:
        raise NoSuchMoment(
            f"nothing had occurred by {_text(at)}: the first event of the log is of {_text(occurred)}; ask for that"
            " moment or a later one"
        )


def _text(at: datetime) -> str:
    return to_local(at).isoformat(timespec="seconds")


def moment_of(store: Store, cursor: Cursor[Any], at: datetime, axis: Axis, *, of_log: bool = False) -> Moment:
    """Where an instant lies on an axis, as far as the read models are (or the log, if that is read)."""
    where = standing(cursor, store.registry.read_models)
    reached = where.head if of_log else where.position
    return Moment(at, axis, min(reached, position_at(cursor, at)[0]) if axis == "recorded" else reached)
