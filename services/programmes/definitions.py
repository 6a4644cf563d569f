"""The programme itself as commands: registration, phases, regimes and indicators (groups A, C, H and K)."""

from collections.abc import Iterator

from contracts.limits import CalendarDay
from contracts.phase import PlanPhase
from contracts.programme import (
    BasisDocument,
    ContentArea,
    DefineIndicator,
    DefineRegime,
    EscalationPolicy,
    IndicatorDefinition,
    Participation,
    RegimeDefinition,
    RegisterProgramme,
    Role,
    RoleHolding,
)
from services.programmes.directory import Directory, participants
from services.programmes.model import IndicatorEntry, PhaseEntry, ProgrammeFile, RegimeEntry
from services.programmes.roster import Roster


def registration(
    programme: ProgrammeFile, known: Directory, policy: EscalationPolicy, calendar: tuple[CalendarDay, ...]
) -> RegisterProgramme:
    """The programme with its legal basis, roles, settings, policy and calendar."""
    start, end = programme.window_days
    return RegisterProgramme(
        title_vi=programme.title.vi,
        title_en=programme.title.en,
        kind=programme.kind,
        number=programme.document.number,
        issued_on=programme.document.issued_on,
        issued_on_sample=programme.document.sample,
        legal_basis=tuple(BasisDocument(**basis.model_dump(exclude={"note"})) for basis in programme.legal_basis),
        window_start=start,
        window_end=end,
        content_areas=tuple(
            ContentArea(code=area.code, name_vi=area.name_vi, name_en=area.name_en) for area in programme.content_areas
        ),
        participants=tuple(
            Participation(unit=unit, role=part.role, executes=part.executes)
            for unit, part in participants(programme, known)
        ),
        roles=tuple(_roles(programme, known)),
        settings=programme.settings,
        policy=policy,
        calendar=calendar,
    )


def plan(phase: PhaseEntry) -> PlanPhase:
    """The phase as planned; `duties_in_text` is false where the source assigns nobody (R-067)."""
    return PlanPhase(
        name_vi=phase.name_vi,
        name_en=phase.name_en,
        aim=phase.aim,
        contents=phase.contents,
        start=phase.start,
        end=phase.end,
        end_year=phase.end_year,
        end_boundary=phase.end_boundary,
        needs_review_of=phase.needs_review_of,
        takes_over_from=phase.takes_over_from,
        duties_in_text=bool(phase.duties),
    )


def regime(entry: RegimeEntry, programme: ProgrammeFile, roster: Roster, known: Directory) -> DefineRegime:
    """The regime for the units behind its submitters, within the window unless the source says otherwise."""
    start, end = programme.window_days
    samples = roster.programme(programme.code).submitters.get(entry.code, ()) if not entry.submitters else ()
    notes = (entry.note, "submitters are sample" if samples else None)
    return DefineRegime(
        regime=RegimeDefinition(
            code=entry.code,
            name_vi=entry.name_vi,
            frequency=entry.frequency,
            due=entry.due,
            submitters=known.units_of(*entry.submitters, *samples),
            aggregator=_unit(entry.aggregator, known),
            addressee=_unit(entry.addressee, known),
            start=entry.start or start,
            end=entry.end or end,
            phases=entry.phases,
            active=entry.active,
            content="; ".join(entry.content) or None,
            note="; ".join(note for note in notes if note) or None,
            source=entry.source,
        )
    )


def indicator(entry: IndicatorEntry) -> DefineIndicator:
    """The indicator; whether it is divisible stays unknown until a person says so (R-242)."""
    named = {
        "baseline": entry.baseline,
        "area": entry.area,
        "exclusions": ", ".join(entry.exclusions),
        "due boundary": entry.due.boundary if entry.due else None,
    }
    notes = [f"{name}: {value}" for name, value in named.items() if value] + [entry.note or ""]
    return DefineIndicator(
        indicator=IndicatorDefinition(
            code=entry.code,
            name_vi=entry.name_vi,
            name_en=entry.name_en,
            comparator=entry.comparator,
            target=None if entry.target is None else float(entry.target),
            unit=entry.unit,
            scope=entry.scope,
            measure_kind=entry.measure_kind,
            divisible=None,
            divisible_proposed=entry.divisible_proposed,
            due=entry.due.day if entry.due else None,
            source=entry.source,
            note="; ".join(note for note in notes if note) or None,
        )
    )


def _roles(programme: ProgrammeFile, known: Directory) -> Iterator[RoleHolding]:
    holders: dict[Role, tuple[str, ...]] = {
        "coordinating_office": programme.roles.coordinating_office,
        "director": programme.roles.director,
        "assigner": programme.roles.assigner,
        "extension_approver": programme.roles.extension_approver,
        "level_above": programme.roles.level_above,
        "reviewer": programme.roles.reviewer,
        "superior": programme.roles.superior,
        "steering_body": programme.roles.steering_body,
    }
    for role, codes in holders.items():
        if codes:
            yield RoleHolding(role=role, posts=known.heads_of(*codes))


def _unit(code: str | None, known: Directory) -> str | None:
    """A position stands for the unit of its post."""
    return known.units_of(code)[0] if code else None
