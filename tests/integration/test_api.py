"""The HTTP API on real engines, over a programme imported from its file."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints
from urllib.parse import quote

import httpx
import orjson
import psycopg
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from contracts.assignment import Timeliness
from contracts.obligation import ObligationKind
from contracts.programme import RegimeDefinition
from contracts.receipts import Outcome
from domain import assignment_state, obligation_state, phase_state, warning_state
from domain.calendar import LOCAL
from projections import queries_log, queries_scorecards, queries_work
from projections.scope import ReadScope
from projections.scorecards import FIGURES, RATES_VERSION
from services.api.answers import open_snapshot
from services.api.app import create_app, openapi_document
from services.api.server import serve
from services.bus import Bus
from services.calendar_source import proposed_calendar
from services.clock import SimulatedClock
from services.engines import EmbeddedEngines
from services.eventlog.migrations import migrate
from services.intake.core import Intake
from services.intake.reading import CommandReader, Incoming
from services.intake.states import Folder
from services.labels import LABELS
from services.outgoing import Outgoing, to_json
from services.programmes.check import check
from services.programmes.importer import import_commands
from services.projector.core import Projector
from services.settings import Settings
from services.store import Store
from tests.integration.processes import installation
from tests.integration.support import client_of

PROG, SOURCE = "SVHTTDL-TD500", "IMPORT"
FILE = Path(__file__).parents[2] / "deploy" / "programmes" / "svhttdl-td500.yaml"
AT = datetime(2026, 5, 30, tzinfo=UTC)


@dataclass(frozen=True)
class World:
    """One installation: its log filled, its read models at the head."""

    store: Store
    clock: SimulatedClock
    intake: Intake
    projector: Projector
    sent: tuple[Outgoing, ...]

    @classmethod
    def of(cls, store: Store) -> World:
        clock, registry = SimulatedClock(AT), store.registry
        reader = CommandReader(registry.contracts)
        intake = Intake(store.recorder, store.codec, Folder(registry.deciders), reader, clock)
        world = cls(store, clock, intake, Projector(store, clock), imported())
        assert world.send([to_json(sent, SOURCE) for sent in world.sent]) == {"accepted": len(world.sent)}
        world.project()
        return world

    def send(self, payloads: list[bytes]) -> dict[str, int]:
        incoming = [
            Incoming(document["source"], document["programme"], payload, number)
            for number, payload in enumerate(payloads, 1)
            for document in [orjson.loads(payload)]
        ]
        return self.intake.process(incoming).outcomes

    def project(self) -> None:
        while self.projector.step():
            pass

    def app(self, bus: Bus | None = None, **more: Any) -> FastAPI:
        return create_app(self.store, bus, self.clock, Settings(), **more)


@cache
def imported() -> tuple[Outgoing, ...]:
    files = check(FILE)
    assert files.programme is not None
    assert files.roster is not None
    assert files.policy is not None
    return import_commands(files.programme, files.roster, files.policy, proposed_calendar((2026, 2027)), AT)


@pytest.fixture(scope="module")
def world(databases: Callable[[], AbstractContextManager[str]]) -> Iterator[World]:
    """Shared by the tests that only read."""
    with databases() as dsn:
        store = Store.open(dsn)
        yield World.of(store)
        store.close()


@pytest.fixture
async def api(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(world.app()) as client:
        yield client


@pytest.fixture
def own(store: Store) -> World:
    """A world of the test's own, to change."""
    return World.of(store)


async def get(api: httpx.AsyncClient, path: str, **parameters: Any) -> Any:
    response = await api.get(path, params=parameters)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert {"position", "lag", "as_of", "data"} <= answer.keys()
    assert response.headers["Sauro-Position"] == str(answer["position"])
    assert response.headers["Sauro-Lag"] == str(answer["lag"])
    return answer


