"""Organisation: who exists, who sits where, who may decide what, and when (R-089, R-090, R-262, R-288)."""

from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from contracts.organisation import (
    CONTRACT,
    AbolishPost,
    AppointHolder,
    AuthorityGranted,
    AuthorityRevoked,
    DissolveUnit,
    EstablishPost,
    EstablishUnit,
    GrantAuthority,
    HolderAppointed,
    HolderReleased,
    OrganisationRegistered,
    PostAbolished,
    PostEstablished,
    RegisterOrganisation,
    ReleaseHolder,
    RevokeAuthority,
    UnitDissolved,
    UnitEstablished,
)
from domain.calendar import local_date
from domain.kernel import (
    AlreadyExists,
    Changes,
    Context,
    Decider,
    Recorded,
    Refused,
    Request,
    changes,
    dispatch,
    folding,
)


class UnknownUnit(Refused):
    """The organisation has no such unit at that moment."""


class UnknownPost(Refused):
    """The organisation has no such post at that moment."""


class UnknownGrant(Refused):
    """No such grant of authority is in force."""


class PostOccupied(Refused):
    """The post has a holder; release the holder first."""


class PostVacant(Refused):
    """The post has no holder."""


class UnitHasHead(Refused):
    """A unit has one head post."""


class PeriodInverted(Refused):
    """The end of a period lies before its start."""


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


def _register(request: Request[RegisterOrganisation], state: Organisation | None, context: Context) -> Changes:
    if state is not None:
        raise AlreadyExists(f"{request.subject} is registered already")
    data = request.data
    return changes(OrganisationRegistered(name_vi=data.name_vi, name_en=data.name_en, kind=data.kind))


def _establish_unit(request: Request[EstablishUnit], state: Organisation, context: Context) -> Changes:
    data = request.data
    if data.unit in state.units:
        raise AlreadyExists(f"unit '{data.unit}' exists already", field="data.unit")
    if data.parent is not None and data.parent not in state.units:
        raise UnknownUnit(f"parent unit '{data.parent}' is not known", field="data.parent")
    return changes(UnitEstablished(**data.model_dump()))


def _dissolve_unit(request: Request[DissolveUnit], state: Organisation, context: Context) -> Changes:
    data = request.data
    unit = state.units.get(data.unit)
    if unit is None or unit.valid_to is not None:
        raise UnknownUnit(f"unit '{data.unit}' does not exist or is dissolved already", field="data.unit")
    if data.valid_to < unit.valid_from:
        raise PeriodInverted(f"unit '{data.unit}' began on {unit.valid_from}", field="data.valid_to")
    for successor in data.successors:
        if successor not in state.units or successor == data.unit:
            raise UnknownUnit(f"successor unit '{successor}' is not known", field="data.successors")
    return changes(UnitDissolved(**data.model_dump()))


def _establish_post(request: Request[EstablishPost], state: Organisation, context: Context) -> Changes:
    data = request.data
    if data.post in state.posts:
        raise AlreadyExists(f"post '{data.post}' exists already", field="data.post")
    require_unit(state, data.unit, request.occurred_at, "data.unit")
    if data.head and (head := state.head_of(data.unit)):
        raise UnitHasHead(f"unit '{data.unit}' has the head post '{head}'; abolish it first", field="data.head")
    return changes(PostEstablished(**data.model_dump()))


def _abolish_post(request: Request[AbolishPost], state: Organisation, context: Context) -> Changes:
    require_post(state, request.data.post, "data.post")
    return changes(PostAbolished(post=request.data.post, reason=request.data.reason))


def _appoint(request: Request[AppointHolder], state: Organisation, context: Context) -> Changes:
    data = request.data
    post = require_post(state, data.post, "data.post")
    if post.holder is not None:
        raise PostOccupied(f"post '{data.post}' is held by {post.holder}; release the holder first", field="data.post")
    if post.holdings and post.holdings[-1].valid_to and data.valid_from < post.holdings[-1].valid_to:
        raise PeriodInverted(f"the holder before left on {post.holdings[-1].valid_to}", field="data.valid_from")
    return changes(HolderAppointed(post=data.post, person=data.person, valid_from=data.valid_from))


def _release(request: Request[ReleaseHolder], state: Organisation, context: Context) -> Changes:
    data = request.data
    post = require_post(state, data.post, "data.post")
    if post.holder is None:
        raise PostVacant(f"post '{data.post}' has no holder", field="data.post")
    if data.valid_to < post.holdings[-1].valid_from:
        raise PeriodInverted(f"the holder began on {post.holdings[-1].valid_from}", field="data.valid_to")
    return changes(HolderReleased(post=data.post, person=post.holder, valid_to=data.valid_to))


def _grant(request: Request[GrantAuthority], state: Organisation, context: Context) -> Changes:
    data = request.data
    if data.grant in state.grants:
        raise AlreadyExists(f"grant '{data.grant}' exists already", field="data.grant")
    require_post(state, data.post, "data.post")
    if data.valid_to is not None and data.valid_to < data.valid_from:
        raise PeriodInverted("the grant ends before it begins", field="data.valid_to")
    return changes(AuthorityGranted(**data.model_dump()))


def _revoke(request: Request[RevokeAuthority], state: Organisation, context: Context) -> Changes:
    grant = state.grants.get(request.data.grant)
    if grant is None or grant.revoked_at is not None:
        raise UnknownGrant(f"grant '{request.data.grant}' is not in force", field="data.grant")
    return changes(
        AuthorityRevoked(grant=grant.code, post=grant.post, authority=grant.authority, reason=request.data.reason)
    )


def _on_registered(state: Organisation | None, recorded: Recorded[OrganisationRegistered]) -> Organisation:
    return Organisation(code=recorded.code, kind=recorded.data.kind)


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


_OPENING: dict[Any, Any] = {RegisterOrganisation: _register}
_LATER: dict[Any, Any] = {
    EstablishUnit: _establish_unit,
    DissolveUnit: _dissolve_unit,
    EstablishPost: _establish_post,
    AbolishPost: _abolish_post,
    AppointHolder: _appoint,
    ReleaseHolder: _release,
    GrantAuthority: _grant,
    RevokeAuthority: _revoke,
}
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

DECIDER = Decider(CONTRACT, Organisation, dispatch(CONTRACT.name, _OPENING, _LATER), folding(_FOLD))
