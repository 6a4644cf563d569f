"""What verification must catch, each on a real database with a superuser's rights."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from contracts.assignment import AcknowledgeAssignment, DifficultyRaised, RaiseDifficulty, StartWork
from services.audit import verification
from services.audit.collecting import folder_tiles, from_file, from_folder, from_stream
from services.audit.export import Request, Scope, export
from services.audit.follower import Follower, LogContradicted
from services.audit.notes import Checkpoint, Signer, Verifier, opened_checkpoint
from services.audit.rows import Stretch, check_part, check_stretch, connect
from services.audit.verification import Means, Published, Report, check_log, verify
from services.bus import Bus
from services.eventlog import trees
from services.eventlog.reading import EVENTS, LOGS, RECEIPTS, head_of
from services.store import Store
from tests.integration.conftest import Databases
from tests.integration.support import Desk, clock_at, stream
from tests.unit.spec import text

KEY = Signer.generate("sauro.test")
MUTATIONS = 10_000
Change = Callable[["psycopg.Connection[Any]"], object]


def trusted(key: Signer = KEY) -> list[Verifier]:
    return [key.for_log(log).verifier() for log in LOGS]


async def follow(store: Store, bus: Bus | None = None, folder: Path | None = None, key: Signer = KEY) -> Follower:
    follower = Follower(store, bus, clock_at(), key, folder=folder)
    await follower.settle()
    return follower


def filled(store: Store, tasks: int) -> Desk:
    """A log with events and receipts, refusals and erasable texts among them."""
    desk = Desk.founded(store)
    desk.assign(*(f"T-{number}" for number in range(tasks)))
    desk.do(StartWork(), stream("T-1"), "PBCXB-TP")
    difficulty = RaiseDifficulty(field="DATA", what=text(), proposal=text())
    desk.do(difficulty, stream("T-1"), "PBCXB-TP", texts={"what": "Chưa có số liệu", "proposal": "Gia hạn"})
    desk.refused(AcknowledgeAssignment(), stream("NOBODY"), "PBCXB-TP")
    return desk


def meddle(dsn: str, change: Change) -> None:
    """Change the database as its superuser, past triggers and constraints."""
    with psycopg.connect(dsn) as connection:
        unguarded(connection)
        change(connection)


def unguarded(connection: psycopg.Connection[Any]) -> None:
    connection.execute("SET session_replication_role = replica")
    for table in ("events", "receipts"):
        names = connection.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype IN ('p', 'u', 'c')",
            (f"log.{table}",),
        ).fetchall()
        for (name,) in names:
            connection.execute(SQL("ALTER TABLE log.{} DROP CONSTRAINT {}").format(Identifier(table), Identifier(name)))
        columns = connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND attnotnull",
            (f"log.{table}",),
        ).fetchall()
        for (column,) in columns:
            connection.execute(
                SQL("ALTER TABLE log.{} ALTER {} DROP NOT NULL").format(Identifier(table), Identifier(column))
            )


def checked(dsn: str, folder: Path, key: Signer = KEY) -> Report:
    return verify(dsn, from_folder(folder), trusted(key), tiles=folder_tiles(folder))


@pytest.fixture
async def signed(store: Store, tmp_path: Path) -> tuple[Desk, Path]:
    """A log of more than a tile, signed and copied to a folder."""
    desk = filled(store, 150)
    await follow(store, folder=tmp_path)
    return desk, tmp_path


async def test_an_untouched_log_is_clean(dsn: str, signed: tuple[Desk, Path]) -> None:
    report = checked(dsn, signed[1])
    assert report.problems == []
    assert report.rows == report.covered
    assert report.rows[EVENTS] > 256


CHANGES: dict[str, tuple[str, int, str]] = {
    "one bit of the bytes": (
        EVENTS,
        200,
        "UPDATE log.events SET state = set_bit(state, 1003, 1 - get_bit(state, 1003)) WHERE notification_id = 200",
    ),
    "the stream": (EVENTS, 5, "UPDATE log.events SET originator_id = 'assignment/X/Y' WHERE notification_id = 5"),
    "the version": (
        EVENTS,
        5,
        "UPDATE log.events SET originator_version = originator_version + 1 WHERE notification_id = 5",
    ),
    "the topic": (EVENTS, 5, "UPDATE log.events SET topic = topic || '2' WHERE notification_id = 5"),
    "the instant": (
        EVENTS,
        300,
        "UPDATE log.events SET recorded_at = recorded_at - interval '1 microsecond' WHERE notification_id = 300",
    ),
    "an endless instant": (EVENTS, 5, "UPDATE log.events SET recorded_at = 'infinity' WHERE notification_id = 5"),
    "nothing where a stream was": (EVENTS, 5, "UPDATE log.events SET originator_id = NULL WHERE notification_id = 5"),
    "nothing where a version was": (
        EVENTS,
        5,
        "UPDATE log.events SET originator_version = NULL WHERE notification_id = 5",
    ),
    "nothing where a topic was": (EVENTS, 5, "UPDATE log.events SET topic = NULL WHERE notification_id = 5"),
    "nothing where an instant was": (EVENTS, 5, "UPDATE log.events SET recorded_at = NULL WHERE notification_id = 5"),
    "nothing where a source was": (RECEIPTS, 9, "UPDATE log.receipts SET source = NULL WHERE receipt = 9"),
    "nothing where bytes were": (EVENTS, 5, "UPDATE log.events SET state = NULL WHERE notification_id = 5"),
    "bytes that are no JSON": (EVENTS, 5, "UPDATE log.events SET state = '\\x00' WHERE notification_id = 5"),
    "a deleted event": (EVENTS, 77, "DELETE FROM log.events WHERE notification_id = 77"),
    "an event twice": (EVENTS, 77, "INSERT INTO log.events SELECT * FROM log.events WHERE notification_id = 77"),
    "an event outside": (
        EVENTS,
        0,
        "INSERT INTO log.events SELECT -1, originator_id, 9999, topic, recorded_at, state FROM log.events LIMIT 1",
    ),
    "two events exchanged": (
        EVENTS,
        30,
        "UPDATE log.events SET notification_id = 71 - notification_id WHERE notification_id IN (30, 41)",
    ),
    "an outcome": (RECEIPTS, 9, "UPDATE log.receipts SET outcome = 2 WHERE receipt = 9"),
    "a digest": (
        RECEIPTS,
        9,
        "UPDATE log.receipts SET digest = set_bit(digest, 8, 1 - get_bit(digest, 8)) WHERE receipt = 9",
    ),
    "a deleted receipt": (RECEIPTS, 9, "DELETE FROM log.receipts WHERE receipt = 9"),
    "a refusal softened": (
        RECEIPTS,
        0,
        "UPDATE log.receipts SET refusal = jsonb_set(refusal, '{message}', '\"nothing\"') WHERE refusal IS NOT NULL",
    ),
    "words": (EVENTS, 0, "UPDATE log.texts SET words = 'Đã có số liệu' WHERE words = 'Chưa có số liệu'"),
    "words exchanged": (
        EVENTS,
        0,
        "UPDATE log.texts t SET words = o.words, salt = o.salt FROM log.texts o WHERE o.ref <> t.ref",
    ),
    "a salt": (EVENTS, 0, "UPDATE log.texts SET salt = set_bit(salt, 9, 1 - get_bit(salt, 9))"),
    "a refusal taken away": (
        RECEIPTS,
        0,
        "UPDATE log.receipts SET refusal = NULL, outcome = 1, event_count = 0 WHERE refusal IS NOT NULL",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_is_found_and_named(dsn: str, signed: tuple[Desk, Path], name: str) -> None:
    log, position, change = CHANGES[name]
    meddle(dsn, lambda connection: connection.execute(change.encode()))
    report = checked(dsn, signed[1])
    assert not report.clean
    first = report.problems[0]
    assert first.log == log
    if position:
        assert first.position == position
        assert str(position) in first.message
    assert {problem.log for problem in report.problems} == {log}


async def test_words_may_be_erased_but_not_changed(dsn: str, store: Store, signed: tuple[Desk, Path]) -> None:
    """What is gone is counted; what was rewritten is named with the event that holds its digest."""
    assert checked(dsn, signed[1]).texts == {"sealed": 2, "erased": 0}
    meddle(dsn, lambda connection: connection.execute("DELETE FROM log.texts WHERE words = 'Gia hạn'"))
    report = checked(dsn, signed[1])
    assert (report.clean, report.texts) == (True, {"sealed": 2, "erased": 1})
    meddle(dsn, lambda connection: connection.execute("UPDATE log.texts SET words = words || '.'"))
    (event,) = [event for event in _events_of(store, stream("T-1")) if type(event.data) is DifficultyRaised]
    (problem,) = checked(dsn, signed[1]).problems
    assert (problem.log, problem.position, problem.rule) == (EVENTS, event.position, "text")
    assert f"are not those event {event.position} holds the digest of" in problem.message


async def often_signed(store: Store, desk: Desk, folder: Path, times: int) -> None:
    for number in range(times):
        desk.assign(f"S-{number}")
        await follow(store, folder=folder)


async def test_the_checkpoint_somebody_kept_is_always_held_against_the_log(
    dsn: str, store: Store, signed: tuple[Desk, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many others there are; of those, the newest of each source is."""
    await often_signed(store, *signed, 6)
    monkeypatch.setattr(verification, "MOST_SIZES", 2)
    published = [one for one in from_folder(signed[1]) if one.log == EVENTS]
    report = verify(dsn, published, trusted())
    assert report.clean
    assert report.sources == {f"folder {signed[1]}": {"found": 7, "held": 2}}
    for place in range(7):
        size = opened_checkpoint(published[place].note, trusted()).size
        forged = Checkpoint("sauro.test/events", size, bytes(32))
        mine = tmp_path / "mine"
        mine.write_text(KEY.for_log(EVENTS).sign(forged.text()), encoding="utf-8")
        report = verify(dsn, [*published, *from_file(mine)], trusted())
        assert {"root", "fork"} & {problem.rule for problem in report.problems}
        assert report.sources[f"file {mine}"] == {"found": 1, "held": 1}
    newest = Published(EVENTS, "folder x", KEY.for_log(EVENTS).sign(forged.text()))
    assert not verify(dsn, [*published[:-1], newest], trusted()).clean


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "UPDATE audit.checkpoints SET root = set_bit(root, 9, 1 - get_bit(root, 9))",
            "does not say what its note says",
        ),
        ("UPDATE audit.checkpoints SET size = size - 1", "does not say what its note says"),
        ("DELETE FROM audit.checkpoints", "lacks 1 of the checkpoints that were published, the first of size"),
    ],
)
async def test_the_checkpoints_of_the_database_are_checked_too(
    dsn: str, signed: tuple[Desk, Path], change: str, said: str
) -> None:
    meddle(dsn, lambda connection: connection.execute(f"{change} WHERE log = 'events'".encode()))
    report = checked(dsn, signed[1])
    assert {problem.rule for problem in report.problems} == {"checkpoint"}
    assert said in report.problems[0].message