def refused(response: httpx.Response, status: int, *broken: tuple[str, str]) -> Any:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert {"type", "title", "status", "detail", "instance"} <= problem.keys()
    assert problem["status"] == status
    assert problem["instance"] == response.request.url.path
    assert [(error["field"], error["rule"]) for error in problem.get("errors", [])] == list(broken)
    assert all(error["message"] for error in problem.get("errors", []))
    return problem


async def test_every_answer_carries_its_position(world: World, api: httpx.AsyncClient) -> None:
    head = world.store.recorder.head()
    for path in ("programmes", "assignments", "obligations", "warnings", "deadlines", "events", "quarantine", "labels"):
        answer = await get(api, f"/v1/{path}")
        assert (answer["position"], answer["lag"]) == (head.position, 0)
        assert answer["as_of"] == "2026-05-30T00:00:00Z"
    missing = await api.get("/v1/programmes/NONE")
    assert missing.headers["Sauro-Position"] == str(head.position)


async def test_programmes(api: httpx.AsyncClient) -> None:
    (row,) = (await get(api, "/v1/programmes"))["data"]
    assert row["code"] == PROG
    assert row["figures"]["assigned"] > 0
    assert row["figures"]["rates_version"] == RATES_VERSION
    frequencies = get_args(get_type_hints(RegimeDefinition)["frequency"])
    assert {known["frequency"] for known in row["regimes"]} <= set(frequencies)
    assert {"unit", "executes"} == row["participants"][0].keys()
    assert (await get(api, f"/v1/programmes/{PROG}"))["data"] == row


async def test_department_scorecard_and_its_total(api: httpx.AsyncClient) -> None:
    data = (await get(api, f"/v1/programmes/{PROG}/departments"))["data"]
    units, total = data["departments"], data["organisation"]
    assert len(units) > 3
    assert all(row["rates_version"] == RATES_VERSION and row["label_vi"] for row in units)
    assert any(row["unit_name_vi"] for row in units)
    for figure in FIGURES:
        assert total[figure] == sum(row[figure] for row in units), figure
    assert total["completion_rate"] == round(total["done"] / (total["assigned"] - total["cancelled"]), 4)
    assert total["organisation"] == "SVHTTDL"


async def test_phases_and_their_departments(api: httpx.AsyncClient) -> None:
    rows = (await get(api, f"/v1/programmes/{PROG}/phases"))["data"]
    assert [row["code"] for row in rows] == sorted(row["code"] for row in rows)
    assert all(row["status_label_vi"] in LABELS["phase_status"].values() for row in rows)
    assert any(row["milestones"] for row in rows)
    for row in rows:
        assert all(item["kind"] == "phase_milestone" for item in row["milestones"])
        data = (await get(api, f"/v1/programmes/{PROG}/phases/{row['code']}/departments"))["data"]
        for figure in (*FIGURES, "carried_out"):
            assert data["organisation"][figure] == row["figures"][figure]
            assert row["figures"][figure] == sum(unit[figure] for unit in data["departments"])


async def pages(api: httpx.AsyncClient, path: str, **parameters: Any) -> list[Any]:
    rows: list[Any] = []
    more: dict[str, Any] = {}
    while True:
        answer = await get(api, path, **parameters, **more)
        assert len(answer["data"]) <= parameters["limit"]
        rows += answer["data"]
        if answer["next"] is None:
            return rows
        more = {"cursor": answer["next"]}


@pytest.mark.parametrize("path", ["assignments", "obligations", "deadlines"])
async def test_pages_cover_everything_once(api: httpx.AsyncClient, path: str) -> None:
    everything = (await get(api, f"/v1/{path}", limit=500))["data"]
    assert len(everything) > 14
    assert await pages(api, f"/v1/{path}", limit=7) == everything
    assert await pages(api, f"/v1/{path}", limit=len(everything)) == everything


