"""What the benchmarks work on: an installation with many open assignments, and commands for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg

from contracts.assignment import (
    AssignTask,
    CheckingRule,
    Deliverable,
    Due,
    Measure,
    ReportProgress,
    StartWork,
    TaskContent,
)
from contracts.envelope import Actor
from services.bus import Bus, Names
from services.calendar_source import proposed_calendar
from services.clock import SystemClock
from services.engines import EmbeddedEngines
from services.eventlog.migrations import migrate
from services.outgoing import Outgoing
from services.programmes.check import check
from services.programmes.importer import import_commands
from services.spine import Spine
from services.store import Store

PROGRAMME, ORGANISATION = "SKHCN-TD500", "SKHCN"
HEAD = Actor(post="TP-TTKHCN", unit="TTKHCN")
DIRECTOR = Actor(post="GD", unit="BGD")
_numbers = iter(range(1, 1000))


@dataclass(frozen=True)
class Installation:
    """A fresh database and streams of its own."""

    dsn: str
    names: Names


@contextmanager
def installation(engines: EmbeddedEngines) -> Iterator[Installation]:
    """A migrated database, dropped at the end."""
    name = f"bench_{next(_numbers)}"
    with psycopg.connect(engines.addresses.postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    dsn = engines.addresses.postgres.replace("/postgres?", f"/{name}?")
    migrate(dsn)
    yield Installation(dsn, Names(f"{name.upper()}-"))
    with psycopg.connect(engines.addresses.postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def imported(at: datetime) -> list[Outgoing]:
    """The commands that import one programme."""
    found = check(Path("deploy/programmes/skhcn-td500.yaml"))
    assert found.programme and found.roster and found.policy
    return list(import_commands(found.programme, found.roster, found.policy, proposed_calendar([2026, 2027]), at))


def _content(number: int) -> TaskContent:
    return TaskContent(
        person=HEAD.post,
        work=f"Nhiệm vụ mẫu {number}",
        due=Due(day=date(2030, 12, 31)),
        responsibility="sample",
        authority="APPROVE-RESULT",
        deliverables=(Deliverable(code="D1", what="sample"),),
        measures=(Measure(what="sample"),),
        checking=CheckingRule(checked_by="TP-VP", every="weekly"),
        lead_unit=HEAD.unit,
    )


def opened(tasks: int, at: datetime) -> list[Outgoing]:
    """Commands that assign and start tasks."""
    commands = []
    for number in range(tasks):
        subject = f"assignment/{PROGRAMME}/B-{number:06}"
        common = (subject, PROGRAMME, ORGANISATION)
        assigned = AssignTask(content=_content(number))
        commands.append(Outgoing(f"a{number}", "assignment", assigned, *common, DIRECTOR, at))
        commands.append(Outgoing(f"s{number}", "assignment", StartWork(), *common, HEAD, at))
    return commands


def progress(count: int, tasks: int, at: datetime, prefix: str = "p") -> list[Outgoing]:
    """Progress reports, spread over the tasks."""
    return [
        Outgoing(
            f"{prefix}{number}",
            "assignment",
            ReportProgress(percent=number % 100),
            f"assignment/{PROGRAMME}/B-{number % tasks:06}",
            PROGRAMME,
            ORGANISATION,
            HEAD,
            at,
        )
        for number in range(count)
    ]


async def prepared(place: Installation, nats: str, tasks: int) -> tuple[Store, Bus, Spine]:
    """An installation with open tasks, its services settled."""
    store = Store.open(place.dsn, application="bench")
    bus = await Bus.connect(nats, place.names, name="bench")
    await bus.ensure_streams()
    spine = Spine(store, bus, SystemClock())
    await spine.start()
    now = datetime.now(UTC)
    await spine.publish("PROGRAMME-IMPORT", imported(now))
    await spine.settle()
    for start in range(0, 2 * tasks, 2000):
        await spine.publish("BENCH", opened(tasks, now)[start : start + 2000])
        await spine.settle()
    return store, bus, spine
