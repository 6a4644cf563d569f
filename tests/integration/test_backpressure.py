"""Back-pressure: whatever is slow or away, memory stays bounded, the others go on, and nothing is lost once it is back.

Memory is the resident set of the process at work, read from /proc.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nats.errors
import orjson
import psycopg
import pytest

from contracts.assignment import ReportProgress
from domain.calendar import to_local
from services.api.app import create_app
from services.audit.notes import Signer
from services.bus import Bus, Names
from services.clock import SimulatedClock
from services.engines import EmbeddedEngines
from services.eventlog.migrations import migrate
from services.eventlog.recorder import APPEND_LOCK
from services.intake.service import IntakeService
from services.projector.core import Projector
from services.puller import AHEAD, MOST_BYTES, Puller
from services.relay.core import Relay
from services.settings import BATCH, Settings
from services.spine import command_puller, intake_for
from services.store import Store
from services.timekeeper import core as timekeeping
from services.timekeeper.core import Timekeeper
from services.warning.app import AHEAD as ASIDE
from tests.benchmarks.bench import Installation as Place
from tests.benchmarks.commands import chain
from tests.benchmarks.world import World, build, grow
from tests.integration.processes import Installation, installation
from tests.integration.support import Desk, client_of, events, rows, stream, until

WAITING, MANY, LONG, BULKY, MEGABYTE, PATIENCE = 50_000, 6_000, 5_000, 100, 1024 * 1024, 60.0
MOST = 32 * MEGABYTE
"""How much a service may grow while work waits; the work itself would take several times as much."""


@pytest.fixture
def desk(store: Store) -> Desk:
    """A desk with a programme and a hundred tasks."""
    found = Desk.founded(store, SimulatedClock(datetime.now(UTC)))
    due = (datetime.now(UTC) + timedelta(days=60)).date()
    found.assign(*(f"T-{number:03}" for number in range(100)), due=due)
    return found


@dataclass
class Others:
    """The services a test runs by its own hand: it decides when they get on."""

    desk: Desk
    projector: Projector
    relay: Relay
    intake: IntakeService

    @classmethod
    @asynccontextmanager
    async def ready(cls, desk: Desk, bus: Bus) -> AsyncIterator["Others"]:
        """On a desk's log."""
        puller = command_puller(bus)
        await puller.start()
        intake = IntakeService(intake_for(desk.store, desk.clock), bus, puller)
        yield cls(desk, Projector(desk.store, desk.clock), Relay(desk.store, bus), intake)
        await puller.stop()

    async def project(self) -> None:
        """Bring the read models to the head of the log."""
        self.desk.clock.move_to(datetime.now(UTC))
        while await asyncio.to_thread(self.projector.step):
            pass

    async def get_on(self) -> None:
        """Answer what waits, publish what came of it, show it."""
        self.desk.clock.move_to(datetime.now(UTC))
        while await self.intake.step(0.05):
            pass
        while await self.relay.step():
            pass
        await self.project()


def overdue(desk: Desk, series: str, number: int) -> None:
    """Assign tasks whose limit has passed by now."""
    now = datetime.now(UTC)
    at = to_local(now - timedelta(days=1))
    desk.clock.move_to(now - timedelta(days=2))
    due = {"due": at.date(), "hour": at.time().replace(microsecond=0)}
    for start in range(0, number, 1000):
        desk.assign(*(f"{series}-{n:05}" for n in range(start, min(start + 1000, number))), **due)
    desk.clock.move_to(now)


def ask(store: Store, what: str) -> int:
    """A figure of the database, with a breath taken before."""
    return int(rows(store, f"SELECT ({what}) AS n FROM pg_sleep(0.02)")[0]["n"] or 0)


async def asked(store: Store, what: str) -> int:
    return await asyncio.to_thread(ask, store, what)


def progress(desk: Desk, number: int) -> Iterator[bytes]:
    """Reports of progress on a hundred tasks, each with an id of its own."""
    forms = [
        orjson.dumps(desk.sender.document(ReportProgress(percent=50), stream(f"T-{n:03}"), "PBCXB-TP", id_="@@@@"))
        for n in range(100)
    ]
    return (forms[n % 100].replace(b"@@@@", f"flood-{n}".encode()) for n in range(number))


