"""Programme: the definition of a resolution's programme, in versions (groups A, C, H, K of the requirements)."""

from typing import Annotated, Literal

from pydantic import Field

from contracts.base import Command, Event, value
from contracts.deadlines import DEADLINE_COMMANDS, DEADLINE_EVENTS, DeadlineKind
from contracts.limits import CalendarDay, Day, DueRule, Offset
from contracts.registry import AggregateContract
from contracts.types import Code, Line, Paragraph, Version

Role = Literal[
    "coordinating_office",
    "director",
    "assigner",
    "extension_approver",
    "level_above",
    "reviewer",
    "superior",
    "steering_body",
]


@value
class BasisDocument:
    """An act the programme implements, as cited; variants that conflict are kept side by side (R-002, R-003)."""

    number: Line
    issued_on: Day | None = None
    issuer: Line
    kind: Code
    variant: Line | None = None
    place: Line | None = None
    resolved: Line | None = None


@value
class ContentArea:
    """A field of work the programme names."""

    code: Code
    name_vi: Line
    name_en: Line | None = None


@value
class Participation:
    """A unit's part in this programme; the same unit may have another part elsewhere (R-077)."""

    unit: Code
    role: Line
    executes: bool = False


@value
class RoleHolding:
    """Which posts play a role in this programme."""

    role: Role
    posts: Annotated[tuple[Code, ...], Field(min_length=1)]


@value
class Settings:
    """Choices of one programme.

    `late_entry_tolerance_hours`: how long after the fact an entry still counts at its own time (R-347).
    `explanation_days`: working days to explain a late task (R-157).
    `start_within_days`: working days to begin a task taken over from the phase before (R-036). Ours: no text gives them.
    `quality_before_counting` (R-125), `growth_item_required` (R-102), `nondivisible_rule` (R-243) are kept as the sources
    state them; the rules come with indicators and registrations.
    """

    late_entry_tolerance_hours: Annotated[int, Field(ge=0, le=24 * 60)] = 24
    explanation_days: Annotated[int, Field(ge=1, le=60)] = 5
    quality_before_counting: bool = False
    growth_item_required: bool = False
    nondivisible_rule: bool | None = None
    holiday_rule: Literal["as_written", "next_working_day", "previous_working_day"] = "as_written"
    start_within_days: Annotated[int, Field(ge=1, le=60)] = 5
    categories: tuple[Code, ...] = ()
    partly_done_allowed: bool = False


@value
class Rung:
    """One rung of an escalation policy: when (offset from the limit), how high, to whom, what."""

    offset: Offset
    level: Annotated[int, Field(ge=0, le=9)]
    recipients: Annotated[
        tuple[Literal["accountable", "unit_head"] | Role, ...],
        Field(min_length=1),
    ]
    act: Literal["remind", "warn", "demand_explanation", "escalate"]


@value
class Ladder:
    """The rungs for some kinds of deadline, narrowed by category when given (R-136)."""

    kinds: Annotated[tuple[DeadlineKind, ...], Field(min_length=1)]
    categories: tuple[Code, ...] = ()
    rungs: Annotated[tuple[Rung, ...], Field(min_length=1, max_length=12)]


@value
class EscalationPolicy:
    """When warnings are raised and to whom they go. `ours` marks a default where the source is silent (R-133)."""

    policy_version: Version
    ours: bool
    source: Line | None = None
    ladders: Annotated[tuple[Ladder, ...], Field(min_length=1)]


@value
class RegimeDefinition:
    """A reporting regime (R-162).

    No `due`: obligations arise undated (R-169). `active` false: declared, not scheduled (R-172).
    """

    code: Code
    name_vi: Line
    frequency: Literal["weekly", "monthly", "quarterly", "half_yearly", "nine_monthly", "yearly", "once"]
    due: DueRule | None = None
    submitters: tuple[Code, ...] = ()
    aggregator: Code | None = None
    addressee: Code | None = None
    start: Day | None = None
    end: Day | None = None
    phases: tuple[Code, ...] = ()
    active: bool = True
    content: Paragraph | None = None
    note: Paragraph | None = None
    source: Line | None = None


@value
class IndicatorDefinition:
    """An indicator as the source states it; `divisible` is unknown until a person sets it (R-188, R-242)."""

    code: Code
    name_vi: Line
    name_en: Line | None = None
    comparator: Literal[">=", ">", "=", "<=", "improves"] | None = None
    target: Annotated[float, Field(ge=-1e12, le=1e12)] | None = None
    unit: Line | None = None
    scope: Line | None = None
    measure_kind: Line | None = None
    divisible: bool | None = None
    divisible_proposed: bool | None = None
    due: Day | None = None
    source: Line | None = None
    note: Paragraph | None = None


