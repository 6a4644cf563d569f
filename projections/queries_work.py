"""Queries over assignments, obligations, warnings and deadlines."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Cursor
from psycopg.sql import SQL

from projections.queries import Row, Rows, Where, fetch, page
from projections.queries_scorecards import PROGRAMME_VISIBLE
from projections.scope import ReadScope

Page = tuple[Rows, list[Any] | None]
_CODE = ("programme", "code")
_DEADLINE = ("limit_at", "stream", "kind", "occurrence")
_SUBJECT_VISIBLE = (
    "(programme = ANY(%s) OR EXISTS (SELECT FROM (SELECT 'assignment/' || programme || '/' || code AS id, unit"
    " FROM assignments UNION ALL SELECT 'obligation/' || programme || '/' || code, unit FROM obligations"
    " UNION ALL SELECT 'warning/' || programme || '/' || code, unit FROM warnings) s"
    " WHERE s.id = stream AND s.unit = ANY(%s)))"
)


@dataclass(frozen=True, slots=True)
class AssignmentFilter:
    """Which assignments; None leaves a field open. `due_from` and `due_to` are UTC instants, both included."""

    programme: str | None = None
    unit: str | None = None
    phase: str | None = None
    status: str | None = None
    health: str | None = None
    due_from: datetime | None = None
    due_to: datetime | None = None


def assignments(
    cursor: Cursor[Any], scope: ReadScope, wanted: AssignmentFilter, after: Sequence[Any] | None, limit: int
) -> Page:
    """Assignments by programme and code."""
    where = (
        Where()
        .given("programme = %s", wanted.programme)
        .given("unit = %s", wanted.unit)
        .given("phase = %s", wanted.phase)
        .given("status = %s", wanted.status)
        .given("health = %s", wanted.health)
        .given("due >= %s", wanted.due_from)
        .given("due <= %s", wanted.due_to)
        .within(scope)
    )
    return page(cursor, "assignments", _CODE, where, after, limit)


def assignment(cursor: Cursor[Any], scope: ReadScope, programme: str, code: str) -> Row | None:
    """One assignment; None when there is none or the scope hides it."""
    where = Where().add("programme = %s", programme).add("code = %s", code).within(scope)
    rows = fetch(cursor, SQL("SELECT * FROM assignments{}").format(where.clause), where.values)
    return rows[0] if rows else None


def assignment_versions(cursor: Cursor[Any], scope: ReadScope, programme: str, code: str) -> Rows:
    """All versions of an assignment's row up to the moment that is read, oldest first; the last one has no end."""
    where = Where().add("programme = %s", programme).add("code = %s", code).within(scope)
    rows = fetch(cursor, SQL("SELECT * FROM assignments_versions{}").format(where.clause), where.values)
    return sorted(rows, key=lambda row: row["true_from" if "true_from" in row else "from_pos"])


@dataclass(frozen=True, slots=True)
class ObligationFilter:
    """Which obligations; None leaves a field open."""

    programme: str | None = None
    unit: str | None = None
    phase: str | None = None
    kind: str | None = None
    status: str | None = None
    missed: bool | None = None


def obligations(
    cursor: Cursor[Any], scope: ReadScope, wanted: ObligationFilter, after: Sequence[Any] | None, limit: int
) -> Page:
    """Obligations by programme and code."""
    where = (
        Where()
        .given("programme = %s", wanted.programme)
        .given("unit = %s", wanted.unit)
        .given("phase = %s", wanted.phase)
        .given("kind = %s", wanted.kind)
        .given("status = %s", wanted.status)
        .given("missed = %s", wanted.missed)
        .within(scope)
    )
    return page(cursor, "obligations", _CODE, where, after, limit)


@dataclass(frozen=True, slots=True)
class WarningFilter:
    """Which warnings; None leaves a field open. `about` is the stream the warning speaks of."""

    programme: str | None = None
    unit: str | None = None
    open: bool | None = None
    level: int | None = None
    about: str | None = None


def warnings(
    cursor: Cursor[Any], scope: ReadScope, wanted: WarningFilter, after: Sequence[Any] | None, limit: int
) -> Page:
    """Warnings by programme and code."""
    where = (
        Where()
        .given("programme = %s", wanted.programme)
        .given("unit = %s", wanted.unit)
        .given("open = %s", wanted.open)
        .given("level = %s", wanted.level)
        .given("about = %s", wanted.about)
        .within(scope)
    )
    return page(cursor, "warnings", _CODE, where, after, limit)


def levels(cursor: Cursor[Any], scope: ReadScope) -> list[int]:
    """The levels of all escalation policies that programmes have adopted, present and past, read from the log."""
    where = Where().add("e.topic LIKE 'sauro.programme.EscalationPolicyAdopted.%%'").within(scope, PROGRAMME_VISIBLE)
    query = SQL(
        "SELECT DISTINCT level::int AS level FROM programmes"
        " JOIN log.events e ON originator_id = 'programme/' || programmes.code,"
        " jsonb_path_query(convert_from(state, 'UTF8')::jsonb, '$.data.policy.**.level') AS level{} ORDER BY 1"
    ).format(where.clause)
    return [row["level"] for row in fetch(cursor, query, where.values)]


@dataclass(frozen=True, slots=True)
class DeadlineFilter:
    """Which limits in force; None leaves a field open. `before` is a UTC instant, excluded as limits themselves are."""

    programme: str | None = None
    kind: str | None = None
    before: datetime | None = None
    passed: bool | None = None


def deadlines(
    cursor: Cursor[Any], scope: ReadScope, wanted: DeadlineFilter, after: Sequence[Any] | None, limit: int
) -> Page:
    """Limits in force, the earliest first."""
    where = (
        Where()
        .given("programme = %s", wanted.programme)
        .given("kind = %s", wanted.kind)
        .given("limit_at < %s", wanted.before)
        .given("passed = %s", wanted.passed)
        .within(scope, _SUBJECT_VISIBLE)
    )
    return page(cursor, "deadlines", _DEADLINE, where, after, limit)
