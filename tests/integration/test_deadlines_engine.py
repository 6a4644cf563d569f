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
from nats.errors import Error as NatsError
from psycopg.sql import SQL, Identifier, Literal

from contracts.assignment import (
    AssignTask,
    CheckingRule,
    Due,
    Evidence,
    Milestone,
    ReportProgress,
    SignOffCompletion,
    StartWork,
    SubmitResult,
)
from contracts.base import Command
from contracts.deadlines import DeadlineApproached, DeadlineKey, DeadlinePassed, RecordDeadlinePassed
from contracts.limits import DueRule
from contracts.obligation import AcceptObligation, SubmitObligation
from contracts.phase import PlanPhase
from contracts.programme import DefineRegime, RegimeDefinition, RoleHolding
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
    found: list[tuple[str, str, str, int, datetime]] = []
    for event in events(store):
        if isinstance(event.data, DeadlinePassed):
            key = event.data.key
            assert event.occurred_at == event.data.limit.at
            found.append((event.stream, key.kind, key.occurrence, key.due_version, event.occurred_at))
    return found


BUSINESS = ("assignments", "obligations", "phases", "warnings", "programmes", "units")
BOOKKEEPING = ("version", "from_pos", "from_at", "recorded_at", "delivered")


# ---------------------------------------------------------------- restart and downtime


async def test_restarts_change_nothing(engines: EmbeddedEngines, databases: Databases) -> None:
    """R-353, R-354: the same log, byte for byte, when every service begins anew now and then."""
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
                played[away] = (set(passings(own.store)), business(own.store))
                assert all(one.equal for one in rebuild(own.store))
    (there, rows_there), (away_passings, rows_away) = played[False], played[True]
    assert {entry for entry in there if "/EX" not in entry[0]} == {
        entry for entry in away_passings if "/EX" not in entry[0]
    }
    assert rows_there == rows_away
    assert sum(len(found) for found in rows_there.values()) > 30


def business(store: Store) -> dict[str, list[dict[str, Any]]]:
    """What the read models say of the matter itself.

    The time for an explanation (EX…) runs from the demand, which nobody could see while the system was away.
    """
    found = {}
    for table in BUSINESS:
        content = rows(store, f"SELECT * FROM read.{table} ORDER BY 1, 2")
        kept = [row for row in content if not (row.get("code") or "").startswith("EX")]
        found[table] = [{name: value for name, value in row.items() if name not in BOOKKEEPING} for row in kept]
    return found


async def test_after_downtime_limits_are_processed_in_order(own: Installation) -> None:
    """R-353: a milestone that passed long ago goes before a rung of another limit that came after it."""
    await publish(own.spine, own.sender, *month(own.sender))
    head = own.store.recorder.head().position
    await own.jump("2026-06-30T20:00")
    kinds = DeadlinePassed | DeadlineApproached
    fired = [e for e in events(own.store) if e.position > head and isinstance(e.data, kinds) and "/EX" not in e.stream]
    subjects = [e.occurred_at for e in fired if not e.stream.startswith("warning/")]
    assert len(subjects) > 12
    assert subjects == sorted(subjects)


# ---------------------------------------------------------------- once


async def test_a_timer_fired_twice_passes_once_and_warns_once(own: Installation) -> None:
    """R-131: another timekeeper finds the same limit; the id is the same, and under another id nothing comes of it."""
    await own.do(AssignTask(content=task(due=date(2026, 6, 10))), stream("T-1"))
    await own.play("2026-06-11T09:00")
    (key,) = [e.data.key for e in events(own.store) if isinstance(e.data, DeadlinePassed)]
    own.clock.move_to(own.clock.now() + timedelta(minutes=2))
    second = Sender(own.clock, source="timekeeper")
    before = own.store.recorder.head()
    for id_ in ("AGAIN", "AND-AGAIN"):
        timer = second.document(RecordDeadlinePassed(key=key), stream("T-1"), "SAURO", at=own.clock.now(), id_=id_)
        await publish(own.spine, second, timer)
    after = own.store.recorder.head()
    assert (after.position, after.receipt) == (before.position, before.receipt + 2)
    stranger = own.sender.document(RecordDeadlinePassed(key=key), stream("T-1"))
    await publish(own.spine, own.sender, stranger)
    refusals = rows(own.store, "SELECT refusal FROM log.receipts WHERE outcome = 2")
    assert [row["refusal"]["rule"] for row in refusals] == ["ReservedForSauro"]
    warned = rows(own.store, "SELECT kind, level FROM read.warnings WHERE about = %s ORDER BY level", stream("T-1"))
    assert [(row["kind"], row["level"]) for row in warned] == [("early", 0), ("overdue", 1)]


