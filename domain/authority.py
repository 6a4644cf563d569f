"""Who may act: the actor's post, the authority it acts under, the roles of a programme (R-016, R-024, R-091, R-324)."""

from datetime import datetime
from typing import Any

from domain.kernel import SYSTEM_SOURCES, Context, Handler, Refused, Request, require_stream
from domain.organisation_state import GRANT_AUTHORITY, Organisation, UnknownPost, require_post
from domain.programme_state import Programme


class AuthorityNotHeld(Refused):
    """The post does not hold the authority at that moment."""


class RoleRequired(Refused):
    """The programme gives this act to another role."""


class WrongUnit(Refused):
    """The act belongs to another unit."""


def organisation_of(request: Request[Any], context: Context) -> Organisation:
    """The organisation the request names."""
    return require_stream(context, f"organisation/{request.organisation}", Organisation)


def programme_of(request: Request[Any], context: Context) -> Programme:
    """The programme the request names."""
    return require_stream(context, f"programme/{request.programme}", Programme)


def surroundings(request: Request[Any]) -> tuple[str, ...]:
    """The streams every request about a programme reads."""
    return (f"organisation/{request.organisation}", f"programme/{request.programme}")


def require_actor(request: Request[Any], context: Context) -> None:
    """Refuse an actor whose post does not exist, or sits in another unit than the command says."""
    if request.source in SYSTEM_SOURCES:
        return
    post = require_post(organisation_of(request, context), request.actor.post, "actorpost")
    if post.unit != request.actor.unit:
        raise UnknownPost(
            f"post '{post.code}' belongs to unit '{post.unit}', not '{request.actor.unit}'", field="actorunit"
        )


def by_known_actor(handler: Handler) -> Handler:
    """A handler that first checks the actor."""

    def checked(request: Request[Any], state: Any, context: Context) -> Any:
        require_actor(request, context)
        return handler(request, state, context)

    return checked


def require_administrator(request: Request[Any], context: Context) -> None:
    """Refuse unless the actor's post holds GRANT-AUTHORITY for the programme: who names roles gives power away (R-288)."""
    organisation = organisation_of(request, context)
    for moment in (request.occurred_at, context.now):
        if not organisation.holds(request.actor.post, GRANT_AUTHORITY, request.programme, moment):
            raise AuthorityNotHeld(
                f"{type(request.data).__name__} needs a post that holds {GRANT_AUTHORITY} for the programme; "
                f"post '{request.actor.post}' does not",
                field="actorpost",
            )


def require_authority(request: Request[Any], context: Context, authority: str) -> None:
    """Refuse unless the actor claims the authority and holds it, when it acted and still when it is recorded."""
    if request.actor.authority != authority:
        raise AuthorityNotHeld(
            f"this act needs authority '{authority}'; the command claims '{request.actor.authority}'",
            field="actorauthority",
        )
    organisation = organisation_of(request, context)
    post = require_post(organisation, request.actor.post, "actorpost")
    for moment in (request.occurred_at, context.now):
        if not organisation.holds(post.code, authority, request.programme, moment):
            raise AuthorityNotHeld(
                f"post '{post.code}' does not hold authority '{authority}' at {moment.isoformat()}; "
                "grant it first or let a post act that holds it",
                field="actorauthority",
            )


def require_role(request: Request[Any], context: Context, *roles: str) -> None:
    """Refuse unless the programme gives the actor's post one of the roles."""
    programme = programme_of(request, context)
    if any(request.actor.post in programme.roles.get(role, ()) for role in roles):
        return
    named = " or ".join(f"'{role}' ({', '.join(programme.roles.get(role, ())) or 'nobody'})" for role in roles)
    raise RoleRequired(
        f"{type(request.data).__name__} is given to {named}, not to post '{request.actor.post}'", field="actorpost"
    )


def same_person(
    organisation: Organisation, post: str, at: tuple[datetime, ...], other: str, other_at: tuple[datetime, ...]
) -> bool:
    """Whether two posts act for one person: they are one post, or one person held both, each at its own instants (R-091)."""
    return post == other or bool(organisation.persons(post, *at) & organisation.persons(other, *other_at))


def require_another(
    request: Request[Any], context: Context, post: str, at: tuple[datetime, ...], rule: type[Refused]
) -> None:
    """Refuse with `rule` an actor who is the person that acted as `post` at the instants `at` (UTC)."""
    now = (request.occurred_at, context.now)
    if not same_person(organisation_of(request, context), request.actor.post, now, post, at):
        return
    also = "" if post == request.actor.post else f" and is held by the same person as post '{request.actor.post}'"
    raise rule(f"post '{post}' acted before in this matter{also}; another person acts here", field="actorpost")


def is_head(request: Request[Any], context: Context, unit: str | None) -> bool:
    """Whether the actor's post is the head of a unit."""
    return unit is not None and organisation_of(request, context).head_of(unit) == request.actor.post


def require_member(request: Request[Any], unit: str | None, act: str) -> None:
    """Refuse actors of other units than the one whose act it is (R-020, R-072)."""
    if unit is not None and request.actor.unit != unit:
        raise WrongUnit(f"{act} belongs to unit '{unit}', not '{request.actor.unit}'", field="actorunit")
