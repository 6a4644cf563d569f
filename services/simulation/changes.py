"""What changes in the course of a run: staff, units, authorities, calendar, policy, regimes, and ad hoc reports."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from contracts.assignment import AssignTask, Due, Measure, ReassignAssignment
from contracts.base import Command
from contracts.envelope import Actor
from contracts.limits import CalendarDay, DueRule
from contracts.obligation import Duty, RequestAdHocReport, SetOwner
from contracts.organisation import AppointHolder, DissolveUnit, GrantAuthority, ReleaseHolder, RevokeAuthority
from contracts.programme import AdoptEscalationPolicy, AmendCalendar, DefineRegime, Rung
from domain.assignment_content import missing_fields
from domain.calendar import at_local, local_date
from domain.obligation_state import OWED
from domain.organisation import GRANT_AUTHORITY
from services.simulation.desk import Desk, Staff
from services.simulation.reports import Reports
from services.simulation.slots import MORNING

CULTURE, SCIENCE, WARD = "SVHTTDL-TD500", "SKHCN-TD500", "PHN-CTHD500"
SWAP = (
    CalendarDay(date=dt.date(2026, 8, 22), name="Ngày làm việc bù (mẫu)", kind="swap_workday"),
    CalendarDay(date=dt.date(2026, 8, 31), name="Nghỉ hoán đổi (mẫu)", kind="swap_rest"),
)
"""A swap decided after the import."""

_DISSOLVED, _SUCCESSOR = "PTCPC", "VPS"
_GRANT, _GRANTED_ANEW, _AUTHORITY = "G-PP-VPS-APPROVE-RESULT", "G-PP-VPS-APPROVE-RESULT-2", "APPROVE-RESULT"
_MOVED, _NEW_PERSON = "TP-PDL", "P-SAMPLE02"


@dataclass
class Changes:
    """One-off acts on fixed days."""

    desk: Desk
    reports: Reports
    _ad_hoc: int = 0

    def plan(self) -> None:
        """Put every change on the agenda."""
        for month, day, act in self._dated():
            year = 2026 if month >= 5 else 2027
            slot = self.desk.slots.from_instant(at_local(dt.date(year, month, day), MORNING))
            self.desk.put_at(slot, f"change/{month}-{day}", lambda stream, act=act: act())
        for number in range(40):
            start = dt.date(2026, 6, 8) + dt.timedelta(days=12 * number)
            slot = self.desk.slots.from_instant(at_local(start, MORNING))
            self.desk.put_at(slot, f"change/ad-hoc-{number}", lambda stream: self._ask_ad_hoc())

    def _dated(self) -> tuple[tuple[int, int, Callable[[], None]], ...]:
        return (
            (6, 1, lambda: self._weekly(SCIENCE, dt.date(2026, 6, 1), dt.date(2026, 6, 5))),
            (6, 15, self._complete_drafts),
            (6, 22, self._release_holder),
            (6, 24, self._appoint_holder),
            (7, 6, lambda: self._date_regimes(SCIENCE)),
            (7, 20, lambda: self._date_regimes(WARD)),
            (7, 27, self._amend_calendar),
            (9, 7, self._revoke),
            (9, 21, self._grant),
            (10, 5, self._dissolve),
            (11, 2, self._adopt_policy),
            (12, 28, lambda: self._weekly(SCIENCE, dt.date(2027, 1, 1), dt.date(2027, 3, 31))),
        )

    def _send(self, stream: str, command: Command, actor: Actor, organisation: str) -> None:
        self.desk.send("DMS", stream, command, actor, organisation=organisation)

    def _about(self, code: str, command: Command) -> None:
        """A command about the organisation of a programme, by a post that may change it."""
        staff = Staff(self.desk.world, code)
        administrator = staff.holder(GRANT_AUTHORITY, self.desk.now, other_than="")
        assert administrator is not None  # one is always left
        self._send(f"organisation/{staff.organisation}", command, administrator, staff.organisation)

    def _release_holder(self) -> None:
        self._about(CULTURE, ReleaseHolder(post=_MOVED, valid_to=local_date(self.desk.now)))

    def _appoint_holder(self) -> None:
        self._about(CULTURE, AppointHolder(post=_MOVED, person=_NEW_PERSON, valid_from=local_date(self.desk.now)))

    def _revoke(self) -> None:
        self._about(CULTURE, RevokeAuthority(grant=_GRANT, reason="phân công lại nhiệm vụ"))

    def _grant(self) -> None:
        post = _GRANT.removeprefix("G-").removesuffix(f"-{_AUTHORITY}")
        day = local_date(self.desk.now)
        self._about(CULTURE, GrantAuthority(grant=_GRANTED_ANEW, post=post, authority=_AUTHORITY, valid_from=day))

    def _dissolve(self) -> None:
        """A unit is merged into another from tomorrow on; its open tasks and duties go with it (R-089)."""
        desk, staff = self.desk, Staff(self.desk.world, CULTURE)
        day = local_date(desk.now) + dt.timedelta(days=1)
        self._about(CULTURE, DissolveUnit(unit=_DISSOLVED, valid_to=day, successors=(_SUCCESSOR,), reason="sáp nhập"))
        for code in (CULTURE, "SVHTTDL-CCHC-2025"):
            for stream in desk.world.streams("assignment", code):
                if desk.world.assignment(stream).unit == _DISSOLVED:
                    desk.put_off(2, stream, self._reassign, staff)
            for stream in desk.world.streams("obligation", code):
                state = desk.world.obligation(stream)
                if state.unit == _DISSOLVED and state.status in OWED:
                    desk.put_off(2, stream, self._take_over, staff)

    def _reassign(self, stream: str, staff: Staff) -> None:
        state = self.desk.world.assignment(stream)
        if state.status not in ("assigned", "acknowledged", "in_progress", "under_review"):
            return
        successor = _SUCCESSOR if _SUCCESSOR not in state.content.coordinating_units else "PVHGD"
        if successor not in state.content.coordinating_units:
            command = ReassignAssignment(lead_unit=successor, reason="đơn vị cũ được sáp nhập")
            self._send(stream, command, staff.director, staff.organisation)

    def _take_over(self, stream: str, staff: Staff) -> None:
        if self.desk.world.obligation(stream).status in OWED:
            command = SetOwner(unit=_SUCCESSOR, reason="đơn vị cũ được sáp nhập")
            self._send(stream, command, staff.director, staff.organisation)

    def _amend_calendar(self) -> None:
        for code in (CULTURE, SCIENCE, WARD):
            staff = Staff(self.desk.world, code)
            command = AmendCalendar(days=SWAP, reason="quyết định hoán đổi ngày làm việc (mẫu)")
            self._send(f"programme/{code}", command, staff.office, staff.organisation)

    def _adopt_policy(self) -> None:
        """A second version: obligations are escalated to the director one working day later."""
        staff = Staff(self.desk.world, CULTURE)
        policy = self.desk.world.programme(CULTURE).policy
        ladders = tuple(
            replace(ladder, rungs=(*ladder.rungs[:-1], _later(ladder.rungs[-1])))
            if "obligation_due" in ladder.kinds
            else ladder
            for ladder in policy.ladders
        )
        version = policy.policy_version + 1
        second = replace(policy, policy_version=version, ladders=ladders)
        command = AdoptEscalationPolicy(policy=second, reason="kinh nghiệm năm tháng đầu")
        self._send(f"programme/{CULTURE}", command, staff.director, staff.organisation)

    def _weekly(self, code: str, start: dt.date, end: dt.date) -> None:
        """Switch the weekly report on for a phase whose text names it (R-172)."""
        due = DueRule(frequency="weekly", boundary="by_end_of", weekday=3)
        self._define(
            code, "R-W", {"active": True, "due": due, "start": start, "end": end}, "báo cáo tuần của giai đoạn"
        )

    def _date_regimes(self, code: str) -> None:
        """Name the day the source leaves open for weekly, monthly and quarterly reports (R-169)."""
        for regime in self.desk.world.programme(code).regimes.values():
            definition = regime.definition
            if not definition.active or definition.due is not None or not definition.submitters:
                continue
            rule: DueRule | None = None
            if definition.frequency == "weekly":
                rule = DueRule(frequency="weekly", boundary="by_end_of", weekday=4)
            elif definition.frequency == "monthly":
                rule = DueRule(frequency="monthly", boundary="before", day_of_month=25, month_of_period="reporting")
            elif definition.frequency == "quarterly":
                rule = DueRule(frequency="quarterly", boundary="before", day_of_month=25, month_of_period="last")
            if rule is not None:
                self._define(code, definition.code, {"due": rule}, "ấn định thời hạn")

    def _define(self, code: str, regime: str, update: dict[str, Any], reason: str) -> None:
        staff = Staff(self.desk.world, code)
        definition = replace(self.desk.world.programme(code).regimes[regime].definition, **update)
        command = DefineRegime(regime=definition, reason=reason)
        self._send(f"programme/{code}", command, staff.office, staff.organisation)

    def _complete_drafts(self) -> None:
        """Some drafts of the sources get what they lack, as samples; the others stay drafts and are listed (R-023)."""
        for code, limit in ((CULTURE, 1), (SCIENCE, 1), (WARD, 1)):
            staff, done = Staff(self.desk.world, code), 0
            for stream in self.desk.world.streams("assignment", code):
                state = self.desk.world.assignment(stream)
                if state.status != "draft" or done >= limit or stream.rsplit("/", 1)[-1].startswith("S-"):
                    continue
                done += 1
                self._complete(stream, staff)

    def _complete(self, stream: str, staff: Staff) -> None:
        world = self.desk.world
        draft = world.assignment(stream).content
        units = [u for u in staff.executing_units(self.desk.now) if u not in draft.coordinating_units]
        like = next(
            s.content
            for t in world.streams("assignment", staff.programme)
            if (s := world.assignment(t)).status != "draft" and s.unit is not None
        )
        unit = units[0] if units else staff.office.unit
        filled: dict[str, Any] = {
            "lead_unit": unit,
            "person": staff.head(unit).post,
            "due": draft.due or (None if draft.cadence else Due(day=local_date(self.desk.now) + dt.timedelta(days=90))),
            "responsibility": draft.responsibility or like.responsibility,
            "authority": "APPROVE-RESULT",
            "deliverables": draft.deliverables or like.deliverables,
            "measures": draft.measures or (Measure(what="Mức độ hoàn thành", target="100 %"),),
            "checking": draft.checking or like.checking,
            "work": draft.work or like.work,
            "sample_fields": missing_fields(draft),
        }
        content = replace(draft, **filled)
        self._send(stream, AssignTask(content=content), staff.director, staff.organisation)

    def _ask_ad_hoc(self) -> None:
        """A report nobody planned: the office asks for it, or a unit starts it (R-168)."""
        desk, rng = self.desk, self.desk.rng
        self._ad_hoc += 1
        code = (CULTURE, SCIENCE, WARD)[self._ad_hoc % 3]
        staff = Staff(desk.world, code)
        units = staff.executing_units(desk.now)
        unit = rng.choice(units)
        by_unit = desk.chance(0.35)
        duty = Duty(
            kind="ad_hoc_report",
            title="Báo cáo đột xuất về khó khăn, vướng mắc",
            unit=unit,
            aggregator=staff.office.unit,
        )
        due = Due(day=local_date(desk.now) + dt.timedelta(days=rng.randint(2, 9)))
        actor = staff.head(unit) if by_unit else staff.office
        command = RequestAdHocReport(duty=duty, due=due, reason="phát sinh vướng mắc cần chỉ đạo")
        self._send(f"obligation/{code}/AH-{self._ad_hoc:03d}", command, actor, staff.organisation)


def _later(rung: Rung) -> Rung:
    return replace(rung, offset=replace(rung.offset, working_days=rung.offset.working_days + 1))
