"""The health of an assignment: at risk by rule, overdue by its limit (appendix 3.1, R-131, R-132)."""

from typing import Any

from contracts.assignment import AssignmentMarkedAtRisk, AssignmentRiskCleared, ClearRisk, MarkAtRisk
from contracts.deadlines import RecordDeadlineApproached, RecordDeadlinePassed
from domain.assignment_handover import handed_over
from domain.assignment_rules import NothingChanges, require_open
from domain.assignment_state import Assignment
from domain.authority import programme_of, require_role
from domain.deadlines import record_approach, record_passing
from domain.kernel import Change, Changes, Context, Request, changes


def _mark_at_risk(request: Request[MarkAtRisk], state: Assignment, context: Context) -> Changes:
    require_open(state, request)
    require_role(request, context, "coordinating_office", "director", "reviewer")
    if state.at_risk is not None:
        raise NothingChanges(f"{request.subject} is at risk already ({state.at_risk})")
    return changes(AssignmentMarkedAtRisk(rule=request.data.rule))


def _clear_risk(request: Request[ClearRisk], state: Assignment, context: Context) -> Changes:
    require_open(state, request)
    require_role(request, context, "coordinating_office", "director", "reviewer")
    if state.at_risk is None:
        raise NothingChanges(f"{request.subject} is not at risk")
    return changes(AssignmentRiskCleared(reason=request.data.reason))


def _approached(request: Request[RecordDeadlineApproached], state: Assignment, context: Context) -> Changes:
    found = record_approach(request, state.deadlines, context.now)
    if not found or state.at_risk is not None or request.data.key.kind != "assignment_due" or state.percent >= 80:
        return found
    return [*found, _at_risk("time_left", found[0], request, context)]


def _passed(request: Request[RecordDeadlinePassed], state: Assignment, context: Context) -> Changes:
    found = record_passing(request, state.deadlines, context.now)
    if found and request.data.key.kind == "phase_handover":
        return [*found, *handed_over(state, found[0], programme_of(request, context), context)]
    rules: dict[str, Any] = {"assignment_milestone": "missed_milestone", "progress_update_due": "no_update"}
    rule = rules.get(request.data.key.kind)
    if not found or rule is None or state.at_risk is not None:
        return found
    return [*found, _at_risk(rule, found[0], request, context)]


def _at_risk(rule: Any, found: Change, request: Request[Any], context: Context) -> Change:
    """At risk from the instant of the limit or rung that showed it, however late that was found (R-353, R-354)."""
    version = programme_of(request, context).policy_version
    return Change(AssignmentMarkedAtRisk(rule=rule), occurred_at=found.occurred_at, policy_version=version)


HEALTH: dict[Any, Any] = {
    MarkAtRisk: _mark_at_risk,
    ClearRisk: _clear_risk,
    RecordDeadlineApproached: _approached,
    RecordDeadlinePassed: _passed,
}
"""What moves the health overlay of an assignment, command by command."""
