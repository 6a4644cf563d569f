"""A small installation on real engines: its commands as a sender writes them, and what the log says of them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import orjson
import psycopg
from fastapi import FastAPI

from contracts.assignment import AssignTask, CheckingRule, Deliverable, Due, Measure, TaskContent
from contracts.base import Command
from contracts.envelope import Actor
from contracts.organisation import EstablishPost, EstablishUnit, GrantAuthority, RegisterOrganisation
from contracts.programme import Participation, RegisterProgramme
from contracts.receipts import Refusal
from domain.kernel import Recorded
from services.api.app import leave, settle
from services.bus import Bus
from services.calendar_source import proposed_calendar
from services.clock import Clock, SimulatedClock
from services.eventlog.recorder import LogRecorder
from services.intake.core import Answered, Intake
from services.intake.given import Given
from services.intake.reading import Incoming, SeededSalts
from services.outgoing import Outgoing, to_json
from services.programmes.check import check
from services.programmes.importer import import_commands
from services.projector.core import Projector
from services.spine import Spine, intake_for
from services.store import Store
from services.together import events_in
from tests.unit.spec import _UNITS, ORG, POLICY, PROG, ROLES, local

AUTHORITY = "KY-KET-QUA"
SOURCE = "QLVB"
START = "2026-05-30T07:00"
PROGRAMMES = Path(__file__).parents[2] / "deploy" / "programmes"
PASSED: dict[str, Any] = orjson.loads(
    (Path(__file__).parents[1] / "golden" / "sauro.assignment.DeadlinePassed.v1.json").read_bytes()
)
"""A limit of a task that has passed, as stored."""
UNIT_OF = {post: unit for unit, _, head, deputy in _UNITS for post in (head, deputy)}


def clock_at(text: str = START) -> SimulatedClock:
    """A clock that stands at a local time."""
    return SimulatedClock(local(text))


@dataclass
class Sender:
    """Writes commands with ids of its own; `clock` says when things happen unless a command says otherwise."""

    clock: Clock
    source: str = SOURCE
    programme: str = PROG
    organisation: str = ORG
    units: dict[str, str] = field(default_factory=lambda: dict(UNIT_OF))
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def document(
        self,
        command: Command,
        subject: str,
        actor: str = "GD",
        *,
        at: str | datetime | None = None,
        id_: str | None = None,
        authority: str | None = None,
        texts: dict[str, str] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """The envelope as parsed JSON; `more` replaces or adds attributes."""
        outgoing = Outgoing(
            id=id_ or f"{self.source}-{next(self.numbers)}",
            aggregate=subject.split("/", 1)[0],
            command=command,
            subject=subject,
            programme=subject.split("/")[1],
            organisation=self.organisation,
            actor=Actor(post=actor, unit=self.units.get(actor, actor), authority=authority),
            occurred_at=self.clock.now() if at is None else local(at),
            texts=texts or {},
        )
        return {**orjson.loads(to_json(outgoing, self.source)), **more}

    def incoming(self, *documents: dict[str, Any] | bytes, source: str | None = None) -> list[Incoming]:
        """Messages as intake takes them, on this sender's subject."""
        found = []
        for number, document in enumerate(documents, 1):
            payload = document if isinstance(document, bytes) else orjson.dumps(document)
            programme = self.programme if isinstance(document, bytes) else document["programme"]
            found.append(Incoming(source or self.source, programme, payload, number))
        return found