async def test_assignment_filters(api: httpx.AsyncClient) -> None:
    everything = (await get(api, "/v1/assignments", limit=500))["data"]
    for name in ("programme", "unit", "phase", "status", "health"):
        value = next(row[name] for row in everything if row[name])
        found = (await get(api, "/v1/assignments", limit=500, **{name: value}))["data"]
        assert found == [row for row in everything if row[name] == value]
    assert (await get(api, "/v1/assignments", programme="NONE"))["data"] == []
    labels = {row["status"]: row["status_label_vi"] for row in everything}
    assert labels.items() <= LABELS["assignment_status"].items()


async def test_a_day_holds_the_limits_that_end_with_it(api: httpx.AsyncClient) -> None:
    everything = [row for row in (await get(api, "/v1/assignments", limit=500))["data"] if row["due"]]
    due = datetime.fromisoformat(min(row["due"] for row in everything)).astimezone(LOCAL)
    day = (due - timedelta(microseconds=1)).date()  # a limit at midnight belongs to the day before
    same = [row for row in everything if datetime.fromisoformat(row["due"]) == due]
    found = (await get(api, "/v1/assignments", due_from=day.isoformat(), due_to=day.isoformat()))["data"]
    assert same
    assert all(row in found for row in same)
    following = (day + timedelta(days=1)).isoformat()
    later = (await get(api, "/v1/assignments", due_from=following, limit=500))["data"]
    assert not any(row in later for row in same)
    exact = (await get(api, "/v1/assignments", due_from=due.isoformat(), due_to=due.isoformat()))["data"]
    assert exact == same
    before = (await get(api, "/v1/deadlines", before=due.isoformat(), kind="assignment_due"))["data"]
    assert before == []


async def test_history_shows_stored_events_and_versions(world: World, api: httpx.AsyncClient, bus: Bus) -> None:
    row = (await get(api, "/v1/assignments", status="assigned"))["data"][0]
    path = f"/v1/assignments/{PROG}/{row['code']}"
    assert (await get(api, path))["data"] == row
    refused(await api.get(f"{path}/history"), 503)  # a reading that cannot be recorded: this API has no NATS
    async with client_of(world.app(bus)) as recording:
        response = await recording.get(f"{path}/history")
        refused(await recording.get(f"/v1/assignments/{PROG}/NONE/history"), 404)
    stream = f"assignment/{PROG}/{row['code']}"
    stored = [bytes(event.state) for event in world.store.recorder.select_events(stream)]
    assert b'"events":[' + b",".join(stored) + b"]" in response.content
    versions = response.json()["data"]["versions"]
    assert [version["to_pos"] for version in versions] == [v["from_pos"] for v in versions[1:]] + [None]
    assert {name: versions[-1][name] for name in row} == row


async def test_events_pass_through_as_stored(world: World, api: httpx.AsyncClient) -> None:
    stored = [event.state for event in world.store.recorder.select_notifications(1, 5, inclusive_of_start=False)]
    response = await api.get("/v1/events", params={"after": 1, "limit": 5})
    assert response.content.endswith(b'"data":[' + b",".join(stored) + b"]}")
    assert response.json()["next"] == 6
    head = world.store.recorder.head().position
    last = await get(api, "/v1/events", after=head - 5, limit=5)
    assert [event["position"] for event in last["data"]] == list(range(head - 4, head + 1))
    assert last["next"] is None
    stream = f"programme/{PROG}"
    of_stream = (await get(api, "/v1/events", stream=stream))["data"]
    assert {event["subject"] for event in of_stream} == {stream}


async def test_receipts_also_of_ids_with_slashes(world: World, api: httpx.AsyncClient) -> None:
    sent = next(sent for sent in world.sent if "/" in sent.id)
    for known in (sent.id, quote(sent.id, safe="")):
        data = (await get(api, f"/v1/receipts/{SOURCE}/{known}"))["data"]
        assert (data["source"], data["id"], data["outcome"]) == (SOURCE, sent.id, "accepted")
        assert data["positions"]
    refused(await api.get(f"/v1/receipts/{SOURCE}/never-sent"), 404)


