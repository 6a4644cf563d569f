"""Queries over programmes, phases and their scorecards. A total row's rates come from the summed figures."""

from typing import Any, LiteralString

from psycopg import Cursor
from psycopg.sql import SQL, Composed, Identifier

from projections.model import View
from projections.queries import Row, Rows, Where, fetch
from projections.scope import ReadScope
from projections.scorecards import DEPARTMENT, FIGURES, PHASE, PHASE_RATES, RATES

_VISIBLE = (
    "({} = ANY(%s) OR EXISTS (SELECT FROM programmes p, jsonb_array_elements(p.participants) AS part"
    " WHERE p.code = {} AND part ->> 0 = ANY(%s)))"
)
PROGRAMME_VISIBLE: LiteralString = _VISIBLE.replace("{}", "programmes.code")
_PART_VISIBLE: LiteralString = _VISIBLE.replace("{}", "programme")
_PRODUCT_KINDS = ["mandatory_product", "unit_plan", "register", "phase_milestone"]


def programmes(cursor: Cursor[Any], scope: ReadScope, code: str | None = None) -> Rows:
    """Programmes by code, or the one."""
    where = Where().given("code = %s", code).within(scope, PROGRAMME_VISIBLE)
    return fetch(cursor, SQL("SELECT * FROM programmes{} ORDER BY code").format(where.clause), where.values)


def phases(cursor: Cursor[Any], scope: ReadScope, programme: str, code: str | None = None) -> Rows:
    """Phases of a programme by code, or the one."""
    where = Where().add("programme = %s", programme).given("code = %s", code).within(scope, _PART_VISIBLE)
    return fetch(cursor, SQL("SELECT * FROM phases{} ORDER BY code").format(where.clause), where.values)


def phase_products(cursor: Cursor[Any], scope: ReadScope, programme: str) -> Rows:
    """Mandatory products, plans, registers and milestones of a programme's phases, by phase and limit."""
    where = (
        Where()
        .add("programme = %s", programme)
        .add("phase IS NOT NULL")
        .add("kind = ANY(%s)", _PRODUCT_KINDS)
        .within(scope, _PART_VISIBLE)
    )
    query = SQL(
        "SELECT phase, code, kind, title, status, missed, mandatory, unit, post, original_due, due, due_named,"
        " submitted_at, accepted_at, timeliness_original, timeliness_current, ambiguous, from_pos"
        " FROM obligations{} ORDER BY phase, due NULLS LAST, code"
    ).format(where.clause)
    return fetch(cursor, query, where.values)


def department_rows(cursor: Cursor[Any], scope: ReadScope, programme: str) -> Rows:
    """The department scorecard of a programme by unit, with the units' names; unit `-` has what no unit owns."""
    where = Where().add("programme = %s", programme).within(scope)
    return fetch(cursor, _named("department_scorecard", where), where.values)


def phase_department_rows(cursor: Cursor[Any], scope: ReadScope, programme: str, phase: str) -> Rows:
    """The scorecard of one phase by unit, with the units' names."""
    where = Where().add("programme = %s", programme).add("phase = %s", phase).within(scope)
    return fetch(cursor, _named("phase_scorecard", where), where.values)


def _named(view: str, where: Where) -> Composed:
    return SQL(
        "SELECT s.*, u.name_vi AS unit_name_vi, u.name_en AS unit_name_en, u.kind AS unit_kind, u.sample AS unit_sample"
        " FROM (SELECT * FROM {}{}) s LEFT JOIN programmes p ON p.code = s.programme"
        " LEFT JOIN units u ON u.organisation = p.organisation AND u.unit = s.unit ORDER BY s.unit"
    ).format(Identifier(view), where.clause)


def department_scorecard(cursor: Cursor[Any], scope: ReadScope, programme: str) -> tuple[Rows, Row | None]:
    """The rows of `department_rows` and the one of `programme_totals` (None without any), the view computed once."""
    where = Where().add("programme = %s", programme).within(scope)
    query = _with_total(DEPARTMENT, RATES, where)
    return _split(fetch(cursor, query, where.values))


