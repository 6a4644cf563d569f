"""Trouble on the way: connections that swallow messages, messages too large to tell of, events nobody can read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import orjson
import psycopg
import pytest
from eventsourcing.persistence import ProgrammingError

from contracts.assignment import AssignTask
from services import hosting
from services.app import Host
from services.bus import HEADERS, Bus, Message
from services.cli.running import run
from services.engines import EmbeddedEngines
from services.intake import service
from services.intake.core import Answered
from services.intake.service import IntakeService
from services.intake.states import Loaded, StateCache
from services.puller import Puller
from services.settings import BATCH, Settings
from services.spine import command_puller, intake_for
from services.store import Store
from services.timekeeper.core import Timekeeper
from tests.integration.support import PASSED, SOURCE, Desk, commands, messages, project, receipts, rows, stream, task
from tests.integration.test_warning_watch import EVENT
from tests.unit.spec import PROG


@dataclass
class Wire:
    """A way to NATS that can lose what the server sends, and be cut."""

    host: str
    port: int
    swallowing: bool = False
    swallowed: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join a client to the server."""
        back, forth = await asyncio.open_connection(self.host, self.port)
        self.writers += [writer, forth]
        self.tasks += [
            asyncio.create_task(self._pump(reader, forth, lossy=False)),
            asyncio.create_task(self._pump(back, writer, lossy=True)),
        ]

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, lossy: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if lossy and self.swallowing:
                    self.swallowed += data.count(b"HMSG ") + data.count(b"\r\nMSG ") + data.startswith(b"MSG ")
                    continue
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self) -> None:
        """Break all connections."""
        for writer in self.writers:
            writer.close()
        self.writers.clear()


