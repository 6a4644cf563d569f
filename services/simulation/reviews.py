"""How offices and authorities deal with tasks: review, sign-off, extensions, matters referred up, risks (appendix 3.1)."""

from dataclasses import dataclass
from typing import Literal

from contracts.assignment import (
    ApproveExtension,
    ClearRisk,
    MarkAtRisk,
    RecordHigherDecision,
    RefuseExtension,
    ReturnResult,
    SignOffCompletion,
)
from contracts.base import Command
from contracts.envelope import Actor
from domain.assignment_state import Assignment
from services.outgoing import BESIDE
from services.simulation.desk import Desk, Staff
from services.simulation.transitions import TASK_OPEN
from services.simulation.wording import RETURN_REASONS

_DECISIONS: tuple[Literal["approved", "refused", "redirected"], ...] = ("approved", "approved", "refused", "redirected")
_DECIDED = (
    "Đồng ý chủ trương.",
    "Giao đơn vị phối hợp với cơ quan chuyên môn.",
    "Thực hiện theo quy định hiện hành.",
)


@dataclass
class Reviews:
    """Everything about a task that is not the lead unit's own act."""

    desk: Desk

    def _of(self, stream: str) -> tuple[Assignment, Staff]:
        return self.desk.world.assignment(stream), Staff(self.desk.world, stream.split("/")[1])

    def _send(
        self,
        stream: str,
        staff: Staff,
        command: Command,
        actor: Actor,
        system: str = "DMS",
        texts: dict[str, str] | None = None,
    ) -> None:
        self.desk.send(system, stream, command, actor, organisation=staff.organisation, texts=texts)

    def submitted(self, stream: str) -> None:
        """A result came in: it will be reviewed."""
        self.desk.put_off(self.desk.rng.randint(1, 7), stream, self._review)

    def _review(self, stream: str) -> None:
        state, staff = self._of(stream)
        desk = self.desk
        if state.status != "under_review" or state.submission is None:
            return
        if self._waits(state):
            desk.put_off(8, stream, self._review)
            return
        office = staff.office
        if state.submissions < 3 and desk.chance(0.12):
            texts = {"reason": desk.rng.choice(RETURN_REASONS)}
            self._send(stream, staff, ReturnResult(reason=BESIDE), office, texts=texts)
            return
        authority = str(state.content.authority)
        signer = staff.holder(authority, desk.now, state.submission.post, state.content.coordinating_units)
        if signer is None:
            desk.put_off(10, stream, self._review)
            return
        self._send(stream, staff, SignOffCompletion(), signer, system="SIGN")

    def _waits(self, state: Assignment) -> bool:
        states = self.desk.world.states
        children = (states[child] for child, needed in state.children.items() if needed)
        return state.referred_to is not None or any(child.is_open for child in children)

    def referred(self, stream: str) -> None:
        """A matter went up: the level above decides."""
        self.desk.put_off(self.desk.rng.randint(5, 24), stream, self._decide)

    def _decide(self, stream: str) -> None:
        state, staff = self._of(stream)
        if state.referred_to is None or not state.is_open:
            return
        if state.status == "suspended":
            self.desk.put_off(10, stream, self._decide)
            return
        decision: Literal["approved", "refused", "redirected"] = self.desk.rng.choice(_DECISIONS)
        texts = {"note": self.desk.rng.choice(_DECIDED)}
        command = RecordHigherDecision(decision=decision)
        self._send(stream, staff, command, staff.actor(state.referred_to), texts=texts)

    def extension_asked(self, stream: str) -> None:
        """An extension was asked for: the approver answers, sometimes after the limit."""
        self.desk.put_off(self.desk.rng.randint(1, 9), stream, self._answer_extension)

    def _answer_extension(self, stream: str) -> None:
        state, staff = self._of(stream)
        approver = staff.role("extension_approver")
        if state.extension is None or approver is None or approver.post == state.extension.post:
            return
        if state.status not in TASK_OPEN:
            return
        later = state.current is None or state.extension.limit.at > state.current.at
        if later and self.desk.chance(0.65):
            self._send(stream, staff, ApproveExtension(), approver, system="SIGN")
        else:
            texts = {"reason": "chưa đủ căn cứ gia hạn"}
            self._send(stream, staff, RefuseExtension(reason=BESIDE), approver, system="SIGN", texts=texts)

    def at_risk(self, stream: str) -> None:
        """A task was found at risk: the office looks at it."""
        if self.desk.chance(0.5):
            self.desk.put_off(self.desk.rng.randint(6, 20), stream, self._clear_risk)

    def _clear_risk(self, stream: str) -> None:
        state, staff = self._of(stream)
        if state.at_risk is not None and state.status in TASK_OPEN:
            self._send(stream, staff, ClearRisk(reason="đơn vị đã có biện pháp khắc phục"), staff.office)

    def difficulty_raised(self, stream: str) -> None:
        """An obstacle was named: the office may see the task at risk."""
        if self.desk.chance(0.6):
            self.desk.put_off(self.desk.rng.randint(2, 6), stream, self._mark_at_risk)

    def _mark_at_risk(self, stream: str) -> None:
        state, staff = self._of(stream)
        if state.at_risk is None and state.status in ("acknowledged", "in_progress"):
            self._send(stream, staff, MarkAtRisk(rule="open_difficulty"), staff.office)
