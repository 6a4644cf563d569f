"""What fell due before a command came is on record before the command is judged (R-131, R-353, R-354).

The timekeeper records rungs and limits as they fall due. A command that reaches a stream before it, or while it is away,
would end or move a limit that nobody saw pass. So the command brings the stream up to its own instant first: the same
events, each at its own instant, as a timekeeper in time would have recorded. The log does not depend on its speed.
"""

from collections.abc import Callable
from typing import Any

from domain.kernel import SYSTEM_SOURCES, Changes, Context, Recorded, Request, recorded

Decide = Callable[[Request[Any], Any, Context], Changes]
Evolve = Callable[[Any, Recorded[Any]], Any]


def punctual(decide: Decide, evolve: Evolve) -> Decide:
    """A `decide` for a state with `deadlines` that first records what is due up to `context.now`.

    Commands of Sauro's own services are judged as they come: the timekeeper's are the record itself, and a warning is no
    act upon its subject.
    """

    def decided(request: Request[Any], state: Any, context: Context) -> Changes:
        found: Changes = []
        if state is None or request.source in SYSTEM_SOURCES:
            return decide(request, state, context)
        while timer := state.deadlines.first_due(context.now):
            fired = decide(request._replace(data=timer, source="timekeeper"), state, context)
            if not fired:
                break
            state = folded(state, fired, request, context, evolve)
            found += fired
        return [*found, *decide(request, state, context)]

    return decided


def folded(state: Any, found: Changes, request: Request[Any], context: Context, evolve: Evolve) -> Any:
    """The subject's state after the changes that concern it."""
    for change in found:
        if change.stream in (None, request.subject):
            state = evolve(state, recorded(change, request, context.now))
    return state
