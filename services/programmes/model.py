"""The file format of a programme: `deploy/programmes/<code>.yaml`.

A file holds what one source states: facts, short labels and the line they come from. What the source leaves open is
null; samples that fill it live in the roster (`services.programmes.roster`). Days are local days of Asia/Ho_Chi_Minh.
Owners, leads and submitters are codes of units, of groups of units, or of positions.
"""

import datetime as dt
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from contracts.assignment import Due
from contracts.base import Model, value
from contracts.limits import Day, DueRule, Frequency
from contracts.obligation import ObligationKind
from contracts.organisation import UnitKind
from contracts.programme import ContentArea, Settings
from contracts.types import Code, Line, Percent


def _not_twice(codes: tuple[str, ...]) -> tuple[str, ...]:
    if len(codes) != len(set(codes)):
        raise ValueError("a code is named twice")
    return codes


Codes = Annotated[tuple[Code, ...], AfterValidator(_not_twice)]


class Title(Model):
    """The programme's title."""

    vi: Line
    en: Line | None = None


class OrganisationEntry(Model):
    """The organisation whose programme it is."""

    code: Code
    name_vi: Line
    name_en: Line | None = None
    kind: UnitKind
    place: Line | None = None


class Document(Model):
    """The act itself. `sample`: the issue date is ours because the source leaves it blank (R-001)."""

    number: Line | None = None
    issued_on: Day | None = None
    sample: bool = False
    signed_by: Code | None = None
    note: Line | None = None


class BasisEntry(Model):
    """An act the programme implements; `variant` is a conflicting citation, `place` says where each stands (R-003)."""

    number: Line
    issued_on: Day | None = None
    issuer: Line
    kind: Code
    variant: Line | None = None
    place: Line | None = None
    note: Line | None = None


class Span(Model):
    """From day to day, both inclusive; `end_year` when no day is known (R-038)."""

    start: Day | None = None
    end: Day | None = None
    end_year: int | None = None
    note: Line | None = None
    source: Line | None = None


class Roles(Model):
    """Which units (their head post) or positions play which role in this programme."""

    coordinating_office: Codes
    director: Codes
    assigner: Codes
    extension_approver: Codes
    level_above: Codes
    reviewer: Codes
    superior: Codes
    steering_body: Codes = ()


class Annex(Model):
    """An annex; the task lists of two sources were not supplied (R-031)."""

    code: Code
    subject: Line
    supplied: bool
    source: Line | None = None


@value
class AreaEntry(ContentArea):
    """A content area of a programme without phases (R-009)."""

    source: Line | None = None


class UnitEntry(Model):
    """A unit and its part in the programme (R-077); `executes`: it carries out tasks of the programme."""

    code: Code
    name_vi: Line
    name_en: Line | None = None
    kind: UnitKind
    role: Line
    executes: bool = False
    note: Line | None = None


class GroupEntry(Model):
    """Units the source names together; the roster lists the members."""

    code: Code
    name_vi: Line
    name_en: Line | None = None
    role: Line
    executes: bool = False
    note: Line | None = None


class PositionEntry(Model):
    """A position: one post in a unit (`post_in`), or the head posts of units and groups (`heads_of`)."""

    code: Code
    name_vi: Line
    name_en: Line | None = None
    role: Line
    post_in: Code | None = None
    heads_of: Codes = ()
    note: Line | None = None


@value
class ProductsDue(Due):
    """The limit of all mandatory products of a phase; `ambiguous` says how the source contradicts itself (R-042)."""

    ambiguous: Line | None = None


class Product(Model):
    """A mandatory product. `settled_by`: the commitment whose obligations make it up, so that it is owed once."""

    code: Code
    name_vi: Line
    name_en: Line | None = None
    owner: Codes | None = None
    settled_by: Code | None = None
    note: Line | None = None


class MilestoneEntry(Model):
    """A milestone of a phase. No `due`: undated (R-057). Several owners: one obligation each (R-052).

    `covers_kind`: all tasks of that kind are to be finished by it (R-055).
    """

    code: Code
    name_vi: Line
    name_en: Line | None = None
    owner: Codes | None = None
    due: Due | None = None
    opens_on: Day | None = None
    covers_kind: Code | None = None
    ambiguous: Line | None = None
    note: Line | None = None
    source: Line | None = None


class Duty(Model):
    """What a unit has to do in a phase (R-040)."""

    unit: Code
    duty: Line


class PhaseEntry(Model):
    """A phase. No `start`: it starts with the issue (R-033). No `end` but `end_year`: no day is known (R-038)."""

    code: Code
    name_vi: Line
    name_en: Line | None = None
    start: Day | None
    end: Day | None
    end_year: int | None = None
    end_boundary: Literal["before", "by_end_of"] = "by_end_of"
    needs_review_of: Code | None = None
    takes_over_from: Code | None = None
    aim: Line | None
    contents: tuple[Line, ...]
    work_fields: Codes = ()
    products_due: ProductsDue | None = None
    products: tuple[Product, ...]
    milestones: tuple[MilestoneEntry, ...]
    duties: tuple[Duty, ...]
    source: Line | None = None


