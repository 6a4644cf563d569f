"""The organisation as commands: units, posts, pseudonymous holders and authorities (R-024, R-089, R-288).

Every command depends on the organisation alone, not on the programme that names it, so that two programmes of one
organisation send the same commands.
"""

import base64
import hashlib
from collections.abc import Iterator

from contracts.base import Command
from contracts.organisation import (
    AppointHolder,
    EstablishPost,
    EstablishUnit,
    GrantAuthority,
    RegisterOrganisation,
)
from services.programmes.directory import Directory, Post, Unit
from services.programmes.model import ProgrammeFile
from services.programmes.roster import Roster, RosterOrganisation
from services.programmes.tasks import deciding_authority

EACH = "EACH"
"""In the roster: every unit of the organisation, superiors apart."""


def staffing(programme: ProgrammeFile, roster: Roster, known: Directory) -> Iterator[tuple[str, Command]]:
    """Commands that set up the organisation, each with a key of its own. ValueError if the roster does not know it."""
    code = programme.organisation.code
    own = roster.organisation(code)
    if own is None:
        raise ValueError(f"organisation {code}: the roster does not know it; add it under 'organisations'")
    entry = programme.organisation
    first = known.head(own.top)
    yield (
        code,
        RegisterOrganisation(name_vi=entry.name_vi, name_en=entry.name_en, kind=entry.kind, administrators=(first,)),
    )
    for unit in known.units.values():
        yield unit.code, _established(unit, own)
    for post in known.posts:
        title = post.title_vi
        yield (
            post.code,
            EstablishPost(post=post.code, unit=post.unit, title_vi=title, head=post.head, sample=post.sample),
        )
    for post in known.posts:
        person = pseudonym(code, post.code)
        yield post.code, AppointHolder(post=post.code, person=person, valid_from=own.valid_from)
    for post, authority in _authorities(programme, own, known):
        grant = f"G-{post.code}-{authority}"
        yield grant, GrantAuthority(grant=grant, post=post.code, authority=authority, valid_from=own.valid_from)


def pseudonym(organisation: str, post: str) -> str:
    """The sample holder of a post: the same at every import, and nobody's name (R-359)."""
    digest = hashlib.sha256(f"{organisation}/{post}".encode()).digest()
    return f"P-{base64.b32encode(digest).decode()[:8]}"


def _established(unit: Unit, own: RosterOrganisation) -> EstablishUnit:
    return EstablishUnit(
        unit=unit.code,
        name_vi=unit.name_vi,
        name_en=unit.name_en,
        kind=unit.kind,
        parent=unit.parent,
        valid_from=own.valid_from,
        sample=unit.sample,
    )


def _authorities(programme: ProgrammeFile, own: RosterOrganisation, known: Directory) -> Iterator[tuple[Post, str]]:
    """Those of the roster, then one for each unit or position a task names as the one that decides."""
    for authority in own.authorities:
        inside = tuple(unit.code for unit in known.units.values() if unit.kind != "superior_body")
        units = inside if EACH in authority.units else known.units_of(*authority.units)
        for unit in units:
            for post in known.posts_in(unit):
                if post.head or not authority.heads_only:
                    yield post, authority.code
    for holder in sorted({task.authority for task in programme.standing_tasks if task.authority}):
        for unit in known.units_of(holder):
            for post in known.posts_in(unit):
                yield post, deciding_authority(holder)
