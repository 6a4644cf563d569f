"""Cross checks of a programme's file against itself, the roster and the policy: codes, phases, limits, roles."""

from collections.abc import Iterator, Sequence

from contracts.assignment import Due
from contracts.programme import EscalationPolicy
from domain.limits import last_on_time_day, limit_of
from services.programmes.directory import Directory
from services.programmes.model import PhaseEntry, ProgrammeFile
from services.programmes.obligations import planned_obligations
from services.programmes.reader import Key, Problem, Source
from services.programmes.roster import Roster
from services.programmes.tasks import planned_tasks

Path = tuple[Key, ...]

_CODE_LENGTH = 40
_CODED_LISTS = ("phases", "regimes", "indicators", "content_areas", "registers", "standing_tasks", "solution_groups")


def programme_problems(
    programme: ProgrammeFile, policy: EscalationPolicy, known: Directory, source: Source
) -> Iterator[Problem]:
    """All contradictions of the file, each at its line."""
    yield from _twice(programme, source)
    yield from _unknown_units(programme, known, source)
    yield from _unknown_others(programme, source)
    yield from _empty_groups(programme, known, source)
    yield from _phase_order(programme, source)
    yield from _limits(programme, source)
    yield from _roles(programme, policy, source)


def information(programme: ProgrammeFile, roster: Roster, known: Directory, source: Source) -> Iterator[Problem]:
    """What a person must settle: drafts (R-023), joint leads (R-083), ambiguous limits (R-042)."""
    lines = {task.code: ("standing_tasks", n) for n, task in enumerate(programme.standing_tasks)}
    for task in planned_tasks(programme, roster, known):
        if task.missing:
            message = f"task {task.code} stays a draft: {', '.join(task.missing)} open"
            yield source.problem(lines[task.code], message, "complete the draft (R-023)")
        if resolution := task.content.lead_resolution:
            message = f"task {task.code} names {len(resolution.named)} leads: {resolution.named[0]} leads for now"
            yield source.problem(lines[task.code], message, "confirm or reassign (R-083)")
    for path, text in _ambiguous(programme):
        yield source.problem(path, text, "set the limit that holds (R-042)")


def roster_problems(programme: ProgrammeFile, roster: Roster, known: Directory, source: Source) -> Iterator[Problem]:
    """What the roster says of this programme and its organisation and cannot be."""
    code = programme.organisation.code
    own = roster.organisation(code)
    if own is None:
        yield source.problem(("organisations",), f"organisation '{code}' is missing", "add it with its members")
        return
    at: Path = ("organisations", roster.organisations.index(own))
    named = {unit.code: unit for unit in programme.units}
    for n, unit in enumerate(own.units):
        stated = named.get(unit.code)
        if stated and (stated.name_vi, stated.name_en, stated.kind) != (unit.name_vi, unit.name_en, unit.kind):
            message = f"unit '{unit.code}' differs from {programme.code}"
            yield source.problem((*at, "units", n), message, "give both the same names and kind")
    for group in programme.groups:
        for unit_code in known.groups[group.code]:
            if unit_code not in known.units:
                path = (*at, "groups", group.code)
                yield source.problem(path, f"member '{unit_code}' is no unit", "add the unit or correct the code")
    for n, post in enumerate(own.posts):
        if post.unit not in known.units:
            yield source.problem(
                (*at, "posts", n), f"unit '{post.unit}' is unknown", "add the unit or correct the code"
            )
    if own.top not in known.units:
        yield source.problem((*at, "top"), f"unit '{own.top}' is unknown", "add the unit or correct the code")
    yield from _fills(programme, roster, source)


def _fills(programme: ProgrammeFile, roster: Roster, source: Source) -> Iterator[Problem]:
    own = roster.programme(programme.code)
    if own not in roster.programmes:
        return
    at: Path = ("programmes", roster.programmes.index(own))
    tasks, regimes = {task.code for task in programme.standing_tasks}, {regime.code for regime in programme.regimes}
    for field, codes, known in (("tasks", own.tasks, tasks), ("submitters", own.submitters, regimes)):
        for code in codes:
            if code not in known:
                message = f"'{code}' is unknown in {programme.code}"
                yield source.problem((*at, field, code), message, "correct the code or remove it")


def _twice(programme: ProgrammeFile, source: Source) -> Iterator[Problem]:
    spaces = [_codes(programme, (name,)) for name in _CODED_LISTS]
    spaces.append([found for name in ("units", "groups", "positions") for found in _codes(programme, (name,))])
    owed = _codes(programme, ("commitments",))
    for n, phase in enumerate(programme.phases):
        owed += _codes(phase, ("phases", n, "products")) + _codes(phase, ("phases", n, "milestones"))
    spaces.append(owed)
    for space in spaces:
        first: dict[str, Path] = {}
        for path, code in space:
            if code in first:
                message = f"code '{code}' is taken since line {source.line(first[code])}"
                yield source.problem(path, message, "give each entry its own code")
            first.setdefault(code, path)


