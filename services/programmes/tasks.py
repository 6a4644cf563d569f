"""Standing tasks as six-clear content: what the source says, then samples, each of them named (R-017, R-019)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from contracts.assignment import CheckingRule, Deliverable, LeadResolution, TaskContent
from services.programmes.directory import Directory
from services.programmes.model import ProgrammeFile, TaskEntry
from services.programmes.roster import Roster, TaskFill


@dataclass(frozen=True)
class PlannedTask:
    """A task to assign, or to keep as a draft while `missing` names open fields (R-023)."""

    code: str
    content: TaskContent
    missing: tuple[str, ...]


@dataclass(frozen=True)
class _Lead:
    """One leading unit of a task and the code the task gets for it."""

    code: str
    unit: str
    resolution: LeadResolution | None = None
    others: tuple[str, ...] = ()


def planned_tasks(programme: ProgrammeFile, roster: Roster, known: Directory) -> Iterator[PlannedTask]:
    """One task each, or one a unit where the lead is a group. Without a named lead nothing is filled in (R-023)."""
    filler = _Filler(programme, roster, known)
    for task in programme.standing_tasks:
        leads = tuple(_leads(task, roster, known))
        if not leads:
            content = _as_stated(task, known)
            yield PlannedTask(task.code, content, missing_fields(content))
        for lead in leads:
            content = filler.filled(task, lead)
            yield PlannedTask(lead.code, content, missing_fields(content))


def missing_fields(content: TaskContent) -> tuple[str, ...]:
    """The open fields among the six, the measure and the checking rule (R-017, R-019)."""
    states = {
        "person": content.person,
        "work": content.work,
        "time": content.due or content.cadence,
        "responsibility": content.responsibility,
        "authority": content.authority,
        "result": content.deliverables,
        "lead_unit": content.lead_unit,
        "measure": content.measures,
        "checking": content.checking,
    }
    return tuple(name for name, value in states.items() if not value)


def deciding_authority(holder: str) -> str:
    """The authority of the unit or position a source names as the one that decides."""
    return f"DECIDE-{holder}"


def _leads(task: TaskEntry, roster: Roster, known: Directory) -> Iterator[_Lead]:
    named = (task.lead,) if isinstance(task.lead, str) else task.lead or ()
    if any(not known.is_unit(code) for code in named):
        for unit in known.units_of(*named):
            yield _Lead(f"{task.code}-{unit}", unit)
    elif len(named) > 1:
        reason = roster.task_defaults.joint_lead_reason
        resolution = LeadResolution(named=named, rule="first_named", reason=reason)
        yield _Lead(task.code, named[0], resolution, named[1:])
    elif named:
        yield _Lead(task.code, named[0])


def _as_stated(task: TaskEntry, known: Directory) -> TaskContent:
    """The task with nothing but what the source says."""
    return TaskContent(
        work=task.what,
        due=task.due,
        responsibility=task.responsibility,
        authority=deciding_authority(task.authority) if task.authority else None,
        deliverables=tuple(Deliverable(code=f"D-{n}", what=what) for n, what in enumerate(task.products, 1)),
        coordinating_units=known.units_of(*task.coordinate),
        kind=task.kind,
        phase=task.phase,
        content_area=task.area,
        category=task.category,
        source=task.source,
    )


@dataclass(frozen=True)
class _Filler:
    programme: ProgrammeFile
    roster: Roster
    known: Directory

    def filled(self, task: TaskEntry, lead: _Lead) -> TaskContent:
        """The task of one lead with every open field filled and named."""
        stated, defaults = _as_stated(task, self.known), self.roster.task_defaults
        own = self.roster.programme(self.programme.code)
        fill = own.tasks.get(task.code, TaskFill())
        due = stated.due or fill.due
        cadence = None if due else fill.cadence or own.cadence
        samples = {
            "person": True,
            "due": due is not None and stated.due is None,
            "cadence": cadence is not None,
            "responsibility": stated.responsibility is None,
            "authority": stated.authority is None,
            "deliverables": not stated.deliverables,
            "measures": True,
            "checking": True,
            "update_every_days": own.update_every_days is not None,
        }
        return replace(
            stated,
            person=self.known.head(lead.unit),
            due=due,
            cadence=cadence,
            responsibility=stated.responsibility or defaults.responsibility,
            authority=stated.authority or defaults.authority,
            deliverables=stated.deliverables or (Deliverable(code="D-1", what=defaults.deliverable),),
            measures=(defaults.measure,),
            checking=CheckingRule(checked_by=self._checker(lead.unit), every=defaults.checked_every),
            lead_unit=lead.unit,
            coordinating_units=self._coordinating(stated, lead),
            update_every_days=own.update_every_days,
            lead_resolution=lead.resolution,
            sample_fields=tuple(name for name, sample in samples.items() if sample),
        )

    def _checker(self, unit: str) -> str:
        """The head of the coordinating office; of its own tasks, the director."""
        office = self.known.units_of(*self.programme.roles.coordinating_office)
        roles = self.programme.roles
        return self.known.heads_of(*(roles.director if unit in office else roles.coordinating_office))[0]

    def _coordinating(self, stated: TaskContent, lead: _Lead) -> tuple[str, ...]:
        units = dict.fromkeys((*lead.others, *stated.coordinating_units))
        return tuple(unit for unit in units if unit != lead.unit)
