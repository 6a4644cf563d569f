"""Organisation: units, posts, pseudonymous holders and grants of authority, each with its validity (R-089, R-288).

One stream an organisation; it spans programmes.
"""

from typing import Annotated, Literal

from pydantic import Field

from contracts.base import Command, Event
from contracts.limits import Day
from contracts.registry import AggregateContract
from contracts.types import Code, Line, PersonId

UnitKind = Literal[
    "department",
    "office",
    "division",
    "subordinate_unit",
    "external_unit",
    "superior_body",
    "steering_body",
    "party_body",
    "authority",
    "mass_organisation",
    "supervisory_body",
]


class RegisterOrganisation(Command):
    """Open the organisation's stream.

    `administrators` are the posts that hold GRANT-AUTHORITY first and set the rest up, before they exist themselves; without
    any it is the post that registers (R-288).
    """

    name_vi: Line
    name_en: Line | None = None
    kind: UnitKind
    administrators: Annotated[tuple[Code, ...], Field(max_length=20)] = ()


class EstablishUnit(Command):
    """Add a unit from a day on; `parent` is the unit above it."""

    unit: Code
    name_vi: Line
    name_en: Line | None = None
    kind: UnitKind
    parent: Code | None = None
    valid_from: Day
    sample: bool = False


class DissolveUnit(Command):
    """End a unit and name who carries its work on (R-089). The day named is the first day without the unit."""

    unit: Code
    valid_to: Day
    successors: tuple[Code, ...] = ()
    reason: Line


class EstablishPost(Command):
    """Add a post in a unit. `head` marks the head of the unit, who answers for it (R-090)."""

    post: Code
    unit: Code
    title_vi: Line
    head: bool = False
    sample: bool = False


class AbolishPost(Command):
    """End a post; its holder and its grants end with it."""

    post: Code
    reason: Line


class AppointHolder(Command):
    """Put a person, known by pseudonym, in a post from a day on."""

    post: Code
    person: PersonId
    valid_from: Day


class ReleaseHolder(Command):
    """The holder leaves the post; the day named is the first without the holder (R-262: past acts stay)."""

    post: Code
    valid_to: Day


class GrantAuthority(Command):
    """Give a post an authority, for all programmes or one, from a day on (R-024, R-288)."""

    grant: Code
    post: Code
    authority: Code
    within_programme: Code | None = None
    valid_from: Day
    valid_to: Day | None = None


class RevokeAuthority(Command):
    """Take a grant back at once."""

    grant: Code
    reason: Line


class OrganisationRegistered(Event):
    """The organisation's stream was opened; `administrators` hold GRANT-AUTHORITY from the local day on (R-288)."""

    name_vi: Line
    name_en: Line | None = None
    kind: UnitKind
    administrators: tuple[Code, ...]


class UnitEstablished(Event):
    """A unit exists from the named local day on (R-089)."""

    unit: Code
    name_vi: Line
    name_en: Line | None = None
    kind: UnitKind
    parent: Code | None = None
    valid_from: Day
    sample: bool = False


class UnitDissolved(Event):
    """The unit ended; the day named is the first without it, successors carry on its work (R-089)."""

    unit: Code
    valid_to: Day
    successors: tuple[Code, ...] = ()
    reason: Line


class PostEstablished(Event):
    """A post exists in a unit; `head` marks the one who answers for it (R-090)."""

    post: Code
    unit: Code
    title_vi: Line
    head: bool = False
    sample: bool = False


class PostAbolished(Event):
    """The post ended, its holder and grants with it."""

    post: Code
    reason: Line


class HolderAppointed(Event):
    """A person, known by pseudonym, holds the post from a day on (R-359)."""

    post: Code
    person: PersonId
    valid_from: Day


class HolderReleased(Event):
    """The holder left; the day named is the first without the holder (R-262)."""

    post: Code
    person: PersonId
    valid_to: Day


class AuthorityGranted(Event):
    """The post has the authority, for all programmes or one, while the grant is valid (R-024, R-288)."""

    grant: Code
    post: Code
    authority: Code
    within_programme: Code | None = None
    valid_from: Day
    valid_to: Day | None = None


class AuthorityRevoked(Event):
    """The grant ended at once."""

    grant: Code
    post: Code
    authority: Code
    reason: Line


CONTRACT = AggregateContract(
    name="organisation",
    commands=(
        RegisterOrganisation,
        EstablishUnit,
        DissolveUnit,
        EstablishPost,
        AbolishPost,
        AppointHolder,
        ReleaseHolder,
        GrantAuthority,
        RevokeAuthority,
    ),
    events=(
        OrganisationRegistered,
        UnitEstablished,
        UnitDissolved,
        PostEstablished,
        PostAbolished,
        HolderAppointed,
        HolderReleased,
        AuthorityGranted,
        AuthorityRevoked,
    ),
)
