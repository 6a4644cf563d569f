"""Words about people's work stand beside the log and can be erased (R-359); a log with lines of version 1 is read on (R-360)."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from contracts.assignment import (
    ApproveExtension,
    CloseUnfinished,
    Due,
    RefuseExtension,
    RequestExtension,
    ReturnResult,
    SignOffCompletion,
    StartWork,
    SubmitResult,
)
from contracts.obligation import (
    AcceptObligation,
    DeclareNothingToReport,
    DeclareObligation,
    Duty,
    ReturnObligation,
    SubmitObligation,
)
from contracts.phase import (
    ClosePhase,
    PlanPhase,
    Responsibility,
    ReviewLine,
    SignOffPhaseReview,
    StartPhaseReview,
)
from contracts.warning import AcknowledgeWarning, DismissWarning, RecordResponse, ResolveWarning
from services.audit.collecting import folder_tiles, from_folder
from services.audit.follower import Follower
from services.audit.notes import Signer
from services.audit.verification import verify
from services.bus import Bus
from services.eventlog.reading import LOGS
from services.outgoing import BESIDE
from services.projector.rebuild import rebuild
from services.registry import REGISTRY
from services.store import Store
from tests.integration.reviewing import EVIDENCE, TASK, Case
from tests.integration.support import AUTHORITY, Desk, clock_at, events, rows, stream

HEAD, OFFICE = "PBCXB-TP", "VPS-CVP"
REPORT, NOTHING, PHASE = stream("BC-1", "obligation"), stream("BC-2", "obligation"), stream("P1", "phase")
ANSWER = Responsibility(collective="PBCXB", head=HEAD)
WORDS = {
    "ExtensionRequested": "chuyên viên phụ trách nghỉ ốm",
    "ExtensionApproved": "Giám đốc đồng ý cho lùi hạn",
    "ExtensionRefused": "Giám đốc không đồng ý lùi hạn",
    "ResultReturned": "Trưởng phòng nộp thiếu phụ lục",
    "CompletionSignedOff": "Phó Chánh Văn phòng đã đối chiếu",
    "AssignmentClosedUnfinished": "chuyên viên cũ\nbàn giao chậm",
    "ObligationReturned": "kế toán ghi nhầm số",
    "ObligationAccepted": "Chánh Văn phòng đã kiểm tra",
    "NothingToReportDeclared": "Phó Trưởng phòng xác nhận không phát sinh",
    "PhaseReviewStarted": "Phó Giám đốc chủ trì sơ kết",
    "PhaseReviewSignedOff": "văn thư để chậm hồ sơ",
    "PhaseClosed": "Phó Giám đốc đã dự họp",
    "WarningDismissed": "văn thư nhập nhầm hạn",
    "WarningResolved": "Trưởng phòng đã xử lý xong",
}
_SIGNED = Signer.generate("sauro.test")


def said(event: str, field: str = "reason") -> dict[str, dict[str, str]]:
    """The words of an event's field."""
    return {"texts": {field: WORDS[event]}}


async def assignments(case: Case) -> None:
    """Two tasks with extensions, a return and a sign-off, and one that is closed unfinished."""
    for code in ("T-2", "T-3", "LATE", "UNFOUNDED"):
        await case.assign(code, date(2026, 6, 10))
    later = RequestExtension(due=Due(day=date(2026, 6, 30)), reason=BESIDE)
    for subject in (TASK, stream("T-2")):
        await case.do(StartWork(), subject, HEAD)
        await case.do(later, subject, HEAD, **said("ExtensionRequested"))
    await case.do(ApproveExtension(), stream("T-2"), "GD", **said("ExtensionApproved", "note"))
    await case.do(RefuseExtension(reason=BESIDE), TASK, "GD", **said("ExtensionRefused"))
    await case.do(SubmitResult(evidence=EVIDENCE), TASK, HEAD)
    await case.do(ReturnResult(reason=BESIDE), TASK, OFFICE, **said("ResultReturned"))
    await case.do(SubmitResult(evidence=EVIDENCE), TASK, HEAD)
    await case.do(SignOffCompletion(), TASK, "GD", authority=AUTHORITY, **said("CompletionSignedOff", "note"))
    close = CloseUnfinished(cause="both", cause_text=BESIDE, responsibility=ANSWER)
    await case.do(close, stream("T-3"), "GD", **said("AssignmentClosedUnfinished", "cause_text"))


