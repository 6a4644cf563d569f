"""What becomes of a task nobody has begun when its phase ends: it is to be started in the phase that follows (R-036).

The end of the phase is a deadline of each of its tasks (`phase_handover`). When it passes, a task that was not begun moves
on by itself and must be begun within the programme's working days (`work_start_due`); who does not is warned of and listed
by the programme's policy.
"""

from collections.abc import Iterable

from contracts.assignment import AssignmentCarriedOver
from domain.assignment_rules import scheduled
from domain.assignment_state import Assignment
from domain.calendar import local_date
from domain.kernel import Change, Changes, Context
from domain.limits import by_end_of
from domain.phase import Phase
from domain.programme_state import Programme

_NOT_BEGUN = frozenset({"assigned", "acknowledged"})


def handover(state: Assignment, phase_code: str | None, programme: Programme, context: Context) -> Iterable[Change]:
    """The deadline that hands a task on at the end of a phase; none if no phase takes over from it or it was begun."""
    phase = context.load(f"phase/{programme.code}/{phase_code}") if phase_code is not None else None
    if not isinstance(phase, Phase) or phase.followed_by is None or phase.end_limit is None:
        return
    if state.status in ("draft", *_NOT_BEGUN):
        yield scheduled(state, "phase_handover", phase.end_limit, programme, context)


def handed_over(state: Assignment, passed: Change, programme: Programme, context: Context) -> Changes:
    """What the end of the phase leads to, at its own instant: the task goes on, and is to be begun within some days."""
    left = context.load(f"phase/{programme.code}/{state.phase}")
    following = left.followed_by if isinstance(left, Phase) else None
    into = context.load(f"phase/{programme.code}/{following}") if following else None
    if state.status not in _NOT_BEGUN or following is None or not isinstance(into, Phase) or into.status == "closed":
        return []
    at = passed.occurred_at or context.now
    carried = AssignmentCarriedOver(
        from_phase=state.phase,
        to_phase=following,
        was_overdue=state.overdue,
        reason=f"phase {state.phase} ended (R-036)",
    )
    last_day = programme.calendar.add_working_days(local_date(at), programme.settings.start_within_days)
    found = [Change(carried), scheduled(state, "work_start_due", by_end_of(last_day), programme, context)]
    return [change._replace(occurred_at=at) for change in found]