@pytest.mark.parametrize(
    ("path", "broken"),
    [
        ("/v1/assignments?colour=red", [("query.colour", "unknown_parameter")]),
        ("/v1/assignments?unit=A&unit=B", [("query.unit", "given_twice")]),
        ("/v1/assignments?limit=501", [("query.limit", "less_than_equal")]),
        ("/v1/assignments?limit=0", [("query.limit", "greater_than_equal")]),
        ("/v1/assignments?status=done", [("query.status", "literal_error")]),
        ("/v1/assignments?programme=lower", [("query.programme", "string_pattern_mismatch")]),
        ("/v1/assignments?due_from=2026-06-05T08:00:00", [("query.due_from", "value_error")]),
        ("/v1/assignments?due_to=soon", [("query.due_to", "value_error")]),
        ("/v1/assignments?cursor=ZZZ", [("query.cursor", "cursor")]),
        ("/v1/assignments?cursor=WyJBIl0", [("query.cursor", "cursor")]),
        ("/v1/deadlines?cursor=WyJBIiwiQiIsIkMiLCJEIl0", [("query.cursor", "cursor")]),
        ("/v1/events?after=-1", [("query.after", "greater_than_equal")]),
        ("/v1/events?stream=Assignment", [("query.stream", "string_pattern_mismatch")]),
        ("/v1/obligations?missed=perhaps", [("query.missed", "bool_parsing")]),
        ("/v1/programmes/lower", [("path.code", "string_pattern_mismatch")]),
        ("/v1/programmes?code=A", [("query.code", "unknown_parameter")]),
        ("/healthz?x=1", [("query.x", "unknown_parameter")]),
        (f"/v1/receipts/{SOURCE}/a?b=1", [("query.b", "unknown_parameter")]),
    ],
)
async def test_refusals_name_field_and_rule(api: httpx.AsyncClient, path: str, broken: list[tuple[str, str]]) -> None:
    refused(await api.get(path), 422, *broken)


async def test_routing_errors_are_problems(api: httpx.AsyncClient) -> None:
    refused(await api.get("/v2/nothing"), 404)
    refused(await api.get(f"/v1/assignments/{PROG}/NONE"), 404)
    refused(await api.get(f"/v1/programmes/{PROG}/phases/P99/departments"), 404)
    response = await api.delete("/v1/programmes")
    refused(response, 405)
    assert response.headers["allow"] == "GET"


async def test_an_unexpected_error_is_a_problem_without_details(own: World) -> None:
    with psycopg.connect(own.store.dsn, autocommit=True) as connection:
        for table in ("obligations", "obligations_counts"):
            connection.execute(f"ALTER TABLE read.{table} DROP COLUMN kind CASCADE".encode())
    async with client_of(own.app()) as client:
        problem = refused(await client.get("/v1/obligations"), 500)
        assert "kind" not in problem["detail"]
        assert (await client.get("/v1/assignments")).status_code == 200
        assert refused(await client.get(f"/v1/programmes/{PROG}"), 503)["type"] == "urn:sauro:problem:not-built"


def command(**changes: Any) -> dict[str, Any]:
    document = orjson.loads(to_json(imported()[0], "QLVB"))
    return {name: value for name, value in (document | changes).items() if value is not None}


async def test_a_published_command_reaches_the_stream_as_it_is(own: World, bus: Bus) -> None:
    payload = orjson.dumps(command(id="api/1"), option=orjson.OPT_INDENT_2)
    async with client_of(own.app(bus)) as client:
        response = await client.post(
            "/v1/commands", content=payload, headers={"content-type": "application/cloudevents+json; charset=utf-8"}
        )
        assert response.status_code == 202
        receipt = "/v1/receipts/QLVB/api%2F1"
        assert response.json() == {"id": "api/1", "source": "QLVB", "receipt": receipt}
        assert response.headers["location"] == receipt
        stored = await bus.js.get_msg(bus.names.stream("COMMANDS"), 1)
        assert (stored.subject or "").endswith(".QLVB.SVHTTDL")  # the server puts the partition before them
        assert stored.data == payload
        refused(await client.get(receipt), 404)
        own.send([payload])
        assert (await get(client, receipt))["data"]["outcome"] == "rejected"