async def obligations(case: Case) -> None:
    """A report that is returned and accepted, and one with nothing to say."""
    for subject in (REPORT, NOTHING):
        duty = Duty(kind="report", title="Báo cáo", unit="PBCXB", addressee="VPS")
        await case.do(DeclareObligation(duty=duty, due=Due(day=date(2026, 6, 10))), subject, OFFICE)
    await case.do(SubmitObligation(), REPORT, HEAD)
    await case.do(ReturnObligation(reason=BESIDE), REPORT, OFFICE, **said("ObligationReturned"))
    await case.do(SubmitObligation(), REPORT, HEAD)
    await case.do(AcceptObligation(), REPORT, OFFICE, **said("ObligationAccepted", "note"))
    await case.do(DeclareNothingToReport(), NOTHING, HEAD, **said("NothingToReportDeclared", "note"))


async def phase(case: Case) -> None:
    """A phase that is reviewed, with the cause of an open task, and closed."""
    plan = PlanPhase(name_vi="Giai đoạn 1", start=date(2026, 5, 30), end=date(2026, 6, 5))
    await case.do(plan, PHASE, OFFICE)
    await case.play("2026-06-06T08:00")
    await case.do(StartPhaseReview(), PHASE, OFFICE, **said("PhaseReviewStarted", "note"))
    line = ReviewLine(item=stream("T-2"), cause="both", cause_text=BESIDE, responsibility=ANSWER)
    review = SignOffPhaseReview(lines=(line,))
    await case.do(review, PHASE, "GD", **said("PhaseReviewSignedOff", "lines.0.cause_text"))
    await case.do(ClosePhase(), PHASE, "GD", **said("PhaseClosed", "note"))


async def warnings(case: Case) -> None:
    """A warning that is dismissed, and one that is answered and resolved."""
    await case.play("2026-06-11T08:00")
    raised = rows(case.store, "SELECT about, code FROM read.warnings WHERE kind = 'overdue' AND open")
    warning = {row["about"]: stream(row["code"], "warning") for row in raised}
    unfounded, late = warning[stream("UNFOUNDED")], warning[stream("LATE")]
    await case.do(DismissWarning(reason=BESIDE), unfounded, OFFICE, **said("WarningDismissed"))
    await case.do(AcknowledgeWarning(), late, HEAD)
    await case.do(RecordResponse(response="directive"), late, HEAD)
    await case.do(ResolveWarning(), late, HEAD, **said("WarningResolved", "note"))


@pytest.fixture
async def case(store: Store, bus: Bus) -> Case:
    """An installation in which every text that was a line in version 1 is entered."""
    found = await Case.opened(store, bus)
    for play in (assignments, obligations, phase, warnings):
        await play(found)
    assert rows(store, "SELECT source, command_id, refusal FROM log.receipts WHERE outcome <> 1") == []
    return found


def sentences(case: Case) -> dict[str, list[str]]:
    """What the histories tell of each event that holds such words."""
    found: dict[str, list[str]] = {name: [] for name in WORDS}
    for subject in {event.stream for event in events(case.store) if type(event.data).__name__ in WORDS}:
        for entry in case.read("history", subject, "vi")["entries"]:
            if entry["own"] and entry["event"] in found:
                found[entry["event"]].append(entry["sentence"])
    return found


def stored(store: Store) -> dict[str, list[str]]:
    """Every row of every table of log and read models but the one that keeps words, as text."""
    tables = rows(
        store,
        "SELECT schemaname || '.' || tablename AS name FROM pg_tables"
        " WHERE schemaname IN ('log', 'read', 'audit') AND tablename <> 'texts'",
    )
    texts = {row["name"]: rows(store, f"SELECT t::text AS row FROM {row['name']} t") for row in tables}
    state = rows(store, "SELECT convert_from(state, 'UTF8') AS row FROM log.events")
    return {name: [row["row"] for row in found] for name, found in (texts | {"the log's bytes": state}).items()}


