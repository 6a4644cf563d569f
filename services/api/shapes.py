"""Rows as people read them: positional lists become objects, keys get their Vietnamese label."""

from collections.abc import Iterable

from projections.queries import Row, Rows
from projections.scorecards import RATES_VERSION
from services.labels import NO_UNIT, WHOLE_ORGANISATION, label


def _named(row: Row, column: str, *names: str) -> list[Row]:
    return [dict(zip(names, item, strict=True)) for item in row[column]]


def assignment(row: Row) -> Row:
    """An assignment's row."""
    return row | {
        "status_label_vi": label("assignment_status", row["status"]),
        "health_label_vi": label("health", row["health"]),
        "left_phases": _named(row, "left_phases", "phase", "was_overdue"),
    }


def obligation(row: Row) -> Row:
    """An obligation's row."""
    return row | {
        "status_label_vi": label("obligation_status", row["status"]),
        "kind_label_vi": label("obligation_kind", row["kind"]),
    }


def warning(row: Row) -> Row:
    """A warning's row."""
    return row | {
        "status_label_vi": label("warning_status", row["status"]),
        "act_label_vi": label("warning_act", row["act"]),
        "delivered": _named(row, "delivered", "level", "post", "sequence"),
    }


def deadline(row: Row) -> Row:
    """A limit in force."""
    return row | {"leads": _named(row, "leads", "rung", "at")}


def programme(row: Row, total: Row) -> Row:
    """A programme with the figures of its whole organisation."""
    return row | {
        "participants": _named(row, "participants", "unit", "executes"),
        "regimes": _named(row, "regimes", "code", "version", "frequency", "active", "dated"),
        "figures": scorecard(total),
    }


def phase(row: Row, products: Iterable[Row], total: Row) -> Row:
    """A phase with its products, milestones and figures."""
    shaped = [obligation(product) for product in products]
    return row | {
        "status_label_vi": label("phase_status", row["status"]),
        "required": _named(row, "products", "obligation", "mandatory"),
        "missing": _named(row, "missing", "obligation", "reason"),
        "products": [product for product in shaped if product["kind"] != "phase_milestone"],
        "milestones": [product for product in shaped if product["kind"] == "phase_milestone"],
        "figures": scorecard(total),
    }


def scorecard(row: Row) -> Row:
    """A scorecard row with the version of its rates' definition."""
    return row | {"rates_version": RATES_VERSION}


def departments(rows: Rows) -> list[Row]:
    """Scorecard rows of units, each with a name to show."""
    return [scorecard(row | {"label_vi": row["unit_name_vi"] or _unit(row["unit"])}) for row in rows]


def _unit(code: str) -> str:
    return NO_UNIT if code == "-" else code


def organisation(row: Row) -> Row:
    """The total over all units."""
    return scorecard(row | {"unit": None, "label_vi": WHOLE_ORGANISATION})