@asynccontextmanager
async def wire_to(nats: str) -> AsyncIterator[tuple[Wire, str]]:
    """A wire before the server, and its address."""
    at = urlsplit(nats)
    wire = Wire(at.hostname or "", at.port or 0)
    server = await asyncio.start_server(wire.connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield wire, nats.replace(f":{at.port}", f":{port}")
    finally:
        wire.cut()
        server.close()
        await asyncio.gather(*wire.tasks)


async def test_deliveries_lost_with_a_connection_come_first_after_it(engines: EmbeddedEngines, bus: Bus) -> None:
    subject = bus.names.command("S", "P")
    async with wire_to(engines.addresses.nats) as (wire, address):
        lossy = await Bus.connect(address, bus.names, name="lossy")
        puller = Puller(lossy, bus.names.stream("COMMANDS"), bus.names.stream("intake"))
        await puller.start()
        await bus.publish_all([(subject, b"first", None)])
        await puller.acknowledge(await puller.take(10, 10))
        wire.swallowing = True
        await bus.publish_all([(subject, b"%d" % number, None) for number in range(5)])
        async with asyncio.timeout(10):
            while wire.swallowed < 5:
                await bus.client.flush()
        wire.swallowing = False
        reconnects = lossy.client.stats["reconnects"]
        wire.cut()
        async with asyncio.timeout(10):
            while lossy.client.stats["reconnects"] == reconnects:
                await bus.client.flush()
        await bus.publish_all([(subject, b"%d" % number, None) for number in range(5, 10)])
        sequences: list[int] = []
        while len(sequences) < 10:
            taken = await puller.take(100, 10)
            assert taken
            sequences += [item.sequence for item in taken]
            await puller.acknowledge(taken)
        assert sequences == list(range(2, 12))
        await puller.stop()
        await lossy.close()


async def test_somebody_else_taking_from_the_consumer_loses_nothing(bus: Bus) -> None:
    """Two instances, each sure to be the active one: both begin anew at the floor until one of them stops."""
    subject, names = bus.names.command("S", "P"), (bus.names.stream("COMMANDS"), bus.names.stream("intake"))
    one, other = Puller(bus, *names), Puller(bus, *names)
    await one.start()
    await bus.publish_all([(subject, b"first", None)])
    await one.acknowledge(await one.take(10, 10))
    other._inbox = bus.client.new_inbox()
    other._subscription = await bus.wire.subscribe(other._inbox, other._receive)
    await other._ask()  # without a start of its own: a stale instance that goes on asking
    await bus.publish_all([(subject, b"%d" % number, None) for number in range(20)])
    sequences: list[int] = []
    while not sequences or sequences[-1] < 21:
        taken = await one.take(100, 10)
        sequences += [item.sequence for item in taken]
        if taken:
            await one.acknowledge(taken)
    assert sorted(set(sequences)) == list(range(2, 22))
    assert sequences == sorted(sequences)
    await one.stop()
    await other.stop()


@asynccontextmanager
async def intake_of(store: Store, bus: Bus, desk: Desk, batch: int = BATCH) -> AsyncIterator[IntakeService]:
    puller = command_puller(bus)
    await puller.start()
    intake = IntakeService(intake_for(store, desk.clock), bus, puller, batch)
    yield intake
    await intake.stop()


async def test_what_was_read_ahead_of_a_batch_that_failed_does_not_overtake_it(store: Store, bus: Bus) -> None:
    """R-357: with a backlog the next batch is read while one is stored; its failure must not let the next one pass."""
    desk = Desk.founded(store)
    documents = [desk.sender.document(AssignTask(content=task()), stream(f"T-{number}")) for number in range(12)]
    async with intake_of(store, bus, desk, batch=4) as intake:
        await bus.publish_all([(bus.names.command(SOURCE, PROG), orjson.dumps(d), None) for d in documents])
        assert await intake.step(10) == 2
        with psycopg.connect(store.dsn, autocommit=True) as administrator:
            administrator.execute("REVOKE INSERT ON log.receipts FROM sauro_app")
            with pytest.raises(ProgrammingError, match="permission denied"):
                await intake.step(10)
            administrator.execute("GRANT INSERT ON log.receipts TO sauro_app")
        while intake.sequence < len(documents):
            await intake.step(10)
        assert intake.outcomes == {"accepted": len(documents)}
    assert [r["id"] for _, batch in await receipts(bus) for r in batch] == [d["id"] for d in documents]


async def test_what_could_not_be_read_ahead_is_read_in_its_turn(
    store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk.founded(store)
    documents = [desk.sender.document(AssignTask(content=task()), stream(f"T-{number}")) for number in range(12)]
    fetch = StateCache.fetch
    tried: list[int] = []

    def every_other_fails(cache: StateCache, streams: Iterable[str]) -> dict[str, Loaded]:
        tried.append(len(tried))
        if len(tried) % 2:
            raise psycopg.OperationalError("the connection is lost")
        return fetch(cache, streams)

    monkeypatch.setattr(StateCache, "fetch", every_other_fails)
    async with intake_of(store, bus, desk, batch=4) as intake:
        await bus.publish_all([(bus.names.command(SOURCE, PROG), orjson.dumps(d), None) for d in documents])
        while intake.sequence < len(documents):
            assert await intake.step(10) <= 2
        assert intake.outcomes == {"accepted": len(documents)}
    assert len(tried) > 2
    assert [r["id"] for _, batch in await receipts(bus) for r in batch] == [d["id"] for d in documents]


async def test_a_batch_that_could_not_be_told_comes_again(
    store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a backlog receipts are told during the next step; trouble there ends that step, and nothing is lost or doubled."""
    desk = Desk.founded(store)
    documents = [desk.sender.document(AssignTask(content=task()), stream(f"T-{number}")) for number in range(12)]
    trouble: list[Exception] = [RuntimeError("cannot be told")]
    publish = IntakeService._publish

    async def once_not(service: IntakeService, answered: Answered) -> None:
        if trouble:
            raise trouble.pop()
        await publish(service, answered)

    monkeypatch.setattr(IntakeService, "_publish", once_not)
    async with intake_of(store, bus, desk, batch=4) as intake:
        await bus.publish_all([(bus.names.command(SOURCE, PROG), orjson.dumps(d), None) for d in documents])
        assert await intake.step(10) == 2  # answered; its receipts follow
        with pytest.raises(RuntimeError, match="cannot be told"):
            await intake.step(10)
        while intake.sequence < len(documents):
            await intake.step(10)
    told = [receipt for _, batch in await receipts(bus) for receipt in batch]
    assert [receipt["id"] for receipt in told] == [document["id"] for document in documents]
    assert {receipt["outcome"] for receipt in told} == {"accepted"}
    stored = await asyncio.to_thread(store.recorder.receipts, [(SOURCE, document["id"]) for document in documents])
    assert len(stored) == len(documents)


async def test_intake_ends_though_its_receipts_cannot_be_told(
    store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is answered and cannot be told stays unacknowledged; nothing of it goes on behind the next instance's back."""
    desk = Desk.founded(store)
    documents = [desk.sender.document(AssignTask(content=task()), stream(f"T-{number}")) for number in range(6)]
    monkeypatch.setattr(service, "SOON", 0.1)

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    async with intake_of(store, bus, desk, batch=4) as intake:
        await bus.publish_all([(bus.names.command(SOURCE, PROG), orjson.dumps(d), None) for d in documents])
        with monkeypatch.context() as patched:
            patched.setattr(IntakeService, "_publish", never)
            assert await intake.step(10) == 2
            async with asyncio.timeout(5):
                await intake.stop()
    assert (await bus.js.stream_info(bus.names.stream("RECEIPTS"))).state.messages == 0
    async with intake_of(store, bus, desk) as another:
        while another.sequence < len(documents):
            await another.step(10)
    assert [r["id"] for _, batch in await receipts(bus) for r in batch] == [d["id"] for d in documents]


@pytest.mark.parametrize("less", [0, 50, 100_000], ids=["largest", "headers do not fit", "fits"])
async def test_a_message_as_large_as_the_server_takes_is_a_dead_letter(store: Store, bus: Bus, less: int) -> None:
    desk = Desk.founded(store)
    payload = b"x" * (bus.client.max_payload - less)
    async with intake_of(store, bus, desk) as intake:
        await bus.publish_all([(bus.names.command(SOURCE, PROG), payload, None)])
        assert await intake.step(10) == 1
    ((_, kept, headers),) = await messages(bus, "DEADLETTERS")
    assert headers["Sauro-Rule"] == "too_large"
    assert headers["Sauro-Sequence"] == "1"
    if less > HEADERS:
        assert kept == payload
        assert "Sauro-Size" not in headers
    else:
        assert kept == payload[: len(kept)]
        assert headers["Sauro-Size"] == str(len(payload))
        assert headers["Sauro-Digest"] == f"sha-256={sha256(payload).hexdigest()}"


async def test_receipts_that_do_not_fit_one_message_come_in_several(
    store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk.founded(store)
    documents = [desk.sender.document(AssignTask(content=task()), stream(f"T-{number}")) for number in range(30)]
    async with intake_of(store, bus, desk) as intake:
        monkeypatch.setattr(Bus, "room", 2000)
        await bus.publish_all([(bus.names.command(SOURCE, PROG), orjson.dumps(d), None) for d in documents])
        handled = 0
        while handled < len(documents):
            handled += await intake.step(10)
    told = await messages(bus, "RECEIPTS")
    assert len(told) > 1
    assert all(len(data) <= 2000 for _, data, _ in told)
    assert [r["id"] for _, batch in await receipts(bus) for r in batch] == [d["id"] for d in documents]


class Unheard(Bus):
    """A bus whose first publication of receipts is lost."""

    lost = 0

    async def publish_all(self, messages: Sequence[Message]) -> list[int]:
        if not Unheard.lost:
            Unheard.lost += 1
            raise TimeoutError
        return await super().publish_all(messages)


async def test_receipts_that_were_not_told_are_told_as_they_were(store: Store, bus: Bus) -> None:
    """R-356: what is tried again after the commit is the telling, and the sender sees no duplicate."""
    desk = Desk.founded(store)
    document = desk.sender.document(AssignTask(content=task()), stream("T-1"))
    Unheard.lost = 0
    async with intake_of(store, Unheard(bus.client, bus.js, bus.names, bus.wire), desk) as intake:
        await bus.publish_all([(bus.names.command(SOURCE, PROG), orjson.dumps(document), None)])
        assert await intake.step(10) == 1
        assert intake.outcomes == {"accepted": 1}
    ((_, (receipt,)),) = await receipts(bus)
    assert (receipt["outcome"], receipt["duplicate"]) == ("accepted", False)
    assert Unheard.lost


# ---------------------------------------------------------------- the warning service


@pytest.fixture
async def warning(engines: EmbeddedEngines, dsn: str, bus: Bus) -> AsyncIterator[Host]:
    settings = Settings(postgres=dsn, nats=engines.addresses.nats, subject_prefix=bus.names.prefix)
    found = Host(settings, ("warning",))
    running = asyncio.create_task(found.app.run())
    await found.ready.wait()
    yield found
    found.app.exit()
    await running


async def test_an_event_nobody_can_read_holds_up_no_other_and_is_told(warning: Host, bus: Bus) -> None:
    subject = bus.names.event("P", "assignment", "DeadlineMet")
    await bus.publish_all([(subject, EVENT, None), (subject, b'{"type":"unknown"}', None), (subject, EVENT, None)])
    async with asyncio.timeout(20):
        while True:
            info = await bus.js.consumer_info(bus.names.stream("EVENTS"), bus.names.stream("warning"))
            if not info.num_pending and info.num_ack_pending == 1:
                break


async def test_what_can_wait_stops_before_an_event_nobody_can_read_and_goes_on_there(
    warning: Host, bus: Bus, store: Store
) -> None:
    """What comes before it is answered, the trouble is told, and nothing is passed over."""
    subject = bus.names.event("P", "assignment", "DeadlinePassed")
    first, second, last = (
        orjson.dumps(PASSED | {"id": f"E-{number}", "subject": f"assignment/P/T-{number}"}) for number in range(3)
    )
    await bus.publish_all([(subject, event, None) for event in (first, second, b'{"type":"unknown"}', last)])
    async with asyncio.timeout(30):
        while await bus.floor(bus.names.stream("EVENTS"), bus.names.stream("warning-later")) < 2:
            pass
        while not rows(store, "SELECT 1 FROM read.followers WHERE name = 'warning-later' AND last_error IS NOT NULL"):
            await bus.client.flush()
    assert await bus.floor(bus.names.stream("EVENTS"), bus.names.stream("warning-later")) == 2
    demanded = [
        c for c in await commands(bus) if orjson.loads(c.payload)["type"] == "sauro.obligation.DemandExplanation.v1"
    ]
    assert {orjson.loads(c.payload)["data"]["about"] for c in demanded} == {"assignment/P/T-0", "assignment/P/T-1"}


async def test_a_connection_that_nats_ends_for_good_is_made_anew(
    engines: EmbeddedEngines, dsn: str, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hangs on such a connection would try for ever; `sauro serve` begins anew on another."""
    hosts: list[Host] = []

    class Noted(Host):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            hosts.append(self)

    monkeypatch.setattr("services.app.Host", Noted)
    settings = Settings(postgres=dsn, nats=engines.addresses.nats, subject_prefix=bus.names.prefix)
    running = asyncio.create_task(run(settings, ("warning",), [], quiet=True))
    async with asyncio.timeout(20):
        while not hosts:
            await bus.client.flush()
        await hosts[0].ready.wait()
        client: Any = await hosts[0].broker.connect()
        client._transport.write(b"NONSENSE\r\n")
        while len(hosts) < 2:
            await bus.client.flush()
        await hosts[1].ready.wait()
    assert hosts[0].closed
    hosts[1].app.exit()
    await running


async def test_trouble_of_the_warning_service_stands_in_its_heartbeat(warning: Host, bus: Bus, store: Store) -> None:
    await bus.publish_all([(bus.names.event("P", "assignment", "DeadlineMet"), b'{"type":"unknown"}', None)])
    async with asyncio.timeout(20):
        while True:
            await bus.client.flush()
            told = rows(store, "SELECT last_error FROM read.followers WHERE name = 'warning'")
            if told and told[0]["last_error"]:
                break


# ---------------------------------------------------------------- the timekeeper


async def test_a_read_model_that_stands_still_leaves_no_row_a_minute(store: Store, bus: Bus) -> None:
    """A timer whose receipt says accepted is not sent again; one that was refused is, under another id."""
    desk = Desk.founded(store)
    desk.assign("T-1")
    project(store, desk.clock)
    timekeeper = Timekeeper(store, bus, desk.clock)
    following = await timekeeper.next_at()
    assert following is not None
    desk.clock.move_to(following)
    async with intake_of(store, bus, desk) as intake:
        assert await timekeeper.step() == 1
        while intake.sequence < timekeeper.sequence:
            await intake.step(10)
        before = store.recorder.head().receipt
        for _ in range(10):
            desk.clock.move_to(desk.clock.now() + timedelta(seconds=61))
            assert await timekeeper.step() == 0
    assert store.recorder.head().receipt == before


async def test_a_task_that_swallows_a_cancellation_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As nats-py does in the midst of a request: a service that stops must not wait for it for ever."""
    monkeypatch.setattr(hosting, "AGAIN", 0.05)
    heard = asyncio.Event()

    async def deaf() -> None:
        with suppress(asyncio.CancelledError):
            heard.set()
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    task = asyncio.create_task(deaf())
    await heard.wait()
    await asyncio.wait_for(hosting.end([task]), 10)
    assert task.cancelled()
