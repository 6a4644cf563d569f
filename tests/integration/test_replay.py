"""Replay across time: every read model, view and aggregate as of any moment, as it was known and as it was true."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import orjson
import pytest
from psycopg.sql import SQL, Identifier
from typer.testing import CliRunner

from contracts.assignment import AssignTask, ReportProgress, SignOffCompletion, StartWork, SubmitResult
from domain.kernel import Recorded
from projections.model import Key, ReadModel
from projections.past import Moment, in_order, position_at, read_at
from services.api.app import create_app
from services.audit.diff import difference
from services.audit.replay import reading_at
from services.bus import Bus
from services.cli.main import app
from services.clock import SimulatedClock
from services.engines import EmbeddedEngines
from services.projector.rebuild import rebuild
from services.registry import REGISTRY, Aggregate
from services.settings import Settings
from services.store import Store
from tests.integration import test_new_aggregate as visit
from tests.integration.support import (
    AUTHORITY,
    Desk,
    Sender,
    client_of,
    clock_at,
    events,
    founding,
    play,
    project,
    publish,
    rows,
    spine_of,
    stream,
    task,
)
from tests.integration.test_followers import EVIDENCE
from tests.unit.spec import PROG, local

VIEWS = tuple(view.name for view in REGISTRY.views)


def folded(model: ReadModel, log: Sequence[Recorded[Any]], moment: Moment) -> dict[Key, Any]:
    """The rows a fresh fold gives: of the log up to a position, or of each row's events up to an instant, in their order."""
    of_key: dict[Key, list[Recorded[Any]]] = defaultdict(list)
    for event in log:
        if model.handles_event(event):
            for key in model.keys(event):
                of_key[key].append(event)
    found = {}
    for key, own in of_key.items():
        if moment.axis == "recorded":
            chosen = [event for event in own if event.position <= moment.position]
        else:
            chosen = [event for since, event in in_order(own) if since <= moment.at]
        row = None
        for event in chosen:
            row = model.apply(row, event)
        if row is not None:
            found[key] = row
    return found


def past_rows(store: Store, name: str, moment: Moment | None) -> list[dict[str, Any]]:
    with store.recorder.transaction() as cursor:
        cursor.execute("SET LOCAL search_path TO read")
        if moment is not None:
            read_at(cursor, moment)
        return [dict(row) for row in cursor.execute(SQL("SELECT * FROM {}").format(Identifier(name)))]


def as_lists(value: Any) -> Any:
    return [as_lists(item) for item in value] if isinstance(value, tuple) else value


def assert_past(store: Store, log: Sequence[Recorded[Any]], moment: Moment) -> None:
    """All read models, all columns, against a fresh fold."""
    for model in store.registry.read_models:
        names = [column.name for column in model.columns]
        found = {tuple(row[name] for name in model.key): row for row in past_rows(store, model.name, moment)}
        expected = folded(model, log, moment)
        assert found.keys() == expected.keys(), (model.name, moment)
        for key, row in expected.items():
            wanted = [as_lists(getattr(row, name)) for name in names]
            assert [found[key][name] for name in names] == wanted, (model.name, key, moment)


def moments(log: Sequence[Recorded[Any]]) -> list[datetime]:
    """Every instant at which something occurred, one before all, and one between each two."""
    times = sorted({event.occurred_at for event in log})
    between = [a + (b - a) / 2 for a, b in itertools.pairwise(times)]
    return sorted([times[0] - timedelta(days=1), *times, *between])


async def lived(store: Store, bus: Bus) -> SimulatedClock:
    """A month of a few tasks, with reports that come late, a result back-dated across its limit, and a limit that moves."""
    clock = clock_at()
    sender, spine = Sender(clock), await spine_of(store, bus, clock)
    due = date(2026, 6, 10)
    tasks = [sender.document(AssignTask(content=task(due=due)), stream(f"T-{n}")) for n in range(6)]
    await publish(spine, sender, *founding(sender), *tasks)
    began = [sender.document(StartWork(), stream(f"T-{n}"), "PBCXB-TP") for n in range(5)]
    await publish(spine, sender, *began)
    await play(spine, "2026-06-05T09:00", clock)

    def report(n: int, percent: int, at: str | None = None) -> dict[str, Any]:
        return sender.document(ReportProgress(percent=percent), stream(f"T-{n}"), "PBCXB-TP", at=at)

    await publish(spine, sender, report(0, 40), report(1, 30), report(2, 60))
    await publish(spine, sender, report(0, 20, "2026-06-03T09:00"), report(3, 70, "2026-06-04T09:00"))
    await play(spine, "2026-06-12T09:00", clock)  # the limits pass
    result = SubmitResult(evidence=EVIDENCE)
    await publish(
        spine,
        sender,
        sender.document(result, stream("T-1"), "PBCXB-TP", at="2026-06-09T16:00"),
        sender.document(result, stream("T-2"), "PBCXB-TP"),
        report(4, 10, "2026-06-06T08:00"),
    )
    signed = [sender.document(SignOffCompletion(), stream(f"T-{n}"), authority=AUTHORITY) for n in (1, 2)]
    await publish(spine, sender, *signed)
    await publish(spine, sender, report(0, 55, "2026-06-07T09:00"), report(0, 80))
    await play(spine, "2026-06-20T09:00", clock)
    await spine.stop()
    return clock