def _codes(holder: ProgrammeFile | PhaseEntry, path: Path) -> list[tuple[Path, str]]:
    """The codes of the list at the path, the last step of which is a field of the holder."""
    return [((*path, n, "code"), entry.code) for n, entry in enumerate(getattr(holder, str(path[-1])))]


def _unit_references(programme: ProgrammeFile) -> Iterator[tuple[Path, str]]:
    """Every place where the file names a unit, a group or a position."""
    for role, codes in programme.roles:
        yield from _each(("roles", role), codes)
    yield from _each(("document", "signed_by"), programme.document.signed_by)
    for n, position in enumerate(programme.positions):
        yield from _each(("positions", n, "post_in"), position.post_in)
        yield from _each(("positions", n, "heads_of"), position.heads_of)
    for n, phase in enumerate(programme.phases):
        for k, duty in enumerate(phase.duties):
            yield ("phases", n, "duties", k, "unit"), duty.unit
        for name in ("products", "milestones"):
            for k, entry in enumerate(getattr(phase, name)):
                yield from _each(("phases", n, name, k, "owner"), entry.owner)
    for list_name, fields in (
        ("solution_groups", ("lead", "coordinate")),
        ("regimes", ("submitters", "aggregator", "addressee")),
        ("commitments", ("owner",)),
        ("registers", ("owner", "decided_by")),
        ("standing_tasks", ("lead", "coordinate", "authority")),
    ):
        for n, entry in enumerate(getattr(programme, list_name)):
            for field in fields:
                yield from _each((list_name, n, field), getattr(entry, field))
    for n, level in enumerate(programme.escalation.levels):
        yield ("escalation", "levels", n, "role"), level.role


def _each(path: Path, codes: str | Sequence[str] | None) -> Iterator[tuple[Path, str]]:
    if isinstance(codes, str):
        yield path, codes
    else:
        yield from (((*path, n), code) for n, code in enumerate(codes or ()))


def _unknown_units(programme: ProgrammeFile, known: Directory, source: Source) -> Iterator[Problem]:
    for path, code in _unit_references(programme):
        if not known.knows(code):
            message = f"'{code}' is no unit, group or position"
            yield source.problem(path, message, "correct the code, or add it under 'units', 'groups' or 'positions'")
    for n, position in enumerate(programme.positions):
        if (position.post_in is None) == (not position.heads_of):
            message = f"position '{position.code}' needs a unit"
            yield source.problem(("positions", n), message, "give either 'post_in' or 'heads_of'")
        for field in ("post_in", "heads_of"):
            for path, code in _each(("positions", n, field), getattr(position, field)):
                if code in known.positions or (field == "post_in" and code in known.groups):
                    message = f"'{code}' holds no post of its own"
                    yield source.problem(path, message, "name a unit, or under 'heads_of' a group")


def _unknown_others(programme: ProgrammeFile, source: Source) -> Iterator[Problem]:
    phases = {phase.code for phase in programme.phases}
    areas = {area.code for area in programme.content_areas}
    commitments = {entry.code for entry in programme.commitments}
    checks: list[tuple[str, set[str], Path, str | None]] = []
    for n, phase in enumerate(programme.phases):
        checks.append(("phase", phases, ("phases", n, "needs_review_of"), phase.needs_review_of))
        for k, product in enumerate(phase.products):
            checks.append(("commitment", commitments, ("phases", n, "products", k, "settled_by"), product.settled_by))
    for n, regime in enumerate(programme.regimes):
        checks += [("phase", phases, ("regimes", n, "phases", k), code) for k, code in enumerate(regime.phases)]
    for n, entry in enumerate(programme.commitments):
        checks.append(("phase", phases, ("commitments", n, "phase"), entry.phase))
    for n, indicator in enumerate(programme.indicators):
        checks.append(("content area", areas, ("indicators", n, "area"), indicator.area))
    for n, task in enumerate(programme.standing_tasks):
        at: Path = ("standing_tasks", n)
        checks.append(("phase", phases, (*at, "phase"), task.phase))
        checks.append(("content area", areas, (*at, "area"), task.area))
        checks.append(("category", set(programme.settings.categories), (*at, "category"), task.category))
    for what, known, path, code in checks:
        if code is not None and code not in known:
            yield source.problem(
                path, f"{what} '{code}' is unknown", f"use one of: {', '.join(sorted(known)) or 'none'}"
            )