async def flood(desk: Desk, bus: Bus, number: int) -> None:
    """Publish that many commands."""
    subject = bus.names.command(desk.sender.source, desk.sender.programme)
    await bus.publish_batch([(subject, payload, None) for payload in progress(desk, number)])


async def test_intake_waits_for_postgresql_with_bounded_memory(
    processes: Installation, desk: Desk, store: Store, bus: Bus, dsn: str
) -> None:
    """Fifty thousand commands wait while nothing can be appended; afterwards each has its receipt."""
    known = await asked(store, "SELECT count(*) FROM log.receipts")
    processes.start("intake")
    await flood(desk, bus, 2000)  # so that caches are warm
    await until(lambda: _is(store, "SELECT count(*) FROM log.receipts", known + 2000))
    before = processes.memory("intake")
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
        subject = bus.names.command(desk.sender.source, desk.sender.programme)
        payloads = [payload.replace(b"flood-", b"later-") for payload in progress(desk, WAITING)]
        await bus.publish_batch([(subject, payload, None) for payload in payloads])
        blocked = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND objid = {APPEND_LOCK}"
        await until(lambda: _is(store, blocked, 1))
        held = await _held(bus)
        during = processes.memory("intake")
    await until(lambda: _is(store, "SELECT count(*) FROM log.receipts", known + 2000 + WAITING))
    after = processes.memory("intake")
    print(f"intake: held {held}, memory {before >> 20} {during >> 20} {after >> 20} MB")
    assert held <= AHEAD + 3 * BATCH, "what waits, and a batch each that is read, stored, and being told of"
    assert max(during, after) - before < MOST
    kept = ask(store, "SELECT count(DISTINCT command_id) FROM log.receipts WHERE command_id LIKE 'later-%%'")
    assert (kept, ask(store, "SELECT max(receipt) FROM log.receipts")) == (WAITING, known + 2000 + WAITING)


async def test_messages_of_many_commands_wait_by_their_bytes(
    processes: Installation, desk: Desk, store: Store, bus: Bus, dsn: str
) -> None:
    """A hundred messages, each as large as NATS takes: intake asks for sixteen megabytes, and no more until they are done."""
    document = desk.sender.document(ReportProgress(percent=50), stream("T-001"), "PBCXB-TP", id_="@@@@")
    document["data"]["difficulty"] = "Vướng mắc. " * 180
    number = bus.room // (len(orjson.dumps(document)) + 10)
    bulk = orjson.dumps([document] * number)
    subject = bus.names.command(desk.sender.source, desk.sender.programme)
    known = await asked(store, "SELECT count(*) FROM log.receipts")
    processes.start("intake")
    await flood(desk, bus, 2000)
    await until(lambda: _is(store, "SELECT count(*) FROM log.receipts", known + 2000))
    before = processes.memory("intake")
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
        for message in range(BULKY):
            await bus.publish_all([(subject, bulk.replace(b"@@@@", b"bulk-%d" % message), None)])
        blocked = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND objid = {APPEND_LOCK}"
        await until(lambda: _is(store, blocked, 1))
        held = await _held(bus)
        during = processes.memory("intake")
    await until(lambda: _is(store, "SELECT count(*) FROM log.receipts", known + 2000 + BULKY))
    print(
        f"intake: held {held} of {BULKY} messages, {len(bulk) >> 10} kB each, memory {before >> 20} {during >> 20} MB"
    )
    assert held * len(bulk) <= 2 * MOST_BYTES
    assert during - before < 3 * MOST_BYTES


async def _is(store: Store, what: str, number: int) -> bool:
    return await asked(store, what) == number


async def _held(bus: Bus) -> int:
    """What intake holds, once it asks for no more."""
    seen = -1
    while True:
        info = await bus.js.consumer_info(bus.names.stream("COMMANDS"), bus.names.stream("intake"))
        if (info.num_ack_pending or 0) == seen:
            return seen
        seen = info.num_ack_pending or 0


