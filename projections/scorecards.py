"""Scorecards: queries over the rows of assignments, obligations and warnings, kept apart figure by figure.

A report likes to mix what these keep apart: the plain completion rate stands beside the true on-time rate, lateness is judged
against the original and against the current limit, and what was carried over stays late in the phase it left (R-061, R-330).

Rates, version 1. completion_rate = done / (assigned less cancelled). on_time_rate = done on time against the original limit
/ everything that has come to its end or passed its limit (done, unfinished, overdue open). Tasks done without a limit and tasks
not yet due do not count (R-194); one closed unfinished counts, with or without a limit, since it came to its end undone.
on_time_rate_current is the same against the current limit. In a phase, tasks carried out of it unfinished still count as
assigned there, and as late if they were.
"""

from projections.model import View

RATES_VERSION = 1

_TASK_FIGURES = """
    count(*) FILTER (WHERE status <> 'draft') AS assigned,
    count(*) FILTER (WHERE status = 'draft') AS drafts,
    count(*) FILTER (WHERE is_open) AS open,
    count(*) FILTER (WHERE is_open AND health = 'at_risk') AS at_risk,
    count(*) FILTER (WHERE is_open AND overdue) AS overdue_open,
    count(*) FILTER (WHERE is_open AND covered) AS milestone_late,
    count(*) FILTER (WHERE status = 'completed') AS done,
    count(*) FILTER (WHERE status = 'completed' AND timeliness_original IN ('early', 'on_time')) AS done_on_time_original,
    count(*) FILTER (WHERE status = 'completed' AND timeliness_current IN ('early', 'on_time')) AS done_on_time_current,
    count(*) FILTER (WHERE status = 'completed' AND timeliness_original = 'late') AS done_late,
    count(*) FILTER (WHERE status = 'completed' AND timeliness_original = 'undated') AS done_undated,
    count(*) FILTER (WHERE was_overdue) AS ever_overdue,
    count(*) FILTER (WHERE extensions > 0) AS extended,
    count(*) FILTER (WHERE extended_after_limit) AS extended_after_limit,
    count(*) FILTER (WHERE jsonb_array_length(left_phases) > 0) AS carried_over,
    count(*) FILTER (WHERE status = 'suspended') AS suspended,
    count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
    count(*) FILTER (WHERE status = 'closed_unfinished') AS unfinished"""

_DUTY_FIGURES = """
    count(*) FILTER (WHERE is_report) AS reports_owed,
    count(*) FILTER (WHERE is_report AND handed_in AND NOT late) AS reports_on_time,
    count(*) FILTER (WHERE is_report AND handed_in AND late) AS reports_late,
    count(*) FILTER (WHERE is_report AND missed AND NOT handed_in) AS reports_missing,
    count(*) FILTER (WHERE is_report AND due IS NULL) AS reports_undated,
    count(*) FILTER (WHERE kind = 'explanation') AS explanations_owed,
    count(*) FILTER (WHERE kind = 'explanation' AND NOT handed_in AND status <> 'waived') AS explanations_open,
    count(*) FILTER (WHERE kind IN ('mandatory_product', 'unit_plan', 'register')) AS products_owed,
    count(*) FILTER (WHERE kind IN ('mandatory_product', 'unit_plan', 'register') AND accepted) AS products_accepted,
    count(*) FILTER (WHERE kind = 'phase_milestone') AS milestones,
    count(*) FILTER (WHERE kind = 'phase_milestone' AND was_missed) AS milestones_missed,
    count(*) FILTER (WHERE kind IN ('commitment', 'personal_plan') AND status <> 'waived') AS commitments_owed,
    count(*) FILTER (WHERE kind IN ('commitment', 'personal_plan') AND handed_in) AS commitments_signed"""

_WARNING_FIGURES = """
    count(*) AS warnings_raised,
    count(*) FILTER (WHERE open) AS warnings_open,
    count(*) FILTER (WHERE open AND level = 0) AS warnings_open_level_0,
    count(*) FILTER (WHERE open AND level = 1) AS warnings_open_level_1,
    count(*) FILTER (WHERE open AND level = 2) AS warnings_open_level_2,
    count(*) FILTER (WHERE open AND level = 3) AS warnings_open_level_3,
    count(*) FILTER (WHERE open AND level >= 4) AS warnings_open_level_4"""

_TASKS = (
    "assigned drafts open at_risk overdue_open milestone_late done done_on_time_original done_on_time_current done_late"
)
_MORE = "done_undated ever_overdue extended extended_after_limit carried_over suspended cancelled unfinished"
_DUTIES = (
    "reports_owed reports_on_time reports_late reports_missing reports_undated explanations_owed explanations_open"
    " products_owed products_accepted milestones milestones_missed commitments_owed commitments_signed"
)
_WARNS = (
    "warnings_raised warnings_open warnings_open_level_0 warnings_open_level_1 warnings_open_level_2"
    " warnings_open_level_3 warnings_open_level_4"
)
FIGURES = tuple(f"{_TASKS} {_MORE} {_DUTIES} {_WARNS}".split())
"""All counted figures of a scorecard row, in order."""

