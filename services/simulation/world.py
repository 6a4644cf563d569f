"""What the departments know: the published record, followed by position and folded with the domain's own evolve.

One pass serves everybody: the departments' systems, the transition counts, and the digest over the stored bytes.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from domain.assignment_state import Assignment
from domain.kernel import Decider, Recorded
from domain.obligation_state import Obligation
from domain.organisation import Organisation
from domain.phase_state import Phase
from domain.programme_state import Programme
from domain.warning_state import Warned
from services.simulation.transitions import TransitionCounter
from services.store import Store

BATCH = 2000
Heard = Callable[[Recorded[Any]], None]


@dataclass
class World:
    """Every stream's state up to `position`, and what was counted on the way."""

    store: Store
    states: dict[str, Any] = field(default_factory=dict)
    position: int = 0
    transitions: TransitionCounter = field(default_factory=TransitionCounter)
    names: Counter[str] = field(default_factory=Counter)
    _digest: Any = field(default_factory=sha256)
    _deciders: dict[str, Decider[Any]] = field(init=False)

    def __post_init__(self) -> None:
        self._deciders = {decider.name: decider for decider in self.store.registry.deciders}

    def follow(self, heard: Heard | None = None) -> int:
        """Read what is new in the log, in order; `heard` gets each event after it was folded. Returns how many."""
        before = self.position
        while True:
            found = self.store.recorder.select_notifications(self.position, BATCH, inclusive_of_start=False)
            if not found:
                return self.position - before
            for notification in found:
                self._digest.update(notification.state)
                self._take(self.store.codec.decode(notification.state), heard)
            self.position = found[-1].id

    def _take(self, event: Recorded[Any], heard: Heard | None) -> None:
        state = self.states.get(event.stream)
        after = self.states[event.stream] = self._deciders[event.aggregate].evolve(state, event)
        self.names[type(event.data).__name__] += 1
        self.transitions.take(event, state, after)
        if heard is not None:
            heard(event)

    @property
    def digest(self) -> str:
        """SHA-256 over all stored event bytes in order."""
        return str(self._digest.hexdigest())

    def assignment(self, stream: str) -> Assignment:
        """The state of a task."""
        state = self.states[stream]
        assert isinstance(state, Assignment)
        return state

    def obligation(self, stream: str) -> Obligation:
        """The state of an obligation."""
        state = self.states[stream]
        assert isinstance(state, Obligation)
        return state

    def phase(self, stream: str) -> Phase:
        """The state of a phase."""
        state = self.states[stream]
        assert isinstance(state, Phase)
        return state

    def warning(self, stream: str) -> Warned:
        """The state of a warning."""
        state = self.states[stream]
        assert isinstance(state, Warned)
        return state

    def programme(self, code: str) -> Programme:
        """The state of a programme."""
        state = self.states[f"programme/{code}"]
        assert isinstance(state, Programme)
        return state

    def organisation(self, code: str) -> Organisation:
        """The state of an organisation."""
        state = self.states[f"organisation/{code}"]
        assert isinstance(state, Organisation)
        return state

    def streams(self, aggregate: str, programme: str) -> list[str]:
        """The streams of one aggregate of a programme, in order of their beginning."""
        prefix = f"{aggregate}/{programme}/"
        return [stream for stream in self.states if stream.startswith(prefix)]
