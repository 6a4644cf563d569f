"""The state of a programme: what its definition says now, and every version that decided something before."""

from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache

from contracts.limits import CalendarDay
from contracts.programme import EscalationPolicy, RegimeDefinition, Settings
from domain.calendar import WorkingCalendar
from domain.deadlines import Deadlines
from domain.kernel import Refused


class ProgrammeIsClosed(Refused):
    """A closed programme stays as it is (R-009)."""


@dataclass(frozen=True, slots=True)
class Regime:
    """A reporting regime in its present version."""

    definition: RegimeDefinition
    version: int


@dataclass(frozen=True)
class Programme:
    """The state of one programme stream."""

    code: str
    organisation: str
    issued_on: date | None = None
    window_end: date | None = None
    participants: dict[str, bool] = field(default_factory=dict)
    content_areas: frozenset[str] = frozenset()
    roles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    policies: dict[int, EscalationPolicy] = field(default_factory=dict)
    policy_version: int = 0
    calendar_days: tuple[CalendarDay, ...] = ()
    regimes: dict[str, Regime] = field(default_factory=dict)
    indicators: frozenset[str] = frozenset()
    basis_conflicts: frozenset[str] = frozenset()
    awaiting_issue: tuple[str, ...] = ()
    deadlines: Deadlines = field(default_factory=Deadlines)
    closed: bool = False

    @property
    def policy(self) -> EscalationPolicy:
        """The escalation policy in force."""
        return self.policies[self.policy_version]

    @property
    def calendar(self) -> WorkingCalendar:
        """The working calendar the log holds; built once for the same days."""
        return _calendar(_Same(self.calendar_days))


class _Same:
    """A tuple of days by identity: states hand the very same one on, and comparing its days would take longer than building."""

    __slots__ = ("days",)

    def __init__(self, days: tuple[CalendarDay, ...]) -> None:
        self.days = days

    def __hash__(self) -> int:
        return id(self.days)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.days is other.days


@lru_cache(maxsize=64)
def _calendar(same: _Same) -> WorkingCalendar:
    return WorkingCalendar(same.days)
