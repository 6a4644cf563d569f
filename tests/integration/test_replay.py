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

from contracts.assignment import (
    ApproveExtension,
    AssignTask,
    Due,
    ReportProgress,
    RequestExtension,
    SignOffCompletion,
    StartWork,
    SubmitResult,
)
from contracts.obligation import SubmitObligation
from domain.kernel import Recorded
from projections.model import Key, ReadModel
from projections.past import Axis, Moment, in_order, position_at, read_at, true_versions
from services.api.app import create_app, openapi_document
from services.audit.diff import Changed, Difference, difference
from services.audit.printing import Printer, named_events
from services.audit.replay import reading_at, replay
from services.bus import Bus
from services.cli.commands import app
from services.cli.common import CommandFailed
from services.clock import SimulatedClock
from services.engines import EmbeddedEngines
from services.projector.rebuild import rebuild
from services.registry import REGISTRY, Aggregate
from services.settings import Settings
from services.store import Store
from tests.integration import test_new_aggregate as visit
from tests.integration.reviewing import EXPLANATION, TASK, WORDS, Case
from tests.integration.support import (
    AUTHORITY,
    Desk,
    Sender,
    client_of,
    clock_at,
    commands,
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
from tests.unit.spec import PROG, local, text

AXES: tuple[Axis, ...] = ("recorded", "occurred")
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
        return [dict(row) for row in cursor.execute(SQL("SELECT * FROM {}").format(Identifier(name)), prepare=False)]


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


def versions_of(model: ReadModel, own: Sequence[Recorded[Any]], moment: Moment) -> list[tuple[Any, ...]]:
    """The versions of a row up to a moment, from its events by version, each with its beginning and end."""
    if moment.axis == "occurred":
        true = [one for one in true_versions(model, own) if one[2] <= moment.at]
        return [
            (row, position, since, until if until and until <= moment.at else None)
            for row, position, since, until in true
        ]
    found: list[tuple[Any, ...]] = []
    row, began = None, 0
    for event in own:
        if event.position > moment.position:
            break
        after = model.apply(row, event)
        if after == row:
            continue
        if row is not None:
            found.append((row, began, event.position))
        row, began = after, event.position
    return found if row is None else [*found, (row, began, None)]


def assert_versions(store: Store, log: Sequence[Recorded[Any]], moment: Moment) -> None:
    """All versions of all read models up to a moment, against a fold."""
    ends = ("from_pos", "to_pos") if moment.axis == "recorded" else ("from_pos", "true_from", "true_to")
    for model in store.registry.read_models:
        own: dict[Key, list[Recorded[Any]]] = defaultdict(list)
        for event in log:
            if model.handles_event(event):
                for key in model.keys(event):
                    own[key].append(event)
        names = [column.name for column in model.columns]
        found = [
            ([row[name] for name in names], *(row[end] for end in ends))
            for row in past_rows(store, f"{model.name}_versions", moment)
        ]
        expected = [
            ([as_lists(getattr(row, name)) for name in names], *rest)
            for key in own
            for row, *rest in versions_of(model, own[key], moment)
        ]
        assert sorted(found, key=repr) == sorted(expected, key=repr), (model.name, moment)


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
    for event in log[:: max(1, len(log) // 12)]:
        assert_versions(store, log, Moment(event.recorded_at, "recorded", event.position))
    for at in moments(log)[:: max(1, len(log) // 12)]:
        assert_versions(store, log, Moment(at, "occurred", log[-1].position))
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
    store = Store.open(dsn, REGISTRY.with_aggregates([Aggregate(visit.DECIDER, (visit.MODEL,), (visit.CARD,))]))
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
        _visits_compared(store, clock, log)
    finally:
        store.close()


def _visits_compared(store: Store, clock: SimulatedClock, log: Sequence[Recorded[Any]]) -> None:
    """Its counts, its rate of another name and its text: each figure that changed, and each that moved, names its events."""
    start, end = local("2026-06-10T09:00"), local("2026-06-12T08:59")
    with reading_at(store, clock, end, "recorded") as (cursor, _):
        found = difference(store, cursor, start, end)
    types = {event.position: type(event.data).__name__ for event in log}
    changed = {one.figure: one for one in found.changed if one.view == visit.CARD.name}
    assert (changed["missed"].before, changed["missed"].after, changed["told"].after) == (0, 2, "missed, missed")
    passed = {event.position for event in log if types[event.position] == "DeadlinePassed" and "visit/" in event.stream}
    assert set(changed["missed"].events) == set(changed["share_missed"].events) == passed
    assert set(changed["told"].events) <= passed
    assert changed["told"].events
    moved = {one.figure: one for one in found.moved if one.view == visit.CARD.name and one.as_of == start}
    assert (moved["held"].reported, moved["held"].now_known) == (0, 1)
    assert {types[at] for at in moved["held"].events} == {"VisitHeld", "DeadlineMet"}
    assert (moved["share_held"].reported, moved["share_held"].now_known) == (0.0, 0.5)
    assert moved["share_held"].events == moved["told"].events == moved["held"].events
    assert found.document()["changed"]


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
    f"/v1/assignments/{PROG}/T-1/history",
    f"/v1/history/assignment/{PROG}/T-1",
    f"/v1/history/{PROG}/T-0",
    "/v1/events/20/causes",
    "/v1/events/20/effects",
    "/v1/late",
    "/v1/access",
)
WITHOUT = {
    "/v1/events": "the log itself: `after` and `limit` say which positions",
    "/v1/stream": "what comes",
    "/v1/receipts/{source}/{command_id}": "what became of one command, once and for all",
    "/v1/quarantine": "of the installation now",
    "/v1/labels": "of the release",
    "/healthz": "of the installation now",
    "/readyz": "of the installation now",
    "/metrics": "of the installation now",
}
"""What has no past of its own, and why. Proofs have sizes instead."""


def test_every_endpoint_over_the_record_takes_as_of() -> None:
    """One that is added later must take it, too, or say here why not."""
    lacking = set()
    for path, operations in openapi_document()["paths"].items():
        parameters = {one["name"] for one in operations.get("get", {}).get("parameters", ())}
        if "get" in operations and not {"as_of", "time"} <= parameters and not path.startswith("/v1/audit/"):
            lacking.add(path)
    assert lacking == set(WITHOUT)


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


async def test_history_as_of_a_moment_holds_the_events_that_count_then(store: Store, bus: Bus) -> None:
    """A subject's history, its stored events, and the aggregate replayed are of the same events, on both axes."""
    clock = await lived(store, bus)
    numbers, asked = set(), []
    before = len(await commands(bus))
    async with client_of(create_app(store, bus, clock, Settings())) as http:
        for code, then, axis in itertools.product(
            ("T-0", "T-1"), ("2026-06-05T03:00:00Z", "2026-06-11T00:00:00Z"), AXES
        ):
            past = {"as_of": then, "time": axis}

            async def data(path: str, past: dict[str, str] = past) -> Any:
                answer = await http.get(path, params=past)
                assert answer.status_code == 200, answer.text
                asked.append(path)
                return answer.json()["data"]

            state = await data(f"/v1/streams/{stream(code)}")
            replayed = sorted(event["position"] for event in state["events"])
            numbers.add(len(replayed))
            told = (await data(f"/v1/history/{stream(code)}"))["entries"]
            assert [entry["position"] for entry in told if entry["own"]] == replayed
            time = "recorded_at" if axis == "recorded" else "occurred_at"
            assert max(datetime.fromisoformat(entry[time]) for entry in told) <= datetime.fromisoformat(then)
            history = await data(f"/v1/assignments/{PROG}/{code}/history")
            assert [event["position"] for event in history["events"]] == replayed
            assert history["versions"][-1]["percent"] == state["state"]["percent"]
            assert [version.get("to_pos") for version in history["versions"]][-1] is None
            effects = await data(f"/v1/events/{replayed[0]}/effects")
            assert {entry["position"] for entry in told} <= _in_tree(effects) | set(replayed)
    assert len(numbers) > 2
    assert len(await commands(bus)) - before == len(asked)  # each reading of the past is on record once


def _in_tree(node: dict[str, Any]) -> set[int]:
    return {node["position"], *(position for effect in node["effects"] for position in _in_tree(effect))}


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
    assert found.document()["events"]


async def met_after_all(store: Store, bus: Bus) -> SimulatedClock:
    """Three tasks of one limit that passes: a result and an extension entered the morning after, dated the evening before."""
    clock = clock_at()
    sender, spine = Sender(clock), await spine_of(store, bus, clock)
    names = [stream(f"T-{n}") for n in range(3)]
    await publish(spine, sender, *founding(sender))
    await publish(
        spine, sender, *(sender.document(AssignTask(content=task(due=date(2026, 6, 10))), name) for name in names)
    )
    await publish(spine, sender, *(sender.document(StartWork(), name, "PBCXB-TP") for name in names))
    await play(spine, "2026-06-11T10:00", clock)
    evening: dict[str, Any] = {"at": "2026-06-10T20:00"}
    extension = RequestExtension(due=Due(day=date(2026, 6, 30)), reason=text())
    await publish(
        spine,
        sender,
        sender.document(SubmitResult(evidence=EVIDENCE), names[1], "PBCXB-TP", **evening),
        sender.document(extension, names[2], "PBCXB-TP", **evening, texts={"reason": "Chờ số liệu"}),
    )
    await publish(spine, sender, sender.document(ApproveExtension(), names[2], **evening))
    await play(spine, "2026-06-15T10:00", clock)
    await publish(spine, sender, sender.document(SignOffCompletion(), names[1], authority=AUTHORITY))
    await spine.stop()
    return clock


async def test_a_limit_met_or_moved_before_it_passed_never_passed_in_what_was_true(store: Store, bus: Bus) -> None:
    """R-347: within the tolerance what was said to have occurred counts, in rows and in the aggregate replayed."""
    clock = await met_after_all(store, bus)
    decider = next(decider for decider in REGISTRY.deciders if decider.name == "assignment")
    for day, overdue in (("2026-06-11T09:00", {"T-0", "T-1", "T-2"}), ("2026-06-15T11:00", {"T-0"})):
        for axis in AXES:
            with reading_at(store, clock, min(local(day), clock.now()), axis) as (_, moment):
                assert moment is not None
            found = past_rows(store, "assignments", moment)
            wanted = overdue if axis == "recorded" else {"T-0"}
            assert {row["code"] for row in found if row["overdue"]} == wanted, (day, axis)
            assert {row["code"] for row in found if row["was_overdue"]} == wanted, (day, axis)
            for number in range(3):
                own = [event for event in events(store) if event.stream == stream(f"T-{number}")]
                state = replay(decider, own, moment)
                assert state is not None
                assert state.state.was_overdue == (f"T-{number}" in wanted), (day, axis, number)


async def test_an_explanation_in_time_but_entered_late_was_never_missed_in_what_was_true(
    store: Store, bus: Bus
) -> None:
    """R-347, the same for what is owed."""
    case = await Case.opened(store, bus)
    await case.do(StartWork(), TASK, "PBCXB-TP")
    await case.play("2026-06-14T08:00")
    (due,) = (row["due"] for row in rows(store, "SELECT due FROM read.obligations WHERE code = 'EXA-T-1'"))
    await play(case.spine, due + timedelta(hours=3), case.clock)
    await case.do(SubmitObligation(), EXPLANATION, "PBCXB-TP", at=due - timedelta(hours=2), texts={"note": WORDS})
    await case.spine.stop()
    found = {}
    for axis in AXES:
        with reading_at(store, case.clock, due + timedelta(hours=1), axis) as (_, moment):
            (row,) = (row for row in past_rows(store, "obligations", moment) if row["code"] == "EXA-T-1")
            found[axis] = (row["missed"], row["was_missed"], row["submitted_at"] is not None)
    assert found == {"recorded": (True, True, False), "occurred": (False, False, True)}


async def test_a_figure_that_was_reported_and_has_moved_is_shown_with_both_values(store: Store, bus: Bus) -> None:
    """What was reported on the 11th was not true, as is known now: shown by every difference that begins or ends there."""
    clock = await met_after_all(store, bus)
    before, start, end = local("2026-06-09T09:00"), local("2026-06-11T09:00"), local("2026-06-12T09:00")
    for axis, first, last in itertools.product(AXES, (before, start), (start, end)):
        with reading_at(store, clock, last, axis) as (cursor, _):
            found = difference(store, cursor, first, last, axis=axis)
        told = {
            (one.as_of, one.key["unit"], one.figure): (one.reported, one.now_known)
            for one in found.moved
            if one.view == "department_scorecard"
        }
        expected = {}
        for at in {first, last}:
            cards: list[dict[str, Any]] = []
            for time in AXES:
                with reading_at(store, clock, at, time) as (_, moment):
                    (card,) = past_rows(store, "department_scorecard", moment)
                    cards.append(card)
            for figure, reported in cards[0].items():
                if reported != (now := cards[1][figure]):
                    expected[at, "PBCXB", figure] = (
                        (reported, now) if isinstance(reported, int) else (float(reported), float(now))
                    )
        assert told == expected
        if start in (first, last):
            assert told[start, "PBCXB", "overdue_open"] == (3, 1)
            _name_what_moved(store, found, start)


def _name_what_moved(store: Store, found: Difference, at: datetime) -> None:
    """Result and extension that were dated back, and nothing of the task that was late indeed."""
    log = {event.position: event for event in events(store)}
    moved = {
        one.figure: {log[position].stream for position in one.events}
        for one in found.moved
        if one.as_of == at and one.view == "department_scorecard"
    }
    assert moved["overdue_open"] == {stream("T-1"), stream("T-2")}
    assert all(moved.values())
    named = {position for one in found.moved if one.as_of == at for position in one.events}
    assert {type(log[position].data).__name__ for position in named} >= {"ResultSubmitted", "ExtensionApproved"}
    assert all(log[position].occurred_at <= at for position in named if log[position].recorded_at > at)
    assert named <= found.events.keys()


async def test_what_changed_in_what_was_true_names_the_events_of_that_time(store: Store, bus: Bus) -> None:
    """On the axis of occurrence: a figure's events are those at whose instants the scorecard shows another figure."""
    clock = await lived(store, bus)
    log = events(store)
    start, end = local("2026-06-05T09:00"), local("2026-06-16T09:00")
    with reading_at(store, clock, end, "occurred") as (cursor, _):
        found = difference(store, cursor, start, end, axis="occurred")
    instants = [at for at in sorted({event.occurred_at for event in log}) if start < at <= end]
    changes: dict[tuple[str, str], set[datetime]] = defaultdict(set)
    cards = {row["unit"]: row for row in past_rows(store, "department_scorecard", Moment(start, "occurred", 0))}
    for at in instants:
        now = {row["unit"]: row for row in past_rows(store, "department_scorecard", Moment(at, "occurred", 0))}
        for unit, row in now.items():
            for figure, value in row.items():
                if (cards.get(unit, {}).get(figure) or 0) != (value or 0):
                    changes[unit, figure].add(at)
        cards = now
    when = {event.position: event.occurred_at for event in log}
    told = {
        (one.key["unit"], one.figure): [when[at] for at in one.events]
        for one in found.changed
        if one.view == "department_scorecard"
    }
    assert ("PBCXB", "done") in told
    for key, known in told.items():
        assert set(known) >= changes[key], key
        if "rate" not in key[1]:  # besides, only what made up for each other at one instant
            assert all(at in changes[key] or known.count(at) > 1 for at in known), key
    types = {row["position"]: row["type"].split(".")[2] for row in found.events.values()}
    done = next(one for one in found.changed if one.figure == "done" and one.view == "department_scorecard")
    assert {types[at] for at in done.events} == {"CompletionSignedOff", "DeadlineCancelled"}  # of the same command


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
    assert after - before == 13  # every reading is on its way to the record

    def refused(*arguments: str) -> str:
        done = CliRunner().invoke(app, arguments)
        assert isinstance(done.exception, CommandFailed), (arguments, done.output)  # the console script exits with 1
        return str(done.exception)

    await asyncio.to_thread(_ask_odd_things, refused)
    assert (await bus.js.stream_info(bus.names.stream("COMMANDS"))).state.messages == after  # nothing was shown


def _read_and_compare(run: Callable[..., Any]) -> None:
    at = "2026-06-12T12:00:00+07:00"
    cards = orjson.loads(run("replay", "--as-of", at, "--json"))
    assert cards["scorecards"]["department_scorecard"]
    shown = run("replay", "--as-of", at, "--programme", PROG)
    assert "Theo đơn vị" in shown
    assert f"  {PROG} / PBCXB\n      Đã giao" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "By unit" in run("replay", "--as-of", "2026-06-12", "--lang", "en")
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
    day = orjson.loads(run("replay", "--as-of", "2026-06-11", "--json"))
    assert day["as_of"] == "2026-06-11T16:59:59.999999Z"  # the end of that day in Asia/Ho_Chi_Minh
    changed = orjson.loads(run("diff", "--from", "2026-06-08T09:00:00+07:00", "--to", at, "--json"))
    assert changed["changed"]
    assert changed["events"]
    shown = run("diff", "--from", "2026-06-08T09:00:00+07:00", "--to", at)
    assert "Thay đổi từ 08/06/2026 09:00 đến 12/06/2026 12:00: điều đã biết lúc đó" in shown
    assert "  Quá hạn (hạn nhiệm vụ): hết 10/06/2026" in shown  # events are told, not named by their type
    assert "sauro." not in shown
    assert max(map(len, shown.split("Sự kiện\n")[0].splitlines())) <= 80
    english = run("diff", "--from", "2026-06-08", "--to", "2026-06-12", "--lang", "en")
    assert "overdue open:" in english
    same = run("diff", "--from", at, "--to", at)
    assert same.count("  không có gì\n") == 2
    true = orjson.loads(run("diff", "--from", at, "--to", "2026-06-16T09:00:00+07:00", "--time", "occurred", "--json"))
    assert true["time"] == "occurred"
    assert true["moved_since"] == []
    shown = run("diff", "--from", "2026-06-11T09:00:00+07:00", "--to", at, "--time", "occurred", "--programme", PROG)
    assert "Đã báo cáo tại 11/06/2026 09:00, nay biết khác" in shown
    then = orjson.loads(run("history", f"{PROG}/T-0", "--as-of", "2026-06-08T09:00:00+07:00", "--json"))
    assert max(entry["recorded_at"] for entry in then["entries"]) <= "2026-06-08T02:00:00Z"


def test_a_figure_that_many_events_changed_names_the_first() -> None:
    moment = Moment(local("2026-06-12T09:00"), "recorded", 30)
    one = Changed("department_scorecard", {"programme": PROG, "unit": "PBCXB"}, "done", 0, 25, tuple(range(1, 26)))
    found = Difference(moment, moment, (one,), (), {})
    assert named_events(found) == list(range(1, 11))
    lines: list[str] = []
    Printer("vi", lines.append).difference(found, {})
    told = " ".join(" ".join(lines).split())
    assert "Hoàn thành: 0 → 25 (#1, #2, #3, #4, #5, #6, #7, #8, #9, #10, … và 15 sự kiện khác (--json có đủ))" in told


def _ask_odd_things(refused: Callable[..., str]) -> None:
    """Each with the thing, the rule and the way out."""
    good, past, future = "2026-06-12T12:00:00+07:00", "2020-01-01T00:00:00+07:00", "2099-01-01T00:00:00+07:00"
    for command, option in ((("replay",), "--as-of"), (("history", f"{PROG}/T-0"), "--as-of")):
        assert "has not come yet; ask for a moment up to now, 20" in refused(*command, option, future)
        assert "the log begins at 2026-05-30T07:00:00+07:00" in refused(*command, option, past)
        occurred = refused(*command, option, past, "--time", "occurred")
        assert "the first event of the log is of 2026-05-30T07:00:00+07:00" in occurred
        assert "'2026-06-31' is no moment" in refused(*command, option, "2026-06-31")
        assert "'0001-01-01T00:00:00+07:00' is no moment" in refused(*command, option, "0001-01-01T00:00:00+07:00")
        assert "the log begins at" in refused(*command, option, "0001-01-01T00:00:00Z")
        assert "the log begins at" in refused(*command, option, "2020-01-01")
        assert "write 2026-06-05T08:00:00+07:00" in refused(*command, option, "2026-06-05T08:00:00")
        assert "'yesterday' is no moment; write" in refused(*command, option, "yesterday")
    assert "--from" in refused("diff", "--from", "2026-06-05T08:00", "--to", good)
    assert "--to" in refused("diff", "--from", good, "--to", "2026-06-05T08:00")
    assert "lies after --to" in refused("diff", "--from", good, "--to", "2026-06-01T00:00:00Z")
    assert "has not come yet" in refused("diff", "--from", good, "--to", future)
    assert "the log begins at" in refused("diff", "--from", past, "--to", good)
    for known in (
        ("replay", "--as-of", good),
        ("diff", "--from", good, "--to", good),
        ("history", "--late"),
        ("history", "access"),
        ("audit", "reconcile"),
    ):
        message = refused(*known, "--programme", "NO-SUCH")
        assert message == f"programme 'NO-SUCH' is not known; at the moment that is read there are: {PROG}"
    assert "unit 'NO-SUCH' is not known; at the moment" in refused("replay", "--as-of", good, "--unit", "NO-SUCH")
    assert "write PROGRAMME/CODE" in refused("replay", "--as-of", good, "--assignment", "T-0")
    assert "no assignment" in refused("replay", "--as-of", good, "--assignment", f"{PROG}/T-99")
    assert "lies before the last receipt" in refused("audit", "reconcile", "--until", "2020-01-01")
    assert "leave --programme" in refused("replay", "--as-of", good, "--assignment", f"{PROG}/T-0", "--unit", "PBCXB")
    assert "subject 'T-99' is not known; a subject is a stream" in refused("history", "T-99")
    began = "2026-05-30T07:00:00+07:00"
    message = refused("history", "--causes", "60", "--as-of", began)
    assert message.startswith(
        f"event with position or id '60' is not known as of {began} (time=recorded); a subject is"
    )
    assert "event with position or id '99999' is not known" in refused("history", "--causes", "99999")
