"""The rates of a scorecard: what reports like to mix is kept apart (R-194, R-330, R-061)."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from contracts.assignment import Due, TaskContent
from contracts.envelope import Actor
from domain.kernel import Recorded
from projections import assignments
from projections.assignments import AssignmentRow
from projections.tables import Fold, create_tables, write_fold
from services.store import Store

AT = datetime(2026, 6, 1, tzinfo=UTC)


def _row(number: int, **changes: Any) -> AssignmentRow:
    from contracts.assignment import TaskAssigned

    content = TaskContent(work="x", lead_unit="PBCXB", phase="P1", due=Due(day=AT.date()))
    event = Recorded(
        data=TaskAssigned(content=content),
        stream=f"assignment/SVHTTDL-TD500/T-{number}",
        version=1,
        occurred_at=AT,
        recorded_at=AT,
        actor=Actor(post="GD", unit="BGD"),
        organisation="SVHTTDL",
        programme="SVHTTDL-TD500",
        sender="DMS",
        command_id="1",
        correlation_id="1",
        causation_id="1",
        id="1",
        position=number,
    )
    row = assignments.apply(None, event)
    assert row is not None
    return replace(row, **changes)


def _card(store: Store, rows: list[AssignmentRow], view: str = "department_scorecard") -> dict[str, Any]:
    with store.recorder.transaction() as cursor:
        create_tables(cursor, "read", store.registry.read_models, store.registry.views)
        known = {(row.programme, row.code): (row, 1) for row in rows}
        write_fold(cursor, "read", Fold(assignments.MODEL, dict(known)))
        found = cursor.execute(f"SELECT * FROM read.{view}".encode()).fetchone()
    assert found is not None
    return found


def done(number: int, original: str, current: str = "on_time") -> AssignmentRow:
    """A finished task with its two verdicts."""
    return _row(number, status="completed", timeliness_original=original, timeliness_current=current)


def test_r194_49_of_50_meets_98_per_cent_and_open_overdue_tasks_count_as_not_on_time(store: Store) -> None:
    rows = [done(n, "on_time") for n in range(49)] + [_row(49, overdue=True, was_overdue=True, health="overdue")]
    rows += [_row(50), _row(51)]  # not yet due: they do not count
    card = _card(store, rows)
    assert card["on_time_rate"] == Decimal("0.9800")
    assert card["completion_rate"] == Decimal("0.9423")
    assert (card["assigned"], card["done"], card["overdue_open"]) == (52, 49, 1)


def test_r330_an_extension_after_the_limit_is_late_against_the_original(store: Store) -> None:
    late = replace(done(1, "late", "on_time"), was_overdue=True, extensions=1, extended_after_limit=True)
    card = _card(store, [late, done(2, "early", "early")])
    assert (card["done_late"], card["done_on_time_original"], card["done_on_time_current"]) == (1, 1, 2)
    assert (card["on_time_rate"], card["on_time_rate_current"]) == (Decimal("0.5000"), Decimal("1.0000"))
    assert (card["ever_overdue"], card["extended_after_limit"]) == (1, 1)


def test_r169_what_has_no_limit_is_not_judged(store: Store) -> None:
    card = _card(store, [done(1, "undated", "undated"), done(2, "on_time")])
    assert (card["done_undated"], card["on_time_rate"]) == (1, Decimal("1.0000"))
    alone = _card(store, [done(1, "undated", "undated"), replace(done(2, "undated", "undated"))])
    assert alone["on_time_rate"] is None


def test_r061_a_task_carried_out_of_a_phase_stays_late_in_it(store: Store) -> None:
    left = _row(1, phase="P2", left_phases=(("P1", True),), status="completed", timeliness_original="late")
    with_it = _card(store, [left, done(2, "on_time")], view="phase_scorecard WHERE phase = 'P1'")
    assert (with_it["assigned"], with_it["carried_out"], with_it["carried_out_overdue"]) == (1, 1, 1)
    assert (with_it["completion_rate"], with_it["on_time_rate"]) == (Decimal("0.5000"), Decimal("0.5000"))
