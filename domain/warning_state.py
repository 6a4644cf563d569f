"""The state of a warning: what folds of its events know, and where its stream lies (appendix 3.6)."""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

from contracts.deadlines import DeadlineKey
from contracts.limits import Limit
from contracts.warning import (
    ResponseRecorded,
    WarningAcknowledged,
    WarningDelivered,
    WarningDismissed,
    WarningEscalated,
    WarningRaised,
    WarningResolved,
    WarningSuperseded,
)
from domain.deadlines import DEADLINE_FOLD, Deadlines
from domain.kernel import Recorded, changed, folding

Status = Literal["raised", "delivered", "acknowledged", "responded", "resolved", "dismissed", "superseded"]
OPEN: frozenset[Status] = frozenset({"raised", "delivered", "acknowledged", "responded"})


def stream_of(programme: str, about: str, key: DeadlineKey, *, early: bool) -> str:
    """The warning's stream: readable as far as 40 characters allow, unique by a hash of the deadline."""
    identity = f"{about}|{key.kind}|{key.occurrence}|{key.due_version}|{early}"
    digest = sha256(identity.encode()).hexdigest()[:10].upper()
    return f"warning/{programme}/{about.rsplit('/', 1)[-1][:26]}-{'E' if early else 'L'}-{digest}"


@dataclass(frozen=True)
class Warned:
    """The state of one warning stream."""

    about: str
    key: DeadlineKey
    limit: Limit
    rung: int
    level: int
    recipients: tuple[str, ...]
    reached: frozenset[str]
    policy_version: int
    unit: str | None = None
    phase: str | None = None
    status: Status = "raised"
    delivered_levels: frozenset[int] = frozenset()
    deadlines: Deadlines = field(default_factory=Deadlines)

    @property
    def is_open(self) -> bool:
        """Whether it still wants an answer or its closing."""
        return self.status in OPEN


def _on_raised(state: Warned | None, recorded: Recorded[WarningRaised]) -> Warned:
    data = recorded.data
    return Warned(
        about=data.about,
        key=data.key,
        limit=data.limit,
        rung=data.rung,
        level=data.level,
        recipients=data.recipients,
        reached=frozenset(data.recipients),
        policy_version=recorded.policy_version or 1,
        unit=data.unit,
        phase=data.phase,
    )


def _on_delivered(state: Warned, recorded: Recorded[WarningDelivered]) -> Warned:
    # A delivery recorded after the next rung was reached is one of the level before: the present one is still to come.
    level = recorded.data.level
    status: Status = "delivered" if state.status == "raised" and level == state.level else state.status
    return changed(state, status=status, delivered_levels=state.delivered_levels | {level})


def _on_escalated(state: Warned, recorded: Recorded[WarningEscalated]) -> Warned:
    data = recorded.data
    return changed(
        state,
        status="raised",
        rung=data.rung,
        level=data.level,
        recipients=data.recipients,
        reached=state.reached | set(data.recipients),
        delivered_levels=state.delivered_levels - {data.level},
    )


def _to(status: Status) -> Any:
    return lambda state, recorded: changed(state, status=status)


_FOLD: dict[Any, Any] = {
    **DEADLINE_FOLD,
    WarningRaised: _on_raised,
    WarningDelivered: _on_delivered,
    WarningAcknowledged: _to("acknowledged"),
    ResponseRecorded: _to("responded"),
    WarningResolved: _to("resolved"),
    WarningEscalated: _on_escalated,
    WarningDismissed: _to("dismissed"),
    WarningSuperseded: _to("superseded"),
}
evolve = folding(_FOLD)