async def test_both_axes_are_a_fold_at_every_moment(store: Store, bus: Bus) -> None:
    """R-348: as recorded at every position, and as occurred at every instant, all rows are those of a fresh fold."""
    await lived(store, bus)
    log = events(store)
    apart = rows(store, "SELECT DISTINCT code FROM read.assignments_occurred ORDER BY code")
    assert {"T-0", "T-1"} <= {row["code"] for row in apart} < {f"T-{n}" for n in range(6)}
    assert rows(store, "SELECT FROM read.assignments WHERE from_at IS NOT NULL")
    for event in log:
        assert_past(store, log, Moment(event.recorded_at, "recorded", event.position))
    for at in moments(log):
        assert_past(store, log, Moment(at, "occurred", log[-1].position))
    assert [one.name for one in rebuild(store, checkpoint=50) if not one.equal] == []


async def test_scorecards_as_of_are_those_that_were_seen(store: Store, bus: Bus) -> None:
    """The scorecards as recorded at T are the live ones of T, and an installation that learns late tells them apart."""
    desk = Desk.founded(store)
    projector = project(store, desk.clock)
    seen = {}

    def look() -> None:
        while projector.step():
            pass
        position = store.recorder.head().position
        seen[position] = {view: past_rows(store, view, None) for view in VIEWS}
        desk.clock.move_to(desk.clock.now() + timedelta(hours=3))

    look()
    for number in range(4):
        desk.assign(f"T-{number}", phase=None)
        look()
        desk.do(StartWork(), stream(f"T-{number}"), "PBCXB-TP")
        desk.do(SubmitResult(evidence=EVIDENCE), stream(f"T-{number}"), "PBCXB-TP")
        look()
    desk.do(SignOffCompletion(), stream("T-1"), authority=AUTHORITY)
    look()
    for position, views in seen.items():
        moment = Moment(desk.clock.now(), "recorded", position)
        for view, expected in views.items():
            assert sorted(past_rows(store, view, moment), key=str) == sorted(expected, key=str)


def test_an_event_out_of_order_rewrites_its_own_stream_only(store: Store) -> None:
    desk = Desk.founded(store)
    projector = project(store, desk.clock)
    start = desk.clock.now()
    desk.assign("T-1", "T-2")
    for hours, percent in ((2, 10), (4, 20), (6, 30)):
        desk.clock.move_to(start + timedelta(hours=hours))
        for code in ("T-1", "T-2"):
            desk.do(ReportProgress(percent=percent), stream(code), "PBCXB-TP")
    while projector.step():
        pass
    query = "SELECT xmin::text, ctid::text, code, version FROM read.assignments_history ORDER BY code, from_pos"
    before = rows(store, query)
    assert rows(store, "SELECT FROM read.assignments_occurred") == []
    late = desk.sender.document(ReportProgress(percent=15), stream("T-1"), "PBCXB-TP", at=start + timedelta(hours=3))
    desk.accept(late)
    while projector.step():
        pass
    after = rows(store, query)
    assert [row for row in after if row["code"] == "T-2"] == [row for row in before if row["code"] == "T-2"]
    assert [row for row in after if row["code"] == "T-1"] != [row for row in before if row["code"] == "T-1"]
    true = rows(store, "SELECT code, percent, from_at FROM read.assignments_occurred ORDER BY from_at")
    assert {row["code"] for row in true} == {"T-1"}
    assert [row["percent"] for row in true] == [0, 10, 15, 20, 30]
    log = events(store)
    for at in moments(log):
        assert_past(store, log, Moment(at, "occurred", log[-1].position))
    assert all(one.equal for one in rebuild(store))


