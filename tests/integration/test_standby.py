"""A follower's second instance takes over within five seconds: from one that was killed, and from one that only stopped.

Takeover is measured from the log: when the other says that it works.
"""

import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import orjson
import psycopg
import pytest

from contracts.assignment import AssignTask
from domain.calendar import to_local
from services.audit.collecting import from_stream
from services.audit.notes import Signer
from services.audit.verification import verify
from services.bus import Bus
from services.clock import SimulatedClock
from services.eventlog.reading import LOGS
from services.eventlog.recorder import APPEND_LOCK
from services.projector.core import Projector
from services.projector.rebuild import rebuild
from services.store import Store
from tests.integration.processes import Installation
from tests.integration.support import PASSED, Desk, commands, messages, rows, stream, task, until

MOST, CHUNK = 5.0, 40
BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass
class Chore:
    """Work for one service in chunks: `more` sets it, `done` says whether the service has done it all, `check` how well."""

    store: Store
    bus: Bus
    desk: Desk
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    sent: int = 0

    def documents(self, due: datetime | None = None) -> list[dict[str, object]]:
        """Tasks to assign, now."""
        now = datetime.now(UTC)
        self.desk.clock.move_to(now)
        at = to_local(due or now + timedelta(days=60))
        content = task(due=at.date(), hour=at.time().replace(microsecond=0))
        codes = [f"S-{number:04}" for number, _ in zip(self.numbers, range(CHUNK), strict=False)]
        self.sent += len(codes)
        return [self.desk.sender.document(AssignTask(content=content), stream(code)) for code in codes]

    async def more(self) -> None:
        """Append a chunk to the log."""
        self.desk.accept(*self.documents())

    async def done(self) -> bool:
        raise NotImplementedError

    async def check(self) -> None:
        raise NotImplementedError

    def head(self) -> int:
        return self.store.recorder.max_notification_id() or 0


class Projecting(Chore):
    async def done(self) -> bool:
        query = "SELECT min(notification_id) AS at FROM read.positions, pg_sleep(0.02)"
        (row,) = await asyncio.to_thread(rows, self.store, query)
        return bool(row["at"] == self.head())

    async def check(self) -> None:
        assert [model.name for model in rebuild(self.store) if not model.equal] == []


class Relaying(Chore):
    async def done(self) -> bool:
        return (await self.bus.js.stream_info(self.bus.names.stream("EVENTS"))).state.last_seq == self.head()

    async def check(self) -> None:
        stored = [found.state for found in self.store.recorder.select_notifications(0, 1_000_000)]
        assert [data for _, data, _ in await messages(self.bus, "EVENTS")] == stored


class Answering(Chore):
    async def more(self) -> None:
        source, programme = self.desk.sender.source, self.desk.sender.programme
        subject = self.bus.names.command(source, programme)
        await self.bus.publish_all([(subject, orjson.dumps(document), None) for document in self.documents()])

    async def done(self) -> bool:
        return await asyncio.to_thread(self._answered) == self.sent

    async def check(self) -> None:
        refused = rows(self.store, "SELECT refusal FROM log.receipts WHERE refusal IS NOT NULL")
        assert (self._answered(), refused) == (self.sent, [])

    def _answered(self) -> int:
        query = "SELECT count(*) AS n FROM log.events, pg_sleep(0.02) WHERE topic LIKE '%%.TaskAssigned.%%'"
        return int(rows(self.store, query)[0]["n"])


class TimeKeeping(Chore):
    """Limits fall due a second or two after their tasks were assigned; intake and projector run in the test."""

    taken = 0

    async def more(self) -> None:
        self.desk.accept(*self.documents(due=datetime.now(UTC) + timedelta(seconds=2)))
        self._project()

    async def done(self) -> bool:
        incoming = (await commands(self.bus))[self.taken :]
        self.taken += len(incoming)
        self.desk.clock.move_to(datetime.now(UTC))
        await asyncio.to_thread(self.desk.intake.process, incoming)
        await asyncio.to_thread(self._project)
        return len(self._passed()) == self.sent

    async def check(self) -> None:
        assert all(row["n"] == 1 for row in self._passed()), "each limit fires once"

    def _project(self) -> None:
        projector = Projector(self.store, self.desk.clock)
        projector.prepare()
        while projector.step():
            pass

    def _passed(self) -> list[dict[str, object]]:
        query = (
            "SELECT count(*) AS n FROM log.events, pg_sleep(0.02) WHERE topic LIKE '%%.DeadlinePassed.%%'"
            " GROUP BY originator_id"
        )
        return rows(self.store, query)


class Signing(Chore):
    """What was appended is signed a second later at most."""

    async def done(self) -> bool:
        query = "SELECT max(size) AS size FROM audit.checkpoints, pg_sleep(0.02) WHERE log = 'events'"
        return bool((await asyncio.to_thread(rows, self.store, query))[0]["size"] == self.head())

    async def check(self) -> None:
        published = await from_stream(self.bus)
        signed = Signer.read(Path(os.environ["SAURO_AUDIT_KEY"]))
        keys = [signed.for_log(log).verifier() for log in LOGS]
        report = await asyncio.to_thread(verify, self.store.dsn, published, keys)
        assert (report.problems, report.rows["events"]) == ([], self.head())


