"""Read model `caused_events`: which event led to which, for every event whose command names what it answers.

What people and systems enter of their own accord names no cause and has no row, so the model stays small beside the log. One
row an event: its position is the row's `from_pos`.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from contracts.registry import AggregateContract
from domain.kernel import Recorded
from projections.model import Key, ReadModel

NAME = "caused_events"


class CausedRow(NamedTuple):
    """An event by its id, and the id its command names as the cause, be that an event of this log or not."""

    cause: str
    id: str
    programme: str


def keys(event: Recorded[Any]) -> Iterable[Key]:
    """The event's own row, if its command names a cause; without one, the command stands in the cause's place."""
    return () if event.causation_id == event.command_id else ((event.causation_id, event.id),)


def apply(row: CausedRow | None, event: Recorded[Any]) -> CausedRow:
    """The row; nothing ever changes it."""
    return CausedRow(event.causation_id, event.id, event.programme)


def model_for(contracts: tuple[AggregateContract, ...]) -> ReadModel:
    """The model over all events of every aggregate."""
    return ReadModel(
        name=NAME,
        row=CausedRow,
        key=("cause", "id"),
        handles=frozenset((contract.name, event) for contract in contracts for event in contract.events),
        keys=keys,
        apply=apply,
        indexes=("(id)",),
    )


TRACKED = f"{NAME}@{model_for(()).fingerprint}"
"""Under which name its position is kept; its shape does not depend on the aggregates."""