async def test_an_export_taken_off_the_record_is_missed(
    dsn: str, store: Store, signed: tuple[Desk, Path], tmp_path: Path
) -> None:
    request = Request(Scope("unit", "PBCXB"), "TTRA-TP", "x", clock_at().now())
    for _ in range(3):
        export(store, request, tmp_path / "b.zip", KEY)
    assert checked(dsn, signed[1]).clean
    meddle(dsn, lambda connection: connection.execute("DELETE FROM audit.exports WHERE number = 2"))
    (problem,) = checked(dsn, signed[1]).problems
    assert problem.message == "audit.exports has 2 rows, the last of number 3"


async def test_events_cut_off_at_the_end(dsn: str, signed: tuple[Desk, Path]) -> None:
    head = checked(dsn, signed[1]).rows[EVENTS]
    meddle(dsn, lambda connection: connection.execute("DELETE FROM log.events WHERE notification_id > %s", (head - 3,)))
    report = checked(dsn, signed[1])
    assert (report.problems[0].position, report.problems[0].rule) == (head - 2, "truncated")


async def test_an_event_put_in_between_with_the_rest_moved_on(dsn: str, signed: tuple[Desk, Path]) -> None:
    def change(connection: psycopg.Connection[Any]) -> None:
        connection.execute("UPDATE log.events SET notification_id = notification_id + 1 WHERE notification_id >= 100")
        connection.execute(
            "INSERT INTO log.events SELECT 100, originator_id, 99, topic, recorded_at, state FROM log.events"
            " WHERE notification_id = 99"
        )
        reworded(connection, "notification_id >= 100", b"")

    meddle(dsn, change)
    report = checked(dsn, signed[1])
    assert report.problems[0].position == 100


