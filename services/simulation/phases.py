"""How programmes go from phase to phase (appendix 3.5): carry over, review, lists, closing, correction."""

from dataclasses import dataclass
from datetime import timedelta

from contracts.assignment import CarryOverAssignment, Due
from contracts.base import Command
from contracts.envelope import Actor
from contracts.phase import (
    ApproveAccountabilityList,
    ApproveCommendationList,
    ClosePhase,
    CorrectClosedPhase,
    DeclareNilReturn,
    DeclareProductMissing,
    MissingProduct,
    OpenPhase,
    Responsibility,
    ReviewLine,
    ReviewYear,
    SignOffPhaseReview,
    StartPhaseReview,
)
from domain.calendar import local_date
from domain.obligation_state import SETTLED
from services.outgoing import BESIDE
from services.simulation.desk import Desk, Staff
from services.simulation.tasks import Tasks
from services.simulation.wording import CAUSES

_OPEN = ("assigned", "acknowledged", "in_progress", "under_review")
_LINES = 40


@dataclass
class Phases:
    """All phases of all programmes."""

    desk: Desk
    tasks: Tasks

    def _staff(self, stream: str) -> Staff:
        return Staff(self.desk.world, stream.split("/")[1])

    def _send(self, stream: str, command: Command, actor: Actor, texts: dict[str, str] | None = None) -> None:
        organisation = self._staff(stream).organisation
        self.desk.send("DMS", stream, command, actor, organisation=organisation, texts=texts)

    def ended(self, stream: str) -> None:
        """The last day is over: the office begins the review; open tasks go on in the next phase or are closed."""
        rng = self.desk.rng
        self.desk.put_off(rng.randint(2, 10), stream, self._start)
        programme, code = stream.split("/")[1:]
        for task in self.desk.world.streams("assignment", programme):
            state = self.desk.world.assignment(task)
            if state.phase == code and (state.status in _OPEN or state.status == "suspended"):
                self.desk.put_off(rng.randint(2, 16), task, self._carry, code)

    def _next(self, stream: str) -> str | None:
        """The next phase by code that is not closed."""
        programme, code = stream.split("/")[1:]
        later = [s for s in self.desk.world.streams("phase", programme) if s.rsplit("/", 1)[-1] > code]
        open_ones = (s for s in later if self.desk.world.phase(s).status != "closed")
        return next((s.rsplit("/", 1)[-1] for s in open_ones), None)

    def _carry(self, task: str, code: str) -> None:
        state, staff = self.desk.world.assignment(task), self._staff(task)
        following = self._next(f"phase/{staff.programme}/{code}")
        if state.phase != code or following is None:
            return
        desk = self.desk
        plan = self.tasks.plans.get(task)
        if state.overdue and plan is not None and plan.abandoned and desk.chance(0.35):
            self.tasks.close_unfinished(task)
            return
        if state.status not in _OPEN:
            return
        due = None
        if state.overdue and state.content.parent is None and desk.chance(0.4):
            due = Due(day=local_date(desk.now) + timedelta(days=desk.rng.randint(20, 60)))
        command = CarryOverAssignment(to_phase=following, due=due, reason="chưa hoàn thành trong giai đoạn")
        desk.send("DMS", task, command, staff.office, organisation=staff.organisation)

    def _start(self, stream: str) -> None:
        if self.desk.world.phase(stream).status == "awaiting_review":
            self._send(stream, StartPhaseReview(), self._staff(stream).office)
            # Most reviews are signed within their thirty days, some are not.
            self.desk.put_off(self.desk.rng.choice((12, 20, 28, 36, 60)), stream, self._sign)

    def _sign(self, stream: str) -> None:
        if self.desk.world.phase(stream).status != "under_review":
            return
        found = self._lines(stream)
        texts = {"summary": "Đa số nhiệm vụ hoàn thành; nhiệm vụ còn lại chuyển giai đoạn sau."}
        texts |= {f"lines.{number}.cause_text": text for number, (_, text) in enumerate(found)}
        signed = SignOffPhaseReview(lines=tuple(line for line, _ in found))
        self._send(stream, signed, self._staff(stream).director, texts)
        self.desk.put_off(2, stream, self._lists)

    def _lines(self, stream: str) -> list[tuple[ReviewLine, str]]:
        """A line per open task of the phase, each with the words of its cause."""
        programme, code = stream.split("/")[1:]
        staff, found = self._staff(stream), []
        for task in self.desk.world.streams("assignment", programme):
            state = self.desk.world.assignment(task)
            if state.phase != code or not state.is_open or state.unit is None:
                continue
            cause, text = self.desk.rng.choice(CAUSES)
            head = staff.head(state.unit).post
            answer = Responsibility(collective=state.unit, individual=state.accountable, head=head)
            line = ReviewLine(item=task, cause=cause, cause_text=BESIDE, responsibility=answer)  # type: ignore[arg-type]
            found.append((line, text))
        return found[:_LINES]

    def _lists(self, stream: str) -> None:
        """Commendation and accountability: a list each, or the declaration that it is empty (R-255, R-258)."""
        staff, desk = self._staff(stream), self.desk
        if desk.world.phase(stream).status != "reviewed":
            return
        units = staff.executing_units(desk.now)
        good = tuple(u for u in units if desk.character(staff.organisation, u).name == "diligent")[:3]
        bad = tuple(u for u in units if desk.character(staff.organisation, u).name == "silent")[:2]
        praise = ApproveCommendationList(entries=good) if good else DeclareNilReturn(list="commendation")
        blame = (
            ApproveAccountabilityList(entries=bad)
            if bad and desk.chance(0.5)
            else DeclareNilReturn(list="accountability")
        )
        self._send(stream, praise, staff.director)
        self._send(stream, blame, staff.director)
        desk.put_off(desk.rng.randint(4, 12), stream, self._close)

    def _close(self, stream: str) -> None:
        """Close, every mandatory product accepted or declared missing with reason and follow-up (R-047, R-049)."""
        staff, desk = self._staff(stream), self.desk
        state = desk.world.phase(stream)
        if state.status != "reviewed":
            return
        for product, mandatory in state.products.items():
            if mandatory and product not in state.missing and desk.world.obligation(product).status not in SETTLED:
                missing = MissingProduct(
                    obligation=product, reason="đơn vị chưa nộp", follow_up="nộp trong giai đoạn sau, báo cáo hằng tuần"
                )
                self._send(stream, DeclareProductMissing(product=missing), staff.office)
        self._send(stream, ClosePhase(), staff.director)
        if desk.chance(0.5):
            desk.put_off(desk.rng.randint(10, 40), stream, self._correct)

    def _correct(self, stream: str) -> None:
        if self.desk.world.phase(stream).status == "closed":
            command = CorrectClosedPhase(
                figure="số nhiệm vụ hoàn thành", was="41", now="40", reason="trùng một nhiệm vụ"
            )
            self._send(stream, command, self._staff(stream).office)

    def opened(self, stream: str) -> None:
        """A phase began without the review it builds on: the director says why (R-051)."""
        state = self.desk.world.phase(stream)
        if state.review_missing and state.missing_review_reason is None:
            self.desk.put_off(2, stream, self._explain)

    def _explain(self, stream: str) -> None:
        state = self.desk.world.phase(stream)
        if state.status == "open" and state.review_missing and state.missing_review_reason is None:
            command = OpenPhase(reason="triển khai liên tục", missing_review_reason="báo cáo sơ kết đang tổng hợp")
            self._send(stream, command, self._staff(stream).director)

    def open_last(self, stream: str) -> None:
        """Open a phase without end day by decision before its date, so that it can be reviewed for the year (R-051)."""
        if self.desk.world.phase(stream).status != "planned":
            return
        command = OpenPhase(
            reason="quyết định mở sớm để chuẩn bị", missing_review_reason="giai đoạn trước chưa kết thúc"
        )
        self._send(stream, command, self._staff(stream).director)
        self.desk.put_off(2, stream, self.review_year)

    def review_year(self, stream: str) -> None:
        """The year's review of an open phase without end day."""
        state = self.desk.world.phase(stream)
        year = local_date(self.desk.now).year
        if state.status == "open" and state.end_limit is None and year not in state.years:
            texts = {"summary": "Kết quả được duy trì; tiếp tục chuẩn hóa quy trình."}
            self._send(stream, ReviewYear(year=year), self._staff(stream).director, texts)
