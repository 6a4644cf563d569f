"""The deadlines of one stream: scheduled, moved, approached, passed, met, cancelled (R-353, R-354).

One mechanism for every subject. A stream's state holds a `Deadlines`; decisions add the events below. A timer that
comes too late or twice finds its deadline gone or its rung fired, and leads to no events (R-131, R-141).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from contracts.deadlines import (
    DeadlineApproached,
    DeadlineCancelled,
    DeadlineKey,
    DeadlineKind,
    DeadlineMet,
    DeadlinePassed,
    DeadlineRescheduled,
    DeadlineScheduled,
    Lead,
    RecordDeadlineApproached,
    RecordDeadlinePassed,
)
from contracts.limits import Limit
from domain.kernel import Change, Changes, Recorded, Refused, Request, only_system


class TimerTooEarly(Refused):
    """A timer fired before its instant; the timekeeper's clock is ahead of intake's."""


def slot(kind: str, occurrence: str) -> str:
    """Where a stream keeps a deadline: one place for all its versions."""
    return f"{kind}:{occurrence}"


@dataclass(frozen=True, slots=True)
class Deadline:
    """One limit of a stream in its present version."""

    key: DeadlineKey
    limit: Limit
    leads: tuple[Lead, ...] = ()
    fired: frozenset[int] = frozenset()
    passed: bool = False
    policy_version: int | None = None

    @property
    def warned(self) -> bool:
        """Whether a rung was reached, so that warnings may stand on it."""
        return self.passed or bool(self.fired)


@dataclass(frozen=True, slots=True)
class Deadlines:
    """All limits of a stream by `<kind>:<occurrence>`: those in force, and the last version ever given."""

    live: dict[str, Deadline] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)

    def get(self, kind: DeadlineKind, occurrence: str = "1") -> Deadline | None:
        """The deadline in force, passed or not; None when there is none."""
        return self.live.get(slot(kind, occurrence))

    def schedule(
        self, kind: DeadlineKind, limit: Limit, leads: Iterable[Lead] = (), occurrence: str = "1"
    ) -> DeadlineScheduled | DeadlineRescheduled:
        """The event that sets a limit, or moves the one in force."""
        version = self.versions.get(slot(kind, occurrence), 0) + 1
        key = DeadlineKey(kind=kind, occurrence=occurrence, due_version=version)
        if known := self.live.get(slot(kind, occurrence)):
            return DeadlineRescheduled(
                key=key, replaces=known.key.due_version, limit=limit, leads=tuple(leads), warned=known.warned
            )
        return DeadlineScheduled(key=key, limit=limit, leads=tuple(leads))

    def meet(self, kind: DeadlineKind, met_at: datetime, occurrence: str = "1") -> DeadlineMet | None:
        """The event that says the limit was kept; None when there is none in force or it was not kept."""
        known = self.live.get(slot(kind, occurrence))
        if known is None or met_at >= known.limit.at:
            return None
        return DeadlineMet(
            key=known.key, limit=known.limit, met_at=met_at, after_passing=known.passed, warned=known.warned
        )

    def cancel(self, reason: Any, *kinds: DeadlineKind) -> list[DeadlineCancelled]:
        """Events that end every limit in force, or those of some kinds."""
        return [
            DeadlineCancelled(key=deadline.key, reason=reason, warned=deadline.warned)
            for deadline in self.live.values()
            if not kinds or deadline.key.kind in kinds
        ]

    def end(self, reason: Any, now: datetime, *kinds: DeadlineKind, occurrence: str | None = None) -> Changes:
        """As `cancel`; a limit that passed unseen is recorded first, so a slow timekeeper hides nothing (R-353)."""
        found: Changes = []
        for deadline in self.live.values():
            if (kinds and deadline.key.kind not in kinds) or occurrence not in (None, deadline.key.occurrence):
                continue
            unseen = passed_unseen(deadline, now)
            warned = deadline.warned or bool(unseen)
            found += [*unseen, Change(DeadlineCancelled(key=deadline.key, reason=reason, warned=warned))]
        return found

    def _with(self, deadline: Deadline) -> "Deadlines":
        place = slot(deadline.key.kind, deadline.key.occurrence)
        versions = {**self.versions, place: max(self.versions.get(place, 0), deadline.key.due_version)}
        return Deadlines({**self.live, place: deadline}, versions)

    def _without(self, key: DeadlineKey) -> "Deadlines":
        place = slot(key.kind, key.occurrence)
        known = self.live.get(place)
        if known is None or known.key.due_version != key.due_version:
            return self
        return Deadlines({other: d for other, d in self.live.items() if other != place}, self.versions)

    def evolve(self, event: Any, policy_version: int | None = None) -> "Deadlines":
        """Fold one deadline event; total for any order."""
        match event:
            case DeadlineScheduled() | DeadlineRescheduled():
                return self._with(Deadline(event.key, event.limit, event.leads, policy_version=policy_version))
            case DeadlineApproached(key=key, rung=rung):
                known = self.live.get(slot(key.kind, key.occurrence))
                if known is None or known.key != key:
                    return self
                return self._with(replace(known, fired=known.fired | {rung}))
            case DeadlinePassed(key=key):
                known = self.live.get(slot(key.kind, key.occurrence))
                if known is None or known.key != key:
                    return self
                return self._with(replace(known, passed=True))
            case DeadlineMet(key=key) | DeadlineCancelled(key=key):
                return self._without(key)
            case _:
                raise TypeError(f"not a deadline event: {type(event).__name__}")


def passed_unseen(deadline: Deadline | None, now: datetime) -> Changes:
    """The passing of a limit that is behind `now` and not recorded yet, at the limit's own instant; else nothing."""
    if deadline is None or deadline.passed or now < deadline.limit.at:
        return []
    passed = DeadlinePassed(key=deadline.key, limit=deadline.limit)
    return [Change(passed, occurred_at=deadline.limit.at, policy_version=deadline.policy_version)]


