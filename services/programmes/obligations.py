"""Mandatory products, milestones, commitments and personal plans as obligations (R-041 to R-058).

Reports are not among them: the programme's regimes generate those (R-162).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from contracts.assignment import Due
from contracts.obligation import DeclareObligation, Duty
from services.programmes.directory import Directory
from services.programmes.model import CommitmentEntry, PhaseEntry, ProgrammeFile


@dataclass(frozen=True)
class PlannedObligation:
    """An obligation and its code within the programme."""

    code: str
    command: DeclareObligation


@dataclass(frozen=True)
class _Owner:
    """Who owes one obligation; `suffix` tells apart those of one entry. No unit: open in the source (R-043)."""

    suffix: str = ""
    unit: str | None = None
    post: str | None = None


def planned_obligations(programme: ProgrammeFile, known: Directory) -> Iterator[PlannedObligation]:
    """Products and milestones phase by phase, then commitments and personal plans; one for each owner."""
    for phase in programme.phases:
        yield from _products(programme, phase, known)
        yield from _milestones(phase, known)
    settling = {product.settled_by for phase in programme.phases for product in phase.products}
    for commitment in programme.commitments:
        yield from _commitments(commitment, known, mandatory=commitment.code in settling)


def _products(programme: ProgrammeFile, phase: PhaseEntry, known: Directory) -> Iterator[PlannedObligation]:
    due = phase.products_due
    office = known.units_of(*programme.roles.coordinating_office)[0]
    for product in phase.products:
        if product.settled_by:
            continue
        for owner in _owners(product.owner, known):
            duty = Duty(
                kind="mandatory_product",
                title=product.name_vi,
                unit=owner.unit,
                post=owner.post,
                aggregator=office,
                phase=phase.code,
                mandatory=True,
                ambiguous=due.ambiguous if due else None,
                source=phase.source,
            )
            limit = Due(day=due.day, boundary=due.boundary) if due else None
            command = DeclareObligation(duty=duty, due=limit, opens_on=phase.start)
            yield PlannedObligation(product.code + owner.suffix, command)


def _milestones(phase: PhaseEntry, known: Directory) -> Iterator[PlannedObligation]:
    for milestone in phase.milestones:
        for owner in _owners(milestone.owner, known):
            duty = Duty(
                kind="phase_milestone",
                title=milestone.name_vi,
                unit=owner.unit,
                post=owner.post,
                phase=phase.code,
                covers_kind=milestone.covers_kind,
                ambiguous=milestone.ambiguous,
                source=milestone.source,
            )
            opens_on = milestone.opens_on or phase.start
            command = DeclareObligation(duty=duty, due=milestone.due, opens_on=opens_on)
            yield PlannedObligation(milestone.code + owner.suffix, command)


def _commitments(entry: CommitmentEntry, known: Directory, *, mandatory: bool) -> Iterator[PlannedObligation]:
    for owner in _owners(entry.owner, known):
        duty = Duty(
            kind=entry.kind,
            title=entry.name_vi,
            unit=owner.unit,
            post=owner.post,
            phase=entry.phase,
            mandatory=mandatory,
            ambiguous=entry.ambiguous,
            source=entry.source,
        )
        yield PlannedObligation(entry.code + owner.suffix, DeclareObligation(duty=duty, due=entry.due))


def _owners(codes: Sequence[str] | None, known: Directory) -> Iterator[_Owner]:
    """Positions owe by head post, units and groups by unit; a single unit needs no suffix."""
    if codes is None:
        yield _Owner()
        return
    plain = len(codes) == 1 and known.is_unit(codes[0])
    owners: dict[str, _Owner] = {}
    for code in codes:
        for unit in known.units_of(code):
            post = known.head(unit) if code in known.positions else None
            owners.setdefault(unit, _Owner("" if plain else f"-{unit}", unit, post))
    yield from owners.values()