class SolutionGroup(Model):
    """A group of solutions with the products it asks for, or the bodies it names (R-048)."""

    code: Code
    name_en: Line
    products: tuple[Line, ...] = ()
    lead: Code | Codes | None = None
    coordinate: Codes = ()
    note: Line | None = None
    source: Line | None = None


class RegimeEntry(Model):
    """A reporting regime (R-162). No `due`: undated (R-169). No start or end: those of the window."""

    code: Code
    name_vi: Line
    frequency: Frequency
    due: DueRule | None = None
    submitters: Codes = ()
    aggregator: Code | None = None
    addressee: Code | None = None
    start: Day | None = None
    end: Day | None = None
    phases: Codes = ()
    active: bool = True
    content: tuple[Line, ...] = ()
    note: Line | None = None
    source: Line | None = None


class IndicatorEntry(Model):
    """An indicator. `divisible_proposed` is our reading; nothing counts as divisible until a person says so (R-242)."""

    code: Code
    name_vi: Line
    name_en: Line | None = None
    comparator: Literal[">=", ">", "=", "<=", "improves"] | None = None
    target: int | float | None = None
    unit: Line | None = None
    scope: Line | None = None
    measure_kind: Line | None = None
    divisible_proposed: bool | None = None
    due: Due | None = None
    baseline: Line | None = None
    area: Code | None = None
    exclusions: tuple[Line, ...] = ()
    note: Line | None = None
    source: Line | None = None


class CommitmentEntry(Model):
    """A commitment or personal plan, owed by each owner; positions owe by post, units and groups by unit."""

    code: Code
    kind: ObligationKind
    name_vi: Line
    who: Line
    owner: Codes | None = None
    share: Percent | None = None
    due: Due | None = None
    phase: Code | None = None
    ambiguous: Line | None = None
    note: Line | None = None
    source: Line | None = None


class RegisterDefinition(Model):
    """A register the programme asks for."""

    code: Code
    name_vi: Line
    name_en: Line
    owner: Codes | None = None
    decided_by: Code | None = None
    reason_required: bool | None = None
    may_be_empty: bool = False
    categories: Codes = ()
    note: Line | None = None
    source: Line | None = None


class EvaluationRule(Model):
    """A rule of assessment as the source states it."""

    code: Code
    rule: Line | None = None
    note: Line | None = None
    source: Line | None = None


class TaskEntry(Model):
    """A standing task; `authority` is who decides, if the source says.

    Without `lead` it stays a draft (R-023). A group is split into one task a unit; several units are a joint lead,
    resolved and recorded (R-083).
    """

    code: Code
    what: Line
    what_en: Line | None = None
    lead: Code | Codes | None
    coordinate: Codes = ()
    responsibility: Line | None = None
    authority: Code | None = None
    due: Due | None = None
    products: tuple[Line, ...] = ()
    phase: Code | None = None
    area: Code | None = None
    kind: Code = "STANDING"
    category: Code | None = None
    note: Line | None = None
    source: Line | None = None


class EscalationLevel(Model):
    """One level of those who act on a late task."""

    level: Annotated[int, Field(ge=1, le=9)]
    role: Code
    does: Line
    source: Line | None = None


class Escalation(Model):
    """Who stands above whom, as read from the duties; the texts give no waiting times (R-133)."""

    levels: tuple[EscalationLevel, ...]
    acts: Codes = ()
    note: Line | None = None


class PublicDisclosure(Model):
    """What has to be public."""

    items: tuple[Line, ...]
    source: Line | None = None


class ProgrammeFile(Model):
    """One programme as its source states it."""

    format: Literal[1]
    code: Code
    seed: Line
    kind: Code
    title: Title
    organisation: OrganisationEntry
    document: Document
    legal_basis: tuple[BasisEntry, ...]
    period: Span
    window: Span | None
    settings: Settings
    roles: Roles
    annexes: tuple[Annex, ...] = ()
    content_areas: tuple[AreaEntry, ...] = ()
    units: tuple[UnitEntry, ...]
    groups: tuple[GroupEntry, ...] = ()
    positions: tuple[PositionEntry, ...] = ()
    phases: tuple[PhaseEntry, ...]
    solution_groups: tuple[SolutionGroup, ...] = ()
    regimes: tuple[RegimeEntry, ...]
    indicators: tuple[IndicatorEntry, ...]
    commitments: tuple[CommitmentEntry, ...]
    registers: tuple[RegisterDefinition, ...] = ()
    evaluation_rules: tuple[EvaluationRule, ...] = ()
    standing_tasks: tuple[TaskEntry, ...]
    escalation: Escalation
    public_disclosure: PublicDisclosure | None = None
    open_points: tuple[Line, ...] = ()

    @property
    def window_days(self) -> tuple[dt.date | None, dt.date | None]:
        """First and last day of the campaign, or of the plan's period where there is no campaign."""
        span = self.window or self.period
        return span.start or self.document.issued_on, span.end
