"""Who is who in one programme: units, posts and groups, from the programme's file and the roster's samples."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from contracts.organisation import UnitKind
from services.programmes.model import GroupEntry, PositionEntry, ProgrammeFile, UnitEntry
from services.programmes.roster import Roster, RosterOrganisation, RosterPost, RosterUnit, Titles

_OUTSIDE: frozenset[UnitKind] = frozenset({"superior_body", "external_unit"})


@dataclass(frozen=True)
class Unit:
    """A unit of the organisation; `sample` if no source names it."""

    code: str
    name_vi: str
    name_en: str | None
    kind: UnitKind
    parent: str | None
    sample: bool


@dataclass(frozen=True)
class Post:
    """A post of a unit; `head` answers for the unit (R-090)."""

    code: str
    unit: str
    title_vi: str
    head: bool
    sample: bool


@dataclass(frozen=True)
class Directory:
    """Resolves the codes a programme names. Unknown codes resolve to nothing; `knows` tells them."""

    units: Mapping[str, Unit]
    posts: tuple[Post, ...]
    groups: Mapping[str, tuple[str, ...]]
    positions: Mapping[str, PositionEntry]

    def knows(self, code: str) -> bool:
        """Whether the code is a unit, a group or a position."""
        return code in self.units or code in self.groups or code in self.positions

    def is_unit(self, code: str) -> bool:
        """Whether the code is one unit, not a group."""
        return code in self.units and code not in self.groups

    def units_of(self, *codes: str) -> tuple[str, ...]:
        """The units behind the codes, each once, in order."""
        return tuple(dict.fromkeys(unit for code in codes for unit in self._units_of(code)))

    def _units_of(self, code: str) -> tuple[str, ...]:
        if code in self.groups:
            return self.groups[code]
        if position := self.positions.get(code):
            heads = (code for code in position.heads_of if code not in self.positions)
            return (position.post_in,) if position.post_in else self.units_of(*heads)
        return (code,) if code in self.units else ()

    def head(self, unit: str) -> str:
        """The post that heads the unit. StopIteration if the unit is unknown."""
        return next(post.code for post in self.posts if post.unit == unit and post.head)

    def heads_of(self, *codes: str) -> tuple[str, ...]:
        """The head posts behind the codes, each once, in order."""
        return tuple(self.head(unit) for unit in self.units_of(*codes))

    def posts_in(self, unit: str) -> tuple[Post, ...]:
        """All posts of the unit, the head first."""
        return tuple(post for post in self.posts if post.unit == unit)


def directory(programme: ProgrammeFile, roster: Roster) -> Directory:
    """The directory of the programme. An organisation the roster does not know has the units of the file only."""
    extra = roster.organisation(programme.organisation.code)
    members = dict(extra.groups) if extra else {}
    groups = {group.code: _expand(group.code, members) for group in programme.groups}
    named = {unit.code: unit for unit in programme.units if unit.code not in groups}
    units = {unit.code: unit for unit in sorted(_units(named, groups, extra), key=lambda unit: unit.parent is not None)}
    return Directory(
        units=units,
        posts=tuple(post for unit in units.values() for post in _posts(unit, roster, extra)),
        groups=groups,
        positions={position.code: position for position in programme.positions},
    )


def participants(programme: ProgrammeFile, known: Directory) -> Iterator[tuple[str, UnitEntry | GroupEntry]]:
    """Each unit with a part in the programme, with the entry that states the part: its own or its first group's."""
    entries: list[UnitEntry | GroupEntry] = [*programme.units, *programme.groups]
    parts: dict[str, UnitEntry | GroupEntry] = {}
    for entry in entries:
        for unit in known.units_of(entry.code):
            parts.setdefault(unit, entry)
    yield from parts.items()


def _expand(code: str, members: Mapping[str, tuple[str, ...]], inside: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The members of a group, groups within it opened."""
    return tuple(
        dict.fromkeys(
            unit
            for member in members.get(code, ())
            if member not in inside
            for unit in (_expand(member, members, inside | {code}) if member in members else (member,))
        )
    )


def _units(
    named: Mapping[str, UnitEntry], groups: Mapping[str, tuple[str, ...]], extra: RosterOrganisation | None
) -> Iterator[Unit]:
    """Units of the file, then those of the roster that a group of this programme or no group at all holds."""
    top = extra.top if extra else None
    for entry in named.values():
        yield _unit(entry, top, sample=False)
    if extra is None:
        return
    wanted = {unit for members in groups.values() for unit in members}
    grouped = {unit for members in extra.groups.values() for unit in members}
    for unit in extra.units:
        if unit.code not in named and (unit.code in wanted or unit.code not in grouped):
            yield _unit(unit, top, sample=unit.source is None)


def _unit(entry: UnitEntry | RosterUnit, top: str | None, *, sample: bool) -> Unit:
    parent = None if entry.code == top or entry.kind in _OUTSIDE else top
    return Unit(entry.code, entry.name_vi, entry.name_en, entry.kind, parent, sample)


def _posts(unit: Unit, roster: Roster, extra: RosterOrganisation | None) -> Iterator[Post]:
    """Head first. A unit without posts in the roster gets a head and, where its kind has one, a deputy."""
    own: tuple[RosterPost, ...] = tuple(post for post in extra.posts if post.unit == unit.code) if extra else ()
    if own:
        for post in sorted(own, key=lambda post: not post.head):
            yield Post(post.code, unit.code, post.title_vi, post.head, sample=post.source is None)
        return
    titles = roster.titles.get(unit.kind, Titles(head="{name}"))
    names = {"name": unit.name_vi, "lower": unit.name_vi[:1].lower() + unit.name_vi[1:]}
    yield Post(f"TP-{unit.code}", unit.code, titles.head.format(**names), head=True, sample=True)
    if titles.deputy:
        yield Post(f"PP-{unit.code}", unit.code, titles.deputy.format(**names), head=False, sample=True)