async def test_events_heard_twice_warn_once(own: Installation) -> None:
    """The warning service loses its place and hears the whole of EVENTS again."""
    await own.do(AssignTask(content=task(due=date(2026, 6, 10))), stream("T-1"))
    await own.play("2026-06-14T09:00")
    own.accepted()
    before, notices = own.store.recorder.head(), len(await messages(own.bus, "NOTICES"))
    await own.spine.stop()
    await own.bus.js.delete_consumer(own.bus.names.stream("EVENTS"), own.bus.names.stream("warning"))
    heard = own.spine._topics
    sequence = own.spine.intake.sequence
    own.spine = await spine_of(own.store, own.bus, own.clock)
    own.spine.intake.sequence = sequence
    own.spine._heard = sum(n.topic in heard for n in own.store.recorder.select_notifications(0, 10_000))
    await own.spine.settle()
    assert own.spine.commands > 0
    assert own.spine.intake.outcomes.keys() == {"duplicate"}
    assert own.store.recorder.head() == before
    assert len(await messages(own.bus, "NOTICES")) == notices


async def test_delivered_means_that_the_broker_holds_the_notice(own: Installation) -> None:
    await own.do(AssignTask(content=task(due=date(2026, 6, 10))), stream("T-1"))
    await own.play("2026-06-16T09:00")
    own.accepted()
    held = await messages(own.bus, "NOTICES")
    delivered = [event for event in events(own.store) if isinstance(event.data, WarningDelivered)]
    assert len(delivered) == len({(event.stream, event.data.level) for event in delivered}) >= 4
    seen = []
    for event in delivered:
        for notice in event.data.notices:
            subject, data, _ = held[notice.stream_sequence - 1]
            envelope = orjson.loads(data)
            assert subject == own.bus.names.notice(PROG, notice.recipient)
            assert envelope["subject"] == event.stream
            assert envelope["data"]["level"] == event.data.level
            seen.append(notice.stream_sequence)
    assert sorted(seen) == list(range(1, len(held) + 1))


async def test_no_notice_no_delivery(own: Installation) -> None:
    """The stream of notices is away: the warning stands as raised until the broker holds its notices."""
    await own.do(AssignTask(content=task(due=date(2026, 6, 10))), stream("T-1"))
    await own.bus.js.delete_stream(own.bus.names.stream("NOTICES"))
    own.clock.move_to(local("2026-06-08T00:00"))
    with pytest.raises(NatsError):
        await own.spine.settle()
    (early,) = rows(
        own.store,
        "SELECT aggregate FROM (SELECT originator_id AS aggregate FROM log.events"
        " WHERE originator_id LIKE 'warning/%%') AS w",
    )
    assert names_in(own.store, early["aggregate"]) == ["WarningRaised"]
    await own.bus.ensure_streams()
    heard, sequence = own.spine._heard, own.spine.intake.sequence
    await own.spine.stop()
    own.spine = await spine_of(own.store, own.bus, own.clock)  # what was not acknowledged comes again
    own.spine._heard, own.spine.intake.sequence = heard, sequence
    await own.spine.settle()
    assert names_in(own.store, early["aggregate"]) == ["WarningRaised", "WarningDelivered"]
    assert len(await messages(own.bus, "NOTICES")) == 1


