"""The state of an organisation: what folds of its events know, and who is who at an instant (R-089, R-090, R-262, R-288)."""

from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from contracts.organisation import (
    AuthorityGranted,
    AuthorityRevoked,
    HolderAppointed,
    HolderReleased,
    OrganisationRegistered,
    PostAbolished,
    PostEstablished,
    UnitDissolved,
    UnitEstablished,
)
from domain.calendar import local_date
from domain.kernel import Recorded, Refused, folding

GRANT_AUTHORITY = "GRANT-AUTHORITY"
"""The authority to say who exists, who sits where and who may decide what: units, posts, holders, grants, programmes.

The posts named at registration hold it first, by grants `REGISTRATION-1`, `-2` …; it is granted and revoked like any other.
"""


class UnknownUnit(Refused):
    """The organisation has no such unit at that moment."""


class UnknownPost(Refused):
    """The organisation has no such post at that moment."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit with its validity; `valid_to` is the first day without it."""

    code: str
    name_vi: str
    kind: str
    parent: str | None
    valid_from: date
    valid_to: date | None = None
    successors: tuple[str, ...] = ()

    def valid_on(self, day: date) -> bool:
        """Whether the unit exists on a local day; `valid_to` is the first day without it."""
        return self.valid_from <= day and (self.valid_to is None or day < self.valid_to)


@dataclass(frozen=True, slots=True)
class Holding:
    """Who held a post, by pseudonym, and when."""

    person: str
    valid_from: date
    valid_to: date | None = None

    def valid_on(self, day: date) -> bool:
        """Whether the person held the post on a local day; `valid_to` is the first day without them."""
        return self.valid_from <= day and (self.valid_to is None or day < self.valid_to)


@dataclass(frozen=True, slots=True)
class Post:
    """A post of a unit with all who held it."""

    code: str
    unit: str
    head: bool
    established_at: datetime
    abolished_at: datetime | None = None
    holdings: tuple[Holding, ...] = ()

    @property
    def holder(self) -> str | None:
        """The present holder's pseudonym."""
        return self.holdings[-1].person if self.holdings and self.holdings[-1].valid_to is None else None


@dataclass(frozen=True, slots=True)
class Grant:
    """An authority given to a post."""

    code: str
    post: str
    authority: str
    programme: str | None
    valid_from: date
    valid_to: date | None
    revoked_at: datetime | None = None

    def in_force(self, at: datetime) -> bool:
        """Whether the grant covers an instant; the day `valid_to` still counts."""
        if self.revoked_at is not None and at >= self.revoked_at:
            return False
        day = local_date(at)
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)


@dataclass(frozen=True, slots=True)
class Organisation:
    """The state of one organisation stream."""

    code: str
    kind: str
    units: dict[str, Unit] = field(default_factory=dict)
    posts: dict[str, Post] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)

    def holds(self, post: str, authority: str, programme: str | None, at: datetime) -> bool:
        """Whether a post holds an authority at an instant, for a programme or, with None, for all of them."""
        return any(
            grant.post == post
            and grant.authority == authority
            and grant.programme in (None, programme)
            and grant.in_force(at)
            for grant in self.grants.values()
        )

    def persons(self, post: str, *at: datetime) -> frozenset[str]:
        """The pseudonyms of who held a post at any of the instants; none when nobody did or the post is unknown."""
        days, known = {local_date(instant) for instant in at}, self.posts.get(post)
        holdings = known.holdings if known is not None else ()
        return frozenset(holding.person for holding in holdings for day in days if holding.valid_on(day))

    def head_of(self, unit: str | None) -> str | None:
        """The head post of a unit, None when it has none."""
        return next((p.code for p in self.posts.values() if p.unit == unit and p.head and not p.abolished_at), None)