_OBLIGATION_FLAGS = """
    o.*, o.kind IN ('report', 'ad_hoc_report') AS is_report,
    o.status IN ('submitted', 'accepted', 'consolidated', 'forwarded') AS handed_in,
    o.status IN ('accepted', 'consolidated', 'forwarded') AS accepted,
    o.decides_at IS NOT NULL AND o.original_due IS NOT NULL AND o.decides_at >= o.original_due AS late"""


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


def _task_flags(assignments: str, obligations: str) -> str:
    """Tasks with whether they are open, and whether a milestone that covers their kind has passed unmet (R-055).

    The few missed milestones are gathered once, not looked for task by task.
    """
    return f"""
        SELECT a.*, status IN ('assigned', 'acknowledged', 'in_progress', 'under_review') AS is_open,
               coalesce(m.whole OR a.unit = ANY(m.units), false) AS covered
        FROM {assignments} a LEFT JOIN (
            SELECT programme, covers_kind, bool_or(unit IS NULL) AS whole, array_agg(unit) AS units
            FROM {obligations} WHERE was_missed AND covers_kind IS NOT NULL GROUP BY programme, covers_kind
        ) m ON m.programme = a.programme AND m.covers_kind = a.kind"""


def department_query(assignments: str, obligations: str, warnings: str) -> str:
    """The department scorecard over any rows of the three models: live ones, or those as of a position."""
    figures = ", ".join(f"coalesce({name}, 0) AS {name}" for name in FIGURES)
    return f"""
    WITH t AS (
        SELECT programme, coalesce(unit, '-') AS unit, {_TASK_FIGURES}
        FROM ({_task_flags(assignments, obligations)}) a GROUP BY 1, 2),
    d AS (
        SELECT programme, coalesce(unit, '-') AS unit, {_DUTY_FIGURES}
        FROM (SELECT {_OBLIGATION_FLAGS} FROM {obligations} o) o GROUP BY 1, 2),
    w AS (
        SELECT programme, coalesce(unit, '-') AS unit, {_WARNING_FIGURES} FROM {warnings} w GROUP BY 1, 2),
    c AS (
        SELECT programme, unit, {figures}
        FROM t FULL JOIN d USING (programme, unit) FULL JOIN w USING (programme, unit))
    SELECT *, {RATES} FROM c"""


def phase_query(assignments: str, obligations: str, warnings: str) -> str:
    """The phase scorecard per programme, phase and unit.

    A task that left a phase still counts in it as carried over, with the lateness it had there (R-061).
    """
    figures = ", ".join(f"coalesce({name}, 0) AS {name}" for name in FIGURES)
    left = (
        "SELECT programme, left_phase ->> 0 AS phase, coalesce(unit, '-') AS unit, count(*) AS carried_out,"
        " count(*) FILTER (WHERE (left_phase ->> 1)::boolean) AS carried_out_overdue"
        f" FROM {assignments} a, jsonb_array_elements(left_phases) AS left_phase GROUP BY 1, 2, 3"
    )
    return f"""
    WITH t AS (
        SELECT programme, phase, coalesce(unit, '-') AS unit, {_TASK_FIGURES}
        FROM ({_task_flags(assignments, obligations)}) a WHERE phase IS NOT NULL GROUP BY 1, 2, 3),
    l AS ({left}),
    d AS (
        SELECT programme, phase, coalesce(unit, '-') AS unit, {_DUTY_FIGURES}
        FROM (SELECT {_OBLIGATION_FLAGS} FROM {obligations} o) o WHERE phase IS NOT NULL GROUP BY 1, 2, 3),
    w AS (
        SELECT programme, phase, coalesce(unit, '-') AS unit, {_WARNING_FIGURES}
        FROM {warnings} w WHERE phase IS NOT NULL GROUP BY 1, 2, 3),
    c AS (
        SELECT programme, phase, unit, {figures}, coalesce(carried_out, 0) AS carried_out,
               coalesce(carried_out_overdue, 0) AS carried_out_overdue
        FROM t FULL JOIN l USING (programme, phase, unit) FULL JOIN d USING (programme, phase, unit)
               FULL JOIN w USING (programme, phase, unit))
    SELECT *, {PHASE_RATES} FROM c"""


_OF = ("assignments", "obligations", "warnings")
_RATES = ("completion_rate", "on_time_rate", "on_time_rate_current")
DEPARTMENT = View("department_scorecard", ("programme", "unit"), department_query(*_OF), FIGURES, _RATES)
PHASE = View(
    "phase_scorecard",
    ("programme", "phase", "unit"),
    phase_query(*_OF),
    (*FIGURES, "carried_out", "carried_out_overdue"),
    _RATES,
)
