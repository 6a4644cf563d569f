"""kill -9 of every service, restarts of PostgreSQL and NATS, at random moments of a run.

No accepted command is lost, none applied twice, every receipt is sent, and the read models end as in an undisturbed run.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import nats.errors
import nats.js.errors
import psycopg
import pytest
from psycopg.rows import dict_row

from contracts.assignment import (
    AcknowledgeAssignment,
    AssignTask,
    CheckingRule,
    Deliverable,
    Due,
    Evidence,
    Measure,
    ReportProgress,
    SignOffCompletion,
    StartWork,
    SubmitResult,
    TaskContent,
)
from contracts.base import Command
from contracts.envelope import Actor
from domain.calendar import to_local
from services.audit.notes import Signer
from services.audit.verification import reading, verify
from services.bus import Bus, Names
from services.clock import SystemClock
from services.engines import EmbeddedEngines
from services.eventlog import trees
from services.eventlog.migrations import migrate
from services.eventlog.reading import LOGS, head_of
from services.outgoing import Outgoing, to_json
from services.spine import Spine
from services.store import Store
from tests.integration.processes import SERVICES, Installation, installation
from tests.integration.support import imported

PROGRAMME, ORGANISATION, SOURCE = "SKHCN-TD500", "SKHCN", "DMS-TEST"
HEAD, DEPUTY = Actor(post="TP-TTKHCN", unit="TTKHCN"), Actor(post="PP-TTKHCN", unit="TTKHCN")
DIRECTOR = Actor(post="GD", unit="BGD", authority="APPROVE-RESULT")
TASKS, OVERDUE = 24, 6
KILLED = (*SERVICES, "api", "audit")
PATIENCE = 90.0


@pytest.fixture(scope="module")
def durable() -> Iterator[EmbeddedEngines]:
    """Engines of the module's own, with fsync on, that may be restarted."""
    with EmbeddedEngines() as running:
        yield running


