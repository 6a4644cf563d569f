"""Programmes, their departments and phases."""

from typing import Any

from fastapi import APIRouter, Response

from projections import queries_scorecards as queries
from projections.queries import Row
from services.api import shapes
from services.api.answers import PROBLEMS, Answer, PastReading, Snapshot
from services.api.parameters import CodePath

router = APIRouter(prefix="/v1/programmes", tags=["programmes"], responses=PROBLEMS)
Rows = Answer[list[dict[str, Any]]]
One = Answer[dict[str, Any]]


@router.get("", response_model=Rows, summary="All programmes")
def programmes(reading: PastReading) -> Response:
    """Every programme with the figures of its whole organisation."""
    totals = {row["programme"]: row for row in queries.programme_totals(reading.cursor, reading.scope)}
    rows = queries.programmes(reading.cursor, reading.scope)
    return reading.answer(
        [shapes.programme(row, totals.get(row["code"]) or queries.empty_total(row["code"])) for row in rows]
    )


@router.get("/{code}", response_model=One, summary="One programme")
def programme(code: CodePath, reading: PastReading) -> Response:
    """A programme's definition in short, and its figures."""
    row = _programme(reading, code)
    return reading.answer(shapes.programme(row, _total(reading, code)))


@router.get("/{code}/departments", response_model=One, summary="Department scorecard")
def departments(code: CodePath, reading: PastReading) -> Response:
    """One scorecard row a unit, and `organisation`: the sum of all, its rates computed from the sums."""
    row = _programme(reading, code)
    units, total = queries.department_scorecard(reading.cursor, reading.scope, code)
    whole = (total or queries.empty_total(code)) | {"organisation": row["organisation"]}
    return reading.answer(
        {"programme": code, "departments": shapes.departments(units), "organisation": shapes.organisation(whole)}
    )


@router.get("/{code}/phases", response_model=Rows, summary="Phases")
def phases(code: CodePath, reading: PastReading) -> Response:
    """The phases with state, products, milestones and figures."""
    _programme(reading, code)
    totals = {row["phase"]: row for row in queries.phase_totals(reading.cursor, reading.scope, code)}
    products: dict[str, list[Row]] = {}
    for product in queries.phase_products(reading.cursor, reading.scope, code):
        products.setdefault(product["phase"], []).append(product)
    return reading.answer(
        [
            shapes.phase(row, products.get(row["code"], ()), totals.get(row["code"]) or _nothing(code, row["code"]))
            for row in queries.phases(reading.cursor, reading.scope, code)
        ]
    )


@router.get("/{code}/phases/{phase}/departments", response_model=One, summary="Phase scorecard")
def phase_departments(code: CodePath, phase: CodePath, reading: PastReading) -> Response:
    """One scorecard row a unit for a phase, with what it carried out of the phase, and the sum of all."""
    row = _programme(reading, code)
    if not queries.phases(reading.cursor, reading.scope, code, phase):
        reading.found(None, f"phase {code}/{phase}")
    units, total = queries.phase_scorecard(reading.cursor, reading.scope, code, phase)
    whole = (total or _nothing(code, phase)) | {"organisation": row["organisation"]}
    return reading.answer(
        {
            "programme": code,
            "phase": phase,
            "departments": shapes.departments(units),
            "organisation": shapes.organisation(whole),
        }
    )


def _programme(reading: Snapshot, code: str) -> Row:
    rows = queries.programmes(reading.cursor, reading.scope, code)
    return reading.found(rows[0] if rows else None, f"programme {code}")


def _total(reading: Snapshot, code: str) -> Row:
    rows = queries.programme_totals(reading.cursor, reading.scope, code)
    return rows[0] if rows else queries.empty_total(code)


def _nothing(code: str, phase: str) -> Row:
    return queries.empty_total(code) | {"phase": phase, "carried_out": 0, "carried_out_overdue": 0}
