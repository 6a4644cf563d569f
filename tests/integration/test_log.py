"""The log on a real PostgreSQL: immutable, gapless, in time order, and one form of an event byte for byte."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
import psycopg
import pytest
from psycopg.rows import DictRow

from contracts.assignment import RaiseDifficulty, ReportProgress, StartWork
from contracts.organisation import EstablishUnit
from contracts.receipts import Refusal
from services.eventlog.codec import EnvelopeMapper, instant_text
from services.eventlog.migrations import migrate
from services.eventlog.recorder import CHANNEL, FEW, Append, EncodedEvent, LogRecorder, ReceiptRow, StreamsMoved
from services.projector.rebuild import rebuild
from services.store import Store
from tests.integration.support import SOURCE, Desk, another, clock_at, events, project, rows, stream
from tests.unit.spec import ORG, PROG, local, text

TABLES = ("events", "receipts")
CHANGES = (
    "UPDATE log.{} SET recorded_at = now()",
    "DELETE FROM log.{}",
    "TRUNCATE log.{}",
    "UPDATE log.{} SET recorded_at = now() WHERE false",
    "DROP TABLE log.{}",
    "ALTER TABLE log.{} DISABLE TRIGGER ALL",
)


@pytest.mark.parametrize("table", TABLES)
def test_the_application_cannot_change_what_is_stored(store: Store, dsn: str, table: str) -> None:
    """R-345, as the application's role."""
    Desk.founded(store)
    before = rows(store, f"SELECT * FROM log.{table} ORDER BY 1")
    with psycopg.connect(dsn, options="-c role=sauro_app", autocommit=True) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("sauro_app",)
        for change in CHANGES:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(change.format(table).encode())
    assert before
    assert rows(store, f"SELECT * FROM log.{table} ORDER BY 1") == before


@pytest.mark.parametrize("table", TABLES)
def test_the_owner_is_refused_too(store: Store, dsn: str, table: str) -> None:
    """R-345: whoever owns the tables meets the triggers, which say what to do instead."""
    Desk.founded(store)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for change in CHANGES[:4]:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"immutable.*compensating event"):
                connection.execute(change.format(table).encode())