async def test_a_role_nobody_plays_falls_to_who_is_in_charge(own: Installation) -> None:
    """A warning always reaches somebody: a programme without a coordinating office has its director."""
    other = "KHAC"
    refused = founding(own.sender, roles=())[-1]
    named = founding(own.sender, roles=(RoleHolding(role="director", posts=("GD",)),))[-1]
    change = {"subject": f"programme/{other}", "programme": other}
    phase = PlanPhase(name_vi="Giai đoạn", start=date(2026, 5, 30), end=date(2026, 6, 5))
    planned = own.sender.document(phase, f"phase/{other}/P1")
    await publish(own.spine, own.sender, refused | change, named | change, planned)
    refusals = rows(own.store, "SELECT refusal FROM log.receipts WHERE outcome = 2")
    assert [row["refusal"]["rule"] for row in refusals] == ["NobodyInCharge"]
    content = task(due=date(2026, 6, 10), checking=CheckingRule(checked_by="GD", every="monthly"))
    assigned = own.sender.document(AssignTask(content=content), f"assignment/{other}/T-1")
    await publish(own.spine, own.sender, assigned)
    await own.play("2026-06-13T09:00")
    found = rows(own.store, "SELECT status, recipients FROM read.warnings WHERE programme = %s AND level = 2", other)
    assert found == [{"status": "delivered", "recipients": ["GD"]}]


# ---------------------------------------------------------------- exact


@pytest.mark.parametrize(("at", "verdict"), [("14:59:59", "on_time"), ("15:00:00", "late")])
async def test_thursday_at_three(own: Installation, at: str, verdict: str) -> None:
    """R-163: before 15:00 on Thursday; the second decides."""
    await publish(own.spine, own.sender, *month(own.sender))
    await own.play("2026-06-03T20:00")
    report = f"obligation/{PROG}/R-W-2026W23-PBCXB"
    own.clock.move_to(local(f"2026-06-04T{at}"))
    handed_in = own.sender.document(SubmitObligation(), report, "PBCXB-TP")
    await publish(own.spine, own.sender, handed_in)
    await own.do(AcceptObligation(), report, "VPS-CVP")
    await own.play("2026-06-05T09:00")
    own.accepted()
    (row,) = rows(own.store, "SELECT * FROM read.obligations WHERE code = 'R-W-2026W23-PBCXB'")
    assert row["due"] == local("2026-06-04T15:00")
    assert (row["timeliness_original"], row["timeliness_current"]) == (verdict, verdict)
    late = names_in(own.store, report).count("DeadlinePassed")
    assert late == (verdict == "late")


async def test_two_phases_on_one_day(engines: EmbeddedEngines, dsn: str) -> None:
    """R-034, R-035: on 05/6/2026 phases 1 and 2 are open in both departments, phase 1 alone in the ward."""
    async with installation(engines, dsn) as own:
        for name in ("svhttdl-td500", "skhcn-td500", "phn-cthd500"):
            await own.spine.publish("IMPORT", imported(own.clock.now(), name))
        await own.spine.settle()

        def open_phases() -> dict[str, set[str]]:
            found: dict[str, set[str]] = {}
            for row in rows(own.store, "SELECT programme, code FROM read.phases WHERE status = 'open'"):
                found.setdefault(row["programme"], set()).add(row["code"])
            return found

        def as_stated(departments: set[str], ward: set[str]) -> dict[str, set[str]]:
            return {"SVHTTDL-TD500": departments, "SKHCN-TD500": departments, "PHN-CTHD500": ward}

        await own.play("2026-06-04T23:59:59")
        assert open_phases() == as_stated({"P1"}, {"P1"})
        for moment in ("2026-06-05T00:00", "2026-06-05T23:59:59"):
            await own.play(moment)
            assert open_phases() == as_stated({"P1", "P2"}, {"P1"})
        await own.play("2026-06-08T09:00")
        assert open_phases() == as_stated({"P2"}, {"P1"})
        await own.play("2026-06-11T00:00")
        assert open_phases() == as_stated({"P2"}, {"P2"})


