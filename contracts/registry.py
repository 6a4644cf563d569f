"""From an aggregate's contract to the types on the wire and back."""

import builtins
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

from contracts.base import Command, Event

M = TypeVar("M", Command, Event)
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


def unchanged_since(version: int, *events: type[Event]) -> dict[tuple[str, int], Upcaster]:
    """Upcasters of events whose next version reads the data of this one as it stands."""
    return {(event.__name__, version): _as_it_is for event in events}


def _as_it_is(data: dict[str, Any]) -> dict[str, Any]:
    return data


@dataclass(frozen=True)
class AggregateContract:
    """The commands and events of one aggregate.

    `upcasters` maps (event name, old version) to a function from the old version's data to the next version's
    (R-360). Released versions stay readable for ever.
    """

    name: str
    commands: tuple[type[Command], ...]
    events: tuple[type[Event], ...]
    upcasters: Mapping[tuple[str, int], Upcaster] = field(default_factory=dict)

    def type_of(self, message: type[Command] | type[Event]) -> str:
        """The CloudEvents `type` of a command or event of this aggregate."""
        return f"sauro.{self.name}.{message.__name__}.v{message.version}"


@dataclass(frozen=True)
class MessageType(Generic[M]):
    """One type on the wire."""

    type: str
    aggregate: str
    model: builtins.type[M]


class ContractRegistry:
    """All message types of an installation, looked up by their CloudEvents `type`."""

    def __init__(self, contracts: Iterable[AggregateContract]) -> None:
        self.contracts = {contract.name: contract for contract in contracts}
        self.commands: dict[str, MessageType[Command]] = {
            contract.type_of(model): MessageType(contract.type_of(model), contract.name, model)
            for contract in self.contracts.values()
            for model in contract.commands
        }
        self.events: dict[str, MessageType[Event]] = {
            contract.type_of(model): MessageType(contract.type_of(model), contract.name, model)
            for contract in self.contracts.values()
            for model in contract.events
        }

    @cached_property
    def event_types(self) -> dict[tuple[str, type[Event]], str]:
        """(aggregate, event class) to the type on the wire."""
        return {(known.aggregate, known.model): type_ for type_, known in self.events.items()}

    @cached_property
    def older_events(self) -> frozenset[str]:
        """The types of event versions that were released and are read as newer ones."""
        return frozenset(
            f"sauro.{contract.name}.{name}.v{version}"
            for contract in self.contracts.values()
            for name, version in contract.upcasters
        )

    def upcast(self, type_: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The newest type and data for an event stored under an older version; others come back unchanged."""
        _, aggregate, name, version = type_.split(".")
        upcasters = self.contracts[aggregate].upcasters
        number = int(version[1:])
        while upcaster := upcasters.get((name, number)):
            data, number = upcaster(data), number + 1
        return f"sauro.{aggregate}.{name}.v{number}", data
