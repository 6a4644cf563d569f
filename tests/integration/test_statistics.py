"""Rows are found by their keys from a young installation's first minute on, before autovacuum has looked at its tables."""

from __future__ import annotations

import re

import pytest

from contracts.assignment import AcknowledgeAssignment, ReportProgress, StartWork
from projections.rows import _statements
from services.projector.core import SCHEMA
from services.store import Store
from tests.integration.support import Desk, project, rows, stream

TASKS = 350
STATEMENTS = ("load", "load_gone", "delete", "leave", "forget")


def scanned(store: Store, statement: str) -> set[str]:
    """The indexes and tables that a statement prepared now would go through, for any parameters."""
    numbers = iter(range(1, 100))
    numbered = re.sub(r"%[bs]", lambda _: f"${next(numbers)}", statement)
    plan = [row["QUERY PLAN"] for row in rows(store, f"EXPLAIN (GENERIC_PLAN) {numbered}")]
    return set(re.findall(r"Scan(?: Backward)? (?:using|on) (\w+)", "\n".join(plan))) - {"k"}


def analyses(store: Store) -> dict[str, int]:
    """How often each table was analysed, not by autovacuum."""
    found = rows(store, "SELECT relname, analyze_count FROM pg_stat_user_tables WHERE schemaname = 'read'")
    return {row["relname"]: row["analyze_count"] for row in found if row["analyze_count"]}


@pytest.fixture
def busy(store: Store) -> Store:
    """Tasks of one programme on which work goes on: thousands of rows live and past, and as many events a second."""
    desk = Desk.founded(store)
    codes = [f"T-{number:04}" for number in range(TASKS)]
    project(store, desk.clock)
    desk.assign(*codes)
    head = "PBCXB-TP"
    for command in (AcknowledgeAssignment(), StartWork(), *(ReportProgress(percent=n) for n in range(1, 6))):
        desk.accept(*(desk.sender.document(command, stream(code), head) for code in codes))
    return store


def test_young_tables_are_analysed_as_they_grow(busy: Store) -> None:
    assert analyses(busy) == {}
    projector = project(busy, Desk.open(busy).clock)
    found = analyses(busy)
    assert 1 <= found["assignments"] <= 3
    assert 1 <= found["assignments_history"] <= 3
    assert "units" not in found, "few rows were written"
    assert projector.step() == 0
    assert analyses(busy) == found


def test_rows_are_found_by_their_keys(busy: Store) -> None:
    project(busy, Desk.open(busy).clock)
    (model,) = (model for model in busy.registry.read_models if model.name == "assignments")
    statements = _statements(SCHEMA, model)
    assert {name: scanned(busy, getattr(statements, name)) for name in STATEMENTS} == {
        "load": {"assignments_pkey"},
        "load_gone": {"assignments_history_key"},
        "delete": {"assignments_pkey"},
        "leave": {"assignments_history_key"},
        "forget": {"assignments_occurred_pkey"},
    }