# ---------------------------------------------------------------- time zone and locale


@contextmanager
def time_zone(name: str | None) -> Iterator[None]:
    """The process's own zone, for a while."""
    before = os.environ.get("TZ")
    if name is not None:
        os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        os.environ.pop("TZ", None)
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


SERVERS: tuple[dict[str, str], ...] = (
    {},
    {
        "zone": "America/St_Johns",
        "timezone": "Pacific/Kiritimati",
        "datestyle": "German, DMY",
        "intervalstyle": "sql_standard",
    },
    {
        "zone": "Pacific/Pago_Pago",
        "timezone": "Europe/Lisbon",
        "datestyle": "SQL, MDY",
        "lc_time": "C",
        "lc_numeric": "C.UTF-8",
    },
)


async def test_zone_and_locale_of_the_server_change_nothing(engines: EmbeddedEngines, databases: Databases) -> None:
    """R-355: same log, same rows, wherever the servers stand."""
    found = []
    for settings in SERVERS:
        with databases() as dsn, time_zone(settings.get("zone")):
            with psycopg.connect(dsn, autocommit=True) as connection:
                for name, value in settings.items():
                    if name != "zone":
                        database = Identifier(connection.info.dbname)
                        connection.execute(
                            SQL("ALTER DATABASE {} SET {} = {}").format(database, Identifier(name), Literal(value))
                        )
            async with installation(engines, dsn) as own:
                await publish(own.spine, own.sender, *founding(own.sender), *month(own.sender))
                await own.play("2026-06-12T20:00")
                own.accepted()
                log = [n.state for n in own.store.recorder.select_notifications(0, 100_000)]
                checksums = {one.name: one.checksum for one in rebuild(own.store) if one.equal}
                found.append((log, digest(own.store, BUSINESS), checksums))
    assert found[0] == found[1] == found[2]


# ---------------------------------------------------------------- late entry


async def test_a_result_on_time_that_is_entered_late(own: Installation) -> None:
    """R-347: it takes the warning's ground away; that there was one stays to be seen."""
    await own.do(AssignTask(content=task(due=date(2026, 6, 10))), stream("T-1"))
    await own.do(StartWork(), stream("T-1"), "PBCXB-TP")
    await own.do(ReportProgress(percent=90), stream("T-1"), "PBCXB-TP")
    await own.play("2026-06-11T08:00")
    (row,) = rows(own.store, "SELECT * FROM read.assignments WHERE code = 'T-1'")
    assert row["overdue"]
    result = own.sender.document(SubmitResult(evidence=EVIDENCE), stream("T-1"), "PBCXB-TP", at="2026-06-10T23:00")
    await publish(own.spine, own.sender, result)
    await own.do(SignOffCompletion(), stream("T-1"), authority=AUTHORITY)
    await own.play("2026-06-20T08:00")
    own.accepted()
    met = next(e for e in events(own.store) if type(e.data).__name__ == "DeadlineMet")
    assert met.data.after_passing
    (row,) = rows(own.store, "SELECT * FROM read.assignments WHERE code = 'T-1'")
    assert (row["status"], row["overdue"], row["timeliness_original"]) == ("completed", False, "on_time")
    warned = rows(own.store, "SELECT * FROM read.warnings WHERE about = %s ORDER BY level", stream("T-1"))
    assert [(w["kind"], w["open"], w["status"], w["closing_reason"]) for w in warned] == [
        ("early", False, "superseded", "stronger_warning"),
        ("overdue", False, "superseded", "met_in_time"),
    ]
    assert warned[1]["escalations"] == 0
    assert DeadlineKey(kind="assignment_due", occurrence="1", due_version=1) == met.data.key
    assert met.recorded_at.astimezone(UTC) == local("2026-06-11T08:00")