@pytest.mark.parametrize(
    ("payload", "status", "broken"),
    [
        (b"{", 400, [("body", "not_json")]),
        (b"\xff\xfe", 400, [("body", "not_json")]),
        (b"[]", 422, [("body", "not_an_envelope")]),
        (b"{}", 422, [("body.source", "missing"), ("body.id", "missing"), ("body.programme", "missing")]),
        (orjson.dumps(command(source="a.b")), 422, [("body.source", "string_pattern_mismatch")]),
        (orjson.dumps(command(programme=5)), 422, [("body.programme", "string_type")]),
        (orjson.dumps(command(programme="A.>")), 422, [("body.programme", "string_pattern_mismatch")]),
        (orjson.dumps(command(id="a b")), 422, [("body.id", "string_pattern_mismatch")]),
        (orjson.dumps(command(source="timekeeper")), 403, [("body.source", "reserved")]),
        (orjson.dumps(command(source="warning")), 403, [("body.source", "reserved")]),
        (orjson.dumps(command(data="x" * 256 * 1024)), 413, []),
    ],
)
async def test_commands_that_cannot_be_addressed(
    world: World, bus: Bus, payload: bytes, status: int, broken: list[tuple[str, str]]
) -> None:
    async with client_of(world.app(bus)) as client:
        response = await client.post("/v1/commands", content=payload, headers={"content-type": "application/json"})
    refused(response, status, *broken)
    assert (await bus.js.stream_info(bus.names.stream("COMMANDS"))).state.messages == 0


async def test_other_media_types_are_refused(world: World, bus: Bus) -> None:
    async with client_of(world.app(bus)) as client:
        refused(await client.post("/v1/commands", content=orjson.dumps(command())), 415)


async def test_without_nats_nothing_is_published_and_reading_goes_on(
    world: World, engines: EmbeddedEngines, bus: Bus
) -> None:
    away = await Bus.connect(engines.addresses.nats, bus.names)
    await away.client.close()
    for absent in (away, None):
        async with client_of(world.app(absent)) as client:
            response = await client.post("/v1/commands", json=command())
            refused(response, 503)
            assert response.headers["retry-after"]
            await get(client, "/v1/programmes")
    async with client_of(world.app(away)) as client:
        assert refused(await client.get("/readyz"), 503)["reasons"] == ["NATS is not connected"]
    await bus.js.delete_stream(bus.names.stream("COMMANDS"))
    async with client_of(world.app(bus)) as client:
        refused(await client.post("/v1/commands", json=command()), 503)


async def test_ready_says_where_each_read_model_is(own: World, bus: Bus) -> None:
    async with client_of(own.app(bus, ready_lag=0)) as client:
        assert (await client.get("/healthz")).json() == {"status": "up"}
        ready = (await client.get("/readyz")).json()
        assert {model["name"] for model in ready["models"]} == {model.name for model in own.store.registry.read_models}
        assert (ready["status"], ready["nats"], ready["postgresql"], ready["lag"]) == ("ready", "up", "up", 0)
        with psycopg.connect(own.store.dsn) as connection:
            connection.execute(
                "INSERT INTO read.quarantine VALUES ('warnings', 7, 'warning/A/B', 'KeyError: x', now())"
            )
            connection.execute(
                "UPDATE read.positions SET notification_id = notification_id - 1 WHERE application_name LIKE 'units@%'"
            )
        problem = refused(await client.get("/readyz"), 503)
        assert problem["reasons"] == [
            "read model warnings has 1 events in quarantine",
            "read model units lags 1 events, more than 0",
        ]
        (held,) = (await get(client, "/v1/quarantine"))["data"]
        assert (held["model"], held["position"], held["error"]) == ("warnings", 7, "KeyError: x")
        behind = await get(client, "/v1/programmes")
        assert (behind["position"], behind["lag"]) == (own.store.recorder.head().position - 1, 1)