def reworded(connection: psycopg.Connection[Any], where: str, word: bytes) -> None:
    """Write new bytes that agree with their columns, as somebody would who knows the form."""
    rows = connection.execute(
        f"SELECT notification_id, originator_version, state FROM log.events WHERE {where}".encode()
    ).fetchall()
    for position, version, state in rows:
        begin, _, rest = bytes(state).partition(b',"recordedtime"')
        assert begin.startswith(b'{"position":')
        before, mark, after = rest.partition(b',"streamversion":')
        tail = after[after.index(b",") :]
        new = b'{"position":%d,"recordedtime"%b%b%d%b' % (position, before, mark, version, tail)
        new = new.replace(b'"data":{', b'"data":{' + word, 1)
        connection.execute("UPDATE log.events SET state = %s WHERE notification_id = %s", (new, position))


def forget(connection: psycopg.Connection[Any]) -> None:
    """Throw away what the database knows of its trees."""
    connection.execute("TRUNCATE audit.tiles, audit.checkpoints, audit.keys")


async def test_a_stream_written_anew_and_everything_recomputed_with_the_same_key(
    dsn: str, store: Store, signed: tuple[Desk, Path]
) -> None:
    def change(connection: psycopg.Connection[Any]) -> None:
        reworded(connection, "originator_id = 'assignment/SVHTTDL-TD500/T-40'", b'"forged":true,')
        forget(connection)

    first = [event.position for event in _events_of(store, "assignment/SVHTTDL-TD500/T-40")]
    meddle(dsn, change)
    await follow(store)  # tiles and checkpoints agree with the new log, signed with the right key
    assert verify(dsn, [], trusted()).clean
    report = checked(dsn, signed[1])
    rules = {problem.rule for problem in report.problems}
    assert {"fork", "root"} <= rules
    assert next(problem.position for problem in report.problems if problem.rule == "root") == first[0]
    with pytest.raises(LogContradicted, match="another root"):
        await follow(store, folder=signed[1])