def evolve_deadlines(state: Any, recorded: Recorded[Any]) -> Any:
    """The fold every aggregate with a `deadlines` field uses for the six deadline events."""
    return replace(state, deadlines=state.deadlines.evolve(recorded.data, recorded.policy_version))


def record_approach(request: Request[RecordDeadlineApproached], deadlines: Deadlines, now: datetime) -> Changes:
    """What a timer for a rung before the limit leads to: one event at the rung's own instant, or none."""
    only_system(request)
    key, rung = request.data.key, request.data.rung
    known = deadlines.get(key.kind, key.occurrence)
    if known is None or known.key != key or known.passed or rung in known.fired:
        return []
    lead = next((lead for lead in known.leads if lead.rung == rung), None)
    if lead is None:
        return []
    if now < lead.at:
        raise TimerTooEarly(f"rung {rung} of {key.kind} is due at {lead.at.isoformat()}", field="data.rung")
    approached = DeadlineApproached(key=key, rung=rung, limit=known.limit)
    return [Change(approached, occurred_at=lead.at, policy_version=known.policy_version)]


def record_passing(request: Request[RecordDeadlinePassed], deadlines: Deadlines, now: datetime) -> Changes:
    """What a timer for a limit leads to: one event at the limit's own instant, or none (R-131, R-353)."""
    only_system(request)
    key = request.data.key
    known = deadlines.get(key.kind, key.occurrence)
    if known is None or known.key != key or known.passed:
        return []
    if now < known.limit.at:
        raise TimerTooEarly(f"{key.kind} is due at {known.limit.at.isoformat()}", field="data.key")
    passed = DeadlinePassed(key=key, limit=known.limit)
    return [Change(passed, occurred_at=known.limit.at, policy_version=known.policy_version)]


_EVENTS = (
    DeadlineScheduled,
    DeadlineRescheduled,
    DeadlineApproached,
    DeadlinePassed,
    DeadlineMet,
    DeadlineCancelled,
)
DEADLINE_FOLD = dict.fromkeys(_EVENTS, evolve_deadlines)
