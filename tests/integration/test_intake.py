"""Intake on real engines: every command gets one answer for ever, whoever else writes and whatever breaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import orjson
import psycopg
import pytest
from eventsourcing.persistence import PersistenceError

from contracts.assignment import (
    AcknowledgeAssignment,
    AssignTask,
    Due,
    Evidence,
    ExternalReference,
    ReportProgress,
    SignOffCompletion,
    StartWork,
    SubmitResult,
)
from contracts.deadlines import DeadlineKey, RecordDeadlinePassed
from contracts.organisation import AbolishPost, EstablishUnit, RevokeAuthority
from services.bus import Bus
from services.eventlog.recorder import FAR, LogRecorder
from services.hosting import FEW, Runtime
from services.intake.app import begin
from services.intake.core import MAX_TRIES, Answered, TooMuchContention
from services.intake.deciding import event_id
from services.intake.reading import MAX_COMMAND_BYTES, Incoming
from services.intake.service import MANY, IntakeService
from services.intake.states import SNAPSHOT_EVERY, Folder, Loaded
from services.puller import Puller
from services.settings import BATCH, Settings
from services.spine import command_puller, intake_for
from services.store import Store
from tests.integration.support import (
    AUTHORITY,
    SOURCE,
    Desk,
    another,
    clock_at,
    disconnect,
    events,
    founding,
    imported,
    messages,
    names_in,
    receipts,
    rows,
    stream,
    task,
    until,
    with_recorder,
)
from tests.unit.spec import ORG, PROG

# ---------------------------------------------------------------- outcomes


def test_an_accepted_command_is_answered_with_its_positions(store: Store) -> None:
    desk = Desk.founded(store)
    head = store.recorder.head().position
    first, second = desk.assign("T-1", "T-2")
    assert first.outcome == second.outcome == "accepted"
    assert first.recorded_at == desk.clock.now()
    for receipt, code in ((first, "T-1"), (second, "T-2")):
        own = [event for event in events(store) if event.command_id == receipt.id]
        assert receipt.positions == tuple(event.position for event in own)
        assert {event.stream for event in own} == {stream(code)}
        assert receipt.version == len(own)
    assert first.positions + second.positions == tuple(range(head + 1, store.recorder.head().position + 1))
    assert second.receipt == first.receipt + 1


def test_a_refusal_names_rule_field_and_way_out(store: Store) -> None:
    desk = Desk.founded(store)
    head = store.recorder.head()
    unclear = desk.refused(AssignTask(content=task(authority=None, deliverables=())), stream("T-1"))
    assert unclear.rule == "NotSixClear"
    assert unclear.field == "data.content.authority, data.content.deliverables"
    assert "authority, result are empty" in unclear.message
    missing = desk.refused(StartWork(), stream("T-9"), "PBCXB-TP")
    assert (missing.rule, missing.field) == ("NoSuchStream", "subject")
    assert "send its opening command first" in missing.message
    after = store.recorder.head()
    assert (after.position, after.receipt) == (head.position, head.receipt + 2)


def test_the_same_command_gets_the_first_receipt_again(store: Store) -> None:
    desk = Desk.founded(store)
    document = desk.sender.document(AssignTask(content=task()), stream("T-1"))
    (first,) = desk.accept(document)
    refusal = desk.sender.document(StartWork(), stream("T-9"), "PBCXB-TP")
    (refused,) = desk.send(refusal).receipts
    head = store.recorder.head()
    desk.clock.move_to(desk.clock.now() + timedelta(days=100))
    for own in (desk, Desk.open(store, desk.clock)):
        for sent, receipt in ((document, first), (refusal, refused)):
            again = own.send(sent)
            assert again.receipts == (receipt._replace(duplicate=True),)
            assert again.outcomes == {"duplicate": 1}
    assert store.recorder.head() == head


def test_key_order_and_spacing_make_no_other_content(store: Store) -> None:
    desk = Desk.founded(store)
    document = desk.sender.document(AssignTask(content=task()), stream("T-1"))
    desk.accept(document)
    turned = dict(reversed(document.items())) | {"data": dict(reversed(document["data"].items()))}
    for payload in (orjson.dumps(turned), orjson.dumps(turned, option=orjson.OPT_INDENT_2)):
        (again,) = desk.send(payload).receipts
        assert again.duplicate
        assert again.outcome == "accepted"


def test_another_content_under_a_known_id_is_refused(store: Store) -> None:
    desk = Desk.founded(store)
    document = desk.sender.document(AssignTask(content=task()), stream("T-1"))
    (first,) = desk.accept(document)
    head = store.recorder.head()
    for other in (document | {"subject": stream("T-2")}, document | {"time": "2026-05-30T00:00:01Z"}):
        answered = desk.send(other)
        (receipt,) = answered.receipts
        assert (receipt.outcome, receipt.receipt, receipt.positions) == ("rejected", first.receipt, ())
        assert receipt.refusal is not None
        assert (receipt.refusal.rule, receipt.refusal.field) == ("IdReused", "id")
        assert "new id" in receipt.refusal.message
        assert answered.outcomes == {"rejected": 1}
    assert store.recorder.head() == head


def test_repetitions_in_one_batch(store: Store) -> None:
    desk = Desk.founded(store)
    document = desk.sender.document(AssignTask(content=task()), stream("T-1"))
    answered = desk.send(document, document, document | {"subject": stream("T-2")}, document)
    first, again, reused, last = answered.receipts
    assert (first.outcome, first.duplicate) == ("accepted", False)
    assert again == last == first._replace(duplicate=True)
    assert reused.refusal is not None
    assert reused.refusal.rule == "IdReused"
    assert answered.outcomes == {"accepted": 1, "duplicate": 2, "rejected": 1}
    assert names_in(store, stream("T-1")).count("TaskAssigned") == 1
    assert names_in(store, stream("T-2")) == []


def test_ids_belong_to_their_sender(store: Store) -> None:
    desk = Desk.founded(store)
    document = desk.sender.document(AssignTask(content=task()), stream("T-1"), id_="SAME")
    stranger = Desk.open(store, desk.clock, source="STRANGER")
    # On its own subject a stranger cannot speak for another sender, and uses up nothing.
    spoofed = stranger.send(document)
    assert spoofed.receipts == ()
    assert [letter.refusal.rule for letter in spoofed.dead_letters] == ["source_mismatch"]
    assert rows(store, "SELECT * FROM log.receipts WHERE command_id = 'SAME'") == []
    (own,) = stranger.send(document | {"source": "STRANGER", "subject": stream("T-2")}).receipts
    (first,) = desk.accept(document)
    assert own.outcome == first.outcome == "accepted"
    assert {event.sender for event in events(store) if event.command_id == "SAME"} == {SOURCE, "STRANGER"}


# ---------------------------------------------------------------- what cannot be read


def broken(desk: Desk) -> list[tuple[str, bytes, bool]]:
    """Rule, payload, and whether an id can be read."""
    good = desk.sender.document(AssignTask(content=task()), stream("T-1"))
    changed: list[tuple[str, dict[str, Any]]] = [
        ("unknown_type", {"type": "sauro.assignment.DoAnything.v1"}),
        ("unknown_type", {"type": "sauro.assignment.AssignTask.v2"}),
        ("unknown_type", {"type": 7}),
        ("extra_forbidden", {"extra": 1}),
        ("programme_mismatch", {"programme": "OTHER"}),
        ("subject_mismatch", {"subject": f"obligation/{PROG}/T-1"}),
        ("subject_mismatch", {"subject": "assignment/OTHER/T-1"}),
        ("subject_mismatch", {"subject": f"assignment/{PROG}"}),
        ("instant_format", {"time": 1780000000}),
        ("literal_error", {"specversion": "0.3"}),
    ]
    found = [
        (rule, orjson.dumps(good | change | {"id": f"B-{number}"}), True)
        for number, (rule, change) in enumerate(changed, 1)
    ]
    cut = {name: value for name, value in good.items() if name != "subject"}
    found.append(("missing", orjson.dumps(cut | {"id": "B-20"}), True))
    padded = good | {"id": "B-21", "data": {"content": {"work": "x" * MAX_COMMAND_BYTES}}}
    return [
        *found,
        ("too_large", orjson.dumps(padded), False),
        ("not_json", b"{", False),
        ("not_json", b"", False),
        ("not_utf8", b'{"id": "\xff"}', False),
        ("not_an_envelope", b"[]", False),
        ("duplicate_key", b'{"id": "A", "id": "B"}', False),
        ("string_pattern_mismatch", orjson.dumps(good | {"id": "with space"}), False),
        ("source_mismatch", orjson.dumps(good | {"id": "B-22", "source": "OTHER"}), False),
    ]


def test_unreadable_messages_change_nothing_and_hinder_nobody(store: Store) -> None:
    desk = Desk.founded(store)
    cases = broken(desk)
    head = store.recorder.head()
    good = desk.sender.document(AssignTask(content=task()), stream("T-2"))
    answered = desk.send(*(payload for _, payload, _ in cases), good)
    assert [letter.refusal.rule for letter in answered.dead_letters] == [rule for rule, _, _ in cases]
    assert [letter.incoming.payload for letter in answered.dead_letters] == [payload for _, payload, _ in cases]
    assert all(letter.refusal.field and letter.refusal.message for letter in answered.dead_letters)
    *unreadable, last = answered.receipts
    assert [r.id for r in unreadable] == [orjson.loads(payload)["id"] for _, payload, known in cases if known]
    assert {r.outcome for r in unreadable} == {"unreadable"}
    assert last.outcome == "accepted"
    assert store.recorder.head().receipt == head.receipt + len(unreadable) + 1
    again = desk.send(*(payload for _, payload, _ in cases))
    assert len(again.dead_letters) == len(cases)
    assert all(receipt.duplicate for receipt in again.receipts)


# ---------------------------------------------------------------- what a decision sees


def test_commands_of_one_batch_see_each_other(store: Store) -> None:
    desk = Desk.open(store)
    documents = founding(desk.sender)
    assigned = desk.sender.document(AssignTask(content=task()), stream("T-1"))
    acknowledged = desk.sender.document(AcknowledgeAssignment(), stream("T-1"), "PBCXB-TP", expectedversion=2)
    twice = desk.sender.document(AssignTask(content=task()), stream("T-1"))
    *accepted, refused = desk.send(*documents, assigned, acknowledged, twice).receipts
    assert [r.refusal for r in accepted] == [None] * len(accepted)
    assert refused.refusal is not None
    assert refused.refusal.rule == "AlreadyExists"
    assert names_in(store, stream("T-1")) == ["TaskAssigned", "DeadlineScheduled", "AssignmentAcknowledged"]


def test_a_command_may_append_to_several_streams(store: Store) -> None:
    desk = Desk.founded(store)
    desk.assign("T-1")
    desk.do(StartWork(), stream("T-1"), "PBCXB-TP")
    first = desk.sender.document(AssignTask(content=task(parent="T-1")), stream("T-1-1"))
    second = desk.sender.document(AssignTask(content=task(parent="T-1")), stream("T-1-2"))
    for receipt, code in zip(desk.accept(first, second), ("T-1-1", "T-1-2"), strict=True):
        own = [event for event in events(store) if event.position in receipt.positions]
        assert {event.stream for event in own} == {stream("T-1"), stream(code)}
        assert {event.command_id for event in own} == {receipt.id}
        assert receipt.version == max(event.version for event in own if event.stream == stream(code))
    versions = [event.version for event in events(store) if event.stream == stream("T-1")]
    assert versions == list(range(1, len(versions) + 1))


def test_time_of_a_happening(store: Store) -> None:
    desk = Desk.founded(store)
    now = desk.clock.now()
    ahead = desk.refused(AssignTask(content=task()), stream("T-1"), at=now + timedelta(minutes=5, microseconds=1))
    assert (ahead.rule, ahead.field) == ("OccurredInFuture", "time")
    desk.do(AssignTask(content=task()), stream("T-1"), at=now + timedelta(minutes=5))
    before = desk.refused(AcknowledgeAssignment(), stream("T-1"), "PBCXB-TP", at=now)
    assert (before.rule, before.field) == ("OccurredBeforeStream", "time")
    desk.do(AcknowledgeAssignment(), stream("T-1"), "PBCXB-TP", at=now + timedelta(minutes=5))


def test_a_programme_belongs_to_one_organisation(store: Store) -> None:
    desk = Desk.founded(store)
    refusal = desk.refused(AssignTask(content=task()), stream("T-1"), organisation="OTHER")
    assert (refusal.rule, refusal.field) == ("WrongOrganisation", "organisation")
    assert ORG in refusal.message


def test_an_external_number_imported_twice_is_one_assignment(store: Store) -> None:
    """R-130: the document system sends its document under the id it derives from the number."""
    desk = Desk.founded(store)
    content = task(external=ExternalReference(system="QLVB", number="123/KH-SVHTTDL"))
    for own in (desk, Desk.open(store, desk.clock), desk):
        own.send(
            own.sender.document(
                AssignTask(content=content), stream("T-1"), id_="QLVB:123/KH-SVHTTDL", at=desk.clock.now()
            )
        )
    assert names_in(store, stream("T-1")).count("TaskAssigned") == 1
    assert rows(store, "SELECT count(*) AS n FROM log.receipts WHERE command_id LIKE 'QLVB:%%'") == [{"n": 1}]


class Counted(LogRecorder):
    """Counts how often streams are loaded."""

    loads = 0

    def tails(self, *args: Any) -> Any:
        self.loads += 1
        return super().tails(*args)


def test_streams_that_only_states_name_are_loaded_together(store: Store, dsn: str) -> None:
    """No round trip a message: that tasks wait for sub-assignments is known from their states alone."""
    desk = Desk.founded(store)
    numbers = range(20)
    desk.assign(*(f"T-{number}" for number in numbers))
    for number in numbers:
        desk.assign(f"C-{number}", parent=f"T-{number}", mandatory_child=True)
        desk.do(StartWork(), stream(f"T-{number}"), "PBCXB-TP")
        desk.do(SubmitResult(evidence=(Evidence(system="QLVB", number="1"),)), stream(f"T-{number}"), "PBCXB-TP")
    sign = [desk.sender.document(SignOffCompletion(), stream(f"T-{n}"), authority=AUTHORITY) for n in numbers]
    with another(dsn, "counted") as opened:
        counted = with_recorder(opened, Counted)
        assert isinstance(counted.recorder, Counted)
        answered = intake_for(counted, desk.clock).process(desk.sender.incoming(*sign))
    assert {r.refusal.rule for r in answered.receipts if r.refusal} == {"ChildrenOpen"}
    assert len(answered.receipts) == len(numbers)
    assert counted.recorder.loads == 2


# ---------------------------------------------------------------- other writers


class Interrupted(LogRecorder):
    """Lets others go first between a decision and its append."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.meanwhile: list[Callable[[], object]] = []

    def append(self, *args: Any, **kwargs: Any) -> Any:
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return super().append(*args, **kwargs)


