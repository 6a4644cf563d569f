"""Guards and limits that the acts on an assignment share (groups B, G, V)."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Literal

from contracts.assignment import AssignmentMarkedAtRisk, AssignmentRiskCleared
from contracts.deadlines import DeadlineKey, DeadlineKind, DeadlineMet
from contracts.limits import Limit
from domain.assignment_state import OPEN, Assignment
from domain.authority import is_head, require_role
from domain.calendar import local_date
from domain.due import limit_from
from domain.escalation import leads
from domain.kernel import Change, Changes, Context, Refused, Request, require_status
from domain.limits import by_end_of
from domain.programme_state import Programme

_DAYS = {"weekly": 7, "monthly": 31, "quarterly": 92, "yearly": 366}


class ReferralOpen(Refused):
    """A matter was referred up; the level above decides first (R-024)."""


class NothingChanges(Refused):
    """The command changes nothing."""


def require_open(state: Assignment, request: Request[Any]) -> None:
    """Refuse an act on a task that is not at work: draft, suspended or ended."""
    require_status(state, request, *sorted(OPEN))


def require_assigner(request: Request[Any], context: Context, unit: str | None) -> None:
    """Refuse unless the actor heads the unit or the programme lets the post assign."""
    if not is_head(request, context, unit):
        require_role(request, context, "assigner", "coordinating_office", "director")


def scheduled(
    state: Assignment, kind: DeadlineKind, limit: Limit, programme: Programme, context: Context, occurrence: str = "1"
) -> Change:
    """The event that sets or moves a limit, with the rungs before it and the policy that named them."""
    warned = leads(programme, kind, limit, state.category, context.now)
    event = state.deadlines.schedule(kind, limit, warned, occurrence)
    return Change(event, policy_version=programme.policy_version)


def limit_moved(state: Assignment, limit: Limit, programme: Programme, context: Context) -> Changes:
    """The events that move the task's own limit; none when a result under review has met it.

    A result under review that came in before the new limit meets it.
    """
    due, handed_in = state.deadlines.get("assignment_due"), state.submission
    if handed_in is not None and due is None:
        return []
    moved = scheduled(state, "assignment_due", limit, programme, context)
    found = [moved]
    if handed_in is not None and handed_in.decides_at < limit.at:
        key: DeadlineKey = moved.event.key  # type: ignore[attr-defined]
        met = DeadlineMet(key=key, limit=limit, met_at=handed_in.decides_at)
        found.append(Change(met, policy_version=programme.policy_version))
    return found


def milestones(state: Assignment, programme: Programme, context: Context) -> Iterable[Change]:
    """The limits of the milestones the task names (R-126)."""
    for milestone in state.content.milestones:
        limit = limit_from(milestone.due)
        yield scheduled(state, "assignment_milestone", limit, programme, context, milestone.code)


def risk_over(state: Assignment, rule: str, reason: str, programme: Programme, besides: str = "") -> Changes:
    """What ends the state of risk that `rule` found, unless or until another rule still finds one (R-126, R-132).

    `besides` is the milestone that is reached just now.
    """
    if state.at_risk != rule:
        return []
    remains = _risk_left(state, besides, updated=rule == "no_update")
    if remains == rule:
        return []
    found = [Change(AssignmentRiskCleared(reason=reason))]
    if remains is not None:
        found.append(Change(AssignmentMarkedAtRisk(rule=remains), policy_version=programme.policy_version))
    return found


def _risk_left(state: Assignment, besides: str, *, updated: bool) -> Literal["missed_milestone", "no_update"] | None:
    passed = [deadline.key for deadline in state.deadlines.live.values() if deadline.passed]
    if any(key.kind == "assignment_milestone" and key.occurrence != besides for key in passed):
        return "missed_milestone"
    return "no_update" if not updated and any(key.kind == "progress_update_due" for key in passed) else None


def update_due(state: Assignment, at: datetime) -> Limit | None:
    """Until when the next progress report is owed, by the task's own cadence (R-140)."""
    every = state.content.update_every_days or _DAYS.get(state.content.cadence or "")
    return by_end_of(local_date(at) + timedelta(days=every)) if every else None


def tolerance(programme: Programme) -> timedelta:
    """How long after the fact an entry still counts at its own time (R-347)."""
    return timedelta(hours=programme.settings.late_entry_tolerance_hours)
