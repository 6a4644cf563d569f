"""What should have happened, re-run over the log: nothing missing, or the reason; and what no front door lets through."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import orjson
import psycopg
import pytest

from contracts.deadlines import DeadlinePassed
from contracts.warning import SupersedeWarning
from projections.queries import begin_snapshot
from projections.queries_log import next_limit
from services.audit.counterfactual import Finding, reconcile
from services.audit.printing import Printer
from services.bus import Bus
from services.engines import EmbeddedEngines
from services.simulation.demo import DemoOptions, run_demo
from services.store import Store
from tests.integration.reviewing import TASK, Case
from tests.integration.support import Sender, events, publish
from tests.unit.spec import PROG, local


@pytest.fixture
async def case(store: Store, bus: Bus) -> Case:
    return await Case.opened(store, bus)


def seen(findings: list[Finding]) -> set[tuple[str, str, str | None]]:
    return {(finding.what, finding.rung.split(" ")[0], finding.reason) for finding in findings}


async def test_a_run_in_time_reconciles_with_nothing_left_over(case: Case) -> None:
    await case.explained()
    await case.play("2026-07-01T08:00")
    found = case.reconciled()
    assert found.findings == []
    assert found.on_record["RaiseWarning"] >= 2
    assert found.on_record["DeadlinePassed"] >= 1
    assert found.on_record["DemandExplanation"] + found.on_record["EscalateWarning"] >= 1


async def test_a_warning_service_that_was_down_is_named_with_its_silence(case: Case) -> None:
    case.spine.deaf = True
    await case.play("2026-06-15T08:00")
    await case.assign("T-9", date(2026, 12, 1))
    missed = case.reconciled()
    assert seen(missed.findings) >= {("missed", "RaiseWarning", "service_down")}
    assert missed.unexplained == []
    assert all(finding.detail == "warning" for finding in missed.findings)

    case.spine.deaf = False
    await case.play("2026-06-15T09:00")
    late = case.reconciled()
    assert {finding.what for finding in late.findings} == {"late"}
    assert late.unexplained == []
    first = next(finding for finding in late.findings if finding.rung.startswith("RaiseWarning for DeadlineApproached"))
    assert first.due_at == local("2026-06-08T00:00").astimezone(UTC)
    assert first.recorded_at is not None
    assert first.recorded_at >= local("2026-06-15T08:00")


async def test_a_timekeeper_that_was_down_is_named_and_so_is_a_whole_installation(case: Case) -> None:
    case.spine.idle = True
    case.clock.move_to(local("2026-06-08T12:00"))
    await case.assign("T-9", date(2026, 12, 1))  # others were at work meanwhile
    case.clock.move_to(local("2026-06-09T12:00"))
    case.spine.idle = False
    await case.play("2026-06-09T12:00")
    (rung,) = [finding for finding in case.reconciled().findings if finding.stream == TASK]
    assert (rung.what, rung.reason, rung.detail) == ("late", "service_down", "timekeeper")

    case.clock.move_to(local("2026-06-20T12:00"))  # nobody was at work
    await case.spine.settle()
    found = case.reconciled()
    assert found.unexplained == []
    assert ("late", "DeadlinePassed", "installation_down") in seen(found.findings)


async def _thrown_away(stored: Sequence[bytes]) -> int:
    return 0


async def test_a_service_that_came_back_and_never_caught_up_is_not_excused(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Down for a week, then at work for two, but what fell due meanwhile was thrown away."""
    case.spine.deaf = True
    await case.play("2026-06-12T08:00")
    with monkeypatch.context() as thrown_away:
        thrown_away.setattr(case.spine.warnings, "handle", _thrown_away)
        case.spine.deaf = False
        await case.play("2026-06-12T08:01")
    await case.assign("T-9", date(2026, 6, 17))
    await case.play("2026-06-26T08:00")
    found = case.reconciled()
    assert any(type(e.data).__name__ == "WarningRaised" and "T-9" in e.stream for e in events(case.store))
    missed = [one for one in found.findings if one.what == "missed" and one.stream.startswith(f"warning/{PROG}/T-1-")]
    assert missed
    assert all(one.reason is None for one in missed)


async def test_a_quiet_time_excuses_nothing_that_never_came(case: Case) -> None:
    """Nobody has anything to do but one rung, and it does not come: that a service is silent then, says nothing."""
    with case.store.recorder.transaction() as cursor:
        first = next_limit(cursor)
    assert first is not None
    case.spine.idle = True
    case.clock.move_to(first + timedelta(minutes=30))
    (one,) = case.reconciled().findings
    assert (one.what, one.reason) == ("missed", None)
    assert "nothing else that was looked at fell due then" in str(one.detail)
    lines: list[str] = []
    Printer("vi", lines.append).reconciliation(case.read("reconciled", PROG, case.clock.now()))
    assert any("KHÔNG GIẢI THÍCH ĐƯỢC: timekeeper im lặng, nhưng không việc nào khác" in line for line in lines)
    case.clock.move_to(local("2026-06-12T08:00"))
    found = case.reconciled()
    assert len(found.findings) > 1  # others fell due, and none came: that is a service that was down
    assert found.unexplained == []


