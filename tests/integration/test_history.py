"""What a reviewer reads of a late task: its chain as sentences, causes and effects, late entries; on real engines."""

from __future__ import annotations

from datetime import date
from typing import Any

import psycopg
import pytest

from contracts.assignment import ApproveExtension, Due, RequestExtension, StartWork, SubmitResult
from services.audit.narrative import Names, Narrator
from services.audit.readings import Ambiguous, NothingThere
from services.audit.sentences import SENTENCES
from services.bus import Bus
from services.registry import REGISTRY
from services.store import Store
from tests.integration.reviewing import EVIDENCE, EXPLANATION, TASK, WORDS, Case
from tests.integration.support import AUTHORITY, events, rows, stream
from tests.unit.spec import PROG


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
    extension = Due(day=date(2026, 6, 20))
    await case.do(RequestExtension(due=extension, reason="Chờ số liệu"), stream("T-4"), "PBCXB-TP")
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
    assert case.read("late", "NO-SUCH", 0, 100, "vi") == []


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
