"""Scorecards: what the rows of assignments, obligations and warnings count to, kept apart figure by figure.

Every figure is a sum over `<model>_counts`, so the same query serves the present, where these are tables of a few thousand
groups, any past moment, and the share of a single event.

A report likes to mix what these keep apart: the plain completion rate stands beside the true on-time rate, lateness is judged
against the original and against the current limit, and what was carried over stays late in the phase it left (R-061, R-330).

Rates, version 1. completion_rate = done / (assigned less cancelled). on_time_rate = done on time against the original limit
/ everything that has come to its end or passed its limit (done, unfinished, overdue open). Tasks done without a limit and tasks
not yet due do not count (R-194); one closed unfinished counts, with or without a limit, since it came to its end undone.
on_time_rate_current is the same against the current limit. In a phase, tasks carried out of it unfinished still count as
assigned there, and as late if they were.
"""

from collections.abc import Mapping, Sequence

from projections.model import View

RATES_VERSION = 1

_TASKS = {
    "assigned": "status <> 'draft'",
    "drafts": "status = 'draft'",
    "open": "is_open",
    "at_risk": "is_open AND health = 'at_risk'",
    "overdue_open": "is_open AND overdue",
    "milestone_late": "is_open AND covered",
    "done": "status = 'completed'",
    "done_on_time_original": "status = 'completed' AND timeliness_original IN ('early', 'on_time')",
    "done_on_time_current": "status = 'completed' AND timeliness_current IN ('early', 'on_time')",
    "done_late": "status = 'completed' AND timeliness_original = 'late'",
    "done_undated": "status = 'completed' AND timeliness_original = 'undated'",
    "ever_overdue": "was_overdue",
    "extended": "extensions > 0",
    "extended_after_limit": "extended_after_limit",
    "carried_over": "jsonb_array_length(left_phases) > 0",
    "suspended": "status = 'suspended'",
    "cancelled": "status = 'cancelled'",
    "unfinished": "status = 'closed_unfinished'",
}
_DUTIES = {
    "reports_owed": "is_report",
    "reports_on_time": "is_report AND handed_in AND NOT late",
    "reports_late": "is_report AND handed_in AND late",
    "reports_missing": "is_report AND missed AND NOT handed_in",
    "reports_undated": "is_report AND undated",
    "explanations_owed": "kind = 'explanation'",
    "explanations_open": "kind = 'explanation' AND NOT handed_in AND status <> 'waived'",
    "products_owed": "is_product",
    "products_accepted": "is_product AND accepted",
    "milestones": "kind = 'phase_milestone'",
    "milestones_missed": "kind = 'phase_milestone' AND was_missed",
    "commitments_owed": "is_commitment AND status <> 'waived'",
    "commitments_signed": "is_commitment AND handed_in",
}
_WARNINGS = {
    "warnings_raised": "true",
    "warnings_open": "open",
    "warnings_open_level_0": "open AND level = 0",
    "warnings_open_level_1": "open AND level = 1",
    "warnings_open_level_2": "open AND level = 2",
    "warnings_open_level_3": "open AND level = 3",
    "warnings_open_level_4": "open AND level >= 4",
}
_LEFT = {"carried_out": "true", "carried_out_overdue": "(left_phase ->> 1)::boolean"}
FIGURES = (*_TASKS, *_DUTIES, *_WARNINGS)
"""All counted figures of a scorecard row, in order."""

# Open tasks are covered when a milestone for their kind has passed unmet: the few missed ones are gathered once.
_TASK_GROUPS = """
    SELECT a.*, status IN ('assigned', 'acknowledged', 'in_progress', 'under_review') AS is_open,
           coalesce(m.whole OR a.unit = ANY(m.units), false) AS covered
    FROM assignments_counts a LEFT JOIN (
        SELECT programme, covers_kind, bool_or(unit IS NULL) AS whole, array_agg(unit) AS units
        FROM obligations_counts WHERE was_missed AND covers_kind IS NOT NULL GROUP BY programme, covers_kind
    ) m ON m.programme = a.programme AND m.covers_kind = a.kind"""