def require_unit(organisation: Organisation, unit: str, at: datetime, field_name: str) -> Unit:
    """The unit, refused when it does not exist on the local day of `at`."""
    known = organisation.units.get(unit)
    if known is None:
        raise UnknownUnit(f"unit '{unit}' is not known in organisation {organisation.code}", field=field_name)
    if not known.valid_on(local_date(at)):
        successors = f"; its work goes on in {', '.join(known.successors)}" if known.successors else ""
        raise UnknownUnit(f"unit '{unit}' does not exist on {local_date(at)}{successors}", field=field_name)
    return known


def require_post(organisation: Organisation, post: str, field_name: str) -> Post:
    """The post, refused when it does not exist or was abolished."""
    known = organisation.posts.get(post)
    if known is None or known.abolished_at is not None:
        raise UnknownPost(f"post '{post}' does not exist in organisation {organisation.code}", field=field_name)
    return known


def _on_registered(state: Organisation | None, recorded: Recorded[OrganisationRegistered]) -> Organisation:
    data, day = recorded.data, local_date(recorded.occurred_at)
    grants = {
        f"REGISTRATION-{number}": Grant(f"REGISTRATION-{number}", post, GRANT_AUTHORITY, None, day, None)
        for number, post in enumerate(data.administrators, start=1)
    }
    return Organisation(code=recorded.code, kind=data.kind, grants=grants)


def _on_unit(state: Organisation, recorded: Recorded[UnitEstablished]) -> Organisation:
    data = recorded.data
    unit = Unit(data.unit, data.name_vi, data.kind, data.parent, data.valid_from)
    return replace(state, units={**state.units, data.unit: unit})


def _on_dissolved(state: Organisation, recorded: Recorded[UnitDissolved]) -> Organisation:
    data = recorded.data
    unit = replace(state.units[data.unit], valid_to=data.valid_to, successors=data.successors)
    return replace(state, units={**state.units, data.unit: unit})


def _on_post(state: Organisation, recorded: Recorded[PostEstablished]) -> Organisation:
    data = recorded.data
    post = Post(data.post, data.unit, data.head, recorded.occurred_at)
    return replace(state, posts={**state.posts, data.post: post})


def _on_abolished(state: Organisation, recorded: Recorded[PostAbolished]) -> Organisation:
    post = state.posts[recorded.data.post]
    day = local_date(recorded.occurred_at)
    holdings = tuple(h if h.valid_to else replace(h, valid_to=day) for h in post.holdings)
    gone = replace(post, abolished_at=recorded.occurred_at, holdings=holdings)
    return replace(state, posts={**state.posts, post.code: gone})


def _on_appointed(state: Organisation, recorded: Recorded[HolderAppointed]) -> Organisation:
    data = recorded.data
    post = state.posts[data.post]
    held = replace(post, holdings=(*post.holdings, Holding(data.person, data.valid_from)))
    return replace(state, posts={**state.posts, post.code: held})


def _on_released(state: Organisation, recorded: Recorded[HolderReleased]) -> Organisation:
    post = state.posts[recorded.data.post]
    last = replace(post.holdings[-1], valid_to=recorded.data.valid_to)
    return replace(state, posts={**state.posts, post.code: replace(post, holdings=(*post.holdings[:-1], last))})


def _on_granted(state: Organisation, recorded: Recorded[AuthorityGranted]) -> Organisation:
    data = recorded.data
    grant = Grant(data.grant, data.post, data.authority, data.within_programme, data.valid_from, data.valid_to)
    return replace(state, grants={**state.grants, data.grant: grant})


def _on_revoked(state: Organisation, recorded: Recorded[AuthorityRevoked]) -> Organisation:
    grant = replace(state.grants[recorded.data.grant], revoked_at=recorded.occurred_at)
    return replace(state, grants={**state.grants, grant.code: grant})


_FOLD: dict[Any, Any] = {
    OrganisationRegistered: _on_registered,
    UnitEstablished: _on_unit,
    UnitDissolved: _on_dissolved,
    PostEstablished: _on_post,
    PostAbolished: _on_abolished,
    HolderAppointed: _on_appointed,
    HolderReleased: _on_released,
    AuthorityGranted: _on_granted,
    AuthorityRevoked: _on_revoked,
}
evolve = folding(_FOLD)
