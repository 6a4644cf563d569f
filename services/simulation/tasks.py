"""How departments work on tasks (appendix 3.1): each act looks at the task, does one thing, and plans the next."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from contracts.assignment import (
    AcknowledgeAssignment,
    AmendAssignment,
    AssignTask,
    CancelAssignment,
    CloseUnfinished,
    Due,
    Evidence,
    RaiseDifficulty,
    ReachMilestone,
    ReferMatterUp,
    ReportProgress,
    RequestExtension,
    ResumeAssignment,
    StartWork,
    SubmitResult,
    SuspendAssignment,
)
from contracts.base import Command
from contracts.envelope import Actor
from contracts.phase import Responsibility
from domain.assignment_state import Assignment
from domain.calendar import local_date
from services.outgoing import BESIDE
from services.simulation.characters import Character
from services.simulation.desk import Desk, Staff
from services.simulation.samples import part_of
from services.simulation.wording import (
    CAUSES,
    DIFFICULTIES,
    MATTERS,
    NOTES,
    PROPOSALS,
    WORKS,
)

_STEPS = 3
_WHOLE_RUN = timedelta(days=150)
HOURS = timedelta(hours=1)


def evidence(stream: str, number: int) -> Evidence:
    """A document in the sender's system, by reference and digest."""
    name = f"{stream}#{number}"
    return Evidence(system="DMS", number=name, sha256=sha256(name.encode()).hexdigest())


@dataclass
class Plan:
    """When a unit means to be done, as it sees it itself."""

    begun: datetime
    finish: datetime
    abandoned: bool