def interrupted(store: Store) -> tuple[Store, list[Callable[[], object]]]:
    """The store, and what happens before each of its next appends."""
    own = with_recorder(store, Interrupted)
    assert isinstance(own.recorder, Interrupted)
    return own, own.recorder.meanwhile


def test_an_expected_version_that_is_past_is_refused_with_the_current_one(store: Store) -> None:
    desk = Desk.founded(store)
    desk.assign("T-1")
    refusal = desk.refused(AcknowledgeAssignment(), stream("T-1"), "PBCXB-TP", expectedversion=1)
    assert (refusal.rule, refusal.field) == ("UnexpectedVersion", "expectedversion")
    assert "at version 2, not 1" in refusal.message
    desk.do(AcknowledgeAssignment(), stream("T-1"), "PBCXB-TP", expectedversion=2)


def test_of_two_writes_at_once_exactly_one_wins(store: Store, dsn: str) -> None:
    """R-357: both have decided on the same version before either is stored."""
    own, meanwhile = interrupted(store)
    desk = Desk.founded(own)
    desk.assign("T-1")
    with another(dsn) as second:
        other = Desk.open(second, desk.clock, source="OTHER")
        won = []
        meanwhile.append(
            lambda: won.append(other.do(AcknowledgeAssignment(), stream("T-1"), "PBCXB-TP", expectedversion=2))
        )
        lost = desk.refused(AcknowledgeAssignment(), stream("T-1"), "PBCXB-TP", expectedversion=2)
    assert won[0].version == 3
    assert lost.rule == "UnexpectedVersion"
    assert "at version 3, not 2" in lost.message
    assert names_in(store, stream("T-1")).count("AssignmentAcknowledged") == 1