async def test_a_slow_projector_is_seen_and_catches_up(
    processes: Installation, desk: Desk, store: Store, bus: Bus, dsn: str
) -> None:
    """A locked read model: the log goes on, `/readyz` and every answer tell the lag."""
    processes.start("projector")
    reached = "coalesce((SELECT min(notification_id) FROM read.positions), 0)"
    behind = f"SELECT (SELECT max(notification_id) FROM log.events) - {reached}"
    await until(lambda: _is(store, behind, 0))
    before = processes.memory("projector")
    app = create_app(store, bus, desk.clock, Settings())
    async with client_of(app) as api:
        with psycopg.connect(dsn) as connection:
            connection.execute("LOCK TABLE read.assignments IN SHARE ROW EXCLUSIVE MODE")
            for batch in _batches(progress(desk, 10_000), 1000):
                desk.clock.move_to(datetime.now(UTC))
                await asyncio.to_thread(desk.accept, *(orjson.loads(payload) for payload in batch))
            lag = await asked(store, behind)
            ready = await api.get("/readyz")
            answer = (await api.get(f"/v1/assignments?programme={desk.sender.programme}")).json()
            during = processes.memory("projector")
        assert ready.status_code == 503
        assert f"lags {lag} events" in ready.text
        assert answer["lag"] == lag >= 10_000
        await until(lambda: _is(store, behind, 0))
        assert (await api.get("/readyz")).status_code == 200
    after = processes.memory("projector")
    print(f"projector: memory {before >> 20} {during >> 20} {after >> 20} MB")
    assert during - before < MOST
    assert after - before < 2 * MOST


def _batches(payloads: Iterator[bytes], size: int) -> Iterator[list[bytes]]:
    found = list(payloads)
    return (found[start : start + size] for start in range(0, len(found), size))


@pytest.fixture(scope="module")
def breakable() -> Iterator[EmbeddedEngines]:
    """Engines of the module's own, whose NATS may be stopped."""
    with EmbeddedEngines(relaxed=True) as running:
        yield running


@pytest.fixture
async def away(breakable: EmbeddedEngines) -> Any:
    """A connection to the NATS that may be stopped."""
    connected = await Bus.connect(breakable.addresses.nats, Names("AWAY-"))
    await connected.ensure_streams()
    yield connected
    await connected.close()


