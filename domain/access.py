"""The record of who read what (R-358): every reading reported by Sauro's own doors is kept, nothing is decided."""

from dataclasses import dataclass
from typing import Any

from contracts.access import CONTRACT, AccessRecorded, RecordAccess
from domain.kernel import Changes, Context, Decider, Recorded, Request, changes, dispatch, folding, only_system


@dataclass(frozen=True, slots=True)
class Accesses:
    """The state of one access stream: how many readings it holds."""

    readings: int = 0


def _record(request: Request[RecordAccess], state: Accesses | None, context: Context) -> Changes:
    only_system(request)
    return changes(AccessRecorded(**dict(request.data)))


def _on_recorded(state: Accesses | None, recorded: Recorded[AccessRecorded]) -> Accesses:
    return Accesses((state.readings if state else 0) + 1)


_OPENING: dict[Any, Any] = {RecordAccess: _record}
evolve = folding({AccessRecorded: _on_recorded})
DECIDER = Decider(CONTRACT, Accesses, dispatch(CONTRACT.name, _OPENING, {}), evolve)