def test_two_intakes_take_turns(store: Store, dsn: str) -> None:
    """Neither sees the other's appends by itself; both stay right."""
    desk = Desk.founded(store)
    with another(dsn) as second:
        other = Desk.open(second, desk.clock, source="OTHER")
        desk.assign("T-1")
        other.do(StartWork(), stream("T-1"), "PBCXB-TP")
        for percent in range(1, 20):
            turn = desk if percent % 2 else other
            turn.do(ReportProgress(percent=percent), stream("T-1"), "PBCXB-TP", expectedversion=percent + 2)
        for own in (desk, other):
            own.do(
                EstablishUnit(unit=f"U-{own.sender.source}", name_vi="x", kind="division", valid_from=date(2026, 1, 1)),
                f"organisation/{ORG}",
            )
    reported = [e.data.percent for e in events(store) if type(e.data).__name__ == "ProgressReported"]
    assert reported == list(range(1, 20))


@pytest.mark.parametrize("far", [FAR, 0])
def test_what_others_appended_is_looked_at_once(
    store: Store, dsn: str, monkeypatch: pytest.MonkeyPatch, far: int
) -> None:
    """R-357: states they have moved are read anew before they are needed; `far` 0: it is too much to look at, so all are."""
    monkeypatch.setattr("services.eventlog.recorder.FAR", far)
    own, meanwhile = interrupted(store)
    desk = Desk.founded(own)
    desk.assign("T-1", "T-2")
    with another(dsn) as second:
        Desk.open(second, desk.clock, source="OTHER").do(AcknowledgeAssignment(), stream("T-2"), "PBCXB-TP")
    desk.do(AcknowledgeAssignment(), stream("T-1"), "PBCXB-TP")
    known: list[int] = []

    def others(_: Any, at: int, head: int) -> frozenset[str]:
        known.append(head - at)
        return frozenset()

    monkeypatch.setattr("services.eventlog.recorder._others", others)
    appends: list[str] = []
    meanwhile += [lambda: appends.append("first"), lambda: appends.append("again")]
    desk.do(StartWork(), stream("T-2"), "PBCXB-TP", expectedversion=3)
    assert appends == ["first"]
    assert known == [0]


