"""The rungs and limits that fell due over a log, whether each is on record, and whether a service was silent meanwhile."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from contracts.deadlines import (
    DeadlineApproached,
    DeadlineKey,
    DeadlineMet,
    DeadlinePassed,
    DeadlineRescheduled,
    DeadlineScheduled,
)
from contracts.limits import Limit
from domain.kernel import Recorded

MARGIN = timedelta(minutes=5)
"""What is recorded within this time of falling due is in time."""
CATCH_UP = timedelta(hours=1)
"""After a silence a service may need this long to work off what fell due meanwhile."""


@dataclass(frozen=True, slots=True)
class Silence:
    """A service recorded nothing from `start` (None: since the log began) to `end`."""

    reason: Literal["service_down", "installation_down"]
    start: datetime | None
    end: datetime


@dataclass
class Activity:
    """When each sender's commands were answered: the heartbeat that the log itself keeps."""

    _by_source: dict[str, list[datetime]] = field(default_factory=dict)
    _all: list[datetime] = field(default_factory=list)

    def note(self, source: str, at: datetime) -> None:
        """A command of a sender was answered."""
        for known in (self._by_source.setdefault(source, []), self._all):
            if not known or known[-1] != at:
                known.append(at)

    def silence(
        self, source: str, since: datetime, recorded_at: datetime | None, until: datetime | None
    ) -> Silence | None:
        """The silence of a service in which something fell due, and soon after which it was recorded, or time ran out.

        None when the service was heard within MARGIN of it, or came back and let CATCH_UP pass: then it was at work, and
        silence explains nothing.
        """
        start, end = _around(self._by_source.get(source, []), since)
        settled = recorded_at or until
        over = end or settled
        if over is None or settled is None or over - since <= MARGIN or settled - over > CATCH_UP:
            return None
        _, others = _around(self._all, since)
        alone = others is None or others >= over
        return Silence("installation_down" if alone else "service_down", start, over)


def _around(known: list[datetime], at: datetime) -> tuple[datetime | None, datetime | None]:
    """The last instant up to another one, and the first one after it."""
    number = bisect_right(known, at)
    return (known[number - 1] if number else None), (known[number] if number < len(known) else None)


Verdict = Literal["on_record", "not_due", "late", "missed"]


class Judged(NamedTuple):
    """A rung or a limit with what became of it; `why` it was not due.

    `since` is when it could first be recorded: at its own instant, or when it was set, if that instant lay behind.
    """

    verdict: Verdict
    stream: str
    name: str
    at: datetime
    since: datetime
    recorded_at: datetime | None = None
    position: int | None = None
    why: str = ""


@dataclass
class _Watched:
    """A limit in one version: what it calls for, and what of it is on record (None stands for the limit itself)."""

    key: DeadlineKey
    limit: Limit
    set_at: datetime
    due: dict[int | None, datetime]
    fired: dict[int | None, tuple[datetime, int]] = field(default_factory=dict)
    ended_at: datetime | None = None
    ended: str = ""

    def name(self, rung: int | None) -> str:
        """How a person calls it."""
        what = "DeadlinePassed" if rung is None else f"DeadlineApproached rung {rung}"
        return f"{what} of {self.key.kind} {self.key.occurrence} v{self.key.due_version}"


@dataclass
class Rungs:
    """All limits that were ever set, fed with the deadline events of the log in order."""

    _limits: dict[tuple[str, str, str, int], _Watched] = field(default_factory=dict)

    def take(self, event: Recorded[Any]) -> tuple[Literal["twice", "uncalled"], str] | None:
        """Note an event; what is wrong with it if it is a rung or a passing that stands there already, or was not called for."""
        data, key = event.data, event.data.key
        place = event.stream, key.kind, key.occurrence, key.due_version
        if isinstance(data, DeadlineScheduled | DeadlineRescheduled):
            if isinstance(data, DeadlineRescheduled):
                self._end((*place[:3], data.replaces), event.recorded_at, "the limit was moved before")
            due: dict[int | None, datetime] = {lead.rung: lead.at for lead in data.leads}
            self._limits[place] = _Watched(key, data.limit, event.recorded_at, {**due, None: data.limit.at})
            return None
        if isinstance(data, DeadlineApproached | DeadlinePassed):
            return self._fired(place, data.rung if isinstance(data, DeadlineApproached) else None, event)
        why = (
            "the limit was met before" if isinstance(data, DeadlineMet) else f"the subject ended before ({data.reason})"
        )
        self._end(place, event.recorded_at, why)
        return None

    def _fired(
        self, place: tuple[str, str, str, int], rung: int | None, event: Recorded[Any]
    ) -> tuple[Literal["twice", "uncalled"], str] | None:
        watched = self._limits.get(place)
        if watched is None:
            return "uncalled", "no such limit was set"
        if rung in watched.fired:
            return "twice", f"the same rung stands at position {watched.fired[rung][1]}"
        if watched.ended_at is not None:
            return "uncalled", watched.ended
        if rung not in watched.due:
            return "uncalled", "the limit has no such rung"
        watched.fired[rung] = event.recorded_at, event.position
        if event.recorded_at < watched.due[rung]:
            return "uncalled", f"it was due only at {watched.due[rung].isoformat()}"
        return None

    def _end(self, place: tuple[str, str, str, int], at: datetime, why: str) -> None:
        if (watched := self._limits.get(place)) is not None and watched.ended_at is None:
            watched.ended_at, watched.ended = at, why

    def in_force(self, programme: str) -> Iterator[tuple[str, DeadlineKey, Limit, dict[int | None, datetime]]]:
        """The limits of a programme that have not ended: stream, key, limit, and when which rung is due."""
        for (stream, *_), watched in self._limits.items():
            if watched.ended_at is None and stream.split("/")[1] == programme and None not in watched.fired:
                yield stream, watched.key, watched.limit, watched.due

    def judged(self, until: datetime) -> Iterator[Judged]:
        """Every rung and limit with its verdict at an instant."""
        for (stream, *_), watched in self._limits.items():
            for rung, at in watched.due.items():
                yield _judge(stream, watched, rung, at, until)


def _judge(stream: str, watched: _Watched, rung: int | None, at: datetime, until: datetime) -> Judged:
    name, since = watched.name(rung), max(at, watched.set_at)
    if (fired := watched.fired.get(rung)) is not None:
        return Judged("late" if fired[0] - since > MARGIN else "on_record", stream, name, at, since, *fired)
    if watched.ended_at is not None and watched.ended_at <= since + MARGIN:
        return Judged("not_due", stream, name, at, since, why=watched.ended)
    if since + MARGIN > until:
        return Judged("not_due", stream, name, at, since, why="not due yet")
    return Judged("missed", stream, name, at, since)
