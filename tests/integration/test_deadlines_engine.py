"""Limits, rungs and warnings on real engines with a clock that is moved: exact to the second, each once, whoever sleeps."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as hour
from itertools import count
from typing import Any

import orjson
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from contracts.assignment import Due, Evidence, Milestone, ReportProgress, SignOffCompletion, StartWork, SubmitResult
from contracts.assignment import AssignTask
from contracts.base import Command
from contracts.deadlines import DeadlineApproached, DeadlineKey, DeadlinePassed, RecordDeadlinePassed
from contracts.limits import DueRule
from contracts.obligation import AcceptObligation, SubmitObligation
from contracts.phase import PlanPhase
from contracts.programme import DefineRegime, RegimeDefinition
from contracts.warning import WarningDelivered
from services.bus import Bus, Names
from services.clock import SimulatedClock
from services.engines import EmbeddedEngines
from services.projector.rebuild import rebuild
from services.spine import Spine
from services.store import Store
from tests.integration.support import (
    AUTHORITY,
    Sender,
    clock_at,
    digest,
    events,
    founding,
    imported,
    messages,
    names_in,
    play,
    publish,
    rows,
    spine_of,
    stream,
    task,
)
from tests.unit.spec import PROG, local

Databases = Callable[[], AbstractContextManager[str]]
_numbers = count(1)
EVIDENCE = (Evidence(system="QLVB", number="1"),)


@dataclass
class Installation:
    """All services on a database and streams of their own."""

    store: Store
    bus: Bus
    clock: SimulatedClock
    sender: Sender
    spine: Spine

    async def do(self, command: Command, subject: str, actor: str = "GD", **more: Any) -> None:
        await publish(self.spine, self.sender, self.sender.document(command, subject, actor, **more))

    async def play(self, until: str) -> None:
        await play(self.spine, until, self.clock)

    async def jump(self, until: str) -> None:
        """Downtime: nothing is done until the end of it."""
        self.clock.move_to(local(until))
        await self.spine.settle()

    async def restart(self) -> None:
        """Every service begins anew."""
        await self.spine.stop()
        before = self.spine
        self.spine = await spine_of(self.store, self.bus, self.clock)
        self.spine.intake.sequence = before.intake.sequence  # all of it was answered

    def accepted(self) -> None:
        """No sender was refused anything."""
        refused = rows(self.store, "SELECT source, command_id, refusal FROM log.receipts WHERE outcome <> 1")
        assert refused == []


@asynccontextmanager
async def installation(engines: EmbeddedEngines, dsn: str, at: str = "2026-05-30T07:00") -> AsyncIterator[Installation]:
    """Services at rest over a fresh database."""
    clock, store = clock_at(at), Store.open(dsn)
    bus = await Bus.connect(engines.addresses.nats, Names(f"D{next(_numbers)}-"))
    await bus.ensure_streams()
    spine = await spine_of(store, bus, clock)
    try:
        yield Installation(store, bus, clock, Sender(clock), spine)
    finally:
        for name in ("COMMANDS", "RECEIPTS", "EVENTS", "NOTICES", "DEADLETTERS"):
            await bus.js.delete_stream(bus.names.stream(name))
        await bus.close()
        store.close()


@pytest.fixture
async def own(engines: EmbeddedEngines, dsn: str) -> AsyncIterator[Installation]:
    async with installation(engines, dsn) as found:
        await publish(found.spine, found.sender, *founding(found.sender))
        yield found


WEEKLY = RegimeDefinition(
    code="R-W",
    name_vi="Báo cáo tuần",
    frequency="weekly",
    due=DueRule(frequency="weekly", boundary="before", weekday=3, time=hour(15)),
)


def month(sender: Sender) -> list[dict[str, Any]]:
    """Two phases that share a day, a weekly report, and tasks that fall due in June, one with a milestone."""
    first = PlanPhase(name_vi="Giai đoạn 1", start=date(2026, 5, 30), end=date(2026, 6, 5))
    second = PlanPhase(name_vi="Giai đoạn 2", start=date(2026, 6, 5), end=date(2026, 12, 31))
    milestone = Milestone(code="M-1", what="Bước một", due=Due(day=date(2026, 6, 12)))
    tasks = {
        "T-1": task(due=date(2026, 6, 10)),
        "T-2": task("QLVH", due=date(2026, 6, 15), hour=hour(15)),
        "T-3": task(due=date(2026, 6, 26), milestones=(milestone,)),
        "T-4": task("QLVH", due=date(2026, 8, 31)),
    }
    return [
        sender.document(first, f"phase/{PROG}/P1"),
        sender.document(second, f"phase/{PROG}/P2"),
        sender.document(DefineRegime(regime=WEEKLY), f"programme/{PROG}", "VPS-CVP"),
        *(sender.document(AssignTask(content=content), stream(code)) for code, content in tasks.items()),
    ]


def passings(store: Store) -> list[tuple[str, str, str, int, datetime]]:
    """What passed when: stream, kind, occurrence, version, effective instant."""
    found = []
    for event in events(store):
        if isinstance(event.data, DeadlinePassed):
            key = event.data.key
            assert event.occurred_at == event.data.limit.at
            found.append((event.stream, key.kind, key.occurrence, key.due_version, event.occurred_at))
    return found


BUSINESS = ("assignments", "obligations", "phases", "warnings", "programmes", "units")
BOOKKEEPING = ("version", "from_pos", "recorded_at", "delivered")


# ---------------------------------------------------------------- restart and downtime


async def test_restarts_change_nothing(engines: EmbeddedEngines, databases: Databases) -> None:
    """R-353, R-354: played through, and with every service begun anew at every stop: the same log but for instants of delivery."""
    found = []
    for restarting in (False, True):
        with databases() as dsn:
            async with installation(engines, dsn) as own:
                await publish(own.spine, own.sender, *founding(own.sender), *month(own.sender))
                for day in range(1, 21):
                    await own.play(f"2026-06-{day:02}T20:00")
                    if restarting and day % 3 == 0:
                        await own.restart()
                own.accepted()
                log = b"\n".join(n.state for n in own.store.recorder.select_notifications(0, 100_000))
                found.append((log, digest(own.store, BUSINESS)))
    assert found[0] == found[1]


async def test_downtime_changes_no_instant(engines: EmbeddedEngines, databases: Databases) -> None:
    """R-353: after a month away every limit is processed once, at its own instant, in order."""
    played: dict[bool, Any] = {}
    for away in (False, True):
        with databases() as dsn:
            async with installation(engines, dsn) as own:
                await publish(own.spine, own.sender, *founding(own.sender), *month(own.sender))
                await (own.jump if away else own.play)("2026-06-30T20:00")
                own.accepted()
                once = Counter(entry[:4] for entry in passings(own.store))
                assert set(once.values()) == {1}
                business = {
                    table: rows(own.store, f"SELECT * FROM read.{table} ORDER BY 1, 2") for table in BUSINESS
                }
                played[away] = (passings(own.store), business)
                assert all(one.equal for one in rebuild(own.store))
    (there, business), (late, after) = played[False], played[True]
    import pprint
    pprint.pprint((sorted(set(there) ^ set(late))))
    for table in BUSINESS:
        for a, b in zip(business[table], after[table], strict=False):
            d = {k: (a[k], b[k]) for k in a if a[k] != b[k] and k not in BOOKKEEPING}
            if d: print(table, a["code"], d)
        print(table, len(business[table]), len(after[table]))
    assert 0