def handed_in(desk: Desk) -> None:
    desk.assign("T-1")
    desk.do(StartWork(), stream("T-1"), "PBCXB-TP")
    desk.do(SubmitResult(evidence=(Evidence(system="QLVB", number="1"),)), stream("T-1"), "PBCXB-TP")


WITHDRAWN = {
    "authority": (RevokeAuthority(grant="G-1", reason="thu hồi"), "AuthorityNotHeld"),
    "post": (AbolishPost(post="GD", reason="bỏ chức vụ"), "UnknownPost"),
}


@pytest.mark.parametrize("what", WITHDRAWN)
@pytest.mark.parametrize("moment", ["before", "between"])
def test_what_was_withdrawn_between_load_and_append_is_never_used(
    store: Store, dsn: str, what: str, moment: str
) -> None:
    """`before`: after the state was cached; `between`: after the decision, before the append."""
    own, meanwhile = interrupted(store)
    desk = Desk.founded(own)
    handed_in(desk)
    command, rule = WITHDRAWN[what]
    with another(dsn) as second:
        other = Desk.open(second, desk.clock, source="OTHER")

        def withdraw() -> None:
            other.do(command, f"organisation/{ORG}", "VPS-CVP")

        if moment == "before":
            withdraw()
        else:
            meanwhile.append(withdraw)
        refusal = desk.refused(SignOffCompletion(), stream("T-1"), "GD", authority=AUTHORITY)
    assert refusal.rule == rule
    assert "CompletionSignedOff" not in names_in(store, stream("T-1"))


def test_one_command_at_two_intakes_is_stored_once(store: Store, dsn: str) -> None:
    own, meanwhile = interrupted(store)
    desk = Desk.founded(own)
    commands = [
        desk.sender.document(AssignTask(content=task()), stream("T-1")),
        desk.sender.document(StartWork(), stream("T-9"), "PBCXB-TP"),
    ]
    with another(dsn) as second:
        other = Desk.open(second, desk.clock)
        for document in commands:
            first: list[Answered] = []
            meanwhile.append(lambda document=document, first=first: first.append(other.send(document)))  # type: ignore[misc]
            head = store.recorder.head()
            with pytest.raises(PersistenceError):  # the service tries the batch again
                desk.send(document)
            (receipt,) = first[0].receipts
            assert desk.send(document).receipts == (receipt._replace(duplicate=True),)
            assert store.recorder.head().receipt == head.receipt + 1