@dataclass
class Desk:
    """An intake over a store, and the one sender who writes to it."""

    store: Store
    clock: SimulatedClock
    intake: Intake
    sender: Sender

    @classmethod
    def open(cls, store: Store, clock: SimulatedClock | None = None, source: str = SOURCE) -> Desk:
        """A desk of its own; several may share a database."""
        clock = clock or clock_at()
        return cls(store, clock, intake_for(store, clock), Sender(clock, source))

    @classmethod
    def founded(cls, store: Store, clock: SimulatedClock | None = None) -> Desk:
        """A desk with organisation and programme registered."""
        desk = cls.open(store, clock)
        desk.accept(*founding(desk.sender))
        return desk

    def send(self, *documents: dict[str, Any] | bytes, source: str | None = None) -> Answered:
        """One batch."""
        return self.intake.process(self.sender.incoming(*documents, source=source))

    def accept(self, *documents: dict[str, Any]) -> tuple[Given, ...]:
        """One batch that must be accepted whole."""
        answered = self.send(*documents)
        assert not answered.dead_letters, answered.dead_letters
        assert [r.refusal for r in answered.receipts if r.outcome != "accepted"] == []
        return answered.receipts

    def do(self, command: Command, subject: str, actor: str = "GD", **more: Any) -> Given:
        """One command that must be accepted."""
        return self.accept(self.sender.document(command, subject, actor, **more))[0]

    def refused(self, command: Command, subject: str, actor: str = "GD", **more: Any) -> Refusal:
        """One command that must be refused by a rule."""
        (receipt,) = self.send(self.sender.document(command, subject, actor, **more)).receipts
        assert receipt.outcome == "rejected", receipt
        assert receipt.refusal is not None
        return receipt.refusal

    def assign(self, *codes: str, **content: Any) -> tuple[Given, ...]:
        """Clear tasks of unit PBCXB, in one batch."""
        return self.accept(*(self.sender.document(AssignTask(content=task(**content)), stream(code)) for code in codes))


async def until(holds: Callable[[], Awaitable[bool]], patience: float = 60.0) -> None:
    """Wait for a condition; each look asks an engine, and gives way while it waits for the answer."""
    async with asyncio.timeout(patience):
        while not await holds():
            pass


def stream(code: str, aggregate: str = "assignment") -> str:
    """The stream of a task or another subject of the sample programme."""
    return f"{aggregate}/{PROG}/{code}"


def task(
    unit: str = "PBCXB", due: date | None = date(2026, 6, 30), hour: time | None = None, **more: Any
) -> TaskContent:
    """A six-clear task of a unit."""
    values: dict[str, Any] = {
        "person": f"{unit}-TP",
        "work": "Rà soát thủ tục",
        "due": due and Due(day=due, hour=hour, boundary="before" if hour else "by_end_of"),
        "responsibility": "Trưởng phòng chịu trách nhiệm",
        "authority": AUTHORITY,
        "deliverables": (Deliverable(code="D-1", what="Báo cáo"),),
        "measures": (Measure(what="Số thủ tục"),),
        "checking": CheckingRule(checked_by="VPS-CVP", every="monthly"),
        "lead_unit": unit,
    }
    return TaskContent(**{**values, **more})


def founding(sender: Sender, **programme: Any) -> list[dict[str, Any]]:
    """The commands that set up organisation, posts, one authority and the programme."""
    organisation = f"organisation/{ORG}"
    year = date(2026, 1, 1)
    commands: list[Command] = [
        RegisterOrganisation(name_vi="Sở VHTTDL", kind="department", administrators=("GD", "VPS-CVP"))
    ]
    for unit, kind, *posts in _UNITS:
        commands.append(EstablishUnit(unit=unit, name_vi=unit, kind=kind, valid_from=year))
        commands += [EstablishPost(post=p, unit=unit, title_vi=p, head=p == posts[0]) for p in posts]
    commands.append(GrantAuthority(grant="G-1", post="GD", authority=AUTHORITY, valid_from=year))
    registration: dict[str, Any] = {
        "title_vi": "Kế hoạch 500 ngày đêm",
        "kind": "EMULATION-PLAN",
        "issued_on": date(2026, 5, 30),
        "window_end": date(2027, 9, 30),
        "participants": (Participation(unit="PBCXB", role="thực hiện", executes=True),),
        "roles": ROLES,
        "policy": POLICY,
    }
    found = [sender.document(command, organisation) for command in commands]
    return [*found, sender.document(RegisterProgramme(**{**registration, **programme}), f"programme/{PROG}")]


def imported(at: datetime, *names: str) -> list[Outgoing]:
    """The commands that import programmes from deploy/programmes."""
    found: list[Outgoing] = []
    for name in names:
        checked = check(PROGRAMMES / f"{name}.yaml")
        assert checked.programme is not None
        assert checked.roster is not None
        assert checked.policy is not None
        calendar = proposed_calendar(range(2025, 2029))
        found += import_commands(checked.programme, checked.roster, checked.policy, calendar, at)
    return found


