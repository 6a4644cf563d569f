"""How departments meet what they owe (appendix 3.2): reports, products, milestones, commitments, explanations."""

from dataclasses import dataclass, field
from datetime import timedelta

from contracts.assignment import Due
from contracts.base import Command
from contracts.envelope import Actor
from contracts.obligation import (
    AcceptObligation,
    ConfigureDue,
    ConsolidateObligation,
    CorrectObligation,
    DeclareNothingToReport,
    ForwardObligation,
    ReturnObligation,
    SetOwner,
    SubmitObligation,
    WaiveObligation,
)
from domain.calendar import local_date
from domain.obligation_state import OWED, Obligation
from services.outgoing import BESIDE
from services.simulation.characters import Character
from services.simulation.desk import Desk, Staff
from services.simulation.tasks import HOURS, evidence
from services.simulation.wording import EXPLANATIONS, NOTES, RETURN_REASONS

_REPORTS = ("report", "ad_hoc_report")


@dataclass
class Reports:
    """All obligations of all programmes."""

    desk: Desk
    planned: set[str] = field(default_factory=set)
    forgotten: str | None = None

    def _of(self, stream: str) -> tuple[Obligation, Staff, Character]:
        state = self.desk.world.obligation(stream)
        staff = Staff(self.desk.world, stream.split("/")[1])
        return state, staff, self.desk.character(staff.organisation, state.unit)

    def _send(self, stream: str, staff: Staff, command: Command, actor: Actor, **more: object) -> None:
        self.desk.send("RPT", stream, command, actor, organisation=staff.organisation, **more)  # type: ignore[arg-type]

    def declared(self, stream: str) -> None:
        """Something is owed: name its owner and its limit where these are missing, then meet it once its window opens."""
        state, _, _ = self._of(stream)
        desk, rng = self.desk, self.desk.rng
        if state.unit is None:
            if self.forgotten is None and state.duty.kind == "mandatory_product" and state.duty.phase != "P1":
                self.forgotten = stream  # nobody is ever named for one product, so it is declared missing
            if stream == self.forgotten:
                return
            desk.put_off(rng.randint(4, 24), stream, self._set_owner)
            return
        if state.current is None and state.duty.kind not in _REPORTS and desk.chance(0.6):
            desk.put_off(rng.randint(20, 90), stream, self._configure_due)
            return
        if state.opens_at is not None and state.opens_at > desk.now:
            desk.put_at(desk.slots.from_instant(state.opens_at) + 1, stream, self._opened)
        else:
            self._plan(stream)

    def _set_owner(self, stream: str) -> None:
        state, staff, _ = self._of(stream)
        if state.unit is not None or state.status not in OWED:
            return
        office = staff.office
        units = staff.executing_units(self.desk.now)
        unit = office.unit if self.desk.chance(0.4) else self.desk.rng.choice(units)
        command = SetOwner(unit=unit, reason="văn bản chưa nêu đơn vị chủ trì; phân công bổ sung")
        self._send(stream, staff, command, office)
        self.desk.put_off(2, stream, self._owner_named)

    def _owner_named(self, stream: str) -> None:
        if self.desk.world.obligation(stream).unit is not None:
            self.declared(stream)

    def _configure_due(self, stream: str) -> None:
        state, staff, _ = self._of(stream)
        if state.status in OWED and state.current is None:
            self.configure_due(stream, staff, self.desk.rng.randint(15, 60))

    def configure_due(self, stream: str, staff: Staff, days: int) -> None:
        """Set the limit of an undated duty so many days from now (R-169)."""
        day = local_date(self.desk.now) + timedelta(days=days)
        command = ConfigureDue(due=Due(day=day), reason="văn bản chưa nêu thời hạn; ấn định thời hạn")
        self._send(stream, staff, command, staff.office)

    def due_configured(self, stream: str) -> None:
        """A limit was set: it will be met or not."""
        state, _, _ = self._of(stream)
        if state.unit is not None and state.status in OWED:
            self._plan(stream, again=True)

    def _opened(self, stream: str) -> None:
        if self.desk.world.obligation(stream).status in OWED:
            self._plan(stream)

    def _plan(self, stream: str, *, again: bool = False) -> None:
        """When it will be handed in: before its limit mostly, some late, some never."""
        if stream in self.planned and not again:
            return
        self.planned.add(stream)
        state, _, character = self._of(stream)
        desk, rng = self.desk, self.desk.rng
        limit = state.current
        if limit is None:
            end = state.duty.period.end if state.duty.period else desk.now + timedelta(days=rng.randint(10, 60))
            desk.put_at(desk.slots.after(end) + rng.randint(0, 6), stream, self._hand_in)
            return
        commits = state.duty.kind in ("commitment", "mandatory_product")
        if desk.chance(character.report_never * (0.3 if commits else 1)):
            if desk.chance(0.5):
                desk.put_at(desk.slots.after(limit.at) + rng.randint(20, 50), stream, self._waive)
            return
        last = desk.slots.before(limit.at)
        if desk.chance(character.report_late):
            slot = last + 1 + rng.randint(0, 9)
        else:
            slot = min(max(desk.slot + 1, last - rng.choice((0, 1, 2, 2, 3, 3, 4, 4, 5, 6))), last)
        desk.put_at(max(slot, desk.slot + 1), stream, self._hand_in)

    def _hand_in(self, stream: str) -> None:
        state, staff, character = self._of(stream)
        if state.status not in OWED or state.unit is None:
            return
        desk, rng, duty = self.desk, self.desk.rng, state.duty
        actor = staff.actor(duty.post) if duty.post else staff.clerk(state.unit)
        if actor.unit != state.unit:
            actor = staff.clerk(state.unit)
        if duty.kind in _REPORTS and desk.chance(0.05):
            self._send(stream, staff, DeclareNothingToReport(), actor, texts={"note": "không phát sinh"})
            return
        texts = {"note": rng.choice(EXPLANATIONS)} if duty.kind == "explanation" else {}
        if not texts and desk.chance(0.06):
            texts = {"note": rng.choice(NOTES)}
        ago = timedelta()
        if state.current is not None and desk.chance(character.entered_late):
            ago = min(rng.choice((3, 15, 18, 40)) * HOURS, max(desk.now - state.began_at, timedelta()))
        channel = "paper" if desk.chance(0.05) else "electronic"
        document = evidence(stream, state.submissions + 1)
        command = SubmitObligation(document=document, channel=channel)  # type: ignore[arg-type]
        self._send(stream, staff, command, actor, texts=texts, ago=ago)

    def submitted(self, stream: str) -> None:
        """It came in: the office looks at it."""
        self.desk.put_off(self.desk.rng.randint(1, 4), stream, self._judge)

    def _acceptor(self, state: Obligation, staff: Staff) -> Actor | None:
        """A post that may accept: office, director, the aggregator's or addressee's head; never the submitter."""
        found = [staff.office, staff.director]
        found += [staff.head(unit) for unit in (state.duty.aggregator, state.duty.addressee) if unit]
        submitter = state.submission.post if state.submission else ""
        return next((actor for actor in found if actor.post != submitter), None)

    def _judge(self, stream: str) -> None:
        state, staff, _ = self._of(stream)
        acceptor = self._acceptor(state, staff)
        if state.status != "submitted" or acceptor is None:
            return
        explains = state.duty.kind == "explanation"
        if state.submissions < 3 and self.desk.chance(0.15 if explains else 0.06):
            texts = {"reason": self.desk.rng.choice(RETURN_REASONS)}
            self._send(stream, staff, ReturnObligation(reason=BESIDE), acceptor, texts=texts)
        else:
            self._send(stream, staff, AcceptObligation(), acceptor)

    def returned(self, stream: str) -> None:
        """It was sent back: it is handed in again."""
        self.desk.put_off(self.desk.rng.randint(1, 6), stream, self._hand_in)

    def accepted(self, stream: str) -> None:
        """It was accepted: a report goes into the consolidated one; now and then it is corrected."""
        state, _, _ = self._of(stream)
        rng = self.desk.rng
        if state.duty.kind == "report" and self.desk.chance(0.25):
            self.desk.put_off(rng.randint(1, 6), stream, self._consolidate)
        elif state.duty.kind != "explanation" and self.desk.chance(0.03):
            self.desk.put_off(rng.randint(4, 30), stream, self._correct)

    def _consolidate(self, stream: str) -> None:
        state, staff, _ = self._of(stream)
        acceptor = self._acceptor(state, staff)
        if state.status != "accepted" or acceptor is None:
            return
        period = state.duty.period.code if state.duty.period else "X"
        command = ConsolidateObligation(consolidated_in=f"C-{state.duty.regime}-{period}"[:40])
        self._send(stream, staff, command, acceptor)

    def consolidated(self, stream: str) -> None:
        """It stands in a consolidated report: some of those go up."""
        if self.desk.chance(0.3):
            self.desk.put_off(self.desk.rng.randint(2, 8), stream, self._forward)

    def _forward(self, stream: str) -> None:
        state, staff, _ = self._of(stream)
        acceptor, superior = self._acceptor(state, staff), staff.role("superior")
        if state.status == "consolidated" and acceptor is not None and superior is not None:
            self._send(stream, staff, ForwardObligation(addressee=superior.unit), acceptor)

    def _correct(self, stream: str) -> None:
        state, staff, _ = self._of(stream)
        if state.status in ("accepted", "consolidated", "forwarded") and state.unit is not None:
            document = evidence(stream, 100 + state.correction)
            command = CorrectObligation(document=document, reason="điều chỉnh số liệu")
            self._send(stream, staff, command, staff.clerk(state.unit))

    def _waive(self, stream: str) -> None:
        state, staff, _ = self._of(stream)
        if state.status in (*OWED, "submitted"):
            self._send(stream, staff, WaiveObligation(reason="đã tổng hợp qua kênh khác"), staff.director)