def test_endless_contention_is_passing_trouble(store: Store, dsn: str) -> None:
    own, meanwhile = interrupted(store)
    desk = Desk.founded(own)
    desk.assign("T-1")
    desk.do(StartWork(), stream("T-1"), "PBCXB-TP")
    document = desk.sender.document(ReportProgress(percent=99), stream("T-1"), "PBCXB-TP")
    with another(dsn) as second:
        other = Desk.open(second, desk.clock, source="OTHER")
        meanwhile += [
            lambda percent=percent: other.do(ReportProgress(percent=percent), stream("T-1"), "PBCXB-TP")  # type: ignore[misc]
            for percent in range(MAX_TRIES)
        ]
        with pytest.raises(TooMuchContention):
            desk.send(document)
    assert rows(store, "SELECT * FROM log.receipts WHERE command_id = %s", document["id"]) == []
    desk.accept(document)


# ---------------------------------------------------------------- snapshots


def test_a_cold_intake_folds_to_the_same_states(store: Store) -> None:
    desk = Desk.founded(store)
    desk.assign("T-1")
    desk.do(StartWork(), stream("T-1"), "PBCXB-TP")
    for percent in range(SNAPSHOT_EVERY + 10):
        desk.do(ReportProgress(percent=percent), stream("T-1"), "PBCXB-TP")
    units = [EstablishUnit(unit=f"U-{n}", name_vi="x", kind="division", valid_from=date(2026, 1, 1)) for n in range(60)]
    desk.accept(*(desk.sender.document(unit, f"organisation/{ORG}") for unit in units))
    kept = {row["stream"]: row["version"] for row in rows(store, "SELECT * FROM read.snapshots")}
    assert kept.keys() == {stream("T-1"), f"organisation/{ORG}"}
    assert kept[stream("T-1")] == SNAPSHOT_EVERY
    streams = [stream("T-1"), f"organisation/{ORG}", f"programme/{PROG}"]
    warm = {name: desk.intake._cache.get(name) for name in streams}
    for change in ("", "UPDATE read.snapshots SET fingerprint = 'another shape'", "DELETE FROM read.snapshots"):
        if change:
            with store.recorder.transaction() as cursor:
                cursor.execute(change.encode())
        cold = intake_for(store, desk.clock)
        cold._cache.load(streams)
        assert {name: cold._cache.get(name) for name in streams} == warm


def test_what_is_fetched_beside_a_batch_gives_way_to_what_the_batch_has_changed(store: Store) -> None:
    """R-357: a state read while another batch was stored is old when that batch, or another writer's, has moved the stream."""
    desk = Desk.founded(store)
    desk.assign("T-1", "T-2", "T-3")
    ours, moved, others = streams = [stream("T-1"), stream("T-2"), stream("T-3")]
    cache = intake_for(store, desk.clock)._cache
    cache.keep_fetched(cache.fetch(streams))
    assert not any(map(cache.get, streams))  # nothing is known yet of the position these are held against
    cache.load([f"programme/{PROG}"])
    cache.keep_fetched(cache.fetch(streams))
    assert not any(map(cache.get, streams))  # they may have been fetched before that position was looked up
    cache.change({ours: Loaded("a state of ours", 7)})
    fetched = cache.fetch(streams)
    assert set(fetched) == {moved, others}
    cache.forget([moved])
    cache.keep_fetched(fetched)
    assert [bool(cache.get(name)) for name in streams] == [True, False, True]
    fetched = cache.fetch(streams)
    cache.change({moved: Loaded("a state of ours", 2)})
    cache.keep_fetched(fetched)
    assert cache.get(moved) == Loaded("a state of ours", 2)
    cache.forget()
    cache.keep_fetched({})  # the batch that failed is tried again, with nothing read ahead
    cache.load([f"programme/{PROG}"])
    cache.keep_fetched(fetched)
    assert not any(map(cache.get, streams))


def test_every_state_survives_its_snapshot(store: Store) -> None:
    desk = Desk.open(store, clock_at("2026-05-30T08:00"), source="IMPORT")
    for name in ("svhttdl-td500", "phn-cthd500"):
        batch = [
            Incoming(d["source"], d["programme"], orjson.dumps(d), n)
            for n, sent in enumerate(imported(desk.clock.now(), name))
            for d in [
                desk.sender.document(sent.command, sent.subject, sent.actor.post, id_=sent.id)
                | {"organisation": sent.organisation, "actorunit": sent.actor.unit}
            ]
        ]
        assert desk.intake.process(batch).outcomes == {"accepted": len(batch)}
    folder = Folder(store.registry.deciders)
    states: dict[str, Loaded] = {}
    for event in events(store):
        states[event.stream] = folder.fold(states.get(event.stream, Loaded()), event)
    assert {name.split("/")[0] for name in states} == {"organisation", "programme", "phase", "obligation", "assignment"}
    for name, loaded in states.items():
        kept, version, fingerprint, began_at, state = folder.dump(name, loaded)
        row = {"stream": kept, "version": version, "fingerprint": fingerprint, "began_at": began_at, "state": state}
        assert folder.restore(row) == loaded


# ---------------------------------------------------------------- through NATS


async def arrived(puller: Puller, number: int) -> None:
    """Until so many messages wait to be taken."""
    async with asyncio.timeout(20):
        while len(puller._arrived) < number:
            puller._wake.clear()
            await puller._wake.wait()


@asynccontextmanager
async def service(
    store: Store, bus: Bus, desk: Desk, batch: int = BATCH
) -> AsyncIterator[tuple[IntakeService, Puller]]:
    """Intake on stream COMMANDS."""
    puller = command_puller(bus)
    await puller.start()
    try:
        yield IntakeService(intake_for(store, desk.clock), bus, puller, batch), puller
    finally:
        await puller.stop()


