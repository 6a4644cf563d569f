"""The roster: sample data that fills what the sources leave open, `deploy/programmes/roster.yaml`.

Everything it adds is marked: units and posts carry `sample`, tasks name their `sample_fields` (R-019, R-023).
"""

from typing import Annotated, Literal

from pydantic import Field

from contracts.assignment import Cadence, Due, Measure
from contracts.base import Model
from contracts.limits import Day
from contracts.organisation import UnitKind
from contracts.types import Code, Line
from services.programmes.model import Codes


class Titles(Model):
    """What head and deputy of a kind of unit are called; `{name}` is the unit, `{lower}` begins in lower case."""

    head: Line
    deputy: Line | None = None


class RosterUnit(Model):
    """A unit of the organisation. With `source` it is named by a source, without it is a sample."""

    code: Code
    name_vi: Line
    name_en: Line | None = None
    kind: UnitKind
    role: Line | None = None
    source: Line | None = None


class RosterPost(Model):
    """A post that replaces the usual head or deputy post of its unit."""

    code: Code
    unit: Code
    title_vi: Line
    head: bool = False
    source: Line | None = None


class Authority(Model):
    """An authority and the units whose posts hold it. `EACH` stands for every unit that carries out tasks."""

    code: Code
    units: Codes
    heads_only: bool = False


class RosterOrganisation(Model):
    """Members of groups, extra units and posts of an organisation. `top` is the unit above all others."""

    code: Code
    valid_from: Day
    top: Code
    units: tuple[RosterUnit, ...] = ()
    groups: dict[Code, Codes] = Field(default_factory=dict)
    posts: tuple[RosterPost, ...] = ()
    authorities: tuple[Authority, ...]


class TaskFill(Model):
    """What one task lacks: a day or a cadence."""

    due: Due | None = None
    cadence: Cadence | None = None


class RosterProgramme(Model):
    """Sample fills of one programme, by task and regime code."""

    code: Code
    tasks: dict[Code, TaskFill] = Field(default_factory=dict)
    submitters: dict[Code, Codes] = Field(default_factory=dict)
    update_every_days: Annotated[int, Field(ge=1, le=366)] | None = None
    cadence: Cadence = "monthly"


class TaskDefaults(Model):
    """What every task gets that its source leaves open."""

    responsibility: Line
    authority: Code
    measure: Measure
    deliverable: Line
    checked_every: Cadence
    joint_lead_reason: Line


class Roster(Model):
    """All sample data of an installation."""

    format: Literal[1]
    sample: Literal[True]
    titles: dict[UnitKind, Titles]
    task_defaults: TaskDefaults
    organisations: tuple[RosterOrganisation, ...]
    programmes: tuple[RosterProgramme, ...] = ()

    def organisation(self, code: str) -> RosterOrganisation | None:
        """The organisation of that code, if the roster knows it."""
        return next((known for known in self.organisations if known.code == code), None)

    def programme(self, code: str) -> RosterProgramme:
        """The fills of that programme; none if the roster does not know it."""
        return next((known for known in self.programmes if known.code == code), RosterProgramme(code=code))