@dataclass
class Tasks:
    """All tasks of all programmes."""

    desk: Desk
    plans: dict[str, Plan] = field(default_factory=dict)

    def _of(self, stream: str) -> tuple[Assignment, Staff, Character]:
        state = self.desk.world.assignment(stream)
        staff = Staff(self.desk.world, stream.split("/")[1])
        return state, staff, self.desk.character(staff.organisation, state.unit)

    def _send(
        self, stream: str, staff: Staff, command: Command, actor: Actor, system: str = "DMS", **more: object
    ) -> None:
        self.desk.send(system, stream, command, actor, organisation=staff.organisation, **more)  # type: ignore[arg-type]

    def assigned(self, stream: str) -> None:
        """A task has come in: decide how it will go."""
        state, _, character = self._of(stream)
        desk, rng = self.desk, self.desk.rng
        begun = desk.now
        end = state.current.at if state.current else begun + _WHOLE_RUN * (0.6 + rng.random())
        share = rng.uniform(*character.finish)
        span = end - begun if end > begun else timedelta(days=rng.randint(10, 60))
        finish = begun + max(span, timedelta(days=3)) * share
        self.plans[stream] = Plan(begun, finish, desk.chance(character.abandons))
        way = rng.random()
        act = self._acknowledge if way < 0.86 else self._start if way < 0.95 else self._progress
        desk.put_off(rng.randint(1, 6) * self._pace(stream, character), stream, act)

    def _pace(self, stream: str, character: Character) -> float:
        """A short task is taken up at once."""
        plan = self.plans[stream]
        return character.pace * min(1.0, (plan.finish - plan.begun) / timedelta(days=30))

    def _acknowledge(self, stream: str) -> None:
        state, staff, character = self._of(stream)
        if state.status == "assigned" and state.accountable is not None:
            self._send(stream, staff, AcknowledgeAssignment(), staff.actor(state.accountable))
            act = self._start if self.desk.chance(0.85) else self._progress
            self.desk.put_off(self.desk.rng.randint(2, 10) * self._pace(stream, character), stream, act)

    def _start(self, stream: str) -> None:
        state, staff, _ = self._of(stream)
        if state.status in ("assigned", "acknowledged"):
            self._send(stream, staff, StartWork(), staff.clerk(str(state.unit)))
            self._next(stream)

    def _next(self, stream: str) -> None:
        """When this task will be looked at again: three or four times until it is done, and before an update is owed."""
        plan = self.plans[stream]
        update = self.desk.world.assignment(stream).deadlines.get("progress_update_due")
        owed = self.desk.slots.before(update.limit.at) - self.desk.slot if update and not update.passed else 44
        left = self.desk.slots.from_instant(plan.finish) - self.desk.slot
        whole = self.desk.slots.from_instant(plan.finish) - self.desk.slots.from_instant(plan.begun)
        wait = (
            max(1, min(left, max(1 if whole < 20 else 4, whole // _STEPS), owed))
            if left > 0
            else self.desk.rng.randint(4, 16)
        )
        self.desk.put_off(wait, stream, self._progress)

    def _progress(self, stream: str) -> None:
        state, staff, character = self._of(stream)
        plan, desk = self.plans[stream], self.desk
        if state.status in ("suspended", "under_review"):
            desk.put_off(12, stream, self._progress)
            return
        if state.status not in ("assigned", "acknowledged", "in_progress"):
            return
        if state.status == "in_progress" and desk.now >= plan.finish:
            self._finish(stream, state, staff, character)
            return
        if state.status == "in_progress" and self._turn(stream, state, staff):
            self._next(stream)
            return
        if desk.chance(character.progress_skipped):
            self._next(stream)
            return
        self._report(stream, state, staff, plan)
        self._next(stream)

    def _report(self, stream: str, state: Assignment, staff: Staff, plan: Plan) -> None:
        desk = self.desk
        share = (desk.now - plan.begun) / max(plan.finish - plan.begun, timedelta(days=1))
        percent = max(state.percent, min(95, int(share * 100)))
        difficult = desk.chance(0.10)
        texts = {"difficulty": desk.rng.choice(DIFFICULTIES)} if difficult else {}
        command = ReportProgress(percent=percent, judgement="difficult" if difficult else "on_track")
        self._send(stream, staff, command, staff.clerk(str(state.unit)), texts=texts)

    def _turn(self, stream: str, state: Assignment, staff: Staff) -> bool:
        """What may happen in the course of a task instead of a plain report; whether it did."""
        desk, rng = self.desk, self.desk.rng
        unit = staff.clerk(str(state.unit))
        due = [m for m in state.content.milestones if m.code not in state.reached]
        if due and local_date(desk.now) >= due[0].due.day - timedelta(days=rng.randint(-4, 6)):
            self._send(stream, staff, ReachMilestone(milestone=due[0].code), unit)
            return True
        way = rng.random()
        if way < 0.06:
            texts = {"what": rng.choice(DIFFICULTIES)}
            if desk.chance(0.7):
                texts["proposal"] = rng.choice(PROPOSALS)
            self._send(stream, staff, RaiseDifficulty(field="PROGRESS", what=BESIDE), unit, texts=texts)
        elif way < 0.085 and state.referred_to is None and (above := staff.role("level_above")):
            self._send(
                stream,
                staff,
                ReferMatterUp(addressee=above.post, matter=BESIDE),
                unit,
                texts={"matter": rng.choice(MATTERS)},
            )
        elif way < 0.13 and self._may_ask(state):
            self._ask_extension(stream, state, staff)
        elif way < 0.16:
            return self._delegate(stream, state, staff)
        elif way < 0.185:
            more = AmendAssignment(work=f"{rng.choice(WORKS)} (mẫu, điều chỉnh)", reason="điều chỉnh phạm vi công việc")
            self._send(stream, staff, more, staff.office)
        elif way < 0.20:
            self._send(stream, staff, SuspendAssignment(reason="chờ hướng dẫn của cấp trên"), staff.office)
            desk.put_off(rng.randint(10, 40), stream, self._resume)
        elif way < 0.208 and state.referred_to is None:
            self._send(stream, staff, CancelAssignment(reason="nhiệm vụ không còn phù hợp"), staff.director)
        else:
            return False
        return True

    def _finish(self, stream: str, state: Assignment, staff: Staff, character: Character) -> None:
        desk, plan = self.desk, self.plans[stream]
        late = state.current is not None and desk.now >= state.current.at
        if plan.abandoned:
            plan.abandoned = desk.chance(0.5)  # somebody may still pick it up
            plan.finish = desk.now + timedelta(days=desk.rng.randint(14, 40))
            if state.current is not None and desk.now > state.current.at + timedelta(days=25) and desk.chance(0.5):
                self.close_unfinished(stream)
                return
        elif late and self._may_ask(state) and state.extensions == 0 and desk.chance(0.22):
            self._ask_extension(stream, state, staff)
        elif state.referred_to is None:
            hours = desk.rng.choice((3, 15, 18, 40)) if desk.chance(character.entered_late) else 0
            texts = {"note": desk.rng.choice(NOTES)} if desk.chance(0.3) else {}
            command = SubmitResult(evidence=(evidence(stream, state.submissions + 1),))
            ago = min(hours * HOURS, desk.now - plan.begun)
            self._send(stream, staff, command, staff.clerk(str(state.unit)), texts=texts, ago=ago)
            return
        desk.put_off(desk.rng.randint(6, 14), stream, self._progress)

    @staticmethod
    def _may_ask(state: Assignment) -> bool:
        """A sub-task keeps within its parent's limit (R-025)."""
        return state.extension is None and state.current is not None and state.content.parent is None

    def _ask_extension(self, stream: str, state: Assignment, staff: Staff) -> None:
        assert state.current is not None
        rng = self.desk.rng
        day = max(local_date(state.current.at), local_date(self.desk.now)) + timedelta(days=rng.randint(7, 30))
        ask = RequestExtension(due=Due(day=day), reason=BESIDE)
        texts = {"reason": "phụ thuộc tiến độ của đơn vị phối hợp"}
        self._send(stream, staff, ask, staff.clerk(str(state.unit)), texts=texts)

    def _delegate(self, stream: str, state: Assignment, staff: Staff) -> bool:
        """A part of the task for the unit's deputy, due before the task itself (R-025)."""
        desk = self.desk
        if state.current is None or state.content.parent or state.current.at < desk.now + timedelta(days=8):
            return False
        if desk.world.phase(f"phase/{staff.programme}/{state.phase}").status == "closed" if state.phase else False:
            return False
        code = f"{stream.rsplit('/', 1)[-1][:36]}-S{len(state.children) + 1}"
        child = f"assignment/{staff.programme}/{code}"
        if child in desk.world.states or desk.touched(child):
            return False
        day = local_date(state.current.at) - timedelta(days=1)
        clerk = staff.clerk(str(state.unit)).post
        parent = stream.rsplit("/", 1)[-1]
        content = part_of(state.content, clerk, day, parent, mandatory=desk.chance(0.8))
        self._send(child, staff, AssignTask(content=content), staff.head(str(state.unit)))
        return True

    def returned(self, stream: str) -> None:
        """A result was sent back: it is handed in again."""
        self.plans[stream].finish = self.desk.now
        self.desk.put_off(self.desk.rng.randint(3, 10), stream, self._progress)

    def _resume(self, stream: str) -> None:
        state, staff, _ = self._of(stream)
        if state.status == "suspended":
            self._send(stream, staff, ResumeAssignment(reason="đã có hướng dẫn"), staff.office)

    def close_unfinished(self, stream: str) -> None:
        """Close a task that will not be done, with cause and responsibility; partly done where that is allowed."""
        state, staff, _ = self._of(stream)
        if not state.is_open or state.referred_to is not None or state.unit is None:
            return
        cause, text = self.desk.rng.choice(CAUSES)
        allowed = self.desk.world.programme(staff.programme).settings.partly_done_allowed
        head = staff.head(state.unit).post
        command = CloseUnfinished(
            cause=cause,  # type: ignore[arg-type]
            cause_text=BESIDE,
            responsibility=Responsibility(collective=state.unit, individual=state.accountable, head=head),
            partly_done_percent=state.percent if allowed else None,
            volume=f"{state.percent} % khối lượng" if allowed else None,
        )
        self._send(stream, staff, command, staff.director, system="SIGN", texts={"cause_text": text})
