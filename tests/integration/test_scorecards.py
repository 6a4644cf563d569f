"""The rates of a scorecard: what reports like to mix is kept apart (R-194, R-330, R-061)."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from contracts.assignment import AssignTask, Due, TaskAssigned, TaskContent
from contracts.deadlines import DeadlineKey, RecordDeadlinePassed
from contracts.envelope import Actor
from domain.kernel import Recorded
from projections import assignments
from projections.assignments import AssignmentRow
from projections.rows import Fold, write_counts, write_rows
from projections.tables import create_tables
from services.clock import SimulatedClock
from services.intake.reading import Incoming
from services.outgoing import Outgoing, to_json
from services.senders import system_command
from services.spine import intake_for
from services.store import Store
from tests.integration.support import imported, project, rows
from tests.integration.test_faults import DIRECTOR
from tests.integration.test_properties import CONTENT

AT = datetime(2026, 6, 1, tzinfo=UTC)


def _row(number: int, **changes: Any) -> AssignmentRow:
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
    return row._replace(**changes)


def _card(store: Store, rows: list[AssignmentRow], view: str = "department_scorecard") -> dict[str, Any]:
    with store.recorder.transaction() as cursor:
        create_tables(cursor, "read", store.registry.read_models, store.registry.views)
        write_rows(cursor, "read", assignments.MODEL, [(row, 1, AT) for row in rows])
        cursor.execute("TRUNCATE read.assignments_counts")
        write_counts(cursor, "read", Fold(assignments.MODEL, grown=_groups(rows)))
        found = cursor.execute(f"SELECT * FROM read.{view}".encode()).fetchone()
    assert found is not None
    return found


def _groups(rows: list[AssignmentRow]) -> Counter[tuple[Any, ...]]:
    assert assignments.MODEL.group_of is not None
    return Counter(map(assignments.MODEL.group_of, rows))


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
    late = done(1, "late", "on_time")._replace(was_overdue=True, extensions=1, extended_after_limit=True)
    card = _card(store, [late, done(2, "early", "early")])
    assert (card["done_late"], card["done_on_time_original"], card["done_on_time_current"]) == (1, 1, 2)
    assert (card["on_time_rate"], card["on_time_rate_current"]) == (Decimal("0.5000"), Decimal("1.0000"))
    assert (card["ever_overdue"], card["extended_after_limit"]) == (1, 1)


def test_r169_what_has_no_limit_is_not_judged(store: Store) -> None:
    card = _card(store, [done(1, "undated", "undated"), done(2, "on_time")])
    assert (card["done_undated"], card["on_time_rate"]) == (1, Decimal("1.0000"))
    alone = _card(store, [done(1, "undated", "undated"), done(2, "undated", "undated")])
    assert alone["on_time_rate"] is None


def test_r061_a_task_carried_out_of_a_phase_stays_late_in_it(store: Store) -> None:
    left = _row(1, phase="P2", left_phases=(("P1", True),), status="completed", timeliness_original="late")
    with_it = _card(store, [left, done(2, "on_time")], view="phase_scorecard WHERE phase = 'P1'")
    assert (with_it["assigned"], with_it["carried_out"], with_it["carried_out_overdue"]) == (1, 1, 1)
    assert (with_it["completion_rate"], with_it["on_time_rate"]) == (Decimal("0.5000"), Decimal("0.5000"))


def test_a_task_that_left_many_phases_is_counted(store: Store) -> None:
    """However long the list of the phases it left, which is more than an index entry holds."""
    left = tuple((f"{number:040}", number % 2 == 0) for number in range(300))
    tasks = [_row(1, left_phases=left), _row(2, left_phases=left), _row(3, left_phases=left[:-1])]
    assert _card(store, tasks)["carried_over"] == 3
    counts = rows(store, "SELECT n, jsonb_array_length(left_phases) AS phases FROM read.assignments_counts ORDER BY n")
    assert [(one["n"], one["phases"]) for one in counts] == [(1, 299), (2, 300)]


def test_r055_open_key_tasks_are_milestone_late_even_if_their_own_limit_is_later(store: Store) -> None:
    world = intake_for(store, SimulatedClock(datetime(2026, 6, 2, tzinfo=UTC)))
    founding = imported(datetime(2026, 6, 1, 1, tzinfo=UTC), "skhcn-td500")
    world.process([Incoming("IMPORT", c.programme, to_json(c, "IMPORT"), n) for n, c in enumerate(founding)])
    clock = SimulatedClock(datetime(2027, 6, 30, 17, tzinfo=UTC))
    late = intake_for(store, clock)
    stream = "obligation/SKHCN-TD500/P4-M1"
    key = DeadlineKey(kind="obligation_due", occurrence="1", due_version=1)
    passed = system_command(RecordDeadlinePassed(key=key), stream, "SKHCN", clock.now(), "limit")
    due = Due(day=date(2027, 9, 15))
    messages = [to_json(task, "DMS-TEST") for task in (_task("K-1", due, "KEY"), _task("W-1", due, "WORK"))]
    batch = [Incoming("DMS-TEST", "SKHCN-TD500", message, n) for n, message in enumerate(messages)]
    batch.append(Incoming("timekeeper", "SKHCN-TD500", to_json(passed, "timekeeper"), 9))
    assert late.process(batch).outcomes == {"accepted": 3}
    project(store, clock)
    with store.recorder.reading() as cursor:
        card = cursor.execute("SELECT * FROM read.department_scorecard WHERE unit = 'TTKHCN'").fetchone()
        kinds = cursor.execute(
            "SELECT kind FROM read.assignments WHERE unit = 'TTKHCN' AND status = 'assigned'"
        ).fetchall()
    assert card is not None
    covered = [row["kind"] for row in kinds].count("KEY")
    assert card["milestone_late"] == covered
    assert 0 < covered < card["open"]


def _task(code: str, due: Due, kind: str) -> Outgoing:
    content = replace(CONTENT, due=due, kind=kind)
    at = datetime(2027, 6, 1, tzinfo=UTC)
    return Outgoing(
        code,
        "assignment",
        AssignTask(content=content),
        f"assignment/SKHCN-TD500/{code}",
        "SKHCN-TD500",
        "SKHCN",
        DIRECTOR,
        at,
    )
