"""Organisation: who exists, who sits where, who may decide what, and when (R-089, R-090, R-262, R-288).

Every command but the first is given to the posts that hold GRANT-AUTHORITY: the registration names the first of them, they
grant it further like any other authority, and one is always left. Read with `organisation_state`.
"""

from dataclasses import replace
from datetime import datetime
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
from domain.calendar import local_date, local_midnight
from domain.kernel import AlreadyExists, Changes, Context, Decider, Handler, Refused, Request, changes, dispatch
from domain.organisation_state import (
    GRANT_AUTHORITY,
    Organisation,
    UnknownPost,
    UnknownUnit,
    evolve,
    require_post,
    require_unit,
)

__all__ = ["DECIDER", "GRANT_AUTHORITY", "Organisation", "UnknownPost", "UnknownUnit", "require_post", "require_unit"]


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


class NotAdministrator(Refused):
    """The organisation is changed by posts that hold GRANT-AUTHORITY (R-288)."""


class LastAdministrator(Refused):
    """Somebody always holds GRANT-AUTHORITY."""


def _register(request: Request[RegisterOrganisation], state: Organisation | None, context: Context) -> Changes:
    if state is not None:
        raise AlreadyExists(f"{request.subject} is registered already")
    data = request.data
    administrators = data.administrators or (request.actor.post,)
    return changes(
        OrganisationRegistered(
            name_vi=data.name_vi, name_en=data.name_en, kind=data.kind, administrators=administrators
        )
    )


def _by_administrator(handler: Handler) -> Handler:
    """A handler for posts that hold GRANT-AUTHORITY when they act and still when it is recorded.

    Until the first of them is established the organisation is being set up: the posts named at registration act for it
    though they do not exist yet.
    """

    def checked(request: Request[Any], state: Organisation, context: Context) -> Changes:
        actor = request.actor
        if actor.post in state.posts or _administrators(state, context.now):
            post = require_post(state, actor.post, "actorpost")
            if post.unit != actor.unit:
                raise UnknownPost(
                    f"post '{post.code}' belongs to unit '{post.unit}', not '{actor.unit}'", field="actorunit"
                )
            require_unit(state, post.unit, request.occurred_at, "actorunit")
        if not all(state.holds(actor.post, GRANT_AUTHORITY, None, at) for at in (request.occurred_at, context.now)):
            raise NotAdministrator(
                f"{type(request.data).__name__} needs a post that holds {GRANT_AUTHORITY} in organisation {state.code}; "
                f"post '{actor.post}' does not",
                field="actorpost",
            )
        return handler(request, state, context)

    return checked


def _administrators(state: Organisation, at: datetime, *, lasting: bool = False) -> frozenset[str]:
    """The posts that can administer the organisation at an instant, or from then on: they exist, and so does their unit."""
    known = (state.posts[post] for post in _entitled(state, at, lasting=lasting) if post in state.posts)
    return frozenset(
        post.code for post in known if post.abolished_at is None and state.units[post.unit].valid_on(local_date(at))
    )


def _entitled(state: Organisation, at: datetime, *, lasting: bool) -> set[str]:
    """The posts granted the authority for the whole organisation, whether they exist yet or not."""
    return {
        grant.post
        for grant in state.grants.values()
        if grant.authority == GRANT_AUTHORITY and grant.programme is None and grant.in_force(at)
        if grant.valid_to is None or not lasting
    }


def _require_one_left(before: Organisation, after: Organisation, at: datetime, field: str) -> None:
    """Refuse to take GRANT-AUTHORITY from its last lasting holder: nobody could give it to anyone again."""
    if _administrators(after, at, lasting=True):
        return
    if _administrators(before, at, lasting=True) or not _entitled(after, at, lasting=True):
        raise LastAdministrator(
            f"nobody would hold {GRANT_AUTHORITY} any more; grant it to another post first", field=field
        )


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
    gone = replace(state, units={**state.units, unit.code: replace(unit, valid_to=data.valid_to)})
    _require_one_left(state, gone, max(context.now, local_midnight(data.valid_to)), "data.unit")
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
    post = require_post(state, request.data.post, "data.post")
    gone = replace(state, posts={**state.posts, post.code: replace(post, abolished_at=request.occurred_at)})
    _require_one_left(state, gone, context.now, "data.post")
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
    without = {code: other for code, other in state.grants.items() if code != grant.code}
    _require_one_left(state, replace(state, grants=without), context.now, "data.grant")
    return changes(
        AuthorityRevoked(grant=grant.code, post=grant.post, authority=grant.authority, reason=request.data.reason)
    )


_OPENING: dict[Any, Any] = {RegisterOrganisation: _register}
_LATER: dict[Any, Any] = {
    EstablishUnit: _by_administrator(_establish_unit),
    DissolveUnit: _by_administrator(_dissolve_unit),
    EstablishPost: _by_administrator(_establish_post),
    AbolishPost: _by_administrator(_abolish_post),
    AppointHolder: _by_administrator(_appoint),
    ReleaseHolder: _by_administrator(_release),
    GrantAuthority: _by_administrator(_grant),
    RevokeAuthority: _by_administrator(_revoke),
}
DECIDER = Decider(CONTRACT, Organisation, dispatch(CONTRACT.name, _OPENING, _LATER), evolve)