async def publish(bus: Bus, *found: tuple[str, str, bytes]) -> None:
    await bus.publish_all(
        [(bus.names.command(source, programme), payload, None) for source, programme, payload in found]
    )


def as_sent(documents: Sequence[dict[str, Any]]) -> list[tuple[str, str, bytes]]:
    return [(d["source"], d["programme"], orjson.dumps(d)) for d in documents]


async def _sent(bus: Bus, number: int) -> bool:
    """Whether so many commands are on their way to intake, or with it."""
    info = await bus.js.consumer_info(bus.names.stream("COMMANDS"), bus.names.stream("intake"))
    return (info.num_ack_pending or 0) == number


async def acknowledged(bus: Bus, number: int) -> None:
    """Until the broker knows that all messages up to a sequence are done with."""
    floor = 0
    async with asyncio.timeout(20):
        while floor < number:
            info = await bus.js.consumer_info(bus.names.stream("COMMANDS"), bus.names.stream("intake"))
            floor = info.ack_floor.stream_seq if info.ack_floor else 0
    assert floor == number


async def test_one_receipt_message_a_sender_and_batch(store: Store, bus: Bus) -> None:
    desk = Desk.founded(store)
    stranger = Desk.open(store, desk.clock, source="STRANGER")
    timer = Desk.open(store, desk.clock, source="timekeeper")
    warner = Desk.open(store, desk.clock, source="warning")
    key = DeadlineKey(kind="assignment_due", occurrence="1", due_version=1)
    documents = [
        desk.sender.document(AssignTask(content=task()), stream("T-1")),
        stranger.sender.document(AssignTask(content=task()), stream("T-2")),
        timer.sender.document(RecordDeadlinePassed(key=key), stream("T-1"), "SAURO"),
        desk.sender.document(StartWork(), stream("T-1"), "PBCXB-TP"),
        warner.sender.document(RecordDeadlinePassed(key=key), stream("T-2"), "SAURO"),
        stranger.sender.document(StartWork(), stream("T-9"), "PBCXB-TP"),
    ]
    async with service(store, bus, desk) as (intake, puller):
        await publish(bus, *as_sent(documents))
        await arrived(puller, len(documents))
        assert await intake.step(10) == len(documents)
        assert intake.sequence == len(documents)
        assert intake.outcomes == {"accepted": 3, "rejected": 3}
    found = await receipts(bus)
    assert [source for source, _ in found] == [SOURCE, "STRANGER"]
    by_source = dict(found)
    assert [r["id"] for r in by_source[SOURCE]] == [documents[0]["id"], documents[3]["id"]]
    assert [r["outcome"] for r in by_source["STRANGER"]] == ["accepted", "rejected"]
    stored = {row["command_id"]: row for row in rows(store, "SELECT * FROM log.receipts WHERE source NOT IN ('x')")}
    for own in (*by_source[SOURCE], *by_source["STRANGER"]):
        row = stored[own["id"]]
        assert own["receipt"] == row["receipt"]
        assert len(own.get("positions", [])) == row["event_count"]
    (_, data, _), _ = await messages(bus, "RECEIPTS")
    envelope = orjson.loads(data)[0]
    assert envelope["specversion"] == "1.0"
    assert envelope["type"] == "sauro.receipt.v1"
    assert envelope["subject"] == f"{SOURCE}/{documents[0]['id']}"
    assert {"id", "source", "time", "datacontenttype"} <= envelope.keys()


async def test_dead_letters_keep_bytes_and_reason(store: Store, bus: Bus) -> None:
    desk = Desk.founded(store)
    cases = broken(desk)
    async with service(store, bus, desk) as (intake, puller):
        await publish(bus, *((SOURCE, PROG, payload) for _, payload, _ in cases))
        await arrived(puller, len(cases))
        await intake.step(10)
        found = await messages(bus, "DEADLETTERS")
        assert [data for _, data, _ in found] == [payload for _, payload, _ in cases]
        assert {subject for subject, _, _ in found} == {bus.names.dead_letter(SOURCE)}
        assert [headers["Sauro-Rule"] for _, _, headers in found] == [rule for rule, _, _ in cases]
        assert all(headers["Sauro-Field"] and headers["Sauro-Reason"] for _, _, headers in found)
        ((source, answers),) = await receipts(bus)
        assert source == SOURCE
        assert [answer["id"] for answer in answers] == [orjson.loads(p)["id"] for _, p, known in cases if known]
        assert {answer["outcome"] for answer in answers} == {"unreadable"}
        # without any id there is nobody to answer, and no message on RECEIPTS
        await publish(bus, (SOURCE, PROG, b"nonsense"))
        await intake.step(10)
        assert len(await messages(bus, "DEADLETTERS")) == len(cases) + 1
        assert len(await receipts(bus)) == 1


async def test_commands_that_share_a_message_are_answered_one_by_one(store: Store, bus: Bus) -> None:
    desk = Desk.founded(store)
    documents = [
        desk.sender.document(AssignTask(content=task()), stream("T-1")),
        desk.sender.document(StartWork(), stream("T-9"), "PBCXB-TP"),
        desk.sender.document(AssignTask(content=task()), stream("T-2")) | {"specversion": "0.3"},
        desk.sender.document(StartWork(), stream("T-1"), "PBCXB-TP"),
    ]
    together = json.dumps([*documents, "nonsense"], indent=2).encode()
    async with service(store, bus, desk) as (intake, puller):
        await publish(bus, (SOURCE, PROG, together), (SOURCE, PROG, b"[]"))
        await arrived(puller, 6)
        assert await intake.step(10) == 6
        await acknowledged(bus, 2)
        assert intake.sequence == 2
    ((_, answers),) = await receipts(bus)
    assert [(answer["id"], answer["outcome"]) for answer in answers] == [
        (document["id"], outcome)
        for document, outcome in zip(documents, ("accepted", "rejected", "unreadable", "accepted"), strict=True)
    ]
    found = [(headers["Nats-Msg-Id"], json.loads(data)) for _, data, headers in await messages(bus, "DEADLETTERS")]
    assert found == [("COMMANDS:1/2", documents[2]), ("COMMANDS:1/4", "nonsense"), ("COMMANDS:2", [])]