def _events_of(store: Store, name: str) -> list[Any]:
    from tests.integration.support import events

    return [event for event in events(store) if event.stream == name]


async def test_a_whole_log_rebuilt_with_another_key(dsn: str, store: Store, signed: tuple[Desk, Path]) -> None:
    other = Signer.generate("sauro.test")

    def change(connection: psycopg.Connection[Any]) -> None:
        reworded(connection, "originator_id LIKE 'assignment/%'", b'"forged":true,')
        forget(connection)

    meddle(dsn, change)
    await follow(store, key=other)
    report = checked(dsn, signed[1])
    assert {"signature", "root"} <= {problem.rule for problem in report.problems}
    assert any("no known key signed this" in problem.message for problem in report.problems)
    with pytest.raises(LogContradicted, match="none of this database's keys"):
        await follow(store, folder=signed[1], key=other)


async def test_a_database_set_back_signs_nothing_more(
    dsn: str, store: Store, bus: Bus, signed: tuple[Desk, Path]
) -> None:
    desk, _ = signed
    await follow(store, bus)
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT log, max(size) FROM audit.checkpoints GROUP BY log").fetchall()
        sizes = {str(row[0]): int(row[1]) for row in rows}
    desk.assign("T-LATER")
    follower = await follow(store, bus)

    def change(connection: psycopg.Connection[Any]) -> None:
        connection.execute("DELETE FROM log.events WHERE notification_id > %s", (sizes[EVENTS],))
        connection.execute("DELETE FROM log.receipts WHERE receipt > %s", (sizes[RECEIPTS],))
        connection.execute("DELETE FROM audit.checkpoints WHERE size > %s AND log = 'events'", (sizes[EVENTS],))
        connection.execute("DELETE FROM audit.checkpoints WHERE size > %s AND log = 'receipts'", (sizes[RECEIPTS],))

    meddle(dsn, change)
    with pytest.raises(LogContradicted, match="gone or changed"):
        await follower.step()  # while it runs
    with pytest.raises(LogContradicted, match="longer than it is"):
        await follow(store, bus)  # and when it begins anew
    desk = Desk.open(store, clock_at("2026-05-31T07:00"), source="QLVB-2")
    desk.assign("T-OTHER")
    with pytest.raises(LogContradicted, match="another root"):
        await follow(store, bus)
    report = verify(dsn, await from_stream(bus), trusted())
    assert not report.clean