def events(store: Store) -> list[Recorded[Any]]:
    """Every event of the log, in order."""
    return [store.codec.decode(found.state) for found in store.recorder.select_notifications(0, 1_000_000)]


def names_in(store: Store, stream: str) -> list[str]:
    """The names of a stream's events, in order."""
    return [type(event.data).__name__ for event in events(store) if event.stream == stream]


def rows(store: Store, query: str, *values: Any) -> list[dict[str, Any]]:
    """What a query finds."""
    with store.recorder.transaction() as cursor:
        return [dict(row) for row in cursor.execute(query.encode(), values).fetchall()]


def project(store: Store, clock: Clock) -> Projector:
    """A projector that has reached the head of the log."""
    projector = Projector(store, clock)
    projector.prepare()
    while projector.step():
        pass
    return projector


def with_recorder(store: Store, recorder: type[LogRecorder]) -> Store:
    """The same store with another recorder."""
    return replace(store, recorder=recorder(store.datastore))


def disconnect(dsn: str, application: str) -> int:
    """End all connections of an application to a database, as a restart of the server would; returns how many."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = %s AND datname = current_database() AND pid <> pg_backend_pid()",
            (application,),
        ).fetchall()
    return len(ended)


@contextmanager
def another(dsn: str, application: str = "sauro-other") -> Iterator[Store]:
    """A second store on the same database, as another process would have."""
    store = Store.open(dsn, application=application)
    try:
        yield store
    finally:
        store.close()


async def spine_of(store: Store, bus: Bus, clock: SimulatedClock) -> Spine:
    """All services, started, with salts that repeat."""
    spine = Spine(store, bus, clock, SeededSalts(7))
    await spine.start()
    return spine


async def publish(spine: Spine, sender: Sender, *documents: dict[str, Any]) -> None:
    """Publish commands and let every service come to rest."""
    messages = [(sender.source, document["programme"], orjson.dumps(document)) for document in documents]
    await spine.publish_messages(messages)
    await spine.settle()


async def play(spine: Spine, until: str | datetime, clock: SimulatedClock) -> None:
    """Let time pass, stopping at every limit and rung."""
    end = local(until)
    while (at := await spine.timekeeper.next_at()) is not None and at <= end:
        clock.move_to(at)
        await spine.settle()
    clock.move_to(end)
    await spine.settle()


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application without a server, which stops as a server would: nothing of it outlives the test."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://sauro") as client:
        yield client
    leave(app)
    await settle(app)


async def messages(bus: Bus, stream: str) -> list[tuple[str, bytes, dict[str, str]]]:
    """Everything a stream holds, in order: subject, bytes, headers."""
    name = bus.names.stream(stream)
    state = (await bus.js.stream_info(name)).state
    found = []
    for sequence in range(max(state.first_seq, 1), state.last_seq + 1):
        message = await bus.js.get_msg(name, sequence, direct=True)
        found.append((message.subject or "", message.data or b"", dict(message.headers or {})))
    return found


async def commands(bus: Bus) -> list[Incoming]:
    """Every command COMMANDS holds, in order, those that share a message one by one."""
    found = []
    for number, (subject, data, _) in enumerate(await messages(bus, "COMMANDS"), 1):
        *_, source, programme = subject.split(".")
        found += [Incoming(source, programme, event, number, part) for part, event in enumerate(events_in(data))]
    return found


async def receipts(bus: Bus) -> list[tuple[str, list[dict[str, Any]]]]:
    """The messages of RECEIPTS: sender, and the receipts of each batch."""
    found = await messages(bus, "RECEIPTS")
    return [(subject.rsplit(".", 1)[-1], [e["data"] for e in orjson.loads(data)]) for subject, data, _ in found]


def digest(store: Store, tables: Sequence[str], without: Sequence[str] = ()) -> dict[str, str]:
    """A digest per read model over all columns but some, in order of content."""
    found = {}
    for table in tables:
        content = sorted(
            orjson.dumps({k: v for k, v in row.items() if k not in without}, default=str, option=orjson.OPT_SORT_KEYS)
            for row in rows(store, f"SELECT * FROM read.{table}")
        )
        found[table] = hashlib.sha256(b"\n".join(content)).hexdigest()
    return found
