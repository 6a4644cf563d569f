"""How posts answer warnings (appendix 3.6): seen, acted upon, closed; some let them climb to the top."""

from dataclasses import dataclass

from contracts.base import Command
from contracts.warning import AcknowledgeWarning, DismissWarning, RecordResponse, ResolveWarning, ResponseKind
from domain.warning_state import Warned
from services.outgoing import BESIDE
from services.simulation.desk import Desk, Staff
from services.simulation.wording import DIRECTIVES

_KINDS: tuple[ResponseKind, ...] = ("directive", "adjustment")


@dataclass
class Answers:
    """All warnings of all programmes."""

    desk: Desk

    def _of(self, stream: str) -> tuple[Warned, Staff]:
        return self.desk.world.warning(stream), Staff(self.desk.world, stream.split("/")[1])

    def _send(
        self, stream: str, staff: Staff, command: Command, post: str, texts: dict[str, str] | None = None
    ) -> None:
        self.desk.send("OSS", stream, command, staff.actor(post), organisation=staff.organisation, texts=texts)

    def delivered(self, stream: str) -> None:
        """A notice arrived: the unit's habits say whether anybody reacts; the higher it climbed, the likelier."""
        state, staff = self._of(stream)
        desk, rng = self.desk, self.desk.rng
        character = desk.character(staff.organisation, state.unit)
        early = state.level == 0
        heeded = character.answers * (0.25 if early else 0.75) + (0.12 * state.level if state.level > 1 else 0)
        if not desk.chance(heeded):
            if desk.chance(0.01):
                desk.put_off(rng.randint(2, 8), stream, self._dismiss)
            return
        desk.put_off(rng.randint(1, 4) * character.pace, stream, self._acknowledge)

    def _acknowledge(self, stream: str) -> None:
        state, staff = self._of(stream)
        if state.status != "delivered" or not state.recipients:
            return
        self._send(stream, staff, AcknowledgeWarning(), state.recipients[0])
        if self.desk.chance(0.3 if state.level == 0 else 0.85):
            self.desk.put_off(self.desk.rng.randint(1, 5), stream, self._respond)

    def _respond(self, stream: str) -> None:
        state, staff = self._of(stream)
        if state.status not in ("delivered", "acknowledged"):
            return
        kind: ResponseKind = self.desk.rng.choice(_KINDS)
        texts = {"note": self.desk.rng.choice(DIRECTIVES)} if self.desk.chance(0.4) else None
        self._send(stream, staff, RecordResponse(response=kind), state.recipients[0], texts)
        self.desk.put_off(self.desk.rng.randint(2, 12), stream, self._resolve)

    def _resolve(self, stream: str) -> None:
        state, staff = self._of(stream)
        if state.status == "responded":
            self._send(stream, staff, ResolveWarning(), state.recipients[0])

    def _dismiss(self, stream: str) -> None:
        state, staff = self._of(stream)
        if state.is_open:
            texts = {"reason": "cảnh báo không còn căn cứ"}
            self._send(stream, staff, DismissWarning(reason=BESIDE), staff.office.post, texts)