class Demanding(Chore):
    """Limits that have passed stand in EVENTS; of the warning service, its later part has a standby."""

    async def more(self) -> None:
        subject = self.bus.names.event("P", "assignment", "DeadlinePassed")
        passed = [
            PASSED | {"id": f"E-{number}", "subject": f"assignment/P/T-{number}"}
            for number, _ in zip(self.numbers, range(CHUNK), strict=False)
        ]
        await self.bus.publish_batch([(subject, orjson.dumps(event), None) for event in passed])
        self.sent += len(passed)

    async def done(self) -> bool:
        return len(await self._demanded()) == self.sent

    async def check(self) -> None:
        assert all(len(ids) == 1 for ids in (await self._demanded()).values()), (
            "each is asked for once, however often sent"
        )

    async def _demanded(self) -> dict[str, set[str]]:
        """Under which ids an explanation was demanded, by what it is about."""
        found: dict[str, set[str]] = defaultdict(set)
        for command in await commands(self.bus):
            document = orjson.loads(command.payload)
            if document["type"] == "sauro.obligation.DemandExplanation.v1":
                found[document["data"]["about"]].add(document["id"])
        return found


CHORES: dict[str, type[Chore]] = {
    "projector": Projecting,
    "relay": Relaying,
    "intake": Answering,
    "timekeeper": TimeKeeping,
    "audit": Signing,
    "warning": Demanding,
}


@dataclass
class Pair:
    """Two instances of one service; which of them is at work, their own words tell."""

    processes: Installation
    store: Store

    async def said(self, name: str, event: str, after: datetime) -> datetime:
        """When an instance first said so after an instant; waits for it."""

        async def found() -> bool:
            await asyncio.to_thread(rows, self.store, "SELECT pg_sleep(0.05)")
            return bool(self._since(name, event, after))

        await until(found)
        return self._since(name, event, after)[0]

    def roles(self) -> tuple[str, str]:
        """The one at work and the one that stands by. A machine that pauses may make them change places unasked."""
        first, second = sorted("ab", key=lambda name: max(self.processes.said(name, "working"), default=BEGINNING))
        return second, first

    def _since(self, name: str, event: str, after: datetime) -> list[datetime]:
        return [at for at in self.processes.said(name, event) if at >= after]


@pytest.mark.usefixtures("signer")
@pytest.mark.parametrize("service", CHORES)
async def test_a_standby_takes_over(service: str, processes: Installation, store: Store, bus: Bus) -> None:
    """The active one stops amid its work and comes back later; then the other is killed amid its own."""
    chore = CHORES[service](store, bus, Desk.founded(store, SimulatedClock(datetime.now(UTC))))
    pair, began = Pair(processes, store), datetime.now(UTC)
    processes.start(service, name="a")
    await pair.said("a", "working", began)
    processes.start(service, name="b")
    await pair.said("b", "standing by", began)
    await chore.more()
    await until(chore.done)
    assert processes.said("b", "working") == []

    await chore.more()
    active, other = pair.roles()
    processes.signal(active, signal.SIGSTOP)
    stopped = datetime.now(UTC)
    await chore.more()
    await until(chore.done)
    assert (await pair.said(other, "working", stopped) - stopped).total_seconds() < MOST

    await chore.more()
    processes.signal(active, signal.SIGCONT)
    continued = datetime.now(UTC)
    await chore.more()
    await pair.said(active, "standing by", continued)
    await until(chore.done)

    await chore.more()
    active, other = pair.roles()
    processes.kill(active)
    killed = datetime.now(UTC)
    await chore.more()
    await until(chore.done)
    assert (await pair.said(other, "working", killed) - killed).total_seconds() < MOST
    await chore.check()


async def test_a_stopped_intake_gives_back_the_append_lock(
    processes: Installation, store: Store, bus: Bus, dsn: str
) -> None:
    """It stops in the midst of its transaction: PostgreSQL ends that, too, and the standby appends."""
    chore = Answering(store, bus, Desk.founded(store, SimulatedClock(datetime.now(UTC))))
    processes.start("intake", name="a")
    await chore.more()
    await until(chore.done)
    processes.start("intake", name="b")
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
        await chore.more()
        waits = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = %s"
        waiting: list[tuple[int]] = []

        async def waited_for() -> bool:
            found = await asyncio.to_thread(connection.execute, waits, (APPEND_LOCK,))
            waiting.extend(found.fetchall())
            return bool(waiting)

        await until(waited_for)
        processes.signal("a", signal.SIGSTOP)
    held = "SELECT granted FROM pg_locks WHERE locktype = 'advisory' AND pid = %s AND objid = %s"
    assert rows(store, held, *waiting[0], APPEND_LOCK) == [{"granted": True}], "the stopped one holds the lock"
    await until(chore.done)
    await chore.check()
    assert processes.said("b", "working")