async def test_what_reconciliation_says_is_said_in_vietnamese(case: Case) -> None:
    await case.explained()
    lines: list[str] = []
    Printer("vi", lines.append).reconciliation(case.read("reconciled", PROG, None))
    assert "0 phát hiện, 0 không giải thích được" in lines
    assert any("không phải có" in line and "đã đạt trước hạn" in line for line in lines)
    with pytest.raises(ValueError, match="lies before the last receipt"):
        case.read("reconciled", PROG, local("2020-01-01T00:00"))


async def test_a_rung_fired_twice_cannot_come_through_the_door_and_is_found_when_forged(case: Case, dsn: str) -> None:
    await case.play("2026-06-12T08:00")
    passed = next(e for e in events(case.store) if isinstance(e.data, DeadlinePassed) and e.stream == TASK)
    sent = len(events(case.store))
    await case.play("2026-06-12T08:01")  # the timekeeper finds nothing to send again
    assert len(events(case.store)) == sent
    with psycopg.connect(dsn) as owner:
        row = owner.execute(
            "SELECT topic, state FROM log.events WHERE notification_id = %s", [passed.position]
        ).fetchone()
        assert row is not None
        (version,) = owner.execute(
            "SELECT max(originator_version) + 1 FROM log.events WHERE originator_id = %s", [TASK]
        ).fetchone() or (0,)
        forged = {**orjson.loads(row[1]), "position": sent + 1, "streamversion": version, "id": "forged"}
        owner.execute(
            "INSERT INTO log.events VALUES (%s, %s, %s, %s, %s, %s)",
            [sent + 1, TASK, version, row[0], datetime.now(UTC).replace(year=2026, month=6), orjson.dumps(forged)],
        )
    found = case.reconciled()
    assert {(finding.what, finding.position) for finding in found.unexplained} >= {
        ("twice", sent + 1),
        ("unreceipted", sent + 1),
    }


async def test_a_warning_with_other_recipients_than_the_policy_says_is_found(case: Case, dsn: str) -> None:
    await case.play("2026-06-12T08:00")
    raised = next(e for e in events(case.store) if type(e.data).__name__ == "WarningRaised")
    with psycopg.connect(dsn) as owner:
        owner.execute("ALTER TABLE log.events DISABLE TRIGGER immutable")
        row = owner.execute("SELECT state FROM log.events WHERE notification_id = %s", [raised.position]).fetchone()
        assert row is not None
        changed = orjson.loads(row[0])
        changed["data"]["recipients"] = ["QLVH-TP"]
        owner.execute(
            "UPDATE log.events SET state = %s WHERE notification_id = %s", [orjson.dumps(changed), raised.position]
        )
    found = case.reconciled().unexplained
    assert ("different", raised.position) in {(finding.what, finding.position) for finding in found}


async def test_what_a_service_did_that_nothing_called_for_is_found(case: Case, dsn: str) -> None:
    """Somebody with the warning service's rights at NATS closes a warning; with rights at the database, invents a passing."""
    await case.play("2026-06-12T08:00")
    raised = [e for e in events(case.store) if type(e.data).__name__ == "WarningRaised"][-1]
    stranger = Sender(case.clock, source="warning")
    closing = stranger.document(SupersedeWarning(reason="met_in_time"), raised.stream, "SAURO", id_="nobody-asked")
    await publish(case.spine, stranger, closing)
    superseded = [e for e in events(case.store) if e.command_id == "nobody-asked"]
    assert superseded
    (found,) = [one for one in case.reconciled().findings if one.position == superseded[0].position]
    assert (found.what, found.reason) == ("uncalled", None)
    assert "nobody-asked" in str(found.detail)

    passed = next(e for e in events(case.store) if isinstance(e.data, DeadlinePassed) and e.stream == TASK)
    at = len(events(case.store)) + 1
    with psycopg.connect(dsn) as owner:
        row = owner.execute(
            "SELECT topic, state FROM log.events WHERE notification_id = %s", [passed.position]
        ).fetchone()
        assert row is not None
        forged = {**orjson.loads(row[1]), "position": at, "streamversion": 99, "id": "forged"}
        forged["data"]["key"]["due_version"] = 7
        values = [at, TASK, 99, row[0], case.clock.now(), orjson.dumps(forged)]
        owner.execute("INSERT INTO log.events VALUES (%s, %s, %s, %s, %s, %s)", values)
    odd = {(one.what, one.detail) for one in case.reconciled().unexplained if one.position == at}
    assert ("uncalled", "no such limit was set") in odd


@pytest.mark.slow
async def test_a_demo_run_reconciles_with_nothing_left_over() -> None:
    """Four programmes over three weeks: every rung on record, every command of the warning service decided the same again."""
    with EmbeddedEngines(relaxed=True) as engines:
        await run_demo(DemoOptions(until=date(2026, 6, 20)), engines.addresses)
        store = Store.open(engines.addresses.postgres)
        with store.recorder.transaction() as cursor:
            begin_snapshot(cursor)
            found = reconcile(cursor, store.registry)
        store.close()
    assert found.findings == []
    assert found.on_record["RaiseWarning"] > 100