async def test_two_reviewers_are_shown_two_logs(databases: Databases, tmp_path: Path) -> None:
    """Same key, same beginning, then two histories: whoever compares both checkpoints sees the fork."""
    shown: dict[str, list[Published]] = {}
    addresses = []
    for name in ("one", "two"):
        with databases() as dsn:
            store = Store.open(dsn)
            desk = Desk.founded(store)
            folder = tmp_path / name
            await follow(store, folder=folder)
            desk.assign(f"T-{name.upper()}")
            await follow(store, folder=folder)
            shown[name] = from_folder(folder)
            addresses.append(dsn)
            alone = verify(dsn, shown[name], trusted())
            both = verify(dsn, [note for notes in shown.values() for note in notes], trusted())
            store.close()
            assert alone.clean
    assert not both.clean
    assert "fork" in {problem.rule for problem in both.problems}


async def test_the_tiles_are_checked_too(dsn: str, signed: tuple[Desk, Path]) -> None:
    meddle(
        dsn,
        lambda connection: connection.execute(
            "UPDATE audit.tiles SET hashes = set_bit(hashes, 4000, 1 - get_bit(hashes, 4000)) WHERE log = 'events'"
        ),
    )
    assert [(p.rule, p.position) for p in checked(dsn, signed[1]).problems] == [("tile", 4000 // 256 + 1)]


@pytest.fixture
async def small(databases: Databases) -> Any:
    """A small log with its checkpoints, on a superuser's connection with nothing in the way."""
    with databases() as dsn:
        store = Store.open(dsn)
        filled(store, 4)
        await follow(store)
        wanted = {}
        with store.recorder.reading() as cursor:
            for log in LOGS:
                note = trees.checkpoints(cursor, log)[-1].note
                found = opened_checkpoint(note, trusted())
                wanted[log] = {found.size: found}
        store.close()
        with psycopg.connect(dsn) as connection:
            unguarded(connection)
            connection.commit()
            yield connection, wanted


def problems_of(connection: psycopg.Connection[Any], wanted: dict[str, dict[int, Checkpoint]]) -> Report:
    """The same check `sauro audit verify` makes, inside a transaction."""
    report = Report()
    with connection.cursor() as cursor:
        for log in LOGS:
            means = Means(cursor, lambda log, plan: (check_stretch(cursor, log, *part) for part in plan))
            check_log(means, log, head_of(cursor, log), wanted[log], report)
    return report


def mutation(rng: random.Random, connection: psycopg.Connection[Any]) -> str:
    """One random change of one row: a bit of any column, a row gone, a row twice, two rows exchanged; or of a text."""
    log = rng.choice((*LOGS * 4, "texts"))
    if log == "texts":
        return _turn_a_bit(
            rng, connection, log, "ref", rng.choice(connection.execute("SELECT ref FROM log.texts").fetchall())[0]
        )
    key = "notification_id" if log == EVENTS else "receipt"
    rows = connection.execute(f"SELECT {key} FROM log.{log} ORDER BY 1".encode()).fetchall()
    row = rng.choice(rows)[0]
    kind = rng.choice(("bit",) * 8 + ("delete", "twice", "exchange"))
    if kind == "delete":
        connection.execute(f"DELETE FROM log.{log} WHERE {key} = {row}".encode())
    elif kind == "twice":
        connection.execute(f"INSERT INTO log.{log} SELECT * FROM log.{log} WHERE {key} = {row}".encode())
    elif kind == "exchange":
        other = rng.choice([found for (found,) in rows if found != row])
        connection.execute(
            f"UPDATE log.{log} SET {key} = {row + other} - {key} WHERE {key} IN ({row}, {other})".encode()
        )
    else:
        kind = _turn_a_bit(rng, connection, log, key, row)
    return f"{kind} in row {row} of {log}"


_COLUMNS = {
    EVENTS: ("originator_id", "originator_version", "topic", "recorded_at", "state", "state", "state", "notification_id"),
    RECEIPTS: (
        "source", "command_id", "outcome", "digest", "recorded_at", "first_position", "event_count", "version",
        "refusal", "receipt",
    ),
    "texts": ("salt", "words"),
}  # fmt: skip


def _turn_a_bit(rng: random.Random, connection: psycopg.Connection[Any], log: str, key: str, row: Any) -> str:
    column = rng.choice(_COLUMNS[log])
    value = connection.execute(f"SELECT {column} FROM log.{log} WHERE {key} = '{row}'".encode()).fetchone()
    assert value is not None
    new = _turned(rng, column, value[0])
    connection.execute(f"UPDATE log.{log} SET {column} = {new[0]} WHERE {key} = '{row}'".encode(), new[1:])
    return f"a bit of {column}"


def _turned(rng: random.Random, column: str, value: Any) -> tuple[Any, ...]:
    if column == "refusal":
        if value is None:
            return ("'{}'::jsonb",)
        field = rng.choice(sorted(value))
        return ("jsonb_set(refusal, ARRAY[%s], to_jsonb(%s::text))", field, _turned_text(rng, value[field]))
    if value is None:
        return ("%s", 1)
    if isinstance(value, bytes):
        return (f"set_bit({column}, %s, 1 - get_bit({column}, %s))", *[rng.randrange(len(value) * 8)] * 2)
    if isinstance(value, str):
        return ("%s", _turned_text(rng, value))
    if isinstance(value, int):
        return ("%s", value ^ (1 << rng.randrange({"outcome": 15, "event_count": 31}.get(column, 40))))
    return ("recorded_at + %s * interval '1 microsecond'", rng.choice((-1, 1)) << rng.randrange(45))


def _turned_text(rng: random.Random, text: str) -> str:
    place = rng.randrange(len(text))
    while True:
        turned = chr(ord(text[place]) ^ (1 << rng.randrange(7)))
        if turned != "\0" and not "\ud800" <= turned <= "\udfff":
            return text[:place] + turned + text[place + 1 :]


def test_every_one_of_ten_thousand_random_changes_is_found(small: Any) -> None:
    connection, wanted = small
    rng = random.Random(358)
    assert problems_of(connection, wanted).clean
    missed = []
    for _ in range(MUTATIONS):
        what = mutation(rng, connection)
        if problems_of(connection, wanted).clean:
            missed.append(what)
        connection.rollback()
        connection.execute("SET session_replication_role = replica")
    assert missed == []
    assert problems_of(connection, wanted).clean


@pytest.mark.parametrize("workers", [1, 2, 3])
async def test_many_find_what_one_finds(
    dsn: str, signed: tuple[Desk, Path], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever checked a stretch first, they lead to the same roots, and to the same first row that differs."""
    monkeypatch.setattr(verification, "ALONE", 0)
    monkeypatch.setattr(verification, "STRETCH", 256)
    done: list[int] = []

    def check() -> Report:
        tiles = folder_tiles(signed[1])
        published = from_folder(signed[1])
        return verify(
            dsn, published, trusted(), tiles=tiles, workers=workers, progress=lambda rows, _: done.append(rows)
        )

    report = check()
    assert report.problems == []
    assert done == sorted(done)
    assert done[-1] == sum(report.rows.values())
    meddle(dsn, lambda connection: connection.execute(CHANGES["the instant"][2].encode()))
    assert [(found.position, found.rule) for found in check().problems] == [(300, "column")]


async def test_another_process_finds_what_this_one_finds(
    dsn: str, signed: tuple[Desk, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "STRETCH", 256)
    meddle(dsn, lambda connection: connection.execute(CHANGES["one bit of the bytes"][2].encode()))
    report = Report()
    wanted = {
        note.size: note for note in (opened_checkpoint(one.note, trusted()) for one in from_folder(signed[1])[:1])
    }
    with (
        ProcessPoolExecutor(1, get_context("spawn"), connect, (dsn,)) as other,
        verification.reading(dsn) as cursor,
    ):

        def check(log: str, plan: list[verification.Part]) -> list[Stretch]:
            return [future.result() for future in [other.submit(check_part, log, *part) for part in plan]]

        means = Means(cursor, check, folder_tiles(signed[1]))
        check_log(means, EVENTS, head_of(cursor, EVENTS), wanted, report)
    assert {(found.position, found.rule) for found in report.problems} == {
        (200, "column"),
        (200, "tile"),
        (200, "root"),
    }