def test_the_application_cannot_change_texts(store: Store, dsn: str) -> None:
    with psycopg.connect(dsn, options="-c role=sauro_app", autocommit=True) as connection:
        for change in ("UPDATE log.texts SET words = 'x'", "DELETE FROM log.texts", "TRUNCATE log.texts"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(change.encode())


def refused_append(store: Store, position: int) -> None:
    """A batch that read a stream at a version it no longer has."""
    head = store.recorder.head()
    assert head.recorded_at is not None
    append = Append(
        recorded_at=head.recorded_at,
        read={f"organisation/{ORG}": 1},
        known_position=position,
        events=[EncodedEvent(f"organisation/{ORG}", 2, "sauro.organisation.UnitEstablished.v1", b"}")],
        receipts=[ReceiptRow("X", "x", "accepted", b"", 1, 2, None)],
    )
    with pytest.raises(StreamsMoved) as moved:
        store.recorder.append(append, store.codec.stored)
    assert moved.value.streams == {f"organisation/{ORG}"}


def positions_are_gapless(store: Store) -> int:
    found = [row["notification_id"] for row in rows(store, "SELECT notification_id FROM log.events ORDER BY 1")]
    assert found == list(range(1, len(found) + 1))
    numbers = [row["receipt"] for row in rows(store, "SELECT receipt FROM log.receipts ORDER BY 1")]
    assert numbers == list(range(1, len(numbers) + 1))
    return len(found)


def test_a_version_conflict_leaves_no_gap(store: Store) -> None:
    desk = Desk.founded(store)
    for number in range(3):
        refused_append(store, 0)
        desk.assign(f"T-{number}")
    assert positions_are_gapless(store) == store.recorder.head().position


def test_an_append_that_fails_half_way_leaves_no_gap(store: Store) -> None:
    desk = Desk.founded(store)
    head = store.recorder.head()
    assert head.recorded_at is not None

    def unstorable(position: int, at: Any, tail: bytes) -> bytes:
        raise RuntimeError("no bytes for this event")

    good = EncodedEvent("assignment/A/B", 1, "sauro.assignment.WorkStarted.v1", b"}")
    row = ReceiptRow("X", "x", "accepted", b"", 1, 1, None)
    with pytest.raises(RuntimeError, match="no bytes"):
        store.recorder.append(Append(head.recorded_at, {}, head.position, [good], [row]), unstorable)
    assert store.recorder.head() == head
    desk.assign("T-1")
    positions_are_gapless(store)


@pytest.mark.parametrize("count", [1, FEW, FEW + 1])
def test_few_rows_and_many_are_stored_alike(store: Store, count: int) -> None:
    """Few go as arrays, many by COPY: the same bytes, and what is missing (a refused command's positions) is missing."""
    head, text_ = store.recorder.head(), 'Tiếng Việt, dấu \\ và " '
    events = [
        EncodedEvent(f"assignment/PROG/F-{n}", 1, "sauro.assignment.WorkStarted.v1", b'"n":%d}' % n)
        for n in range(count)
    ]
    refusal = Refusal(rule="NotNow", field="subject", message=text_)
    receipts = [ReceiptRow("DMS-1", f"a-{n}", "accepted", bytes([n]), 1, 1, None) for n in range(count - 1)]
    receipts.append(ReceiptRow("DMS-1", "with-none", "accepted", b"\x00\xff", 1, None, None))
    at = clock_at().now()
    store.recorder.append(Append(at, {}, head.position, events, receipts), store.codec.stored)
    store.recorder.append(
        Append(
            at,
            {},
            head.position + count,
            [],
            [ReceiptRow("DMS-1", f"r-{n}", "rejected", b"", 0, None, refusal) for n in range(count)],
        ),
        store.codec.stored,
    )
    stored = rows(store, "SELECT * FROM log.events ORDER BY 1")
    assert [(row["notification_id"], row["originator_id"], bytes(row["state"])) for row in stored] == [
        (n + 1, f"assignment/PROG/F-{n}", store.codec.stored(n + 1, at, b'"n":%d}' % n)) for n in range(count)
    ]
    kept = rows(store, "SELECT * FROM log.receipts ORDER BY 1")
    assert [row["receipt"] for row in kept] == list(range(1, 2 * count + 1))
    assert [row["first_position"] for row in kept] == [*range(1, count + 1), *[None] * count]
    assert [bytes(row["digest"]) for row in kept] == [row.digest for row in receipts] + [b""] * count
    assert {row["version"] for row in kept[count - 1 :]} == {None}
    assert all(row["refusal"]["message"] == text_ for row in kept[count:])


def test_two_writers_at_once_leave_no_gap_and_lose_nothing(store: Store, dsn: str) -> None:
    Desk.founded(store)
    each, size = 15, 4

    def write(number: int) -> int:
        with another(dsn, f"writer-{number}") as own:
            desk = Desk.open(own, source=f"SENDER-{number}")
            for batch in range(each):
                shared = EstablishUnit(
                    unit=f"U-{number}-{batch}", name_vi="x", kind="division", valid_from=clock_at().now().date()
                )
                desk.assign(*(f"T-{number}-{batch}-{task}" for task in range(size - 1)))
                desk.do(shared, f"organisation/{ORG}")  # both writers want this stream
        return each * size

    with ThreadPoolExecutor(2) as pool:
        sent = sum(pool.map(write, range(2)))
    positions_are_gapless(store)
    accepted = rows(store, "SELECT count(*) AS n FROM log.receipts WHERE outcome = 1 AND source LIKE 'SENDER-%%'")
    assert accepted == [{"n": sent}]
    versions = [event.version for event in events(store) if event.stream == f"organisation/{ORG}"]
    assert versions == list(range(1, len(versions) + 1))


def test_recorded_at_never_decreases_even_when_the_clock_steps_back(store: Store, dsn: str) -> None:
    desk = Desk.founded(store, clock_at("2026-06-01T10:00"))
    desk.assign("T-1")
    with another(dsn) as other:
        late = Desk.open(other, clock_at("2026-06-01T09:00"), source="LATE")
        (receipt,) = late.assign("T-2")
        assert receipt.recorded_at == desk.clock.now()
        late.clock.move_to(late.clock.now() + timedelta(minutes=90))
        late.assign("T-3")
    (again,) = desk.assign("T-4")
    assert again.recorded_at == late.clock.now()
    for table, key in (("events", "notification_id"), ("receipts", "receipt")):
        instants = [row["recorded_at"] for row in rows(store, f"SELECT recorded_at FROM log.{table} ORDER BY {key}")]
        assert instants == sorted(instants)


def test_an_event_has_one_form(store: Store) -> None:
    """Stored bytes are read bytes are encoded bytes; what stands inside is what the columns say."""
    desk = Desk.founded(store, clock_at("2026-06-01T10:00:00.250001"))
    desk.assign("T-1", "T-2")
    desk.do(StartWork(), stream("T-1"), "PBCXB-TP")
    desk.do(ReportProgress(percent=40, volume="Bước 1 – «đã xong»"), stream("T-1"), "PBCXB-TP")
    stored = rows(store, "SELECT * FROM log.events ORDER BY notification_id")
    read = store.recorder.select_notifications(0, 10_000)
    mapper = EnvelopeMapper(store.codec)
    assert len(read) == len(stored) > 20
    for row, notification in zip(stored, read, strict=True):
        state = bytes(row["state"])
        event = store.codec.decode(state)
        assert notification.state == state
        assert store.codec.stored(event.position, event.recorded_at, store.codec.tail(event)) == state
        assert mapper.to_stored_event(event).state == state
        document = orjson.loads(state)
        assert list(document)[:2] == ["position", "recordedtime"]
        assert document["position"] == row["notification_id"]
        assert document["recordedtime"] == instant_text(row["recorded_at"])
        assert (document["subject"], document["streamversion"]) == (row["originator_id"], row["originator_version"])
        assert document["type"] == row["topic"]


def test_r346_a_stored_event_carries_the_whole_envelope(store: Store) -> None:
    """Who did what when, entered when, by which authority, in answer to what; and the policy that decided, if one did."""
    desk = Desk.founded(store, clock_at("2026-06-01T09:00"))
    (assigned,) = desk.assign("T-1")
    desk.do(StartWork(), stream("T-1"), "PBCXB-TP")
    desk.clock.move_to(local("2026-06-01T10:00:00.250001"))
    receipt = desk.do(
        ReportProgress(percent=40),
        stream("T-1"),
        "PBCXB-PP",
        id_="QLVB-77",
        at="2026-06-01T10:00",
        authority="KY-NHAY",
        actoronbehalf="PBCXB-TP",
        correlationid="HO-SO-7",
        causationid="CV-9",
    )
    documents = [orjson.loads(notification.state) for notification in store.recorder.select_notifications(0, 1000)]
    reported = next(document for document in documents if document["commandid"] == "QLVB-77")
    assert reported == {
        "position": receipt.positions[0],
        "recordedtime": "2026-06-01T03:00:00.250001Z",
        "specversion": "1.0",
        "id": str(UUID(reported["id"])),
        "source": f"//sauro/{ORG}",
        "type": "sauro.assignment.ProgressReported.v1",
        "subject": stream("T-1"),
        "time": "2026-06-01T03:00:00Z",
        "datacontenttype": "application/json",
        "organisation": ORG,
        "programme": PROG,
        "streamversion": receipt.version,
        "actorpost": "PBCXB-PP",
        "actorunit": "PBCXB",
        "actoronbehalf": "PBCXB-TP",
        "actorauthority": "KY-NHAY",
        "sender": SOURCE,
        "commandid": "QLVB-77",
        "correlationid": "HO-SO-7",
        "causationid": "CV-9",
        "data": {"percent": 40, "judgement": "on_track", "late_entry": False},
    }
    assert len({document["id"] for document in documents}) == len(documents)
    policies = {
        d["type"].split(".")[2]: d.get("policyversion") for d in documents if d["position"] in assigned.positions
    }
    assert policies == {"TaskAssigned": None, "DeadlineScheduled": 1}


def test_the_library_reads_the_log_as_its_own(store: Store) -> None:
    desk = Desk.founded(store)
    desk.assign("T-1")
    recorder: LogRecorder = store.recorder
    mapper = EnvelopeMapper(store.codec)
    found = list(recorder.select_events(stream("T-1")))
    assert [event.originator_version for event in found] == list(range(1, len(found) + 1))
    assert list(recorder.select_events(stream("T-1"), gt=1)) == found[1:]
    assert list(recorder.select_events(stream("T-1"), desc=True, limit=1)) == found[-1:]
    for event in found:
        assert mapper.to_stored_event(mapper.to_domain_event(event)) == event
    head = recorder.max_notification_id()
    assert head == recorder.head().position
    notifications = recorder.select_notifications(head, 10)
    assert [n.id for n in notifications] == [head]
    assert [n.id for n in recorder.select_notifications(2, 3, stop=4, inclusive_of_start=False)] == [3, 4]
    assert mapper.to_domain_event(notifications[0]).position == head
    with pytest.raises(TypeError, match="intake alone"):
        recorder.insert_events(found)


WORDS = {"what": "văn thư chưa giao hồ sơ", "proposal": 'kế toán làm thay "ngay" \\ 100%'}


def with_texts(store: Store) -> Desk:
    desk = Desk.founded(store)
    desk.assign("T-1")
    desk.do(StartWork(), stream("T-1"), "PBCXB-TP")
    raised = RaiseDifficulty(field="DATA", what=text(), proposal=text())
    desk.do(raised, stream("T-1"), "PBCXB-TP", texts=WORDS)
    return desk


def test_words_that_may_name_people_are_beside_the_log(store: Store) -> None:
    with_texts(store)
    kept = {row["ref"]: row for row in rows(store, "SELECT * FROM log.texts")}
    data = orjson.loads(store.recorder.select_notifications(0, 1000)[-1].state)["data"]
    assert {kept[UUID(data[name]["ref"])]["words"] for name in WORDS} == set(WORDS.values())
    for name, words in WORDS.items():
        row = kept[UUID(data[name]["ref"])]
        assert len(row["salt"]) == 16
        assert data[name] == {
            "ref": str(row["ref"]),
            "digest": hashlib.sha256(row["salt"] + words.encode()).hexdigest(),
        }
    assert len({row["salt"] for row in kept.values()}) == len(kept)
    everything = b"".join(notification.state for notification in store.recorder.select_notifications(0, 1000))
    plain = everything.decode()
    for words in WORDS.values():
        assert words not in plain
        assert orjson.dumps(words).decode()[1:-1] not in plain
    for table in ("log.receipts", "read.snapshots"):
        assert not any(word in str(rows(store, f"SELECT * FROM {table}")) for word in ("chưa giao hồ sơ", "làm thay"))


def test_words_of_refused_commands_are_not_kept(store: Store) -> None:
    desk = Desk.founded(store)
    refused = desk.refused(
        RaiseDifficulty(field="DATA", what=text()), stream("T-9"), "PBCXB-TP", texts={"what": WORDS["what"]}
    )
    assert refused.rule == "NoSuchStream"
    assert rows(store, "SELECT * FROM log.texts") == []


def test_erasing_words_leaves_log_and_figures_whole(store: Store, dsn: str) -> None:
    """R-359: the owner erases; the application has no right to."""
    desk = with_texts(store)
    project(store, desk.clock)
    before = [notification.state for notification in store.recorder.select_notifications(0, 1000)]
    figures = {found.name: found.checksum for found in rebuild(store)}
    with psycopg.connect(dsn) as connection:
        assert connection.execute("DELETE FROM log.texts").rowcount == 2
    assert [notification.state for notification in store.recorder.select_notifications(0, 1000)] == before
    assert {found.name: found.rebuilt_checksum for found in rebuild(store)} == figures
    cold = Desk.open(store, desk.clock)
    cold.do(ReportProgress(percent=10), stream("T-1"), "PBCXB-TP", id_="AFTER")


def test_migrations_again_change_nothing(store: Store, dsn: str) -> None:
    Desk.founded(store)
    before = rows(store, "SELECT * FROM log.events ORDER BY 1")
    schema = (
        "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema IN ('log', 'read') ORDER BY 1, 2, 3"
    )
    shape = rows(store, schema)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(migrate, [dsn, dsn])) == [[], []]
    assert rows(store, schema) == shape
    assert rows(store, "SELECT * FROM log.events ORDER BY 1") == before


def test_followers_are_woken_by_what_is_committed(store: Store, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as ears:
        ears.execute(f"LISTEN {CHANNEL}".encode())
        Desk.founded(store)
        assert next(ears.notifies(timeout=10)).channel == CHANNEL


def test_connections_act_as_the_application(store: Store) -> None:
    with store.recorder.transaction() as cursor:
        row: DictRow | None = cursor.execute(
            "SELECT current_user AS who, current_setting('TimeZone') AS zone"
        ).fetchone()
    assert row == {"who": "sauro_app", "zone": "UTC"}