def test_these_are_all_events_that_had_lines_about_peoples_work() -> None:
    assert {type_.split(".")[2] for type_ in REGISTRY.contracts.older_events} == set(WORDS)


async def test_words_about_peoples_work_are_told_until_they_are_erased(case: Case, dsn: str, tmp_path: Path) -> None:
    for name, found in stored(case.store).items():
        assert [row for row in found for words in WORDS.values() if words in row] == [], name
    for name, told in sentences(case).items():
        assert told, name
        assert all(f"“{WORDS[name]}” (dấu băm" in sentence for sentence in told), name
    assert rows(case.store, "SELECT DISTINCT closing_reason FROM read.warnings WHERE status = 'dismissed'") == [
        {"closing_reason": None}
    ]

    await Follower(case.store, None, case.clock, _SIGNED, folder=tmp_path).settle()
    with psycopg.connect(dsn) as owner:
        assert owner.execute("DELETE FROM log.texts").rowcount == sum(map(len, sentences(case).values()))
    for name, told in sentences(case).items():
        assert not any(words in sentence for sentence in told for words in WORDS.values()), name
        assert all("(nội dung đã xóa, dấu băm" in sentence for sentence in told), name
    trusted = [_SIGNED.for_log(log).verifier() for log in LOGS]
    report = verify(dsn, from_folder(tmp_path), trusted, tiles=folder_tiles(tmp_path))
    assert report.clean
    assert report.texts["sealed"] == report.texts["erased"] > len(WORDS)
    assert all(model.equal for model in rebuild(case.store))


def with_lines(value: Any, words: str) -> Any:
    """Data with a line where a reference stands."""
    if isinstance(value, dict):
        if value.keys() == {"ref", "digest"}:
            return words
        return {name: with_lines(each, words) for name, each in value.items()}
    return [with_lines(each, words) for each in value] if isinstance(value, list) else value


def as_version_1_had_it(dsn: str, store: Store) -> None:
    """The log as it would be, had these events been entered with version 1."""
    with psycopg.connect(dsn) as owner:
        owner.execute("SET session_replication_role = replica")
        for found in store.recorder.select_notifications(0, 1_000_000):
            document = orjson.loads(found.state)
            if (name := document["type"].split(".")[2]) in WORDS:
                document["type"] = document["type"].replace(".v2", ".v1")
                document["data"] = with_lines(document["data"], WORDS[name].replace("\n", " "))
                owner.execute(
                    "UPDATE log.events SET topic = %s, state = %s WHERE notification_id = %s",
                    (document["type"], orjson.dumps(document), document["position"]),
                )
        owner.execute("DELETE FROM log.texts")
        owner.execute("DELETE FROM read.snapshots")


async def test_lines_of_version_1_are_read_and_told_and_the_log_goes_on(case: Case, dsn: str) -> None:
    before = [(event.stream, event.version, type(event.data)) for event in events(case.store)]
    as_version_1_had_it(dsn, case.store)
    assert [(event.stream, event.version, type(event.data)) for event in events(case.store)] == before
    for name, told in sentences(case).items():
        line = WORDS[name].replace("\n", " ")
        assert all(line in sentence and "dấu băm" not in sentence for sentence in told), name
    assert [model.name for model in rebuild(case.store, switch=True) if not model.equal] == ["warnings"]
    assert rows(case.store, "SELECT DISTINCT closing_reason FROM read.warnings WHERE status = 'dismissed'") == [
        {"closing_reason": WORDS["WarningDismissed"]}
    ]
    desk = Desk.open(case.store, clock_at("2026-06-11T08:00"), source="OTHER")
    desk.do(SubmitResult(evidence=EVIDENCE), stream("T-2"), HEAD)
    desk.do(ReturnResult(reason=BESIDE), stream("T-2"), OFFICE, **said("ResultReturned"))
    assert rows(case.store, "SELECT words FROM log.texts") == [{"words": WORDS["ResultReturned"]}]