async def test_a_model_of_tomorrow_has_both_axes(dsn: str, bus: Bus) -> None:
    """An aggregate registered by somebody else, with no code of its own for any of this."""
    store = Store.open(dsn, REGISTRY.with_aggregates([Aggregate(visit.DECIDER, (visit.MODEL,))]))
    try:
        clock = clock_at()
        sender, spine = Sender(clock), await spine_of(store, bus, clock)
        await publish(spine, sender, *founding(sender))
        plan = visit.PlanVisit(unit="PBCXB", by=date(2026, 6, 10), subject_vi="Kiểm tra hồ sơ")
        await publish(spine, sender, *(sender.document(plan, f"visit/{PROG}/V-{n}") for n in (1, 2)))
        await play(spine, "2026-06-12T09:00", clock)
        held = sender.document(visit.HoldVisit(), f"visit/{PROG}/V-1", "VPS-CVP", at="2026-06-09T10:00")
        await publish(spine, sender, held)
        await spine.stop()
        log = events(store)
        for event in log:
            assert_past(store, log, Moment(event.recorded_at, "recorded", event.position))
        for at in moments(log):
            assert_past(store, log, Moment(at, "occurred", log[-1].position))
        async with client_of(create_app(store, bus, clock, Settings())) as http:
            path, then = f"/v1/streams/visit/{PROG}/V-1", "2026-06-12T01:00:00Z"
            answer = await http.get(path, params={"as_of": then})
            assert answer.status_code == 200, answer.text
            known = answer.json()["data"]
            true = (await http.get(path, params={"as_of": then, "time": "occurred"})).json()["data"]
        assert (known["state"]["held"], true["state"]["held"]) == (False, True)
        assert [event["type"] for event in true["events"]][2:] == [
            "DeadlineApproached",
            "VisitHeld",
            "DeadlineMet",
            "DeadlinePassed",
        ]
        assert all(one.equal for one in rebuild(store))
    finally:
        store.close()


# ---------------------------------------------------------------- the API


PATHS = (
    "/v1/assignments",
    f"/v1/assignments/{PROG}/T-1",
    "/v1/obligations",
    "/v1/warnings",
    "/v1/deadlines",
    "/v1/programmes",
    f"/v1/programmes/{PROG}",
    f"/v1/programmes/{PROG}/departments",
    f"/v1/programmes/{PROG}/phases",
    f"/v1/programmes/{PROG}/definition",
    "/v1/organisations/SVHTTDL",
    f"/v1/streams/assignment/{PROG}/T-1",
)


async def test_every_endpoint_answers_as_of_a_moment(store: Store, bus: Bus) -> None:
    """What was known never changes again, whatever comes; what was true follows what is known now."""
    clock = await lived(store, bus)
    then = "2026-06-12T12:00:00+07:00"
    async with client_of(create_app(store, bus, clock, Settings())) as http:
        known = {path: await http.get(path, params={"as_of": then}) for path in PATHS}
        for path, answer in known.items():
            assert answer.status_code == 200, (path, answer.text)
            document = answer.json()
            assert (document["as_of"], document["time"], document["lag"]) == ("2026-06-12T05:00:00Z", "recorded", 0)
            assert answer.headers["sauro-position"] == str(document["position"])
            true = (await http.get(path, params={"as_of": then, "time": "occurred"})).json()
            assert (true["as_of"], true["time"]) == ("2026-06-12T05:00:00Z", "occurred")
        task = known[f"/v1/assignments/{PROG}/T-1"].json()["data"]
        now = (await http.get(f"/v1/assignments/{PROG}/T-1")).json()
        assert (task["status"], now["data"]["status"], "time" in now) == ("completed", "completed", False)

        desk = Desk.open(store, clock, "LATER")
        late = ReportProgress(percent=33)
        for number in (0, 3, 4):
            document = desk.sender.document(late, stream(f"T-{number}"), "PBCXB-TP", at="2026-06-11T09:00")
            desk.send(document)
        project(store, clock)
        assert all(one.equal for one in rebuild(store, switch=True))
        for path, before in known.items():
            after = await http.get(path, params={"as_of": then})
            assert (after.content, after.headers["etag"]) == (before.content, before.headers["etag"]), path
            held = {"If-None-Match": before.headers["etag"]}
            assert (await http.get(path, params={"as_of": then}, headers=held)).status_code == 304


async def test_moments_that_cannot_be_asked_for(store: Store, bus: Bus) -> None:
    clock = await lived(store, bus)
    async with client_of(create_app(store, bus, clock, Settings())) as http:
        for given, rule in (
            ({"as_of": "2030-01-01T00:00:00Z"}, "future"),
            ({"as_of": "2026-06-05"}, "value_error"),
            ({"as_of": "2026-06-05T08:00:00"}, "value_error"),
            ({"as_of": "2026-06-05T08:00:00Z", "time": "told"}, "literal_error"),
            ({"time": "occurred"}, "without_as_of"),
        ):
            answer = await http.get("/v1/assignments", params=given)
            assert (answer.status_code, answer.json()["errors"][0]["rule"]) == (422, rule)
        for time in ("recorded", "occurred"):
            before = {"as_of": "2020-01-01T00:00:00Z", "time": time}
            assert (await http.get("/v1/assignments", params=before)).json()["data"] == []
            assert (await http.get(f"/v1/assignments/{PROG}/T-1", params=before)).status_code == 404
            assert (await http.get(f"/v1/streams/programme/{PROG}", params=before)).status_code == 404
        assert (await http.get("/v1/streams/nothing/X-1")).status_code == 404


