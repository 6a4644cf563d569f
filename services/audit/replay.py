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

from domain.kernel import Decider, Recorded
from projections.past import Axis, Moment, in_order, last_recorded, position_at, read_at
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


class NotYet(Exception):
    """The moment has not come yet."""


@contextmanager
def reading_at(store: Store, clock: Clock, at: datetime, axis: Axis) -> Iterator[tuple[Cursor[Any], Moment]]:
    """One snapshot of the read models, read as of a moment. Raises NotYet for one to come."""
    with store.recorder.transaction() as cursor:
        begin_snapshot(cursor)
        if at > clock.now() and at > (last_recorded(cursor) or clock.now()):
            raise NotYet(f"{at.isoformat()} has not come yet")
        moment = moment_of(store, cursor, at, axis)
        read_at(cursor, moment)
        yield cursor, moment


def moment_of(store: Store, cursor: Cursor[Any], at: datetime, axis: Axis) -> Moment:
    """Where an instant lies on an axis, as far as the read models are."""
    reached = standing(cursor, store.registry.read_models).position
    return Moment(at, axis, min(reached, position_at(cursor, at)[0]) if axis == "recorded" else reached)
