"""The deadlines of one stream: scheduled, moved, approached, passed, met, cancelled (R-353, R-354).

One mechanism for every subject. A stream's state holds a `Deadlines`; decisions add the events below. A timer that
comes too late or twice finds its deadline gone or its rung fired, and leads to no events (R-131, R-141). A command that
comes before the timer finds it recorded all the same (`domain.punctual`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
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
from domain.kernel import Change, Changes, Recorded, Refused, Request, changed, only_system

SILENT: frozenset[DeadlineKind] = frozenset(
    {"phase_start", "phase_end", "phase_handover", "report_period", "obligation_opening", "warning_response_due"}
)
"""Kinds no warning stands on: they move their subject on, or the warning itself."""


class TimerTooEarly(Refused):
    """A timer fired before its instant; the timekeeper's clock is ahead of intake's."""


def slot(kind: str, occurrence: str) -> str:
    """Where a stream keeps a deadline: one place for all its versions."""
    return f"{kind}:{occurrence}"


def _version(key: DeadlineKey) -> str:
    return f"{key.kind}:{key.occurrence}:{key.due_version}"


@dataclass(frozen=True)
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
    """All limits of a stream by `<kind>:<occurrence>`: those in force, and the last version ever given.

    `ended` keeps, by `<kind>:<occurrence>:<version>`, the limits that ended after a rung was reached: a warning service
    that comes later still finds what its warning stands on, so its speed changes no record (R-131, R-353).
    """

    live: dict[str, Deadline] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    ended: dict[str, Deadline] = field(default_factory=dict)

    def get(self, kind: DeadlineKind, occurrence: str = "1") -> Deadline | None:
        """The deadline in force, passed or not; None when there is none."""
        return self.live.get(slot(kind, occurrence))

    def known(self, key: DeadlineKey) -> Deadline | None:
        """The limit of exactly this version, in force or ended after it was warned about; None when it is neither."""
        current = self.live.get(slot(key.kind, key.occurrence))
        return current if current is not None and current.key == key else self.ended.get(_version(key))

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

    def meet(self, kind: DeadlineKind, met_at: datetime, occurrence: str = "1") -> Change | None:
        """The event that says the limit was kept; None when there is none in force or it was not kept."""
        known = self.live.get(slot(kind, occurrence))
        if known is None or met_at >= known.limit.at:
            return None
        met = DeadlineMet(
            key=known.key, limit=known.limit, met_at=met_at, after_passing=known.passed, warned=known.warned
        )
        return Change(met, policy_version=known.policy_version)

    def end(self, reason: Any, *kinds: DeadlineKind, occurrence: str | None = None) -> Changes:
        """What ends every limit in force, or those of some kinds, or one occurrence of them."""
        return [
            Change(
                DeadlineCancelled(key=deadline.key, reason=reason, warned=deadline.warned),
                policy_version=deadline.policy_version,
            )
            for deadline in self.live.values()
            if (not kinds or deadline.key.kind in kinds) and occurrence in (None, deadline.key.occurrence)
        ]

    def first_due(self, now: datetime) -> RecordDeadlineApproached | RecordDeadlinePassed | None:
        """The timer that is due first and not recorded yet; None when all that is behind `now` is on record."""
        due: list[tuple[datetime, str, RecordDeadlineApproached | RecordDeadlinePassed]] = []
        for place, deadline in self.live.items():
            if deadline.passed:
                continue
            if deadline.limit.at <= now:
                due.append((deadline.limit.at, place, RecordDeadlinePassed(key=deadline.key)))
            due += [
                (lead.at, place, RecordDeadlineApproached(key=deadline.key, rung=lead.rung))
                for lead in deadline.leads
                if lead.at <= now and lead.rung not in deadline.fired
            ]
        return min(due, key=lambda found: found[:2])[2] if due else None

    def _with(self, deadline: Deadline) -> "Deadlines":
        place = slot(deadline.key.kind, deadline.key.occurrence)
        versions = {**self.versions, place: max(self.versions.get(place, 0), deadline.key.due_version)}
        return Deadlines({**self.live, place: deadline}, versions, self._remembering(place, deadline.key))

    def _remembering(self, place: str, follower: DeadlineKey | None = None) -> dict[str, Deadline]:
        """`ended` with the limit that now leaves this place, if it was warned about."""
        leaving = self.live.get(place)
        if leaving is None or leaving.key == follower or not leaving.warned or leaving.key.kind in SILENT:
            return self.ended
        return {**self.ended, _version(leaving.key): leaving}

    def _without(self, key: DeadlineKey) -> "Deadlines":
        place = slot(key.kind, key.occurrence)
        known = self.live.get(place)
        if known is None or known.key.due_version != key.due_version:
            return self
        live = {other: deadline for other, deadline in self.live.items() if other != place}
        return Deadlines(live, self.versions, self._remembering(place))

    def evolve(self, event: Any, policy_version: int | None = None) -> "Deadlines":
        """Fold one deadline event; total for any order."""
        match event:
            case DeadlineScheduled() | DeadlineRescheduled():
                return self._with(Deadline(event.key, event.limit, event.leads, policy_version=policy_version))
            case DeadlineApproached(key=key, rung=rung):
                known = self.live.get(slot(key.kind, key.occurrence))
                if known is None or known.key != key:
                    return self
                return self._with(changed(known, fired=known.fired | {rung}))
            case DeadlinePassed(key=key):
                known = self.live.get(slot(key.kind, key.occurrence))
                if known is None or known.key != key:
                    return self
                return self._with(changed(known, passed=True))
            case DeadlineMet(key=key) | DeadlineCancelled(key=key):
                return self._without(key)
            case _:
                raise TypeError(f"not a deadline event: {type(event).__name__}")


def evolve_deadlines(state: Any, recorded: Recorded[Any]) -> Any:
    """The fold every aggregate with a `deadlines` field uses for the six deadline events."""
    return changed(state, deadlines=state.deadlines.evolve(recorded.data, recorded.policy_version))


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
