"""What an API client need not ask twice: entity tags, receipts waited for, and the stream of events. On real engines."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import psycopg
import pytest
from fastapi import FastAPI

from contracts.assignment import AssignTask, Deliverable
from services.api.app import create_app, openapi_document
from services.api.limits import Limits
from services.api.server import RunningServer, serve
from services.api.waiting import preferred_wait
from services.bus import Bus
from services.intake.service import IntakeService
from services.projector.rebuild import rebuild
from services.settings import Settings
from services.spine import command_puller
from services.store import Store
from tests.integration.support import SOURCE, Desk, project, stream, task
from tests.unit.spec import ORG, PROG

PATIENCE = 20.0
CODE = "T-01"


@pytest.fixture
def desk(store: Store) -> Desk:
    """A small installation with one task, its read models at the head."""
    founded = Desk.founded(store)
    founded.assign(CODE)
    project(store, founded.clock)
    return founded


@dataclass(frozen=True)
class Api:
    """A server and a client of it."""

    app: FastAPI
    server: RunningServer
    client: httpx.AsyncClient


@asynccontextmanager
async def serving(desk: Desk, bus: Bus | None = None, **limits: Any) -> AsyncIterator[Api]:
    app = create_app(desk.store, bus, desk.clock, Settings(), limits=Limits(**limits))
    server = await serve(app, "127.0.0.1", 0)
    try:
        async with asyncio.timeout(60), httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as client:
            yield Api(app, server, client)
    finally:
        await server.stop()


def broken(response: httpx.Response) -> list[tuple[str, str]]:
    assert response.headers["content-type"] == "application/problem+json"
    return [(error["field"], error["rule"]) for error in response.json()["errors"]]


# Entity tags

OF_MODELS = (
    "programmes",
    f"programmes/{PROG}",
    f"programmes/{PROG}/departments",
    f"programmes/{PROG}/phases",
    "assignments",
    "assignments?limit=5&unit=PBCXB",
    f"assignments/{PROG}/{CODE}",
    "obligations",
    "warnings",
    "deadlines",
    "quarantine",
    "labels",
)
OF_LOG = ("events", "events?after=3&limit=2", f"receipts/{SOURCE}/{SOURCE}-1", f"assignments/{PROG}/{CODE}/history")


async def test_a_tag_answers_304_until_something_has_changed(desk: Desk, bus: Bus) -> None:
    async with serving(desk, bus) as api:
        tags = {}
        for path in OF_MODELS + OF_LOG:
            first = await api.client.get(f"/v1/{path}")
            assert first.status_code == 200, first.text
            tags[path] = first.headers["ETag"]
            assert re.fullmatch(rf'W/"{first.headers["Sauro-Position"]}-[0-9a-f]{{16}}"', tags[path])
            assert first.headers["Cache-Control"] == "no-cache, private"
            strong = tags[path].removeprefix("W/")
            for known in (tags[path], strong, f'"else", {tags[path]}', "*"):
                again = await api.client.get(f"/v1/{path}", headers={"If-None-Match": known})
                assert (again.status_code, again.content) == (304, b""), (path, known)
                for name in ("ETag", "Cache-Control", "Sauro-Position", "Sauro-Lag"):
                    assert again.headers[name] == first.headers[name]
            for other in ('"else"', 'W/"', f'W/"{first.headers["Sauro-Position"]}"'):
                assert (await api.client.get(f"/v1/{path}", headers={"If-None-Match": other})).status_code == 200
        assert len(set(tags.values())) == len(tags)
        desk.assign("T-02")  # the log has moved, the read models have not
        for path, tag in tags.items():
            status = (await api.client.get(f"/v1/{path}", headers={"If-None-Match": tag})).status_code
            assert status == (200 if path in OF_LOG else 304), path
        project(desk.store, desk.clock)
        for path, tag in tags.items():
            changed = await api.client.get(f"/v1/{path}", headers={"If-None-Match": tag})
            assert changed.status_code == 200
            assert changed.headers["ETag"] != tag


async def test_a_304_reads_no_data(desk: Desk) -> None:
    path = f"/v1/programmes/{PROG}/departments"
    async with serving(desk) as api:
        tag = (await api.client.get(path)).headers["ETag"]
        with psycopg.connect(desk.store.dsn) as connection:
            connection.execute("LOCK TABLE read.assignments, read.programmes IN ACCESS EXCLUSIVE MODE")
            assert (await api.client.get(path, headers={"If-None-Match": tag})).status_code == 304


async def test_a_tag_ends_with_the_build_it_was_computed_from(desk: Desk) -> None:
    async with serving(desk) as api:
        tag = (await api.client.get("/v1/assignments")).headers["ETag"]
        position = desk.store.recorder.max_notification_id()
        rebuild(desk.store, switch=True)
        changed = await api.client.get("/v1/assignments", headers={"If-None-Match": tag})
        assert (changed.status_code, changed.json()["position"]) == (200, position)
        assert [row["code"] for row in changed.json()["data"]] == [CODE]
        held = (await api.client.get("/v1/quarantine")).headers["ETag"]
        with psycopg.connect(desk.store.dsn) as connection:
            connection.execute(
                "INSERT INTO read.quarantine VALUES ('warnings', 7, 'warning/A/B', 'KeyError: x', now())"
            )
        assert (await api.client.get("/v1/quarantine", headers={"If-None-Match": held})).status_code == 200


async def test_what_is_not_there_has_no_tag(desk: Desk) -> None:
    async with serving(desk) as api:
        tag = (await api.client.get("/v1/programmes")).headers["ETag"]
        for known in ("*", tag):
            missing = await api.client.get("/v1/programmes/NONE", headers={"If-None-Match": known})
            assert missing.status_code == 404
            assert "ETag" not in missing.headers
            assert missing.headers["Cache-Control"] == "no-store"
            refused = await api.client.get("/v1/assignments?limit=0", headers={"If-None-Match": known})
            assert refused.status_code == 422


async def test_unknown_levels_and_empty_ranges_are_refused(desk: Desk) -> None:
    async with serving(desk) as api:
        assert broken(await api.client.get("/v1/warnings?level=9")) == [("query.level", "unknown_level")]
        assert (await api.client.get("/v1/warnings?level=1")).json()["data"] == []
        empty = await api.client.get("/v1/assignments?due_from=2026-06-06&due_to=2026-06-05")
        assert broken(empty) == [("query.due_from", "due_range")]
        day = await api.client.get("/v1/assignments?due_from=2026-06-30&due_to=2026-06-30")
        assert [row["code"] for row in day.json()["data"]] == [CODE]


# Receipts waited for (Prefer, RFC 7240)


@asynccontextmanager
async def answering(desk: Desk, bus: Bus) -> AsyncIterator[IntakeService]:
    """Intake at work."""
    puller = command_puller(bus)
    await puller.start()
    service = IntakeService(desk.intake, bus, puller)

    async def work() -> None:
        while True:
            await service.step(1.0)

    working = asyncio.create_task(work())
    try:
        yield service
    finally:
        working.cancel()
        await asyncio.wait((working,))
        await puller.stop()


async def post(api: Api, document: dict[str, Any], prefer: str | None = "wait=15") -> httpx.Response:
    headers = {"Content-Type": "application/cloudevents+json"} | ({"Prefer": prefer} if prefer else {})
    return await api.client.post("/v1/commands", content=orjson.dumps(document), headers=headers)


def assigning(desk: Desk, code: str, **more: Any) -> dict[str, Any]:
    return desk.sender.document(AssignTask(content=task()), stream(code), **more)


def at_rest(api: Api) -> bool:
    return api.app.state.waiting.waiters == 0 and not api.app.state.waiting._sources


async def test_waiting_for_the_receipt(desk: Desk, bus: Bus) -> None:
    async with serving(desk, bus) as api, answering(desk, bus):
        document = assigning(desk, "T-02", id_="api/2")
        accepted = await post(api, document)
        assert accepted.status_code == 200, accepted.text
        assert accepted.headers["Preference-Applied"] == "wait=15"
        stored = await api.client.get(f"/v1/receipts/{SOURCE}/api/2")
        assert accepted.json() == stored.json()
        again = await post(api, document)
        assert again.status_code == 200
        assert again.json()["data"] == {**stored.json()["data"], "duplicate": True}
        refused = await post(api, {**document, "subject": stream("T-03")})
        assert refused.status_code == 422
        assert refused.headers["Preference-Applied"] == "wait=15"
        assert broken(refused) == [("body.id", "IdReused")]
        wrong = await post(api, desk.sender.document(AssignTask(content=task(unit="NOWHERE")), stream("T-04")))
        assert wrong.status_code == 422
        known = (await api.client.get(f"/v1/receipts/{SOURCE}/{wrong.json()['data']['id']}")).json()
        assert {name: wrong.json()[name] for name in known} == known
        assert known["data"]["outcome"] == "rejected"
        assert at_rest(api)


async def test_many_wait_on_one_subscription(desk: Desk, bus: Bus) -> None:
    async with serving(desk, bus, waiters=20) as api:
        posts = [asyncio.create_task(post(api, assigning(desk, f"M-{n}"))) for n in range(25)]
        done, _ = await asyncio.wait(posts, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 5:  # beyond the bound nobody waits
            done, _ = await asyncio.wait(posts, timeout=0.1)
        assert [one.result().status_code for one in done] == [202] * 5
        receipts_of_sender = bus.names.receipt(SOURCE)
        assert [one.subject for one in bus.client._subs.values()].count(receipts_of_sender) == 1
        async with answering(desk, bus):
            found = await asyncio.gather(*posts)
        assert sorted(one.status_code for one in found) == [200] * 20 + [202] * 5
        receipts = {one.json()["data"]["id"]: one.json()["data"]["receipt"] for one in found if one.status_code == 200}
        assert len(set(receipts.values())) == 20
        assert at_rest(api)


async def test_without_a_receipt_in_time_it_is_202(desk: Desk, bus: Bus) -> None:
    async with serving(desk, bus, wait=1) as api:
        late = await post(api, assigning(desk, "T-02", id_="late"), "wait=900")
        assert (late.status_code, late.json()["receipt"]) == (202, f"/v1/receipts/{SOURCE}/late")
        assert "Preference-Applied" not in late.headers
        assert at_rest(api)
        for ignored in (None, "wait", "wait=soon", "wait=-1", 'wait="', "respond-async"):
            assert (await post(api, assigning(desk, "T-02"), ignored)).status_code == 202


async def test_a_receipt_that_was_not_heard_is_looked_up(desk: Desk, bus: Bus) -> None:
    document = assigning(desk, "T-02", id_="unheard")
    desk.accept(document)  # committed; nobody publishes the receipt
    async with serving(desk, bus) as api:
        found = await post(api, document, "wait=1")
        assert (found.status_code, found.json()["data"]["outcome"]) == (200, "accepted")
        other = await post(api, {**document, "subject": stream("T-03")}, "wait=1")
        assert other.status_code == 202  # the stored receipt is that of other content


async def test_who_leaves_waits_no_more(desk: Desk, bus: Bus) -> None:
    async with serving(desk, bus) as api:
        leaving = asyncio.create_task(post(api, assigning(desk, "T-02")))
        while api.app.state.waiting.waiters == 0:
            await asyncio.wait((leaving,), timeout=0.01)
        leaving.cancel()
        while not at_rest(api):
            await api.client.get("/healthz")
        stopped = asyncio.create_task(post(api, assigning(desk, "T-03")))
        while api.app.state.waiting.waiters == 0:
            await asyncio.wait((stopped,), timeout=0.01)
        async with asyncio.timeout(3):
            await api.server.stop()
        assert (await stopped).status_code == 202


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (["wait=5"], 5),
        (["Wait = 5 ; x=1"], 5),
        (['respond-async, foo="a, wait=9", wait="7"'], 7),
        (["return=minimal", "wait=3, wait=4"], 3),
        (["wait=x, wait=4"], 4),
        (["wait=1.5"], 0),
        (["wait=٣"], 0),
        ([], 0),
    ],
)
def test_the_wait_among_preferences(prefer: Sequence[str], seconds: int) -> None:
    assert preferred_wait(prefer) == seconds


# The stream


@dataclass
class Reader:
    """One reader of the stream, as a browser would be."""

    response: httpx.Response
    lines: AsyncIterator[str]

    async def block(self) -> list[str]:
        """The lines up to the next empty one; none at the end."""
        found: list[str] = []
        async for line in self.lines:
            if not line:
                return found
            found.append(line)
        assert not found
        return []

    async def events(self, number: int) -> list[tuple[int, str, bytes]]:
        """The next events: id, type, data."""
        found: list[tuple[int, str, bytes]] = []
        while len(found) < number:
            block = await self.block()
            assert block, "the stream ended"
            if block[0].startswith("id: "):
                position, topic, data = (line.split(": ", 1)[1] for line in block)
                found.append((int(position), topic, data.encode()))
        return found


@asynccontextmanager
async def reading(api: Api, last: int | str | None = None, **parameters: Any) -> AsyncIterator[Reader]:
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    async with api.client.stream("GET", "/v1/stream", params=parameters, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        reader = Reader(response, response.aiter_lines())
        assert await reader.block() == ["retry: 2000"]
        yield reader


def stored(desk: Desk, after: int = 0) -> list[tuple[int, str, bytes]]:
    found = desk.store.recorder.select_notifications(after, 100_000, inclusive_of_start=False)
    return [(event.id, event.topic, bytes(event.state)) for event in found]


async def test_events_come_in_order_as_stored(desk: Desk) -> None:
    head = len(stored(desk))
    async with serving(desk) as api, reading(api) as all_, reading(api, after=head) as live, reading(api, 3) as third:
        assert await all_.events(head) == stored(desk)
        for batch in range(5):
            desk.assign(*(f"L-{batch}-{n}" for n in range(10 * batch + 1)))
        whole = stored(desk)
        assert await live.events(len(whole) - head) == whole[head:]
        assert await all_.events(len(whole) - head) == whole[head:]
        assert await third.events(len(whole) - 3) == whole[3:]


async def test_a_reader_resumes_without_gap_or_double(desk: Desk) -> None:
    seen: list[tuple[int, str, bytes]] = []
    async with serving(desk) as api:
        for batch in range(4):
            async with reading(api, seen[-1][0] if seen else None) as reader:
                seen += await reader.events(5)
            desk.assign(*(f"R-{batch}-{n}" for n in range(3)))
        async with reading(api, seen[-1][0], after=1) as reader:  # Last-Event-ID goes before `after`
            seen += await reader.events(len(stored(desk)) - len(seen))
        assert seen == stored(desk)


async def test_only_one_programme(desk: Desk) -> None:
    of_programme = [event for event in stored(desk) if orjson.loads(event[2])["subject"].split("/")[1] == PROG]
    assert 0 < len(of_programme) < len(stored(desk))
    async with serving(desk) as api, reading(api, programme=PROG) as own, reading(api, programme=ORG) as other:
        assert await own.events(len(of_programme)) == of_programme
        await other.events(len(stored(desk)) - len(of_programme))
        before = len(stored(desk))
        desk.assign("T-02")
        assert await own.events(len(stored(desk, before))) == stored(desk, before)


async def test_a_pause_is_filled_with_comments(desk: Desk) -> None:
    head = len(stored(desk))
    async with serving(desk, stream_heartbeat=0.05) as api, reading(api, head) as reader:
        assert [await reader.block() for _ in range(3)] == [[":"]] * 3
        desk.assign("T-02")
        assert (await reader.events(1))[0][0] == head + 1


async def test_where_a_stream_cannot_begin(desk: Desk) -> None:
    head = len(stored(desk))
    async with serving(desk, streams=1) as api:
        for wrong in ("x", "-1", "1.0", "٣", "9" * 30):
            refused = await api.client.get("/v1/stream", headers={b"Last-Event-ID": wrong.encode()})
            assert broken(refused) == [("header.Last-Event-ID", "position")]
        refused = await api.client.get("/v1/stream", headers={"Last-Event-ID": str(head + 1)})
        assert broken(refused) == [("header.Last-Event-ID", "beyond_head")]
        assert f"ends at {head}" in refused.json()["detail"]
        assert broken(await api.client.get(f"/v1/stream?after={head + 1}")) == [("query.after", "beyond_head")]
        assert broken(await api.client.get("/v1/stream?after=x")) == [("query.after", "int_parsing")]
        async with reading(api):
            full = await api.client.get("/v1/stream")
            assert (full.status_code, full.json()["type"]) == (503, "urn:sauro:problem:too-many-streams")
            assert full.headers["Retry-After"]


async def test_a_slow_reader_is_dropped_and_the_others_go_on(desk: Desk) -> None:
    head = len(stored(desk))
    words = "Rà soát, đơn giản hóa thủ tục hành chính. " * 7
    many = tuple(Deliverable(code=f"D-{n}", what=words.strip()) for n in range(20))
    for batch in range(3):
        desk.assign(*(f"W-{batch}-{n}" for n in range(250)), deliverables=many)
    whole = len(stored(desk))
    async with serving(desk, stream_stall=0.5, stream_heartbeat=0.1) as api, reading(api, whole) as live:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((api.server.host, api.server.port))
        slow.sendall(b"GET /v1/stream?after=%d HTTP/1.1\r\nHost: sauro\r\n\r\n" % head)
        await live.block()
        while api.app.state.feed.readers < 2:
            await live.block()
        while api.app.state.feed.readers > 1:
            await live.block()
        desk.assign("T-02")
        assert (await live.events(1))[0][0] == whole + 1
        received = bytearray()
        with suppress(ConnectionResetError):
            while part := slow.recv(65536):
                received += part
        slow.close()
        assert len(received) < sum(len(event[2]) for event in stored(desk, head))  # what the kernels held, no more
        async with reading(api, head) as again:
            assert [event[0] for event in await again.events(whole + 1 - head)] == list(range(head + 1, whole + 2))


async def test_the_server_stops_with_open_streams(desk: Desk) -> None:
    async with serving(desk) as api, reading(api) as reader, reading(api, len(stored(desk))) as other:
        await reader.events(len(stored(desk)))
        async with asyncio.timeout(3):
            await api.server.stop()
        assert await reader.block() == []
        assert await other.block() == []
        assert api.app.state.feed.readers == 0


def test_the_openapi_document_says_all_of_it() -> None:
    paths = openapi_document()["paths"]
    for path in OF_MODELS + OF_LOG:
        found = next(
            known for known in paths if re.fullmatch(re.sub(r"{\w+}", ".+", known), f"/v1/{path.split('?')[0]}")
        )
        operation = paths[found]["get"]
        assert {"200", "304"} <= operation["responses"].keys(), path
        assert {"ETag", "Cache-Control"} <= operation["responses"]["200"]["headers"].keys()
        assert "if-none-match" in {parameter["name"].lower() for parameter in operation["parameters"]}
    command = paths["/v1/commands"]["post"]
    assert {"200", "202", "422"} <= command["responses"].keys()
    assert [parameter["name"].lower() for parameter in command["parameters"]] == ["prefer"]
    assert "Preference-Applied" in command["responses"]["200"]["headers"]
    streaming = paths["/v1/stream"]["get"]
    assert list(streaming["responses"]["200"]["content"]) == ["text/event-stream"]
    assert {parameter["name"] for parameter in streaming["parameters"]} == {"last-event-id", "after", "programme"}
