"""Every aggregate, registered once: its decider (with its contract) and its read models.

To add an aggregate, write one module in contracts, domain and projections each and add one line here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from contracts.registry import ContractRegistry
from domain import access, assignment, obligation, organisation, phase, programme, warning
from domain.kernel import Decider
from projections import assignments, causes, deadlines, obligations, programmes, scorecards, warnings
from projections.model import ReadModel, View


@dataclass(frozen=True)
class Aggregate:
    """An aggregate as the services see it."""

    decider: Decider[Any]
    read_models: tuple[ReadModel, ...] = ()
    views: tuple[View, ...] = ()


@dataclass(frozen=True)
class Registry:
    """All aggregates of an installation, and what follows from them."""

    aggregates: tuple[Aggregate, ...]

    @cached_property
    def deciders(self) -> tuple[Decider[Any], ...]:
        """One decider an aggregate."""
        return tuple(aggregate.decider for aggregate in self.aggregates)

    @cached_property
    def contracts(self) -> ContractRegistry:
        """All message types."""
        return ContractRegistry(decider.contract for decider in self.deciders)

    @cached_property
    def read_models(self) -> tuple[ReadModel, ...]:
        """Every read model, and those over all aggregates: what caused what, and the deadlines."""
        own = tuple(model for aggregate in self.aggregates for model in aggregate.read_models)
        contracts = tuple(decider.contract for decider in self.deciders)
        return (*own, causes.model_for(contracts), deadlines.model_for(contracts))

    @cached_property
    def views(self) -> tuple[View, ...]:
        """Figures computed from read models."""
        return tuple(view for aggregate in self.aggregates for view in aggregate.views)

    def with_aggregates(self, more: Iterable[Aggregate]) -> "Registry":
        """The same registry with more aggregates."""
        return Registry((*self.aggregates, *more))


REGISTRY = Registry(
    (
        Aggregate(organisation.DECIDER, (programmes.UNITS,)),
        Aggregate(programme.DECIDER, (programmes.PROGRAMMES,)),
        Aggregate(phase.DECIDER, (programmes.PHASES,)),
        Aggregate(assignment.DECIDER, (assignments.MODEL,)),
        Aggregate(obligation.DECIDER, (obligations.MODEL,)),
        Aggregate(warning.DECIDER, (warnings.MODEL,), (scorecards.DEPARTMENT, scorecards.PHASE)),
        Aggregate(access.DECIDER),
    )
)
