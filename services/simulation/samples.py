"""Sample tasks beyond the sources, whose annexes are not at hand (R-031): released over the run, marked as sample."""

from dataclasses import dataclass, replace
from datetime import date, timedelta

from contracts.assignment import (
    AssignTask,
    CheckingRule,
    Deliverable,
    DraftTask,
    Due,
    Measure,
    Milestone,
    TaskContent,
)
from domain.calendar import local_date
from services.simulation.desk import Desk, Staff
from services.simulation.wording import WORKS

TASKS = 180
"""Sample tasks of a full run at scale 1, over all programmes."""

SAMPLE = (
    "person",
    "work",
    "due",
    "responsibility",
    "authority",
    "deliverables",
    "measures",
    "checking",
    "milestones",
    "update_every_days",
)
_KINDS = ("WORK", "WORK", "WORK", "KEY", "BREAKTHROUGH", "BACKLOG")
_LAST_RELEASE = timedelta(days=45)
FULL_RUN_DAYS = 489


@dataclass
class Samples:
    """Hands out sample tasks, a few each working day, to the executing units in turn."""

    desk: Desk
    programmes: tuple[str, ...]
    until: date
    scale: int
    _released: int = 0
    _owed: float = 0.0

    def release(self) -> None:
        """The share of one half-day."""
        today = local_date(self.desk.now)
        if today > self.until - _LAST_RELEASE and self.until - _LAST_RELEASE > date(2026, 6, 30):
            return
        self._owed += TASKS * self.scale / (2 * FULL_RUN_DAYS * 5 / 7)
        while self._owed >= 1:
            self._owed -= 1
            self._released += 1
            self._one(today)

    def _one(self, today: date) -> None:
        desk = self.desk
        code = self.programmes[self._released % len(self.programmes)]
        staff = Staff(desk.world, code)
        units = staff.executing_units(desk.now)
        unit = units[(self._released // len(self.programmes)) % len(units)]
        phase = self._phase(code, today)
        stream = f"assignment/{code}/S-{self._released:04d}-{unit}"
        content = self._content(staff, unit, phase, today)
        actor = staff.director if desk.chance(0.6) else staff.office
        if desk.chance(0.08):
            draft = replace(content, measures=(), authority=None)
            desk.send("DMS", stream, DraftTask(content=draft), actor, organisation=staff.organisation)
            desk.put_off(desk.rng.randint(2, 12), stream, self._complete, staff, content)
        else:
            desk.send("DMS", stream, AssignTask(content=content), actor, organisation=staff.organisation)

    def _complete(self, stream: str, staff: Staff, content: TaskContent) -> None:
        command = AssignTask(content=content)
        self.desk.send("DMS", stream, command, staff.office, organisation=staff.organisation)

    def _phase(self, code: str, today: date) -> str | None:
        """The last phase that runs today."""
        phases = [self.desk.world.phase(stream) for stream in self.desk.world.streams("phase", code)]
        running = [phase.code for phase in phases if phase.status == "open" and phase.covers(today)]
        return running[-1] if running else None

    def _content(self, staff: Staff, unit: str, phase: str | None, today: date) -> TaskContent:
        rng = self.desk.rng
        days = rng.choice((12, 20, 30, 30, 45, 60, 90, 120))
        due = today + timedelta(days=days + rng.randint(0, 6))
        office = staff.office
        checker = office if office.unit != unit else staff.director
        categories = self.desk.world.programme(staff.programme).settings.categories
        others = [other for other in staff.executing_units(self.desk.now) if other not in (unit, "PTCPC")]
        milestones = tuple(
            Milestone(
                code=f"M-{number}",
                what=f"Kết quả trung gian {number}",
                due=Due(day=today + timedelta(days=days * number // 3)),
            )
            for number in range(1, 1 + (rng.randint(0, 2) if days >= 30 else 0))
        )
        return TaskContent(
            person=staff.head(unit).post,
            work=f"{rng.choice(WORKS)} (mẫu)",
            due=Due(day=due, boundary="by_end_of" if rng.random() < 0.8 else "before"),
            responsibility="Người đứng đầu đơn vị chủ trì chịu trách nhiệm về kết quả",
            authority="APPROVE-RESULT",
            deliverables=(Deliverable(code="D-1", what="Báo cáo kết quả thực hiện"),),
            measures=(Measure(what="Mức độ hoàn thành", target="100 %"),),
            checking=CheckingRule(checked_by=checker.post, every="monthly"),
            lead_unit=unit,
            coordinating_units=(rng.choice(others),) if others and rng.random() < 0.3 else (),
            kind=rng.choice(_KINDS),
            phase=phase,
            category=rng.choice(categories) if categories else None,
            priority=rng.randint(1, 5),
            tags=("SAMPLE",),
            milestones=milestones,
            update_every_days=rng.choice((14, 30, 30)) if days >= 30 else None,
            sample_fields=SAMPLE,
        )


def part_of(content: TaskContent, person: str, due: date, parent: str, *, mandatory: bool) -> TaskContent:
    """A sub-task of a task for another post of the unit."""
    return replace(
        content,
        person=person,
        work="Phần việc được giao (mẫu)",
        due=Due(day=due, boundary="before"),
        cadence=None,
        milestones=(),
        coordinating_units=(),
        parent=parent,
        mandatory_child=mandatory,
        update_every_days=None,
        lead_resolution=None,
        sample_fields=SAMPLE,
    )
