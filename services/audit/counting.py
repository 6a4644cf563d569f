"""The figures of an export, counted from the rows the read models' own rules make of the events."""

from collections.abc import Iterable
from typing import Any

from domain.kernel import Recorded
from projections import assignments, warnings
from projections.assignments import OPEN, AssignmentRow
from projections.warnings import WarningRow
from services.audit.sauro_verify import FIGURES

_ON_TIME = ("early", "on_time")


def counted(events: Iterable[Recorded[Any]], unit: str | None = None) -> dict[str, Any]:
    """Figures in all and by unit; of one unit only, if it is named. Subjects of no unit stand under `-`."""
    tasks: dict[str, Any] = {}
    raised: dict[str, Any] = {}
    for event in events:
        for model, rows in ((assignments.MODEL, tasks), (warnings.MODEL, raised)):
            if model.handles_event(event):
                rows[event.stream] = model.apply(rows.get(event.stream), event)
    units: dict[str, dict[str, int]] = {}
    for row, marks in [*((r, _of_task(r)) for r in tasks.values()), *((r, _of_warning(r)) for r in raised.values())]:
        own = row.unit or "-"
        if unit is not None and own != unit:
            continue
        figures = units.setdefault(own, dict.fromkeys(FIGURES, 0))
        for name, holds in marks.items():
            figures[name] += holds
    total = {name: sum(figures[name] for figures in units.values()) for name in FIGURES}
    return {"total": total, "units": dict(sorted(units.items()))}


def _of_task(row: AssignmentRow) -> dict[str, bool]:
    """As the scorecards count (projections/scorecards.py)."""
    done = row.status == "completed"
    return {
        "assigned": row.status != "draft",
        "drafts": row.status == "draft",
        "open": row.status in OPEN,
        "overdue_open": row.status in OPEN and row.overdue,
        "done": done,
        "done_on_time_original": done and row.timeliness_original in _ON_TIME,
        "done_on_time_current": done and row.timeliness_current in _ON_TIME,
        "done_late": done and row.timeliness_original == "late",
        "done_undated": done and row.timeliness_original == "undated",
        "ever_overdue": row.was_overdue,
        "extended": row.extensions > 0,
        "carried_over": len(row.left_phases) > 0,
        "suspended": row.status == "suspended",
        "cancelled": row.status == "cancelled",
        "unfinished": row.status == "closed_unfinished",
    }


def _of_warning(row: WarningRow) -> dict[str, bool]:
    levels = {f"warnings_open_level_{level}": row.open and min(row.level, 4) == level for level in range(5)}
    return {"warnings_raised": True, "warnings_open": row.open, **levels}