class RegisterProgramme(Command):
    """Open a programme. Number and issue date may be unknown (R-001)."""

    title_vi: Line
    title_en: Line | None = None
    kind: Code
    number: Line | None = None
    issued_on: Day | None = None
    issued_on_sample: bool = False
    legal_basis: tuple[BasisDocument, ...] = ()
    window_start: Day | None = None
    window_end: Day | None = None
    content_areas: tuple[ContentArea, ...] = ()
    participants: tuple[Participation, ...] = ()
    roles: tuple[RoleHolding, ...]
    settings: Settings = Settings()
    policy: EscalationPolicy
    calendar: tuple[CalendarDay, ...] = ()


class IssueProgramme(Command):
    """Fill number and issue date; phase 1 starts with it (R-001, R-033)."""

    number: Line | None = None
    issued_on: Day
    sample: bool = False


class ResolveBasisConflict(Command):
    """Choose the right citation; both stay readable (R-003)."""

    number: Line
    chosen: Line
    reason: Line


class AssignRoles(Command):
    """Say which posts play which roles from now on."""

    roles: Annotated[tuple[RoleHolding, ...], Field(min_length=1)]
    reason: Line


class ChangeSettings(Command):
    """Choose the programme's settings anew; earlier verdicts stay."""

    settings: Settings
    reason: Line


class AdoptEscalationPolicy(Command):
    """A new version of the policy; limits scheduled from now on use it (R-133)."""

    policy: EscalationPolicy
    reason: Line


class AdoptCalendar(Command):
    """The resolved working calendar, kept in the log so that a library upgrade changes no past verdict (R-142)."""

    days: tuple[CalendarDay, ...]


class AmendCalendar(Command):
    """Add or replace days, such as a swap day decided later."""

    days: Annotated[tuple[CalendarDay, ...], Field(min_length=1)]
    reason: Line


class DefineRegime(Command):
    """A new version of a reporting regime (R-162). Obligations keep the version they came from."""

    regime: RegimeDefinition
    reason: Line | None = None


class DefineIndicator(Command):
    """Take over an indicator as the source states it (R-188)."""

    indicator: IndicatorDefinition


class CloseProgramme(Command):
    """End the programme; its timers stop (R-009)."""

    reason: Line


class ProgrammeRegistered(Event):
    """A programme was opened; `incomplete` names what its source leaves open (R-001)."""

    title_vi: Line
    title_en: Line | None = None
    kind: Code
    number: Line | None = None
    issued_on: Day | None = None
    issued_on_sample: bool = False
    legal_basis: tuple[BasisDocument, ...] = ()
    window_start: Day | None = None
    window_end: Day | None = None
    content_areas: tuple[ContentArea, ...] = ()
    participants: tuple[Participation, ...] = ()
    incomplete: tuple[Line, ...] = ()


class ProgrammeIssued(Event):
    """The programme has its issue date, local; `sample` marks one that is ours (R-001, R-033)."""

    number: Line | None = None
    issued_on: Day
    sample: bool = False


class PhaseAwaitsIssue(Event):
    """A phase was planned that starts with the programme's issue, which is not known yet (R-033)."""

    phase: Code


class BasisConflictResolved(Event):
    """One citation was chosen; the others stay readable (R-003)."""

    number: Line
    chosen: Line
    reason: Line


class RolesAssigned(Event):
    """These posts play these roles from now on."""

    roles: tuple[RoleHolding, ...]
    reason: Line | None = None


class SettingsChanged(Event):
    """The programme's settings from now on."""

    settings: Settings
    reason: Line | None = None


class EscalationPolicyAdopted(Event):
    """Limits scheduled from now on use this version of the policy (R-133)."""

    policy: EscalationPolicy
    reason: Line | None = None


class CalendarAdopted(Event):
    """The resolved working calendar, kept for ever (R-142)."""

    days: tuple[CalendarDay, ...]


class CalendarAmended(Event):
    """Days were added or replaced (R-142)."""

    days: tuple[CalendarDay, ...]
    reason: Line


class RegimeDefined(Event):
    """A version of a reporting regime; obligations name the version they came from (R-162)."""

    regime: RegimeDefinition
    regime_version: Version
    reason: Line | None = None


class IndicatorDefined(Event):
    """An indicator as the source states it (R-188)."""

    indicator: IndicatorDefinition


class ProgrammeClosed(Event):
    """The programme ended; its timers stopped (R-009)."""

    reason: Line


CONTRACT = AggregateContract(
    name="programme",
    commands=(
        RegisterProgramme,
        IssueProgramme,
        ResolveBasisConflict,
        AssignRoles,
        ChangeSettings,
        AdoptEscalationPolicy,
        AdoptCalendar,
        AmendCalendar,
        DefineRegime,
        DefineIndicator,
        CloseProgramme,
        *DEADLINE_COMMANDS,
    ),
    events=(
        ProgrammeRegistered,
        ProgrammeIssued,
        PhaseAwaitsIssue,
        BasisConflictResolved,
        RolesAssigned,
        SettingsChanged,
        EscalationPolicyAdopted,
        CalendarAdopted,
        CalendarAmended,
        RegimeDefined,
        IndicatorDefined,
        ProgrammeClosed,
        *DEADLINE_EVENTS,
    ),
)