_DUTY_GROUPS = """
    SELECT *, kind IN ('report', 'ad_hoc_report') AS is_report,
           kind IN ('mandatory_product', 'unit_plan', 'register') AS is_product,
           kind IN ('commitment', 'personal_plan') AS is_commitment,
           status IN ('submitted', 'accepted', 'consolidated', 'forwarded') AS handed_in,
           status IN ('accepted', 'consolidated', 'forwarded') AS accepted
    FROM obligations_counts"""
_WARNING_GROUPS = "SELECT * FROM warnings_counts"
_LEFT_GROUPS = """
    SELECT a.programme, a.unit, a.n, left_phase ->> 0 AS phase, left_phase
    FROM assignments_counts a, jsonb_array_elements(a.left_phases) AS left_phase"""

_Part = tuple[str, Mapping[str, str]]
"""Groups of rows with their number `n`, and the figures they have a share in: the condition a row is counted under."""
_PARTS: tuple[_Part, ...] = ((_TASK_GROUPS, _TASKS), (_DUTY_GROUPS, _DUTIES), (_WARNING_GROUPS, _WARNINGS))


def rates(more_assigned: str = "0", more_late: str = "0") -> str:
    """The rates of a scorecard row; a phase adds what was carried out of it, and what of that was late there (R-061)."""
    ended = f"(done - done_undated + unfinished + overdue_open + {more_late})"
    given = f"(assigned - cancelled + {more_assigned})"
    return f"""
    CASE WHEN {given} > 0 THEN round(done::numeric / {given}, 4) END AS completion_rate,
    CASE WHEN {ended} > 0 THEN round(done_on_time_original::numeric / {ended}, 4) END AS on_time_rate,
    CASE WHEN {ended} > 0 THEN round(done_on_time_current::numeric / {ended}, 4) END AS on_time_rate_current"""


RATES = rates()
PHASE_RATES = rates("carried_out", "carried_out_overdue")


def _scorecard(key: Sequence[str], figures: Sequence[str], parts: Sequence[_Part], rates: str, wanted: str) -> str:
    """One row a key: each part's figures, zero for what the part has no share in, added up; unit `-` has what no unit owns.

    Added by UNION ALL, a condition on the key reaches every part, and no part is read for other programmes.
    """
    names = ", ".join(key)
    own = ", ".join("coalesce(unit, '-') AS unit" if name == "unit" else name for name in key)
    numbers = ", ".join(map(str, range(1, len(key) + 1)))
    shares = " UNION ALL ".join(
        f"SELECT {own}, {', '.join(_share(part.get(name), name) for name in figures)}"
        f" FROM ({groups}) g WHERE {wanted} GROUP BY {numbers}"
        for groups, part in parts
    )
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in figures)
    return f"SELECT *, {rates} FROM (SELECT {names}, {sums} FROM ({shares}) s GROUP BY {numbers}) c"


def _share(condition: str | None, figure: str) -> str:
    return f"0 AS {figure}" if condition is None else f"coalesce(sum(n) FILTER (WHERE {condition}), 0) AS {figure}"


_RATES = ("completion_rate", "on_time_rate", "on_time_rate_current")
_OF_UNIT, _OF_PHASE, _PHASE_FIGURES = ("programme", "unit"), ("programme", "phase", "unit"), (*FIGURES, *_LEFT)
DEPARTMENT = View(
    "department_scorecard", _OF_UNIT, _scorecard(_OF_UNIT, FIGURES, _PARTS, RATES, "true"), FIGURES, _RATES
)
"""The department scorecard per programme and unit."""
PHASE = View(
    "phase_scorecard",
    _OF_PHASE,
    _scorecard(_OF_PHASE, _PHASE_FIGURES, (*_PARTS, (_LEFT_GROUPS, _LEFT)), PHASE_RATES, "phase IS NOT NULL"),
    _PHASE_FIGURES,
    _RATES,
)
"""The phase scorecard per programme, phase and unit. A task that left a phase still counts in it as carried over, with the
lateness it had there (R-061)."""