async def test_without_postgresql_everything_says_so() -> None:
    with EmbeddedEngines() as engines:  # durable, because it is killed
        migrate(engines.addresses.postgres)
        store = Store.open(engines.addresses.postgres)
        async with client_of(create_app(store, None, SimulatedClock(AT), Settings())) as client:
            empty = await get(client, "/v1/events")
            assert (empty["position"], empty["as_of"], empty["data"]) == (0, None, [])
            assert (await client.get("/metrics")).status_code == 200
            refused(await client.get("/v1/warnings"), 503)
            assert "read model warnings is not built yet" in refused(await client.get("/readyz"), 503)["reasons"]
            engines.postgres.kill()
            refused(await client.get("/v1/events"), 503)
            assert "PostgreSQL does not answer" in refused(await client.get("/readyz"), 503)["reasons"]
            assert figures((await client.get("/metrics")).text)["sauro_postgresql_up"] == 0
            assert (await client.get("/healthz")).status_code == 200
            engines.postgres.start()
            await get(client, "/v1/events")
            engines.postgres.kill()  # nobody asks while it is away
            engines.postgres.start()
            await get(client, "/v1/events")
        store.close()


def figures(text: str) -> dict[str, float]:
    return {
        sample.name + "".join(f":{value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_metrics(own: World, bus: Bus) -> None:
    async with client_of(own.app(bus)) as client:
        await client.get(f"/v1/programmes/{PROG}")
        await client.get("/nowhere")
        first = figures((await client.get("/metrics")).text)
        head = own.store.recorder.head()
        assert first["sauro_events_total"] == first["sauro_log_position"] == head.position
        assert first["sauro_receipts_total:accepted"] == len(own.sent)
        assert first["sauro_follower_lag_events:read/assignments"] == 0
        assert first["sauro_follower_lag_events:relay"] == head.position
        assert first["sauro_quarantined_events:deadlines"] == 0
        assert first["sauro_http_request_seconds_count:GET:/v1/programmes/{code}:200"] == 1
        assert first["sauro_http_request_seconds_count:GET:(none):404"] == 1
        own.send([orjson.dumps(command(id="again"))])
        own.clock.move_to(AT + timedelta(days=500))
        second = figures((await client.get("/metrics")).text)
        assert second["sauro_receipts_total:rejected"] == 1
        assert second["sauro_receipts_total:accepted"] == len(own.sent)
        with open_snapshot(own.store) as reading:
            due = queries_log.next_limit(reading.cursor)
        assert due is not None
        assert first["sauro_next_limit_overdue_seconds"] == max(0.0, (AT - due).total_seconds())
        assert second["sauro_next_limit_overdue_seconds"] == (own.clock.now() - due).total_seconds()


def test_a_snapshot_stays_as_it_was(own: World) -> None:
    with open_snapshot(own.store) as before:
        head = before.standing.head
        other = Store.open(own.store.dsn)
        with other.recorder.transaction() as cursor:
            cursor.execute("UPDATE read.positions SET notification_id = 1")
            cursor.execute("UPDATE read.programmes SET closed = true")
        other.close()
        (row,) = queries_scorecards.programmes(before.cursor, before.scope)
        assert (row["closed"], before.standing.position) == (False, head)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            before.cursor.execute("UPDATE read.programmes SET closed = true")
    with open_snapshot(own.store) as after:
        assert after.standing.position == 1


def test_scopes_hide_what_lies_outside(world: World) -> None:
    with open_snapshot(world.store) as reading:
        cursor = reading.cursor
        everything, _ = queries_work.assignments(cursor, reading.scope, queries_work.AssignmentFilter(), None, 500)
        unit = next(row["unit"] for row in everything if row["unit"])
        of_unit = ReadScope(units=frozenset({unit}))
        found, _ = queries_work.assignments(cursor, of_unit, queries_work.AssignmentFilter(), None, 500)
        assert found == [row for row in everything if row["unit"] == unit]
        nothing, of_programme = ReadScope(), ReadScope(programmes=frozenset({PROG}))
        for scope, seen in ((nothing, False), (of_programme, True)):
            for rows in (
                queries_scorecards.programmes(cursor, scope),
                queries_scorecards.phases(cursor, scope, PROG),
                queries_scorecards.phase_products(cursor, scope, PROG),
                queries_scorecards.department_rows(cursor, scope, PROG),
                queries_scorecards.programme_totals(cursor, scope),
                queries_scorecards.phase_totals(cursor, scope, PROG),
                queries_work.assignments(cursor, scope, queries_work.AssignmentFilter(), None, 5)[0],
                queries_work.obligations(cursor, scope, queries_work.ObligationFilter(), None, 5)[0],
                queries_work.deadlines(cursor, scope, queries_work.DeadlineFilter(), None, 5)[0],
                queries_log.stored_events(cursor, scope, 0, 5),
                queries_log.stream_events(cursor, scope, f"programme/{PROG}"),
            ):
                assert bool(rows) is seen
            known = queries_log.receipt(cursor, scope, SOURCE, world.sent[-1].id)
            assert (known is not None) is seen
        assert [row["code"] for row in queries_scorecards.programmes(cursor, of_unit)] in ([PROG], [])
        assert queries_work.deadlines(cursor, of_unit, queries_work.DeadlineFilter(), None, 5)[0]
        assert queries_log.stored_events(cursor, of_unit, 0, 5)


async def test_the_server_runs_in_a_loop_that_is_already_running(world: World) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    server = await serve(world.app(), "127.0.0.1", 0)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    try:
        with pytest.raises(OSError, match="in use"):
            await serve(world.app(), "127.0.0.1", server.port)
        async with httpx.AsyncClient(base_url=server.url) as client:
            sent = next(sent for sent in world.sent if "/" in sent.id)
            answer = await get(client, f"/v1/receipts/{SOURCE}/{quote(sent.id, safe='')}")
            assert answer["data"]["id"] == sent.id
            many = [client.get(f"/v1/programmes/{PROG}/departments") for _ in range(30)]
            assert {response.status_code for response in await asyncio.gather(*many)} == {200}
    finally:
        await server.stop()
    with pytest.raises(httpx.ConnectError):
        async with httpx.AsyncClient(base_url=server.url) as client:
            await client.get("/healthz")


def test_every_key_has_its_label() -> None:
    keys = {
        "assignment_status": assignment_state.Status,
        "obligation_status": obligation_state.Status,
        "obligation_kind": ObligationKind,
        "phase_status": phase_state.Status,
        "warning_status": warning_state.Status,
        "timeliness": Timeliness,
        "outcome": Outcome,
    }
    for group, literal in keys.items():
        assert LABELS[group].keys() == set(get_args(literal)), group


async def test_the_openapi_document_needs_no_engines_and_names_everything(api: httpx.AsyncClient) -> None:
    document = openapi_document()
    assert (await api.get("/v1/openapi.json")).json() == document
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert operation["description"], path
            assert operation["tags"], path
    assert "StoredEvents" in str(document["components"]["schemas"].keys())


async def test_r356_repeated_commands_are_counted(own: World, bus: Bus, engines: EmbeddedEngines) -> None:
    """Nothing is stored of them: intake says with its heartbeat how many there were."""
    message = (bus.names.command("QLVB", PROG), orjson.dumps(command(id="again")), None)
    with installation(engines, own.store.dsn, bus.names.prefix, ("intake",)):
        await bus.publish_all([message] * 3)
        async with client_of(own.app(bus)) as client, asyncio.timeout(30):
            while (now := figures((await client.get("/metrics")).text))["sauro_receipts_total:duplicate"] < 2:
                pass
    stored = sum(now[f"sauro_receipts_total:{outcome}"] for outcome in ("accepted", "rejected", "unreadable"))
    assert (now["sauro_receipts_total:duplicate"], stored) == (2, len(own.sent) + 1)
