"""Projector and relay on real engines: what follows the log is right, says so when it is not, and can begin anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError
from nats.js.errors import APIError
from psycopg.sql import SQL

from contracts.assignment import (
    AcknowledgeAssignment,
    AssignTask,
    CancelAssignment,
    Due,
    Evidence,
    Milestone,
    ProgressReported,
    ReportProgress,
    SignOffCompletion,
    StartWork,
    SubmitResult,
)
from domain.kernel import Recorded
from projections import assignments
from projections.builds import BUILD
from projections.model import Key, ReadModel, by_stream, handling
from projections.rows import COPY_FROM
from projections.status import positions, quarantined
from projections.tables import as_of
from services.bus import ATOMIC_FROM, Bus
from services.projector.core import Projector, tracked_name
from services.projector.rebuild import UnknownReadModel, rebuild
from services.registry import Aggregate, Registry
from services.relay.core import BATCH, EventsAhead, Relay
from services.store import Store
from tests.integration.support import AUTHORITY, Desk, another, clock_at, events, messages, project, rows, stream, task

EVIDENCE = (Evidence(system="QLVB", number="1"),)


def mixed_run(desk: Desk, projector: Projector | None = None) -> None:
    """Tasks that go all ways, projected in uneven batches."""
    milestone = Milestone(code="M-1", what="Bước một", due=Due(day=date(2026, 6, 15)))
    acts: list[Callable[[str], object]] = [
        lambda code: desk.do(AcknowledgeAssignment(), stream(code), "PBCXB-TP"),
        lambda code: desk.do(StartWork(), stream(code), "PBCXB-TP"),
        lambda code: desk.do(ReportProgress(percent=50), stream(code), "PBCXB-TP"),
        lambda code: desk.do(SubmitResult(evidence=EVIDENCE), stream(code), "PBCXB-TP"),
        lambda code: desk.do(SignOffCompletion(), stream(code), authority=AUTHORITY),
    ]
    for number in range(12):
        code = f"T-{number:02}"
        desk.assign(code, milestones=(milestone,) if number % 3 else ())
        for act in acts[: number % 6]:
            act(code)
        if number == 1:
            desk.do(CancelAssignment(reason="không còn cần"), stream("T-00"))
        desk.clock.move_to(desk.clock.now() + timedelta(hours=7))
        if projector is not None and number % 5 == 0:
            projector.step()
    while projector is not None and projector.step():
        pass


# ---------------------------------------------------------------- rebuild


def test_incremental_equals_rebuild(store: Store) -> None:
    """R-352: all read models, their histories and the figures over them, all columns of all rows."""
    desk = Desk.founded(store)
    mixed_run(desk, project(store, desk.clock))
    found = rebuild(store)
    expected = [name for model in store.registry.read_models for name, _ in model.tables]
    assert {one.name for one in found} == {*expected, *(view.name for view in store.registry.views)}
    assert [one.name for one in found if not one.equal] == []
    assert {one.position for one in found} == {store.recorder.head().position}
    counts = {one.name: one.rows for one in found}
    assert counts["assignments"] == 12
    assert counts["assignments_history"] > 12
    assert counts["department_scorecard"] > 0


def test_counts_are_those_of_the_rows(store: Store) -> None:
    """R-352: kept with the rows, batch by batch, and no group stays that has no rows."""
    desk = Desk.founded(store)
    mixed_run(desk, project(store, desk.clock))
    project(store, desk.clock)
    assert {m.name for m in store.registry.read_models if m.counted_by} == {"assignments", "obligations", "warnings"}
    assert rows(store, "SELECT FROM read.assignments_counts")
    require_counts(store)


def test_texts_stand_in_one_order_whatever_language_the_database_speaks(store: Store) -> None:
    """R-355: limits of one instant fire in the order of their streams, so that order must not depend on a collation."""
    project(store, Desk.founded(store).clock)
    with store.recorder.reading() as cursor:
        found = cursor.execute(
            "SELECT c.relname, a.attname, l.collname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
            " JOIN pg_collation l ON l.oid = a.attcollation WHERE c.relkind = 'r' AND c.relnamespace = 'read'::regnamespace"
        ).fetchall()
    tables = {name for model in store.registry.read_models for name, _ in model.tables}
    texts = [row for row in found if row["relname"] in tables]
    assert {row["relname"] for row in texts} == tables
    assert {row["collname"] for row in texts} == {"C"}


def test_a_rebuild_compares_at_the_live_position(store: Store) -> None:
    """The log is ahead of the projector: the second build goes only as far as the live one."""
    desk = Desk.founded(store)
    mixed_run(desk, project(store, desk.clock))
    behind = store.recorder.head().position
    project(store, desk.clock)
    desk.assign("T-99")
    found = rebuild(store)
    assert all(one.equal for one in found)
    assert {one.position for one in found} == {behind}
    assert rows(store, "SELECT * FROM read.assignments WHERE code = 'T-99'") == []
    project(store, desk.clock)
    assert all(one.equal for one in rebuild(store))


def test_a_corrupted_row_is_named_and_mended(store: Store) -> None:
    desk = Desk.founded(store)
    mixed_run(desk, project(store, desk.clock))
    before = rows(store, "SELECT * FROM read.assignments ORDER BY code")
    for corrupt in (
        "UPDATE read.assignments SET priority = priority + 1 WHERE code = 'T-03'",
        "DELETE FROM read.assignments WHERE code = 'T-03'",
        (
            'INSERT INTO read.assignments SELECT (jsonb_populate_record(a, \'{"code": "T-33"}\')).*'
            " FROM read.assignments a WHERE code = 'T-03'"
        ),
    ):
        code = "T-33" if "T-33" in corrupt else "T-03"
        with store.recorder.transaction() as cursor:
            assert cursor.execute(corrupt.encode()).rowcount == 1
        found = {one.name: one for one in rebuild(store, ["assignments", "obligations"])}
        assert found["obligations"].equal
        assert not found["assignments"].equal
        assert [(d["programme"], d["code"]) for d in found["assignments"].differences] == [("SVHTTDL-TD500", code)]
        difference = found["assignments"].differences[0]
        assert difference["live"] != difference["rebuilt"]
        assert not rebuild(store, ["assignments"], switch=True)[0].equal
        assert all(one.equal for one in rebuild(store))
        assert rows(store, "SELECT * FROM read.assignments ORDER BY code") == before
    desk.assign("T-50")
    project(store, desk.clock)
    assert all(one.equal for one in rebuild(store))
    assert rows(store, "SELECT 1 AS x FROM pg_namespace WHERE nspname = %s", BUILD) == []


def test_a_corrupted_past_is_found_too(store: Store) -> None:
    desk = Desk.founded(store)
    mixed_run(desk, project(store, desk.clock))
    with store.recorder.transaction() as cursor:
        cursor.execute("UPDATE read.assignments_history SET to_pos = to_pos + 1 WHERE code = 'T-05' AND version = 2")
    found = {one.name: one for one in rebuild(store)}
    assert [name for name, one in found.items() if not one.equal] == ["assignments_history"]
    assert {d["code"] for d in found["assignments_history"].differences} == {"T-05"}


def test_a_wrong_count_is_found_by_its_group(store: Store) -> None:
    """R-352: and none of the groups beside it, though parts of their keys are null."""
    desk = Desk.founded(store)
    mixed_run(desk, project(store, desk.clock))
    project(store, desk.clock)
    with store.recorder.transaction() as cursor:
        cursor.execute("UPDATE read.assignments_counts SET n = n + 1 WHERE status = 'cancelled'")
    found = {one.name: one for one in rebuild(store)}
    wrong = found["assignments_counts"].differences
    assert [(one["status"], one["phase"], one["live"]["n"], one["rebuilt"]["n"]) for one in wrong] == [
        ("cancelled", None, 2, 1)
    ]


def test_a_switch_while_the_projector_goes_on(store: Store, dsn: str) -> None:
    desk = Desk.founded(store)
    projector = project(store, desk.clock)
    mixed_run(desk, projector)
    with another(dsn) as second:

        def more(position: int, head: int) -> None:
            desk.assign(f"T-{position}-{head}")
            projector.step()

        rebuild(second, progress=more, switch=True)
    desk.assign("T-LAST")
    while projector.step():
        pass
    assert projector.position == store.recorder.head().position
    assert all(one.equal for one in rebuild(store))


def test_an_unknown_read_model_is_refused(store: Store) -> None:
    with pytest.raises(UnknownReadModel, match=r"no read model 'nothing'; there are assignments, "):
        rebuild(store, ["nothing"])


# ---------------------------------------------------------------- history


def test_the_past_is_a_fold_up_to_there(store: Store) -> None:
    """R-348: as of every position, the rows are those a fold of the log up to that position gives."""
    desk = Desk.founded(store)
    projector = project(store, desk.clock)
    mixed_run(desk, projector)
    model = assignments.MODEL
    state: dict[Key, Any] = {}
    names = [column.name for column in model.columns]
    for event in events(store):
        if model.handles_event(event):
            for key in model.keys(event):
                state[key] = model.apply(state.get(key), event)
        with store.recorder.transaction() as cursor:
            found = cursor.execute(
                SQL("SELECT * FROM {} t ORDER BY programme, code").format(as_of("read", model, event.position))
            ).fetchall()
        expected = [state[key] for key in sorted(state)]
        assert len(found) == len(expected)
        for row, wanted in zip(found, expected, strict=True):
            for name in names:
                value = getattr(wanted, name)
                assert row[name] == (as_lists(value) if isinstance(value, tuple) else value), (event.position, name)


def as_lists(value: Any) -> Any:
    return [as_lists(item) for item in value] if isinstance(value, tuple) else value


# ---------------------------------------------------------------- quarantine and change of shape


@dataclass(frozen=True, slots=True)
class PercentRow:
    programme: str
    code: str
    percent: int
    reports: int


def percent(row: PercentRow | None, event: Recorded[ProgressReported]) -> PercentRow:
    return PercentRow(event.programme, event.code, event.data.percent, row.reports + 1 if row else 1)


def stumbling(row: PercentRow | None, event: Recorded[ProgressReported]) -> PercentRow:
    if event.data.percent == 66:
        raise ZeroDivisionError("66 is too much")
    return percent(row, event)


def oversized(row: PercentRow | None, event: Recorded[ProgressReported]) -> PercentRow:
    found = percent(row, event)
    return replace(found, percent=2**63) if event.data.percent == 66 else found  # no bigint holds it


def percents(apply: Callable[..., Any] = percent, row: type[Any] = PercentRow) -> ReadModel:
    return ReadModel(
        "percents",
        row,
        ("programme", "code"),
        handling("assignment", [ProgressReported]),
        by_stream,
        apply,
        counted_by=("percent", "reports"),
    )


def require_counts(store: Store) -> None:
    """What is kept of each counted model is what its rows come to."""
    for model in store.registry.read_models:
        if model.counted_by:
            groups = ", ".join(model.counted_by)
            kept = f"SELECT {groups}, n FROM read.{model.counts}"
            rightly = f"SELECT {groups}, count(*)::integer FROM read.{model.name} GROUP BY {groups}"
            assert rows(store, f"({kept} EXCEPT {rightly}) UNION ALL ({rightly} EXCEPT {kept})") == [], model.name


def with_model(store: Store, model: ReadModel) -> Store:
    """The store with one more read model."""
    first, *others = store.registry.aggregates
    more = Aggregate(first.decider, (*first.read_models, model), first.views)
    return replace(store, registry=Registry((more, *others)))


def stuck(projector: Projector) -> dict[str, int]:
    """Where each read model stands."""
    return dict(projector._positions)


def nameless(row: PercentRow | None, event: Recorded[ProgressReported]) -> PercentRow:
    found: Any = None if event.data.percent == 66 else event.data.percent
    return replace(percent(row, event), percent=found)


@pytest.mark.parametrize("apply", [stumbling, oversized, nameless])
def test_an_event_that_cannot_be_applied_is_quarantined(store: Store, apply: Callable[..., Any]) -> None:
    """R-352: the model stops before it, by name; the others go on; mended code catches up."""
    desk = Desk.founded(store)
    desk.assign("T-1", "T-2")
    for code in ("T-1", "T-2"):
        desk.do(StartWork(), stream(code), "PBCXB-TP")
    for code, value in (("T-1", 10), ("T-2", 20), ("T-1", 66), ("T-1", 70), ("T-2", 80)):
        desk.do(ReportProgress(percent=value), stream(code), "PBCXB-TP")
    bad = next(e for e in events(store) if isinstance(e.data, ProgressReported) and e.data.percent == 66)
    own = with_model(store, percents(apply))
    projector = project(own, desk.clock)
    head = store.recorder.head().position
    stands = stuck(projector)
    assert stands.pop("percents") < bad.position
    assert set(stands.values()) == {head}
    query = "SELECT code, percent, reports FROM read.percents ORDER BY code"
    before = [{"code": "T-1", "percent": 10, "reports": 1}, {"code": "T-2", "percent": 20, "reports": 1}]
    assert rows(store, query) == before
    with store.recorder.transaction() as cursor:
        (row,) = quarantined(cursor)
        known = positions(cursor)
    assert (row["model"], row["position"], row["stream"]) == ("percents", bad.position, stream("T-1"))
    assert ("ZeroDivisionError: 66 is too much" if apply is stumbling else "") in row["error"]
    assert row["since"] == desk.clock.now()
    assert known[tracked_name(percents())] == bad.position - 1
    # it stays stopped, and others go on
    desk.assign("T-3")
    while projector.step():
        pass
    assert stuck(projector)["assignments"] == store.recorder.head().position
    assert rows(store, query) == before
    require_counts(own)
    # a restart with the same code stops at the same event, with mended code it catches up
    assert stuck(project(own, desk.clock))["percents"] == bad.position - 1
    mended = with_model(store, percents())
    assert set(stuck(project(mended, desk.clock)).values()) == {store.recorder.head().position}
    assert rows(store, query) == [
        {"code": "T-1", "percent": 70, "reports": 3},
        {"code": "T-2", "percent": 80, "reports": 2},
    ]
    with store.recorder.transaction() as cursor:
        assert quarantined(cursor) == []
    require_counts(mended)
    assert all(one.equal for one in rebuild(mended))


def leaving(row: PercentRow | None, event: Recorded[ProgressReported]) -> PercentRow | None:
    return None if event.data.percent == 66 else percent(row, event)


def test_rows_that_go_and_come_back_are_written_once(store: Store) -> None:
    """R-352: new ones, those whose row has gone, and those whose row stands, by COPY in one batch; each way it may come about."""
    desk = Desk.founded(store)
    own = with_model(store, percents(leaving))
    projector = project(own, desk.clock)
    codes = [f"T-{number:03}" for number in range(COPY_FROM * 3)]
    desk.assign(*codes)
    going, staying, coming = (codes[number::3] for number in range(3))

    def report(percent: int, *those: str) -> None:
        desk.accept(
            *(desk.sender.document(ReportProgress(percent=percent), stream(code), "PBCXB-TP") for code in those)
        )

    def projected() -> dict[str, int]:
        while projector.step():
            pass
        return {row["code"]: row["percent"] for row in rows(store, "SELECT code, percent FROM read.percents")}

    report(10, *going, *staying)
    assert set(projected()) == {*going, *staying}
    report(66, *going)
    assert set(projected()) == set(staying)
    report(20, *going, *coming)
    report(66, *staying)
    report(20, *staying)
    report(30, *coming[:5])
    assert projected() == dict.fromkeys(codes, 20) | dict.fromkeys(coming[:5], 30)
    assert stuck(projector)["percents"] == store.recorder.head().position
    assert all(one.equal for one in rebuild(own))


@dataclass(frozen=True, slots=True)
class NotedRow(PercentRow):
    note: str | None


def noted(row: NotedRow | None, event: Recorded[ProgressReported]) -> NotedRow:
    return NotedRow(event.programme, event.code, event.data.percent, row.reports + 1 if row else 1, "đã xem")


def test_another_shape_is_built_anew(store: Store) -> None:
    desk = Desk.founded(store)
    desk.assign("T-1")
    desk.do(StartWork(), stream("T-1"), "PBCXB-TP")
    for value in (10, 20):
        desk.do(ReportProgress(percent=value), stream("T-1"), "PBCXB-TP")
    project(with_model(store, percents()), desk.clock)
    others = rows(store, "SELECT xmin::text AS x, code FROM read.assignments")
    changed = with_model(store, percents(noted, NotedRow))
    projector = Projector(changed, desk.clock)
    projector.prepare()
    assert stuck(projector)["percents"] == 0
    assert rows(store, "SELECT * FROM read.percents") == []
    project(changed, desk.clock)
    (row,) = rows(store, "SELECT * FROM read.percents")
    assert (row["percent"], row["reports"], row["note"]) == (20, 2, "đã xem")
    assert len(rows(store, "SELECT * FROM read.percents_history")) == 1
    assert rows(store, "SELECT xmin::text AS x, code FROM read.assignments") == others
    assert all(one.equal for one in rebuild(changed))


def test_two_shapes_there_and_back(store: Store) -> None:
    """The older code returns: its position of long ago does not hide that its table is gone."""
    desk = Desk.founded(store)
    desk.assign("T-1")
    desk.do(StartWork(), stream("T-1"), "PBCXB-TP")
    desk.do(ReportProgress(percent=10), stream("T-1"), "PBCXB-TP")
    old, new = with_model(store, percents()), with_model(store, percents(noted, NotedRow))
    for own in (old, new, old, new):
        project(own, desk.clock)
        desk.do(ReportProgress(percent=20), stream("T-1"), "PBCXB-TP")
        project(own, desk.clock)
        assert all(one.equal for one in rebuild(own))


def test_two_projectors_at_once_apply_nothing_twice(store: Store, dsn: str) -> None:
    """One lost its lease and does not know it yet: its batch is refused, and no event is to blame."""
    desk = Desk.founded(store)
    own = with_model(store, percents())
    first = project(own, desk.clock)
    with another(dsn) as opened:
        second = project(with_model(opened, percents()), desk.clock)
        mixed_run(desk)
        desk.assign(*(f"N-{number}" for number in range(COPY_FROM)))
        assert first.step()
        with pytest.raises(IntegrityError):
            second.step()
        second.prepare()
        assert second.step() == 0
    with store.recorder.transaction() as cursor:
        assert quarantined(cursor) == []
    assert all(one.equal for one in rebuild(own))


def test_the_projector_begins_where_it_stopped(store: Store, dsn: str) -> None:
    desk = Desk.founded(store)
    first = project(store, desk.clock)
    desk.assign("T-1")
    with another(dsn, "victim") as victim:
        projector = Projector(victim, desk.clock)
        projector.prepare()
        assert projector.position == first.position
        assert projector.step() == store.recorder.head().position - first.position
        assert projector.step() == 0
    assert all(one.equal for one in rebuild(store))


# ---------------------------------------------------------------- relay


async def relayed(relay: Relay) -> int:
    total = 0
    while did := await relay.step():
        total += did
    return total


def where(relay: Relay) -> int | None:
    return relay.position


async def in_step(store: Store, bus: Bus) -> None:
    """EVENTS holds the log, byte for byte, sequence by position."""
    stored = store.recorder.select_notifications(0, 1_000_000)
    found = await messages(bus, "EVENTS")
    assert [data for _, data, _ in found] == [event.state for event in stored]
    for (subject, _, _), event in zip(found, stored, strict=True):
        _, aggregate, name, _ = event.topic.split(".")
        assert subject == bus.names.event(str(event.originator_id).split("/")[1], aggregate, name)


async def test_the_sequence_is_the_position(store: Store, bus: Bus) -> None:
    desk = Desk.founded(store)
    relay = Relay(store, bus)
    assert where(relay) is None
    assert await relayed(relay) == store.recorder.head().position >= ATOMIC_FROM
    for number in range(3):  # below a dozen: pipelined
        desk.assign(f"T-{number}")
        assert await relayed(relay) == 2
    assert relay.position == store.recorder.head().position
    await in_step(store, bus)


async def test_more_than_a_batch_at_once(store: Store, bus: Bus) -> None:
    desk = Desk.founded(store)
    desk.assign(*(f"T-{number}" for number in range(BATCH)))
    heard: list[int] = []
    relay = Relay(store, bus, lambda batch: heard.extend(event.id for event in batch))
    assert await relay.step() == BATCH
    assert await relayed(relay) == store.recorder.head().position - BATCH > BATCH
    assert heard == list(range(1, store.recorder.head().position + 1))
    state = (await bus.js.stream_info(bus.names.stream("EVENTS"))).state
    assert state.last_seq == state.messages == store.recorder.head().position


async def test_a_restart_resumes(store: Store, bus: Bus) -> None:
    desk = Desk.founded(store)
    await relayed(Relay(store, bus))
    desk.assign("T-1", "T-2")
    assert await relayed(Relay(store, bus)) == 4
    assert await relayed(Relay(store, bus)) == 0
    await in_step(store, bus)


@pytest.mark.parametrize("size", [2, 2 * ATOMIC_FROM])
async def test_a_replay_is_refused_by_the_broker(store: Store, bus: Bus, size: int) -> None:
    """Two relays at once: the second is refused (10071), looks where EVENTS stands, and goes on."""
    desk = Desk.founded(store)
    first, second = Relay(store, bus), Relay(store, bus)
    await relayed(first)
    await relayed(second)
    desk.assign(*(f"T-{number}" for number in range(size // 2)))
    batch = store.recorder.select_notifications(first.position or 0, 100, inclusive_of_start=False)
    last = first.position or 0
    assert await first.step() == size
    with pytest.raises(APIError) as refused:
        await second._publish(batch, last)
    assert refused.value.err_code == 10071
    assert await second.step() == size  # refused, resumed
    assert where(second) is None
    assert await second.step() == 0
    assert second.position == store.recorder.head().position
    desk.assign("T-LAST")
    assert await second.step() == 2
    await in_step(store, bus)


async def test_a_batch_that_was_cut_off_is_completed(store: Store, bus: Bus) -> None:
    """A crash amid pipelined publishing leaves a part; the next relay sends the rest."""
    desk = Desk.founded(store)
    relay = Relay(store, bus)
    await relayed(relay)
    last = relay.position or 0
    desk.assign("T-1", "T-2")
    batch = store.recorder.select_notifications(last, 100, inclusive_of_start=False)
    await relay._publish(batch[:1], last)
    assert await relay.step() == 4  # refused: EVENTS moved on
    assert await relayed(relay) == 3
    await in_step(store, bus)


async def test_events_ahead_of_the_log_are_an_error(store: Store, bus: Bus) -> None:
    Desk.founded(store)
    await relayed(Relay(store, bus))
    head = store.recorder.head().position
    await bus.js.publish(bus.names.event("X", "y", "Z"), b"not of this log")
    with pytest.raises(EventsAhead, match=rf"at {head + 1}, the log at {head}; recreate the stream"):
        await Relay(store, bus).step()


async def test_events_of_an_empty_log(store: Store, bus: Bus) -> None:
    relay = Relay(store, bus)
    assert await relay.step() == 0
    assert relay.position == 0


async def test_projector_and_relay_survive_lost_connections(store: Store, bus: Bus, dsn: str) -> None:
    desk = Desk.founded(store, clock_at())
    with another(dsn, "victim") as victim:
        projector, relay = Projector(victim, desk.clock), Relay(victim, bus)
        projector.prepare()
        for number in range(3):
            desk.accept(desk.sender.document(AssignTask(content=task()), stream(f"T-{number}")))
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'"
                )
            for step in (relay.step, lambda: asyncio.to_thread(projector.step)):
                await until_done(step)
    await in_step(store, bus)
    assert all(one.equal for one in rebuild(store))


async def until_done(step: Callable[[], Any]) -> None:
    """As hosting does: after trouble, again."""
    for _ in range(10):
        try:
            if not await step():
                return
        except Exception as trouble:
            assert type(trouble).__name__ == "OperationalError", trouble
    raise AssertionError("no end")
