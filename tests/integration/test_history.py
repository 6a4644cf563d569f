"""What a reviewer reads of a late task: its chain as sentences, causes and effects, late entries; on real engines."""

from __future__ import annotations

from datetime import date
from typing import Any

import psycopg
import pytest

from contracts.assignment import ApproveExtension, AssignTask, Due, RequestExtension, StartWork, SubmitResult
from projections.causes import TRACKED
from projections.queries import begin_snapshot
from projections.scope import EVERYTHING
from services.audit import chronicle
from services.audit.known import NotKnown
from services.audit.narrative import Names, Narrator
from services.audit.printing import Printer
from services.audit.readings import Ambiguous, NothingThere, Readings
from services.audit.sentences import SENTENCES
from services.bus import Bus
from services.registry import REGISTRY
from services.store import Store
from tests.integration.reviewing import EVIDENCE, EXPLANATION, TASK, WORDS, Case
from tests.integration.support import AUTHORITY, events, publish, rows, stream, task
from tests.unit.spec import PROG, text


@pytest.fixture
async def case(store: Store, bus: Bus) -> Case:
    return await Case.opened(store, bus)


def told(entries: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [entry for entry in entries if entry["event"] == event]


async def test_the_chain_of_a_late_task_from_assignment_to_explanation_to_decision(case: Case) -> None:
    await case.explained()
    answer = case.read("history", "T-1", "vi")
    assert answer["stream"] == TASK
    entries = answer["entries"]
    assert [entry["position"] for entry in entries] == sorted(entry["position"] for entry in entries)
    assert {entry["stream"] for entry in entries} >= {TASK, EXPLANATION}

    (assigned,) = told(entries, "TaskAssigned")
    assert "Rà soát thủ tục" in assigned["sentence"]
    assert assigned["who"] == f"GD, BGD, theo thẩm quyền {AUTHORITY}"
    assert assigned["caused_by"]["sender"] == "QLVB"
    assert assigned["caused_by"]["receipt"] is not None

    passed = next(entry for entry in told(entries, "DeadlinePassed") if entry["own"])
    effects = {effect["stream"].split("/")[0] for effect in passed["led_to"]}
    assert effects == {"warning"}
    (declared,) = told(entries, "ObligationDeclared")
    escalated = next(entry for entry in told(entries, "WarningEscalated") if "cấp 2" in entry["sentence"])
    assert declared["caused_by"] == escalated["caused_by"]  # the rung that calls for an explanation
    raised = next(entry for entry in told(entries, "WarningRaised") if "cấp 1" in entry["sentence"])
    assert raised["caused_by"]["cause"] == passed["id"]

    (submitted,) = told(entries, "ObligationSubmitted")
    assert WORDS in submitted["sentence"]
    assert submitted["who"].startswith("PBCXB-TP, PBCXB")
    (signed,) = told(entries, "CompletionSignedOff")
    assert "trễ hạn theo hạn gốc" in signed["sentence"]


async def test_erased_words_are_told_as_erased_with_their_digest(case: Case, dsn: str) -> None:
    await case.explained()
    with psycopg.connect(dsn) as owner:
        owner.execute("DELETE FROM log.texts")
    (submitted,) = told(case.read("history", TASK, "vi")["entries"], "ObligationSubmitted")
    assert WORDS not in submitted["sentence"]
    assert "nội dung đã xóa, dấu băm" in submitted["sentence"]
    (submitted,) = told(case.read("history", TASK, "en")["entries"], "ObligationSubmitted")
    assert "words erased, digest" in submitted["sentence"]


async def test_words_that_the_digest_does_not_fit_are_not_told_as_true(case: Case, dsn: str) -> None:
    """Words stand beside the log, where somebody with rights at the database can change them."""
    await case.explained()
    with psycopg.connect(dsn) as owner:
        owner.execute("UPDATE log.texts SET words = 'Không ai chậm cả' WHERE words = %s", [WORDS])
    for language, told_as in (("vi", "nội dung đã bị sửa: không khớp dấu băm"), ("en", "the words were changed")):
        (submitted,) = told(case.read("history", TASK, language)["entries"], "ObligationSubmitted")
        assert "Không ai chậm cả" not in submitted["sentence"]
        assert told_as in submitted["sentence"]


async def test_a_history_that_goes_on_says_so(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    await case.explained()
    lines: list[str] = []
    whole = case.read("history", TASK, "vi")
    assert whole["whole"]
    Printer("vi", lines.append).history(whole)
    assert not any("còn tiếp" in line for line in lines)
    monkeypatch.setattr(chronicle, "GENERATIONS", 1)
    cut = case.read("history", TASK, "vi")
    assert not cut["whole"]
    Printer("vi", lines.append).history(cut)
    assert "còn tiếp" in lines[-1]


async def test_causes_lead_up_to_the_first_command_and_effects_down_again(case: Case) -> None:
    await case.explained()
    escalated = next(e for e in events(case.store) if type(e.data).__name__ == "ObligationAccepted")
    declared = next(e for e in events(case.store) if e.stream == EXPLANATION)
    chain = case.read("causes", str(declared.position), "en")
    names = [(step["link"], step["event"]) for step in chain["steps"]]
    assert names == [
        ("asked", "ObligationDeclared"),
        ("cause", "DeadlinePassed"),  # nobody answered the warning
        ("limit", "DeadlineScheduled"),
        ("cause", "DeadlinePassed"),  # the task's own limit
        ("limit", "DeadlineScheduled"),
    ]
    assigned = next(e for e in events(case.store) if type(e.data).__name__ == "TaskAssigned")
    assert chain["command"]["command"] == assigned.command_id
    assert chain["outside"] is None

    tree = case.read("effects", str(assigned.position), "en")
    assert tree["whole"]
    found, waiting = set(), [tree]
    while waiting:
        node = waiting.pop()
        found.add(node["position"])
        waiting += node["effects"]
    assert declared.position in found
    assert escalated.position not in found  # a decision of a person, who named no cause
    assert {e.position for e in events(case.store) if e.sender == "warning"} <= found
    assert case.read("causes", declared.id, "en") == chain


async def _explained_and_answered(case: Case) -> None:
    """The case, and commands of a system that says what it answers: events of other streams, and one nobody here knows."""
    await case.explained()
    assigned = next(e for e in events(case.store) if type(e.data).__name__ == "TaskAssigned")
    declared = next(e for e in events(case.store) if e.stream == EXPLANATION)
    foreign = "0198c0de-0000-5000-8000-000000000001"
    for number, cause in enumerate((assigned.id, declared.id, assigned.command_id, foreign, "urn:their:message:7"), 2):
        await case.assign(f"T-{number}", date(2026, 8, 10))
        more = {"causationid": cause}
        await case.do(StartWork(), stream(f"T-{number}"), "PBCXB-TP", **more)


def _by_hand(log: list[Any], root: Any) -> set[int]:
    """All that an event led to, from the whole log."""
    found = {e.position for e in log if (e.sender, e.command_id) == (root.sender, root.command_id)}
    found = {position for position in found if position >= root.position}
    while True:
        ids = {log[position - 1].id for position in found}
        limits = {
            (e.stream, e.data.key)
            for e in log
            if e.position in found and type(e.data).__name__ in {"DeadlineScheduled", "DeadlineRescheduled"}
        }
        rests = ("DeadlineApproached", "DeadlinePassed", "DeadlineMet", "DeadlineCancelled")
        more = found | {
            e.position
            for e in log
            if (e.causation_id in ids and e.position > min(found))
            or (type(e.data).__name__ in rests and (e.stream, e.data.key) in limits)
        }
        if more == found:
            return found
        found = more


def _in(tree: dict[str, Any]) -> set[int]:
    found, waiting = set(), [tree]
    while waiting:
        node = waiting.pop()
        found.add(node["position"])
        waiting += node["effects"]
    return found


async def test_causes_and_effects_of_every_event_are_those_of_the_whole_log(case: Case) -> None:
    """However far the read model of causes is: at the head, behind, or nowhere, as when it is made anew."""
    await _explained_and_answered(case)
    log = events(case.store)
    by_id = {e.id: e for e in log}
    assert {e.causation_id == e.command_id for e in log} == {True, False}
    tracked = rows(
        case.store, "SELECT application_name AS name FROM read.positions WHERE application_name = %s", TRACKED
    )
    assert tracked
    sample = [e for e in log if e.causation_id != e.command_id or type(e.data).__name__ != "ProgressReported"]
    told: list[Any] = []
    for lag in (0, len(log) // 2, None):
        if lag is not None:
            _set_back(
                case.store,
                "UPDATE read.positions SET notification_id = %s WHERE application_name = %s",
                lag or len(log),
            )
            _set_back(case.store, "DELETE FROM read.caused_events WHERE from_pos > %s", lag or len(log), named=False)
        else:
            _set_back(case.store, "DELETE FROM read.positions WHERE %s = 0 AND application_name = %s", 0)
        answers = []
        for event in sample[:: 7 if lag != 0 else 1]:
            tree = case.read("effects", str(event.position), "en")
            assert _in(tree) == _by_hand(log, event), event
            chain = case.read("causes", str(event.position), "en")
            answers.append((tree, chain))
            second = chain["steps"][1:2]
            if second and second[0]["link"] == "cause":
                assert second[0]["id"] == event.causation_id
            elif not second and event.causation_id != event.command_id:
                assert chain["outside"] == event.causation_id
                assert event.causation_id not in by_id or by_id[event.causation_id].position > event.position
        told.append(answers[:: 7 if lag == 0 else 1])
        told.append(case.read("history", TASK, "vi"))
    assert told[0] == told[2] == told[4]
    assert told[1] == told[3] == told[5]


def _set_back(store: Store, statement: str, position: int, *, named: bool = True) -> None:
    with store.recorder.transaction() as cursor:
        cursor.execute(statement, (position, TRACKED) if named else (position,))


async def test_causes_and_effects_leave_the_rest_of_the_log_unread(case: Case) -> None:
    """However long it is: counted by PostgreSQL itself."""
    await _explained_and_answered(case)
    log = events(case.store)
    assign = [
        case.sender.document(AssignTask(content=task(due=date(2026, 8, 10))), stream(f"F-{n}"), authority=AUTHORITY)
        for n in range(1500)
    ]
    for number in range(0, len(assign), 500):
        await publish(case.spine, case.sender, *assign[number : number + 500])
    with psycopg.connect(case.store.dsn, autocommit=True) as owner:
        owner.execute("VACUUM ANALYZE log.events")
    passed = next(e for e in log if e.stream == TASK and type(e.data).__name__ == "DeadlinePassed")
    started = [e for e in log if type(e.data).__name__ == "WorkStarted" and e.causation_id != e.command_id]
    assert len(started) == 5
    declared = next(e for e in log if e.stream == EXPLANATION)
    asked = [("effects", str(passed.position)), ("history", TASK), ("history", "T-1")]
    asked += [("causes", str(e.position)) for e in (declared, passed, *started)]
    asked += [("causes", declared.id)]
    assert case.store.recorder.head().position > 20 * len(log)
    for what, which in asked:
        with case.store.recorder.transaction() as cursor:
            begin_snapshot(cursor)
            before = _rows_read(cursor)
            assert getattr(Readings(cursor, EVERYTHING, case.store.registry), what)(which, "vi").answer
            assert _rows_read(cursor) - before < 3 * len(log), (what, which)


def _rows_read(cursor: Any) -> int:
    """Rows of the log that this connection has read of late, by index or not."""
    (row,) = cursor.execute(
        "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) AS rows FROM pg_stat_xact_user_tables"
        " WHERE schemaname = 'log' AND relname = 'events'"
    ).fetchall()
    return int(row["rows"])


async def test_a_code_that_several_streams_have_is_refused_and_one_nobody_has_too(case: Case) -> None:
    with pytest.raises(NothingThere):
        case.read("history", "NO-SUCH", "vi")
    with pytest.raises(NothingThere):
        case.read("causes", "999999", "vi")
    await case.explained()
    two = rows(case.store, "SELECT DISTINCT originator_id FROM log.events WHERE originator_id LIKE '%%SVHTTDL'")
    assert len(two) == 1
    assert case.read("history", f"{PROG}/T-1", "vi")["stream"] == TASK
    assert issubclass(Ambiguous, Exception)


async def test_late_entries_stand_with_both_clocks_verdicts(case: Case) -> None:
    for code, due in (("T-2", date(2026, 6, 10)), ("T-3", date(2026, 6, 10)), ("T-4", date(2026, 6, 10))):
        await case.assign(code, due)
        await case.do(StartWork(), stream(code), "PBCXB-TP")
    await case.play("2026-06-11T10:00")
    in_time = {"at": "2026-06-10T20:00", "actor": "PBCXB-TP"}
    await case.do(SubmitResult(evidence=EVIDENCE), stream("T-2"), **in_time)  # within the day's tolerance
    extension = RequestExtension(due=Due(day=date(2026, 6, 20)), reason=text())
    await case.do(extension, stream("T-4"), "PBCXB-TP", texts={"reason": "Chờ số liệu"})
    await case.do(ApproveExtension(), stream("T-4"), "GD")
    await case.play("2026-06-13T10:00")
    await case.do(SubmitResult(evidence=EVIDENCE), stream("T-3"), **in_time)
    found = {
        (entry["stream"], entry["why"], entry["counted"], entry["by_occurred"], entry["by_recorded"])
        for entry in case.read("late", PROG, 0, 100, "vi")
    }
    assert found == {
        (stream("T-2"), "back_dated_across_limit", "occurred", "on_time", "late"),
        (stream("T-3"), "back_dated_across_limit", "recorded", "on_time", "late"),
        (stream("T-4"), "limit_moved_after_passing", "occurred", "late", "late"),
    }
    for what in (
        ("late", "NO-SUCH", 0, 100, "vi"),
        ("accesses", "NO-SUCH", None, 100),
        ("reconciled", "NO-SUCH", None),
    ):
        with pytest.raises(NotKnown, match=f"programme 'NO-SUCH' is not known; .*{PROG}"):
            case.read(*what)


def test_every_event_of_every_aggregate_has_a_sentence_in_both_languages() -> None:
    names = {known.model.__name__ for known in REGISTRY.contracts.events.values()}
    assert names <= SENTENCES.keys()
    assert all(all(pair) for pair in SENTENCES.values())


def test_an_event_type_added_later_is_told_by_its_name_and_fields() -> None:
    document = {
        "type": "sauro.initiative.IdeaAdopted.v1",
        "organisation": "SVHTTDL",
        "data": {"idea": "Số hóa", "note": {"ref": "0" * 36, "digest": "ab" * 32}, "due": ["a", "b"]},
    }
    sentence = Narrator("vi", Names(), {}).sentence(document)
    assert sentence.startswith("Sự kiện IdeaAdopted (idea: Số hóa; note: (nội dung đã xóa")
    assert "{" not in sentence
