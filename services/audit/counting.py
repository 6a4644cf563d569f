"""The figures of an export, counted from the rows the read models' own rules make of the events."""

from collections.abc import Iterable
from typing import Any

from domain.kernel import Recorded
from projections import assignments, obligations, warnings
from projections.assignments import OPEN, AssignmentRow
from projections.obligations import ObligationRow
from projections.warnings import WarningRow
from services.audit.sauro_verify import FIGURES, OF_A_KIND

_MODELS = (assignments.MODEL, obligations.MODEL, warnings.MODEL)
_ON_TIME = ("early", "on_time")
_PRODUCTS = ("mandatory_product", "unit_plan", "register")


def counted(events: Iterable[Recorded[Any]], unit: str | None = None) -> dict[str, Any]:
    """Figures in all, by unit, and of obligations by kind; of one unit only, if it is named.

    Subjects of no unit stand under `-`.
    """
    rows: dict[str, Any] = {}
    for event in events:
        for model in _MODELS:
            if model.handles_event(event):
                rows[event.stream] = model.apply(rows.get(event.stream), event)
    units: dict[str, dict[str, int]] = {}
    kinds: dict[str, dict[str, int]] = {}
    for row in rows.values():
        own = row.unit or "-"
        if unit is not None and own != unit:
            continue
        marks = _marks(row)
        _add(units.setdefault(own, dict.fromkeys(FIGURES, 0)), marks)
        if isinstance(row, ObligationRow):
            _add(kinds.setdefault(row.kind, dict.fromkeys(OF_A_KIND, 0)), {name: marks[name] for name in OF_A_KIND})
    total = {name: sum(figures[name] for figures in units.values()) for name in FIGURES}
    return {"total": total, "units": dict(sorted(units.items())), "kinds": dict(sorted(kinds.items()))}


def _add(figures: dict[str, int], marks: dict[str, bool]) -> None:
    for name, holds in marks.items():
        figures[name] += holds


def _marks(row: AssignmentRow | ObligationRow | WarningRow) -> dict[str, bool]:
    if isinstance(row, AssignmentRow):
        return _of_task(row)
    return _of_duty(row) if isinstance(row, ObligationRow) else _of_warning(row)


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


def _of_duty(row: ObligationRow) -> dict[str, bool]:
    """As the scorecards count by kind, and what holds of any kind: handed in, in time or late; not yet; waived."""
    accepted = row.status in ("accepted", "consolidated", "forwarded")
    in_ = accepted or row.status == "submitted"
    report, explanation = row.kind in ("report", "ad_hoc_report"), row.kind == "explanation"
    waived, overdue = row.status == "waived", row.missed and not in_
    product, milestone = row.kind in _PRODUCTS, row.kind == "phase_milestone"
    commitment = row.kind in ("commitment", "personal_plan")
    return {
        "reports_owed": report,
        "reports_on_time": report and in_ and not row.late,
        "reports_late": report and in_ and row.late,
        "reports_missing": report and overdue,
        "reports_undated": report and row.undated,
        "explanations_owed": explanation,
        "explanations_open": explanation and not in_ and not waived,
        "products_owed": product,
        "products_accepted": product and accepted,
        "milestones": milestone,
        "milestones_missed": milestone and row.was_missed,
        "commitments_owed": commitment and not waived,
        "commitments_signed": commitment and in_,
        "obligations_owed": True,
        "obligations_met": in_ and not row.late,
        "obligations_late": in_ and row.late,
        "obligations_open": not in_ and not waived,
        "obligations_overdue": overdue,
        "obligations_waived": waived,
    }


def _of_warning(row: WarningRow) -> dict[str, bool]:
    levels = {f"warnings_open_level_{level}": row.open and min(row.level, 4) == level for level in range(5)}
    return {"warnings_raised": True, "warnings_open": row.open, **levels}