async def test_the_log_goes_on_while_nats_is_away(
    breakable: EmbeddedEngines, away: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relay and audit wait with bounded memory; then EVENTS hold the log, byte by byte, and a checkpoint covers it."""
    with psycopg.connect(breakable.addresses.postgres, autocommit=True) as connection:
        connection.execute("CREATE DATABASE relayed")
    dsn = breakable.addresses.postgres.replace("/postgres?", "/relayed?")
    migrate(dsn)
    place = Place(dsn, breakable.addresses.nats, away.names, "relayed")
    await asyncio.to_thread(build, place, World(100))
    store, key = Store.open(dsn), tmp_path / "audit.key"
    Signer.generate("test.sauro").write(key)
    monkeypatch.setenv("SAURO_AUDIT_KEY", str(key))

    async def followed() -> bool:
        head = await asked(store, "SELECT max(notification_id) FROM log.events")
        signed = await asked(store, "SELECT max(size) FROM audit.checkpoints WHERE log = 'events'")
        return signed == head == (await away.js.stream_info(away.names.stream("EVENTS"))).state.last_seq

    with installation(breakable, dsn, "AWAY-", ("relay", "audit"), tmp_path) as processes:
        await until(followed)
        before = {name: processes.memory(name) for name in ("relay", "audit")}
        most = dict(before)
        breakable.nats.stop()
        await asyncio.to_thread(grow, place, World(LONG, (chain(reports=8),)), series="N")

        def look() -> None:
            most.update({name: max(seen, processes.memory(name)) for name, seen in most.items()})

        async def followed_seen() -> bool:
            look()
            return await followed()

        look()
        breakable.nats.start()
        await until(lambda: _connected(away, True))
        await until(followed_seen)
    grown = {name: most[name] - before[name] for name in before}
    waited = ask(store, "SELECT sum(length(state)) FROM log.events")
    print(f"waited {waited >> 20} MB; memory", {name: f"+{more >> 20} MB" for name, more in grown.items()})
    assert max(grown.values()) < waited / 3
    stored = [found.state for found in store.recorder.select_notifications(0, 1_000_000)]
    assert await published(away, len(stored)) == stored
    store.close()


async def published(bus: Bus, number: int) -> list[bytes]:
    """So many messages of EVENTS, from the first."""
    puller, found = Puller(bus, bus.names.stream("EVENTS"), bus.names.stream("reader")), list[bytes]()
    await puller.start()
    while len(found) < number:
        taken = await puller.take(1000, PATIENCE)
        assert taken
        found += [item.payload for item in taken]
        await puller.acknowledge(taken)
    await puller.stop()
    return found


RAISED = "SELECT count(*) FROM log.events WHERE topic LIKE '%%.WarningRaised.%%'"
PASSED = "SELECT count(*) FROM log.events WHERE topic LIKE '%%assignment.DeadlinePassed.%%'"
UNHEARD = "SELECT count(*) FROM read.warnings WHERE status = 'raised'"


async def test_a_stopped_warning_service_warns_later_and_once(processes: Installation, store: Store, bus: Bus) -> None:
    """EVENTS keep what it has not heard; killed amid its work, it repeats itself and each warning is raised once."""
    desk = Desk.founded(store, SimulatedClock(datetime.now(UTC) - timedelta(days=2)))
    overdue(desk, "L", 200)
    timekeeper = Timekeeper(store, bus, desk.clock)
    killed: list[bool] = []
    async with Others.ready(desk, bus) as others:

        async def fallen() -> bool:
            await others.project()
            await timekeeper.step()
            await others.get_on()
            return await _is(store, PASSED, 200)

        async def warned() -> bool:
            await others.get_on()
            if not killed and await asked(store, RAISED) > 20:
                processes.kill("warning")
                killed.append(True)
                processes.start("warning")
            return bool(killed) and await _heard(bus) and await _is(store, UNHEARD, 0)

        await until(fallen)
        assert ask(store, RAISED) == 0
        processes.start("warning")
        await until(lambda: _exists(bus))
        await until(warned)
    _require_each_warning_once(store)


async def test_limits_and_warnings_wait_for_intake_with_bounded_memory(
    processes: Installation, store: Store, bus: Bus
) -> None:
    """Six thousand limits pass while intake stands still, and again while it owes six thousand warnings."""
    desk = Desk.founded(store, SimulatedClock(datetime.now(UTC) - timedelta(days=2)))
    overdue(desk, "L", 200)
    async with Others.ready(desk, bus) as others:

        async def warned() -> bool:
            await others.get_on()
            raised = await asked(store, RAISED)
            return raised == await asked(store, PASSED) and await _heard(bus) and await _is(store, UNHEARD, 0)

        async def sent() -> int:
            return (await bus.js.stream_info(bus.names.stream("COMMANDS"))).state.last_seq

        async def some_sent() -> bool:
            await look()
            return await sent() > before

        async def passed() -> bool:
            await look()
            desk.clock.move_to(datetime.now(UTC))
            while await others.intake.step(0.05):
                pass
            await others.project()
            return await _is(store, PASSED, 200 + MANY)

        async def asked_for() -> bool:
            await look()
            while await others.relay.step():
                pass
            return await _heard(bus)

        async def look() -> None:
            most.update({name: max(seen, processes.memory(name)) for name, seen in most.items()})
            urgent = await bus.js.consumer_info(bus.names.stream("EVENTS"), bus.names.stream("warning"))
            aside.append(urgent.num_ack_pending or 0)

        aside: list[int] = []
        await others.project()
        processes.start("timekeeper")
        processes.start("warning")
        await until(lambda: _exists(bus))
        await until(lambda: _past(store, PASSED, 200, others))
        await until(warned)
        memory = {name: processes.memory(name) for name in ("timekeeper", "warning")}
        most = dict(memory)

        overdue(desk, "M", MANY)
        before = await sent()
        await others.project()
        await until(some_sent)
        await until(passed)
        await until(asked_for)
        await until(warned, 2 * PATIENCE)
        await look()
    growth = {name: most[name] - memory[name] for name in memory}
    print("memory:", {name: f"{memory[name] >> 20} + {grown >> 20} MB" for name, grown in growth.items()})
    assert max(growth.values()) < MOST
    assert max(aside) <= ASIDE, "of six thousand events to be warned of"
    _require_each_warning_once(store)


async def test_the_timekeeper_sends_no_more_than_may_be_on_its_way(
    store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred limits have passed, forty commands may be on their way: the next go when those have been answered."""
    monkeypatch.setattr(timekeeping, "BATCH", 20)
    monkeypatch.setattr(timekeeping, "MOST", 40)
    desk = Desk.founded(store, SimulatedClock(datetime.now(UTC) - timedelta(days=2)))
    overdue(desk, "L", 100)
    timekeeper = Timekeeper(store, bus, desk.clock)
    async with Others.ready(desk, bus) as others:
        await others.project()
        sent: list[int] = []
        while not sent or sent[-1]:
            sent.append(await timekeeper.step())
            assert await timekeeper.step() == 0
            assert len(timekeeper._sent) <= 40
            await others.get_on()
    assert max(sent) <= 40
    assert ask(store, PASSED) == 100


async def _past(store: Store, what: str, number: int, others: Others) -> bool:
    await others.get_on()
    return await _is(store, what, number)


async def _heard(bus: Bus) -> bool:
    """Whether the warning service has handled all there is."""
    info = await bus.js.consumer_info(bus.names.stream("EVENTS"), bus.names.stream("warning"))
    return not info.num_pending and not info.num_ack_pending


def _require_each_warning_once(store: Store) -> None:
    found = [(e.data.about, e.stream) for e in events(store) if type(e.data).__name__ == "WarningRaised"]
    assert len(found) == len(set(found))
    passed = {e.stream for e in events(store) if type(e.data).__name__ == "DeadlinePassed"}
    assert {about for about, _ in found} == passed


async def _exists(bus: Bus) -> bool:
    found = await bus.js.consumers_info(bus.names.stream("EVENTS"))
    return bus.names.stream("warning") in {consumer.name for consumer in found}


async def test_a_publisher_buffers_no_more_than_it_may(breakable: EmbeddedEngines, away: Bus) -> None:
    """NATS hangs, then is gone, while a hundred megabytes are to be sent: trouble is raised, buffers and slots stay bounded."""
    flood = [(away.names.command("DMS-1", "P"), bytes(10_000), None)] * 10_000
    assert breakable.nats._process is not None
    pid = breakable.nats._process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError):
            await away.publish_all(flood)
        with pytest.raises(TimeoutError):
            await away.publish_atomic(flood[:1000])
        assert away.client.pending_data_size < 24 * MEGABYTE
    finally:
        os.kill(pid, signal.SIGCONT)
    await until(lambda: _no_slot_taken(away))
    breakable.nats.stop()
    await until(lambda: _connected(away, False))
    for _ in range(3):
        with pytest.raises(nats.errors.Error):
            await away.publish_all(flood)
        with pytest.raises(nats.errors.Error):
            await away.publish_atomic(flood[:1000])
    assert away.client.pending_data_size < 16 * MEGABYTE
    await until(lambda: _no_slot_taken(away))
    breakable.nats.start()
    await until(lambda: _connected(away, True))
    assert len(await away.publish_all(flood[:100])) == 100


async def _no_slot_taken(bus: Bus) -> bool:
    """A try that failed must not keep a slot: after 4096 of them nothing would be sent any more."""
    await asyncio.to_thread(os.sched_yield)
    return bus.js.publish_async_pending() == 0


async def _connected(bus: Bus, wanted: bool) -> bool:
    await asyncio.to_thread(os.sched_yield)
    return bus.client.is_connected is wanted