def _empty_groups(programme: ProgrammeFile, known: Directory, source: Source) -> Iterator[Problem]:
    for n, group in enumerate(programme.groups):
        if not known.groups[group.code]:
            message = f"group '{group.code}' has no members in the roster"
            yield source.problem(
                ("groups", n), message, f"list them under '{programme.organisation.code}' in the roster"
            )


def _phase_order(programme: ProgrammeFile, source: Source) -> Iterator[Problem]:
    """Phases follow each other; one may begin on the last day of the one before (R-035)."""
    before = None
    for n, phase in enumerate(programme.phases):
        at: Path = ("phases", n)
        if phase.start is None and n > 0:
            yield source.problem((*at, "start"), "only the first phase starts with the issue (R-033)", "name the day")
        if phase.start and phase.end and phase.end < phase.start:
            yield source.problem((*at, "end"), f"phase {phase.code} ends before it starts", "correct one of the days")
        if phase.end is None and phase.end_year is None:
            yield source.problem((*at, "end"), f"phase {phase.code} has no end", "name the day or 'end_year'")
        if before and phase.start and phase.start < before:
            message = f"phase {phase.code} starts before the phase before it ends ({before})"
            yield source.problem((*at, "start"), message, "put the phases in order")
        before = phase.end or before


def _dues(programme: ProgrammeFile) -> Iterator[tuple[Path, Due | None]]:
    for n, phase in enumerate(programme.phases):
        yield ("phases", n, "products_due"), phase.products_due
        for k, milestone in enumerate(phase.milestones):
            yield ("phases", n, "milestones", k, "due"), milestone.due
    for name in ("commitments", "standing_tasks", "indicators"):
        yield from (((name, n, "due"), entry.due) for n, entry in enumerate(getattr(programme, name)))


def _limits(programme: ProgrammeFile, source: Source) -> Iterator[Problem]:
    last_year = programme.period.end_year or (programme.period.end.year if programme.period.end else None)
    for path, due in _dues(programme):
        if due is None:
            continue
        try:
            last = last_on_time_day(limit_of(due.day, due.boundary, due.hour))
        except ValueError as error:
            yield source.problem(path, str(error), "leave the hour out or use 'before'")
            continue
        if last_year and last.year > last_year:
            yield source.problem(path, f"{due.day} lies after the programme's last year {last_year}", "correct the day")
    for n, regime in enumerate(programme.regimes):
        at: Path = ("regimes", n)
        if regime.due and regime.due.frequency != regime.frequency:
            message = f"rule is {regime.due.frequency}, regime {regime.code} is {regime.frequency}"
            yield source.problem((*at, "due"), message, "give both the same frequency")
        if regime.start and regime.end and regime.end < regime.start:
            yield source.problem((*at, "end"), f"regime {regime.code} ends before it starts", "correct one of the days")


def _roles(programme: ProgrammeFile, policy: EscalationPolicy, source: Source) -> Iterator[Problem]:
    held = {role for role, codes in programme.roles if codes} | {"accountable", "unit_head"}
    wanted = {role for ladder in policy.ladders for rung in ladder.rungs for role in rung.recipients}
    for role in sorted(wanted - held):
        yield source.problem(
            ("roles",), f"the escalation policy warns '{role}', whom nobody plays", "name a unit for it"
        )
    for role in (
        "coordinating_office",
        "director",
        "assigner",
        "extension_approver",
        "level_above",
        "reviewer",
        "superior",
    ):
        if role not in held and role not in wanted:
            yield source.problem(("roles", role), f"role '{role}' is empty", "name a unit or position")


def long_codes(programme: ProgrammeFile, roster: Roster, known: Directory, source: Source) -> Iterator[Problem]:
    """Codes of planned tasks and obligations that no stream id takes; for files without other problems."""
    codes = [task.code for task in planned_tasks(programme, roster, known)]
    codes += [obligation.code for obligation in planned_obligations(programme, known)]
    for code in codes:
        if len(code) > _CODE_LENGTH:
            yield source.problem(
                (), f"code '{code}' grows longer than {_CODE_LENGTH}", "shorten the codes it is made of"
            )


def _ambiguous(programme: ProgrammeFile) -> Iterator[tuple[Path, str]]:
    for n, phase in enumerate(programme.phases):
        if phase.products_due and phase.products_due.ambiguous:
            yield ("phases", n, "products_due"), phase.products_due.ambiguous
        for k, milestone in enumerate(phase.milestones):
            if milestone.ambiguous:
                yield ("phases", n, "milestones", k), milestone.ambiguous
    for n, entry in enumerate(programme.commitments):
        if entry.ambiguous:
            yield ("commitments", n), entry.ambiguous