async def test_who_is_behind_takes_whole_batches(store: Store, bus: Bus) -> None:
    """Where more commands wait than were asked for; where fewer do, half a batch answers them sooner."""
    desk = Desk.founded(store)
    document = desk.sender.document(AssignTask(content=task()), stream("T-1"))
    async with service(store, bus, desk) as (intake, puller):
        await publish(bus, *as_sent([document]), *as_sent([document | {"id": f"again-{n}"} for n in range(MANY)]))
        await arrived(puller, 1 + MANY)
        taken = [await intake.step(10) for _ in range(2)]
        assert taken == [BATCH, BATCH // 2]
        await intake.stop()


async def test_one_command_waits_for_no_other_and_what_comes_faster_gathers(
    store: Store, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service as it runs: no wait after a step that leaves nothing, some where a part of a batch waits already."""
    waits: list[float] = []
    gather = IntakeService.gather

    async def noted(service: IntakeService, longest: float) -> None:
        waits.append(longest)
        await gather(service, longest)

    monkeypatch.setattr(IntakeService, "gather", noted)
    desk = Desk.founded(store)
    document = desk.sender.document(AssignTask(content=task()), stream("T-1"))
    work = await begin(Runtime(Settings(), store, bus, desk.clock))
    await publish(bus, *as_sent([document]))
    while not await work.step():
        pass
    number = BATCH // 2 + 2 * FEW
    await publish(bus, *as_sent([document | {"id": f"again-{n}"} for n in range(number)]))
    await until(lambda: _sent(bus, number))
    await bus.client.flush()
    assert await work.step() == BATCH // 2
    assert work.stop is not None
    await work.stop()
    assert (waits[0], waits[-1]) == (0.0, FEW / 1000)


async def test_a_message_that_holds_more_than_a_batch_is_acknowledged_with_its_last_command(
    store: Store, bus: Bus
) -> None:
    desk = Desk.founded(store)
    codes = [f"T-{number}" for number in range(5)]
    documents = [desk.sender.document(AssignTask(content=task()), stream(code)) for code in codes]
    async with service(store, bus, desk, batch=4) as (intake, puller):
        await publish(bus, *as_sent(documents[:1]), (SOURCE, PROG, orjson.dumps(documents[1:])))
        await arrived(puller, len(documents))
        assert await intake.step(10) == 2
        assert intake.sequence == 1
        await intake.stop()  # what is answered is told
    info = await bus.js.consumer_info(bus.names.stream("COMMANDS"), bus.names.stream("intake"))
    assert (info.ack_floor.stream_seq if info.ack_floor else 0) <= 1
    async with service(store, bus, desk, batch=2) as (intake, _):  # another instance meets it again, whole
        while intake.sequence < 2:
            assert await intake.step(10) <= 2
        await acknowledged(bus, 2)
    answers = [answer for _, batch in await receipts(bus) for answer in batch]
    first = {answer["id"]: answer["receipt"] for answer in answers if not answer["duplicate"]}
    assert list(first) == [document["id"] for document in documents]
    assert all(answer["receipt"] == first[answer["id"]] for answer in answers)


async def test_a_crash_between_commit_and_acknowledgement(store: Store, bus: Bus, dsn: str) -> None:
    """The same commands come again, in order, before newer ones, and get the same receipts."""
    desk = Desk.founded(store)
    documents = [
        desk.sender.document(AssignTask(content=task()), stream("T-1")),
        desk.sender.document(StartWork(), stream("T-1"), "PBCXB-TP"),
        *(desk.sender.document(ReportProgress(percent=n), stream("T-1"), "PBCXB-TP") for n in range(20)),
    ]
    *before, last = as_sent(documents)
    puller = command_puller(bus)
    await puller.start()
    await publish(bus, *before)
    await arrived(puller, len(before))
    taken = await puller.take(len(before) - 5, 10)  # the rest was delivered, too, but never looked at
    incoming = [Incoming(SOURCE, PROG, item.payload, item.sequence) for item in taken]
    committed = intake_for(store, desk.clock).process(incoming).receipts
    await puller.stop()  # the process is gone: neither receipts nor acknowledgements were sent
    head = store.recorder.head()
    with another(dsn) as second:
        async with service(second, bus, desk) as (intake, fresh):
            await publish(bus, last)
            await arrived(fresh, len(documents))
            assert [item.sequence for item in fresh._arrived] == list(range(1, len(documents) + 1))
            assert await intake.step(10) == len(documents)
            await acknowledged(bus, len(documents))
    answers = [answer for _, batch in await receipts(bus) for answer in batch]
    assert [answer["id"] for answer in answers] == [document["id"] for document in documents]
    for answer, receipt in zip(answers, committed, strict=False):
        assert answer == orjson.loads(receipt._replace(duplicate=True).cloud_event())["data"]
    assert not any(answer["duplicate"] for answer in answers[len(committed) :])
    reported = [e.data.percent for e in events(store) if type(e.data).__name__ == "ProgressReported"]
    assert reported == list(range(20))
    assert store.recorder.head().receipt == head.receipt + len(documents) - len(committed)


@pytest.mark.parametrize("lost", ["", "its answer is lost", "the next one's answer is lost"])
def test_what_is_sent_again_while_its_batch_is_stored_gets_the_same_receipt(store: Store, lost: str) -> None:
    """R-356: receipts looked up ahead hold nothing of the batch that was stored meanwhile, nor of a try that seemed to fail."""
    desk = Desk.founded(store)
    sent = as_sent([desk.sender.document(AssignTask(content=task()), stream(f"T-{number}")) for number in (1, 2)])
    first, second = (Incoming(*message, sequence) for sequence, message in enumerate(sent, 1))
    severed = with_recorder(store, Severed)
    assert isinstance(severed.recorder, Severed)
    severed.recorder.sever = lambda: 1
    intake, found = intake_for(severed, desk.clock), []

    def ahead() -> None:
        found.append(intake.read_ahead([first, second, second]))

    if lost == "its answer is lost":
        severed.recorder.cuts = ["after"]
        with pytest.raises(psycopg.OperationalError):
            intake.process([first], ahead)
    answered = intake.process([first], ahead)
    if lost == "the next one's answer is lost":
        severed.recorder.cuts = ["after"]
        with pytest.raises(psycopg.OperationalError):
            intake.process([], ahead=found[0])
    again, fresh, twice = intake.process([], ahead=found[0]).receipts
    assert again == answered.receipts[0]._replace(duplicate=True)
    assert twice == fresh._replace(duplicate=True)
    assert fresh.duplicate is (lost == "the next one's answer is lost")
    assert fresh.receipt == again.receipt + 1 == store.recorder.head().receipt


class Severed(LogRecorder):
    """Loses its connections while events are being written, and once more right after a commit."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.cuts: list[str] = []
        self.sever: Callable[[], int] = lambda: 0

    def append(self, batch: Any, stored: Any, also: Any = None) -> Any:
        cut = self.cuts.pop(0) if self.cuts else ""
        if cut == "before":
            assert self.sever()

        def writing(position: int, at: datetime, tail: bytes) -> bytes:
            if cut == "during" and position == batch.known_position + len(batch.events):
                assert self.sever()
            return bytes(stored(position, at, tail))

        head = super().append(batch, writing, also)
        if cut == "after":
            assert self.sever()
            raise psycopg.OperationalError("the commit's answer was lost")
        return head


@pytest.mark.parametrize("cuts", [["before"], ["during"], ["after"], ["during", "after"]], ids=" ".join)
async def test_lost_connections_lose_nothing_and_double_nothing(
    store: Store, bus: Bus, dsn: str, cuts: list[str]
) -> None:
    desk = Desk.founded(store)
    documents = [desk.sender.document(AssignTask(content=task()), stream(f"T-{n}")) for n in range(40)]
    head = store.recorder.head()
    with another(dsn, "victim") as opened:
        victim = with_recorder(opened, Severed)
        assert isinstance(victim.recorder, Severed)
        victim.recorder.cuts, victim.recorder.sever = cuts, lambda: disconnect(dsn, "victim")
        async with service(victim, bus, desk) as (intake, puller):
            await publish(bus, *as_sent(documents))
            await arrived(puller, len(documents))
            assert await intake.step(10) == len(documents)
        assert not cuts
    answers = [answer for _, batch in await receipts(bus) for answer in batch]
    assert [answer["id"] for answer in answers] == [document["id"] for document in documents]
    assert {answer["outcome"] for answer in answers} == {"accepted"}
    after = store.recorder.head()
    assert after.receipt == head.receipt + len(documents)
    assert [p for answer in answers for p in answer["positions"]] == list(range(head.position + 1, after.position + 1))
    assert [e.position for e in events(store)] == list(range(1, after.position + 1))
    await acknowledged(bus, len(documents))


async def test_a_service_that_lost_its_connections_idle_goes_on(store: Store, bus: Bus, dsn: str) -> None:
    desk = Desk.founded(store)
    with another(dsn, "victim") as victim:
        async with service(victim, bus, desk) as (intake, _):
            for number in range(3):
                await publish(bus, *as_sent([desk.sender.document(AssignTask(content=task()), stream(f"T-{number}"))]))
                assert await intake.step(10) == 1
                assert disconnect(dsn, "victim") >= 1
    assert {name for name in (e.stream for e in events(store)) if name.startswith("assignment/")} == {
        stream(f"T-{n}") for n in range(3)
    }


def test_a_due_is_stored_as_an_instant(store: Store) -> None:
    desk = Desk.founded(store)
    desk.assign("T-1", due=date(2026, 6, 5))
    assigned = next(e for e in events(store) if e.stream == stream("T-1"))
    assert assigned.data.original.at == datetime(2026, 6, 5, 17, tzinfo=UTC)
    assert assigned.data.content.due == Due(day=date(2026, 6, 5))


def test_the_id_of_an_event_is_a_name_based_uuid() -> None:
    namespace = UUID("6a3c2f0e-5b0a-5c7e-9d1e-53617572af00")
    for number in range(200):
        assert event_id("DMS", f"Số {number}", number) == str(uuid5(namespace, f"DMS/Số {number}/{number}"))