def _database(engines: EmbeddedEngines, name: str) -> str:
    with psycopg.connect(engines.addresses.postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    dsn = engines.addresses.postgres.replace("/postgres?", f"/{name}?")
    migrate(dsn)
    return dsn


def _command(number: int, step: int, command: Command, actor: Actor, at: datetime) -> Outgoing:
    subject = f"assignment/{PROGRAMME}/F-{number:02}"
    return Outgoing(f"f{number:02}-{step:02}", "assignment", command, subject, PROGRAMME, ORGANISATION, actor, at)


def _work(at: datetime, falls: datetime) -> list[Outgoing]:
    """Tasks that are done, and a few whose limit falls while the services are being killed."""
    commands = []
    for number in range(TASKS):
        local = to_local(falls)
        overdue = number < OVERDUE
        due = Due(day=local.date(), hour=local.time().replace(microsecond=0), boundary="before")
        content = TaskContent(
            person=HEAD.post,
            work=f"Nhiệm vụ mẫu {number}",
            due=due if overdue else Due(day=(at + timedelta(days=300)).date()),
            responsibility="sample",
            authority="APPROVE-RESULT",
            deliverables=(Deliverable(code="D1", what="sample"),),
            measures=(Measure(what="sample"),),
            checking=CheckingRule(checked_by="TP-VP", every="weekly"),
            lead_unit=HEAD.unit,
        )
        steps: list[tuple[Command, Actor]] = [
            (AssignTask(content=content), Actor(post="GD", unit="BGD")),
            (AcknowledgeAssignment(), HEAD),
            (StartWork(), HEAD),
        ]
        if not overdue:
            steps += [(ReportProgress(percent=4 * percent), HEAD) for percent in range(1, 21)]
            steps += [
                (SubmitResult(evidence=(Evidence(system="DMS", number="1"),)), DEPUTY),
                (SignOffCompletion(), DIRECTOR),
            ]
        commands += [_command(number, step, command, actor, at) for step, (command, actor) in enumerate(steps)]
    commands.sort(key=lambda command: (command.id[4:], command.id))
    return commands


async def _publish(bus: Bus, source: str, commands: list[Outgoing]) -> None:
    """Publish until acknowledged, as a careful sender does: the same command again after trouble."""
    messages: list[tuple[str, bytes, dict[str, str] | None]] = [
        (bus.names.command(source, command.programme), to_json(command, source), None) for command in commands
    ]
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await bus.publish_all(messages)
            except (nats.errors.Error, nats.js.errors.Error, TimeoutError):
                await asyncio.wait_for(_connected(bus), 30)
            else:
                return


async def _connected(bus: Bus) -> None:
    while not bus.client.is_connected:
        await asyncio.wait({asyncio.ensure_future(asyncio.to_thread(lambda: None))})


async def _until(what: str, bus: Bus, holds: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait for a condition on the database while nothing is under way on NATS; each look is a query, not a guess."""
    deadline = asyncio.get_running_loop().time() + patience
    while not (
        await asyncio.to_thread(_safely, holds) and await _quiet(bus) and await asyncio.to_thread(_safely, holds)
    ):
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"gave up waiting until {what}: {await _standing(bus)}")


CONSUMERS = (("EVENTS", "warning"), ("EVENTS", "warning-later"), ("COMMANDS", "intake"))


async def _standing(bus: Bus) -> dict[str, Any]:
    """What still waits on NATS, for the failure's message."""
    found = {}
    for stream, durable in CONSUMERS:
        info = await bus.js.consumer_info(bus.names.stream(stream), bus.names.stream(durable))
        found[durable] = (info.num_pending, info.num_ack_pending, info.num_waiting)
    return found


async def _quiet(bus: Bus) -> bool:
    """Whether no message waits or is unacknowledged, and EVENTS has reached the log."""
    try:
        for stream, durable in CONSUMERS:
            info = await bus.js.consumer_info(bus.names.stream(stream), bus.names.stream(durable))
            if info.num_pending or info.num_ack_pending:
                return False
    except (nats.errors.Error, nats.js.errors.Error):
        return False
    return True


def _safely(holds: Callable[[], bool]) -> bool:
    try:
        return holds()
    except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
        return False


def _ask(dsn: str, query: str) -> list[dict[str, Any]]:
    with psycopg.connect(dsn, row_factory=dict_row, options="-c timezone=UTC") as connection:
        connection.execute("SELECT pg_sleep(0.05)")
        return connection.execute(query.encode()).fetchall()


_TIMES = {
    "occurred_at",
    "recorded_at",
    "from_pos",
    "from_at",
    "acknowledged_at",
    "closed_at",
    "scheduled_at",
    "version",
}


def _business(dsn: str) -> dict[str, list[dict[str, Any]]]:
    """All rows of the read models in their business columns: without when and where the log took things in."""
    found = {}
    for model, key in (
        ("assignments", "programme, code"),
        ("obligations", "programme, code"),
        ("warnings", "programme, code"),
        ("deadlines", "stream, kind, occurrence"),
        ("phases", "programme, code"),
        ("programmes", "code"),
        ("units", "organisation, unit"),
        ("department_scorecard", "programme, unit"),
        ("phase_scorecard", "programme, phase, unit"),
    ):
        rows = _ask(dsn, f"SELECT * FROM read.{model} ORDER BY {key}")
        found[model] = [{name: value for name, value in _told(row).items() if name not in _TIMES} for row in rows]
    return found


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """Of deliveries, who was told at which level: sequences follow the order of things, and for a warning that has closed
    it depends on the moment whether its notices were acknowledged before.
    """
    if "delivered" not in row:
        return row
    return row | {"delivered": sorted((level, post) for level, post, _ in row["delivered"]) if row["open"] else None}


def _differences(ours: dict[str, list[dict[str, Any]]], theirs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """What differs, by model, row and column."""
    found = []
    for model in ours:
        here, there = ({_name(row): row for row in side[model]} for side in (ours, theirs))
        found += [f"{model} {name}: only on one side" for name in here.keys() ^ there.keys()]
        found += [
            f"{model} {name} {column}: {value!r}, not {there[name][column]!r}"
            for name in here.keys() & there.keys()
            for column, value in here[name].items()
            if value != there[name][column]
        ]
    return sorted(found)


def _name(row: dict[str, Any]) -> str:
    keys = ("programme", "stream", "phase", "unit", "code", "kind", "occurrence")
    return " ".join(str(row[key]) for key in keys if key in row)


def _settled(dsn: str, receipts: int) -> bool:
    """Every sent command has its receipt, followers are at the head, each warning is delivered, no limit is due."""
    row = _ask(
        dsn,
        "SELECT (SELECT count(*) FROM log.receipts WHERE source NOT IN ('timekeeper', 'warning')) AS receipts,"
        " (SELECT max(notification_id) FROM log.events) AS head,"
        " (SELECT min(notification_id) FROM read.positions) AS projected,"
        " (SELECT count(*) FROM read.warnings WHERE open AND status = 'raised') AS undelivered,"
        " (SELECT count(*) FROM read.deadlines WHERE next_at < now()) AS due",
    )[0]
    return bool(
        row["receipts"] == receipts and row["head"] == row["projected"] and not row["undelivered"] and not row["due"]
    )


async def _receipts(bus: Bus) -> dict[str, dict[str, Any]]:
    """First receipts by command id, read back from stream RECEIPTS."""
    found: dict[str, dict[str, Any]] = {}
    stream = bus.names.stream("RECEIPTS")
    state = (await bus.js.stream_info(stream)).state
    for sequence in range(state.first_seq, state.last_seq + 1):
        message = await bus.js.get_msg(stream, seq=sequence)
        for event in json.loads(message.data or b"[]"):
            if event["data"]["source"] == SOURCE:
                found.setdefault(event["data"]["id"], event["data"])
    return found


@pytest.fixture
async def buses(durable: EmbeddedEngines) -> AsyncIterator[tuple[Bus, Bus]]:
    """Connections for the disturbed and the undisturbed run."""
    opened = [await Bus.connect(durable.addresses.nats, Names(prefix)) for prefix in ("KILL-", "CALM-")]
    for bus in opened:
        await bus.ensure_streams()
    yield opened[0], opened[1]
    for bus in opened:
        await bus.close()


async def _served(addresses: Path) -> dict[str, Any]:
    """What the API answers once it is up; each look is a request."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                address = json.loads(await asyncio.to_thread(addresses.read_text, "utf-8"))["api"]
                async with httpx.AsyncClient(base_url=address) as client:
                    answer = await client.get(f"/v1/programmes/{PROGRAMME}/departments")
            except (OSError, ValueError, httpx.TransportError):
                continue
            if answer.is_success:
                return dict(answer.json())


async def test_kills_and_restarts_change_nothing(
    durable: EmbeddedEngines, buses: tuple[Bus, Bus], tmp_path: Path, signer: Signer
) -> None:
    """Faults at random moments; R-131, R-353, R-356. What was signed on the way fits the log (R-345)."""
    disturbed, calm = _database(durable, "disturbed"), _database(durable, "calm")
    at = datetime.now(UTC).replace(microsecond=0)
    falls = at + timedelta(seconds=20)
    founding, work = imported(at, "skhcn-td500"), _work(at, falls)
    with installation(durable, disturbed, "KILL-") as running:
        running.start("api", "--addresses", str(tmp_path / "addresses.json"))
        running.start("audit")
        await _publish(buses[0], "PROGRAMME-IMPORT", founding)
        await _until("the programme is imported", buses[0], lambda: _have(disturbed, 200))
        await _under_fire(running, buses[0], work, random.Random(20260605))
        total = len(founding + work)
        await _until("all has settled", buses[0], lambda: _past(falls) and _settled(disturbed, total))
        await _until("all is signed", buses[0], lambda: _signed(disturbed))
        receipts, served = await _receipts(buses[0]), await _served(tmp_path / "addresses.json")
    await _undisturbed(calm, buses[1], founding, work)

    assert {id_: receipt["outcome"] for id_, receipt in receipts.items()} == dict.fromkeys(
        (command.id for command in work), "accepted"
    )
    fired = _ask(
        disturbed,
        "SELECT originator_id, convert_from(state, 'UTF8')::jsonb -> 'data' -> 'key' AS key, count(*) FROM log.events"
        " WHERE topic LIKE '%DeadlinePassed%' GROUP BY 1, 2",
    )
    assert [row for row in fired if row["count"] > 1] == []
    assert verify(disturbed, (), [signer.for_log(log).verifier() for log in LOGS]).problems == []
    assert (served["lag"], served["data"]["organisation"]["done"]) == (0, TASKS - OVERDUE)
    ours, theirs = _business(disturbed), _business(calm)
    assert sum(bool(row["delivered"]) for row in theirs["warnings"]) >= OVERDUE
    if differences := _differences(ours, theirs):
        pytest.fail("\n".join(differences[:20]))


def _have(dsn: str, events: int) -> bool:
    return (_ask(dsn, "SELECT max(notification_id) AS head FROM log.events")[0]["head"] or 0) >= events


def _signed(dsn: str) -> bool:
    """The last checkpoint of each log covers all of it."""
    with reading(dsn) as cursor:
        return all(
            [found.size for found in trees.checkpoints(cursor, log, newest=1)] == [head_of(cursor, log)] for log in LOGS
        )


def _past(moment: datetime) -> bool:
    return datetime.now(UTC) > moment


async def _under_fire(running: Installation, bus: Bus, work: list[Outgoing], chance: random.Random) -> None:
    """Publish in small pieces; between them kill each service in turn and restart both engines, in random order."""
    blows: list[Callable[[], object]] = [lambda service=service: running.restart(service) for service in KILLED]  # type: ignore[misc]
    blows += [running.engines.postgres.restart, running.engines.nats.restart]
    chance.shuffle(blows)
    pieces = [work[start : start + 12] for start in range(0, len(work), 12)]
    moments = sorted(chance.sample(range(len(pieces)), len(blows)))
    for number, piece in enumerate(pieces):
        publishing = asyncio.create_task(_publish(bus, SOURCE, piece))
        if number in moments:
            await asyncio.to_thread(blows[moments.index(number)])
        await publishing


async def _undisturbed(dsn: str, bus: Bus, founding: list[Outgoing], work: list[Outgoing]) -> None:
    store = Store.open(dsn)
    spine = Spine(store, bus, SystemClock())
    await spine.start()
    await spine.publish("PROGRAMME-IMPORT", founding)
    await spine.settle()
    await spine.publish(SOURCE, work)
    await spine.settle()
    await spine.stop()
    store.close()