def test_a_position_is_found_by_halves(store: Store) -> None:
    desk = Desk.founded(store)
    for hours in range(5):
        desk.clock.move_to(desk.clock.now() + timedelta(hours=hours))
        desk.assign(*(f"T-{hours}{n}" for n in range(hours + 1)))
    log = events(store)
    with store.recorder.transaction() as cursor:
        for at in {e.recorded_at for e in log} | {e.recorded_at - timedelta(seconds=1) for e in log}:
            expected = sum(event.recorded_at <= at for event in log)
            assert position_at(cursor, at) == (expected, expected < len(log))


# ---------------------------------------------------------------- what changed


async def test_every_figure_that_changed_names_the_events_that_changed_it(store: Store, bus: Bus) -> None:
    """The events are those after which the live scorecard showed another figure; late knowledge shows as moved."""
    clock = await lived(store, bus)
    start, end = local("2026-06-08T09:00"), local("2026-06-16T09:00")
    with reading_at(store, clock, end, "recorded") as (cursor, _):
        found = difference(store, cursor, start, end)
    view = "department_scorecard"
    changes: dict[tuple[str, str], set[int]] = defaultdict(set)
    cards: dict[str, Any] = {}
    for position in range(found.first.position, found.last.position + 1):
        shown = past_rows(store, view, Moment(end, "recorded", position))
        now = {row["unit"]: row for row in shown}
        for unit, row in now.items():
            for figure, value in row.items():
                if position > found.first.position and (cards.get(unit, {}).get(figure) or 0) != (value or 0):
                    changes[unit, figure].add(position)
        cards = now
    told = {(one.key["unit"], one.figure): set(one.events) for one in found.changed if one.view == view}
    assert told
    for key, positions in told.items():
        if not key[1].endswith("rate") and not key[1].endswith("rate_current"):
            assert positions == changes[key], key
        else:
            assert positions >= changes[key], key
    assert {at for positions in told.values() for at in positions} <= found.events.keys()
    with reading_at(store, clock, end, "recorded") as (cursor, _):
        since = difference(store, cursor, local("2026-06-11T09:00"), end)
    assert found.document()["events"]
    assert all(one.before != one.after for one in since.moved)


async def test_the_commands(
    engines: EmbeddedEngines, store: Store, bus: Bus, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lived(store, bus)
    monkeypatch.setenv("SAURO_POSTGRES", dsn)
    monkeypatch.setenv("SAURO_NATS", engines.addresses.nats)
    monkeypatch.setenv("SAURO_SUBJECT_PREFIX", bus.names.prefix)
    before = (await bus.js.stream_info(bus.names.stream("COMMANDS"))).state.messages

    def run(*arguments: str) -> Any:
        done = CliRunner().invoke(app, (*arguments, "--by", "THANH-TRA", "--reason", "Kiểm tra"))
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    await asyncio.to_thread(_read_and_compare, run)
    after = (await bus.js.stream_info(bus.names.stream("COMMANDS"))).state.messages
    assert after - before == 6  # every reading is on its way to the record


def _read_and_compare(run: Callable[..., Any]) -> None:
    at = "2026-06-12T12:00:00+07:00"
    cards = orjson.loads(run("replay", "--as-of", at, "--json"))
    assert cards["scorecards"]["department_scorecard"]
    assert "Theo đơn vị" in run("replay", "--as-of", at, "--programme", PROG)
    one = orjson.loads(
        run(
            "replay",
            "--as-of",
            "2026-06-08T09:00:00+07:00",
            "--time",
            "occurred",
            "--assignment",
            f"{PROG}/T-0",
            "--json",
        )
    )
    assert one["assignment"]["percent"] == 55
    assert "Thẩm quyền" in run("replay", "--as-of", at, "--assignment", f"{PROG}/T-0")
    changed = orjson.loads(run("diff", "--from", "2026-06-08T09:00:00+07:00", "--to", at, "--json"))
    assert changed["changed"]
    assert changed["events"]
    assert "Thay đổi từ" in run("diff", "--from", "2026-06-08T09:00:00+07:00", "--to", at)
