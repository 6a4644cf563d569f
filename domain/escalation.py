"""The escalation ladder: which rung, when, to whom (R-131 to R-136, R-146, R-153).

A rung before the limit is a lead of the deadline; a rung at the limit fires with `DeadlinePassed`; a rung after it is the
response limit of the warning that stands. All of it is programme data with a version.
"""

from datetime import datetime
from typing import Protocol

from contracts.deadlines import DeadlineKind, Lead
from contracts.limits import Limit, Offset
from contracts.programme import EscalationPolicy, Ladder, Rung
from domain.deadlines import Deadline, Deadlines
from domain.limits import shift
from domain.organisation import Organisation
from domain.programme_state import Programme


class Subject(Protocol):
    """What a warning needs to know of the stream it stands on."""

    @property
    def deadlines(self) -> Deadlines:
        """Its limits."""
        ...

    @property
    def unit(self) -> str | None:
        """Whose it is."""
        ...

    @property
    def accountable(self) -> str | None:
        """The post that answers for it."""
        ...

    @property
    def category(self) -> str | None:
        """Its field, where the programme watches some more closely (R-136)."""
        ...

    @property
    def phase(self) -> str | None:
        """The phase it belongs to."""
        ...


def ladder_for(policy: EscalationPolicy, kind: DeadlineKind, category: str | None) -> Ladder | None:
    """The ladder for a kind of deadline; one narrowed to the category goes first (R-136)."""
    fitting = [ladder for ladder in policy.ladders if kind in ladder.kinds]
    narrowed = [ladder for ladder in fitting if category is not None and category in ladder.categories]
    return next(iter(narrowed or [ladder for ladder in fitting if not ladder.categories]), None)


def sign(offset: Offset) -> int:
    """-1 for a rung before the limit, 0 at it, 1 after it."""
    amount = offset.days * 24 + offset.hours + offset.working_days * 24
    return (amount > 0) - (amount < 0)


def leads(
    programme: Programme, kind: DeadlineKind, limit: Limit, category: str | None, now: datetime
) -> tuple[Lead, ...]:
    """The rungs before a limit with their instants, soonest first; those already behind `now` are left out."""
    ladder = ladder_for(programme.policy, kind, category)
    if ladder is None:
        return ()
    found = (
        Lead(rung=number, at=shift(limit.at, rung.offset, programme.calendar))
        for number, rung in enumerate(ladder.rungs)
        if sign(rung.offset) < 0
    )
    return tuple(sorted((lead for lead in found if lead.at > now), key=lambda lead: (lead.at, lead.rung)))


def rung_at_limit(ladder: Ladder) -> tuple[int, Rung] | None:
    """The rung that warns when the limit passes, with its number."""
    at_limit = ((number, rung) for number, rung in enumerate(ladder.rungs) if sign(rung.offset) == 0)
    return next(((number, rung) for number, rung in at_limit if rung.act != "demand_explanation"), None)


def demands_explanation(ladder: Ladder) -> bool:
    """Whether the passing of the limit calls for an explanation (R-157)."""
    return any(rung.act == "demand_explanation" and sign(rung.offset) == 0 for rung in ladder.rungs)


def ladder_of(programme: Programme, deadline: Deadline, category: str | None) -> Ladder | None:
    """The ladder a deadline was scheduled under; None when its policy has none for it."""
    policy = programme.policies.get(deadline.policy_version or programme.policy_version)
    return ladder_for(policy, deadline.key.kind, category) if policy else None


def next_rung_after(ladder: Ladder, number: int) -> tuple[int, Rung] | None:
    """The next rung after the limit that comes after rung `number`, None at the top."""
    later = ((n, rung) for n, rung in enumerate(ladder.rungs) if n > number and sign(rung.offset) > 0)
    return next(later, None)


def recipients(rung: Rung, subject: Subject, programme: Programme, organisation: Organisation) -> tuple[str, ...]:
    """The posts a rung calls, each once, in the policy's order. A role nobody plays falls to the coordinating office."""
    posts: list[str] = []
    in_charge = programme.roles.get("coordinating_office") or programme.roles.get("director", ())
    for role in rung.recipients:
        found: tuple[str, ...]
        if role == "accountable":
            found = (subject.accountable,) if subject.accountable else ()
        elif role == "unit_head":
            head = organisation.head_of(subject.unit)
            found = (head,) if head else ()
        else:
            found = programme.roles.get(role, ())
        posts.extend(found or in_charge)
    return tuple(dict.fromkeys(posts))
