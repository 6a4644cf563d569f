"""Reading audit history is on record: who, what, when, why; nothing is shown that cannot be recorded (R-358)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import psycopg
import pytest
from typer.testing import CliRunner

from contracts.access import AccessRecorded
from services.api.app import create_app
from services.api.server import serve
from services.audit import access as recording
from services.audit.access import AccessQueue
from services.audit.printing import Printer
from services.bus import Bus
from services.cli.commands import app as cli
from services.engines import EmbeddedEngines
from services.engines.nats import EmbeddedNats
from services.settings import Settings
from services.store import Store
from tests.integration.reviewing import TASK, Case
from tests.integration.support import commands, events, receipts, rows
from tests.unit.spec import ORG, PROG

REASON = "Kiểm tra trách nhiệm người đứng đầu"


@pytest.fixture
async def case(store: Store, bus: Bus) -> Case:
    return await Case.opened(store, bus)


@pytest.fixture
async def api(case: Case) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(case.store, case.bus, case.clock, Settings())
    server = await serve(app, "127.0.0.1", 0)
    async with httpx.AsyncClient(base_url=server.url) as client:
        yield client
    await server.stop()


async def on_record(case: Case, number: int) -> list[Any]:
    """The recorded readings, once intake has answered so many commands."""
    answered = 0
    while answered < number:
        answered += await case.spine.intake.step(10.0)
    return [event for event in events(case.store) if isinstance(event.data, AccessRecorded)]


async def test_each_reading_is_an_event_of_its_own_stream_with_who_what_when_why(
    case: Case, api: httpx.AsyncClient
) -> None:
    head = case.store.recorder.head().position
    headers = {"Sauro-Reader": "THANH-TRA", "Sauro-Reason": quote(REASON)}
    paths = (
        "/v1/history/T-1",
        "/v1/events/10/causes",
        "/v1/events/10/effects",
        f"/v1/late?programme={PROG}",
        "/v1/access",
    )
    for path in paths:
        response = await api.get(path, headers=headers)
        assert response.status_code == 200, response.text
    found = await on_record(case, len(paths))
    assert [event.data.act for event in found] == ["history", "causes", "effects", "late", "access"]
    first = found[0]
    assert (first.data.about, first.data.programme, first.data.door) == (TASK, PROG, "api")
    assert (first.data.reader, first.sender, first.data.position) == ("THANH-TRA", "audit", head)
    assert first.stream == f"access/{ORG}/2026-05"
    assert found[-1].stream == "access/SAURO/2026-05"  # the whole installation's readings belong to no organisation
    assert first.occurred_at == case.clock.now()
    assert {receipt["source"] for _, batch in await receipts(case.bus) for receipt in batch} == {"QLVB"}

    listed = (await api.get("/v1/access", params={"programme": PROG})).json()["data"]
    assert [one["act"] for one in listed] == ["late", "history"]
    assert listed[0]["reason"]["words"] == REASON
    assert REASON.encode() not in b"".join(n.state for n in case.store.recorder.select_notifications(0, 10_000))


async def test_readings_of_past_moments_are_on_record_whatever_they_ask_for(case: Case, api: httpx.AsyncClient) -> None:
    at = case.clock.now().isoformat()
    for path in ("/v1/assignments", f"/v1/programmes/{PROG}/departments", f"/v1/streams/{TASK}"):
        response = await api.get(path, params={"as_of": at}, headers={"Sauro-Reader": "THANH-TRA"})
        assert response.status_code == 200, response.text
    found = await on_record(case, 3)
    assert [(event.data.act, event.data.reader) for event in found] == [("replay", "THANH-TRA")] * 3
    assert found[0].data.about.startswith("/v1/assignments?as_of=")
    assert found[0].data.as_of == case.clock.now()


async def test_readings_stand_with_the_programme_they_were_of_whoever_read_them(
    case: Case, api: httpx.AsyncClient
) -> None:
    """Unnamed readers too; by path or by filter; in the stream of the organisation."""
    at = {"as_of": case.clock.now().isoformat()}
    asked: list[tuple[str, dict[str, str]]] = [
        (f"/v1/history/{TASK}", {}),
        (f"/v1/{TASK.replace('assignment', 'assignments')}/history", {}),
        (f"/v1/programmes/{PROG}/departments", at),
        (f"/v1/streams/{TASK}", at),
        (f"/v1/{TASK.replace('assignment', 'assignments')}", at),
        ("/v1/assignments", {**at, "programme": PROG}),
        ("/v1/late", {"programme": PROG}),
    ]
    for path, params in asked:
        answer = await api.get(path, params=params)
        assert answer.status_code == 200, (path, answer.text)
    assert (await api.get(f"/v1/organisations/{ORG}", params=at)).status_code == 200
    assert (await api.get("/v1/assignments", params=at)).status_code == 200
    found = await on_record(case, len(asked) + 2)
    acts = ["history", "history", "replay", "replay", "replay", "replay", "late", "replay", "replay"]
    assert [event.data.act for event in found] == acts
    assert [event.data.programme for event in found] == [PROG] * len(asked) + [None, None]
    assert [event.stream.split("/")[1] for event in found] == [ORG] * (len(asked) + 1) + ["SAURO"]
    listed = case.read("accesses", PROG, None, 100)
    assert [one["position"] for one in listed] == [event.position for event in reversed(found[: len(asked)])]
    refused = await api.get("/v1/late", params={"programme": "NO-SUCH"})
    assert (refused.status_code, refused.json()["errors"][0]["rule"]) == (422, "unknown_programme")
    assert (await api.get("/v1/access", params={"programme": "NO-SUCH"})).status_code == 422


async def test_the_command_line_says_of_which_programme_it_read(
    case: Case, engines: EmbeddedEngines, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAURO_POSTGRES", dsn)
    monkeypatch.setenv("SAURO_NATS", engines.addresses.nats)
    monkeypatch.setenv("SAURO_SUBJECT_PREFIX", case.bus.names.prefix)
    at = case.clock.now().isoformat()
    for command in (
        ("replay", "--as-of", at, "--assignment", f"{PROG}/T-1"),
        ("replay", "--as-of", at, "--programme", PROG),
        ("diff", "--from", at, "--to", at, "--programme", PROG),
        ("audit", "reconcile", "--programme", PROG),
    ):
        done = await asyncio.to_thread(CliRunner().invoke, cli, command)
        assert done.exit_code == 0, (done.output, done.exception)
    found = await on_record(case, 4)
    assert {(event.data.programme, event.stream.split("/")[1]) for event in found} == {(PROG, ORG)}
    assert [one["act"] for one in case.read("accesses", PROG, None, 9)] == ["reconcile", "diff", "replay", "replay"]


async def test_changed_words_of_a_reason_are_not_told(case: Case, api: httpx.AsyncClient, dsn: str) -> None:
    await api.get(f"/v1/history/{TASK}", headers={"Sauro-Reason": quote(REASON)})
    await on_record(case, 1)
    with psycopg.connect(dsn) as owner:
        owner.execute("UPDATE log.texts SET words = 'Theo yêu cầu' WHERE words = %s", [REASON])
    (one,) = case.read("accesses", PROG, None, 9)
    assert (one["reason"]["words"], one["reason"]["state"]) == (None, "words_changed")
    lines: list[str] = []
    Printer("vi", lines.append).accesses([one])
    assert "nội dung đã bị sửa" in lines[0]


async def test_who_names_nobody_is_recorded_as_unnamed_and_what_is_no_code_is_refused(
    case: Case, api: httpx.AsyncClient
) -> None:
    assert (await api.get(f"/v1/history/{TASK}")).status_code == 200
    (event,) = await on_record(case, 1)
    assert (event.data.reader, event.data.reason) == (None, None)
    for header, value in (("Sauro-Reader", "a b"), ("Sauro-Reason", "%FF"), ("Sauro-Reason", "%00")):
        refused = await api.get(f"/v1/history/{TASK}", headers={header: value})
        assert refused.status_code == 422, refused.text
        assert refused.json()["errors"][0]["field"] == f"header.{header}"
    assert (await api.get("/v1/history/NO-SUCH")).status_code == 404
    assert (await api.get("/v1/history/T-1?lang=fr")).status_code == 422


async def test_only_sauro_itself_may_record_a_reading(case: Case) -> None:
    from contracts.access import RecordAccess

    forged = RecordAccess(act="history", door="api", about=TASK, position=1)
    document = case.sender.document(forged, f"access/{ORG}/2026-05")
    await case.bus.publish_batch([(case.bus.names.command("QLVB", ORG), orjson.dumps(document), None)])
    await case.spine.intake.step(10.0)
    (row,) = rows(case.store, "SELECT refusal FROM log.receipts WHERE outcome = 2")
    assert row["refusal"]["rule"] == "ReservedForSauro"


async def test_a_server_that_stops_publishes_what_still_waits(case: Case) -> None:
    app = create_app(case.store, case.bus, case.clock, Settings())
    server = await serve(app, "127.0.0.1", 0)
    async with httpx.AsyncClient(base_url=server.url) as client:
        for _ in range(20):
            await client.get(f"/v1/history/{TASK}")
    await server.stop()
    assert len(await on_record(case, 20)) == 20


async def test_without_nats_nothing_is_lost_and_soon_nothing_is_shown(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "GRACE", 0.3)
    monkeypatch.setattr(recording, "PATIENCE", 0.2)
    nats = EmbeddedNats(tmp_path / "nats", relaxed=True)
    nats.start()
    bus = await Bus.connect(nats.url)
    await bus.ensure_streams()
    app = create_app(case.store, bus, case.clock, Settings())
    server = await serve(app, "127.0.0.1", 0)
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            nats.stop()
            assert (await client.get(f"/v1/history/{TASK}")).status_code == 200  # on its way
            refused = await client.get(f"/v1/history/{TASK}")
            while refused.status_code == 200:
                refused = await client.get(f"/v1/history/{TASK}")
            assert refused.status_code == 503
            assert refused.json()["type"] == "urn:sauro:problem:unrecorded"
            ready = await client.get("/readyz")
            assert ready.status_code == 503
            assert any("wait to be recorded" in reason for reason in ready.json()["reasons"])
            waiting = len(app.state.access._waiting)
            assert waiting >= 1
            nats.start()
            monkeypatch.setattr(recording, "GRACE", 5.0)
            while (again := await client.get(f"/v1/history/{TASK}")).status_code != 200:
                assert again.status_code == 503
        await server.stop()
        assert len(await commands(bus)) >= waiting + 1
    finally:
        await bus.close()
        nats.stop()


async def test_a_full_queue_shows_nothing_more(case: Case) -> None:
    queue = AccessQueue(case.bus, capacity=0)
    with pytest.raises(recording.NotRecorded):
        queue.require()
    with pytest.raises(recording.NotRecorded):
        AccessQueue(None).require()


def test_the_command_line_records_before_it_prints_and_prints_nothing_without_nats(
    engines: EmbeddedEngines, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAURO_POSTGRES", dsn)
    monkeypatch.setenv("SAURO_NATS", "nats://127.0.0.1:1")
    monkeypatch.setattr(recording, "GRACE", 0.5)
    found = CliRunner().invoke(cli, ["history", "--late", "--by", "THANH-TRA"])
    assert found.exit_code != 0
    assert found.stdout == ""
    assert "nothing is shown" in str(found.exception)
    monkeypatch.setenv("SAURO_NATS", engines.addresses.nats)
    found = CliRunner().invoke(cli, ["history", "--late", "--by", "no code"])
    assert "code of a post" in str(found.exception)
    found = CliRunner().invoke(cli, ["history", "T-1", "--late"])
    assert found.exit_code == 2