def phase_scorecard(cursor: Cursor[Any], scope: ReadScope, programme: str, phase: str) -> tuple[Rows, Row | None]:
    """The rows of `phase_department_rows` and the one of `phase_totals` (None without any), the view computed once."""
    where = Where().add("programme = %s", programme).add("phase = %s", phase).within(scope)
    query = _with_total(PHASE, PHASE_RATES, where)
    return _split(fetch(cursor, query, where.values))


def _with_total(view: View, rates: LiteralString, where: Where) -> Composed:
    """The rows of a view in its columns' order, and their sum as the last row, with no unit."""
    columns = SQL(", ").join(map(Identifier, (*view.key, *view.counts, *view.rates)))
    names, sums = _sums(view)
    return SQL(
        "WITH s AS MATERIALIZED (SELECT {columns} FROM {view}{where})"
        " SELECT t.*, u.name_vi AS unit_name_vi, u.name_en AS unit_name_en, u.kind AS unit_kind, u.sample AS unit_sample"
        " FROM (SELECT * FROM s UNION ALL"
        " SELECT *, {rates} FROM (SELECT {names}, NULL::text AS unit, {sums} FROM s GROUP BY {names}) c) t"
        " LEFT JOIN programmes p ON p.code = t.programme"
        " LEFT JOIN units u ON u.organisation = p.organisation AND u.unit = t.unit ORDER BY t.unit NULLS LAST"
    ).format(
        columns=columns,
        view=Identifier(view.name),
        where=where.clause,
        rates=SQL(rates),
        names=names,
        sums=sums,
    )


def _split(rows: Rows) -> tuple[Rows, Row | None]:
    if not rows:
        return [], None
    *units, total = rows
    return units, {name: value for name, value in total.items() if not name.startswith("unit")}


def programme_totals(cursor: Cursor[Any], scope: ReadScope, programme: str | None = None) -> Rows:
    """One row a programme: the sum over its units."""
    where = Where().given("programme = %s", programme).within(scope)
    return fetch(cursor, _total(DEPARTMENT, RATES, where), where.values)


def phase_totals(cursor: Cursor[Any], scope: ReadScope, programme: str, phase: str | None = None) -> Rows:
    """One row a phase: the sum over its units."""
    where = Where().add("programme = %s", programme).given("phase = %s", phase).within(scope)
    return fetch(cursor, _total(PHASE, PHASE_RATES, where), where.values)


def _sums(view: View) -> tuple[Composed, Composed]:
    """The key of a total over a view's units, the last column of its key; and its counts summed."""
    sums = (SQL("sum({0})::bigint AS {0}").format(Identifier(name)) for name in view.counts)
    return SQL(", ").join(map(Identifier, view.key[:-1])), SQL(", ").join(sums)


def _total(view: View, rates: LiteralString, where: Where) -> Composed:
    names, sums = _sums(view)
    return SQL("SELECT *, {} FROM (SELECT {}, {} FROM {}{} GROUP BY {}) c ORDER BY {}").format(
        SQL(rates), names, sums, Identifier(view.name), where.clause, names, names
    )


def empty_total(programme: str) -> Row:
    """The total of a programme or phase for which nothing was recorded yet: zeros, and no rates."""
    return {"programme": programme} | dict.fromkeys(FIGURES, 0) | dict.fromkeys(DEPARTMENT.rates)


def programme_codes(cursor: Cursor[Any]) -> list[str]:
    """The codes of all programmes."""
    return [row["code"] for row in fetch(cursor, SQL("SELECT code FROM programmes ORDER BY code"))]


def unit_codes(cursor: Cursor[Any], programme: str | None = None) -> list[str]:
    """The codes of all units, or of those of the organisation a programme belongs to."""
    where = Where().given("organisation IN (SELECT p.organisation FROM programmes p WHERE p.code = %s)", programme)
    query = SQL("SELECT DISTINCT unit FROM units{} ORDER BY unit").format(where.clause)
    return [row["unit"] for row in fetch(cursor, query, where.values)]


def view_rows(cursor: Cursor[Any], view: View, programme: str | None, unit: str | None) -> list[dict[str, Any]]:
    """A view's rows, of a programme and a unit if they are named."""
    where = Where().given("programme = %s", programme).given("unit = %s", unit)
    order = SQL(", ").join(map(Identifier, view.key))
    query = SQL("SELECT * FROM {}{} ORDER BY {}").format(Identifier(view.name), where.clause, order)
    return fetch(cursor, query, where.values)
