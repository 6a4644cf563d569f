"""Read models built anew while the service runs and is read: stopped, resumed, switched, and never seen half."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError
from psycopg.rows import dict_row

from contracts.assignment import ReportProgress, StartWork
from projections.builds import BUILD
from projections.rows import COPY_FROM
from services.projector.core import Projector
from services.projector.rebuild import REBUILD_LOCK, RebuildRunning, Rebuilt, rebuild
from services.projector.switching import SwitchBlocked
from services.store import Store
from tests.integration.support import Desk, another, clock_at, project, rows, stream
from tests.integration.test_followers import mixed_run, oversized, percents, stuck, with_model

SMALL = 20
"""Events a checkpoint, so that a short log has many."""


def equal(found: tuple[Rebuilt, ...]) -> bool:
    return all(one.equal for one in found)


def worked(desk: Desk, *codes: str) -> None:
    """Tasks that are under way."""
    desk.assign(*codes)
    desk.accept(*(desk.sender.document(StartWork(), stream(code), "PBCXB-TP") for code in codes))


def reported(desk: Desk, percent: int, *codes: str) -> None:
    """One report on each task, in one batch."""
    report = ReportProgress(percent=percent)
    desk.accept(*(desk.sender.document(report, stream(code), "PBCXB-TP") for code in codes))


def caught_up(projector: Projector) -> None:
    while projector.step():
        pass


# ---------------------------------------------------------------- while it runs and is read


SEEN = """
    WITH at AS (SELECT min(notification_id) AS position FROM read.positions)
    SELECT at.position,
        (SELECT coalesce(sum(version), 0) FROM read.assignments)
        - (SELECT count(*) FROM log.events WHERE originator_id LIKE 'assignment/%%' AND notification_id <= at.position)
        AS apart
    FROM at"""


def reads(dsn: str, done: Event) -> tuple[int, list[Any]]:
    """Look again and again, as the API does: one snapshot, the position first, then rows. Returns looks and what was wrong."""
    looks, wrong = 0, []
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        while not done.is_set():
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                connection.execute("SELECT * FROM read.positions")
                row = connection.execute(SEEN).fetchone()
                connection.execute("SELECT * FROM read.department_scorecard").fetchall()
            looks += 1
            if row is None or row["apart"]:
                wrong.append(row)
    return looks, wrong


def test_it_is_built_and_switched_while_commands_come_and_readers_look(store: Store, dsn: str) -> None:
    """Every snapshot holds exactly the rows of the position it names, before, during and after each switch."""
    desk = Desk.founded(store)
    mixed_run(desk, project(store, desk.clock))
    done = Event()

    def work() -> int:
        with another(dsn) as own:
            busy = Desk.open(own, clock_at(), "BUSY")
            projector = Projector(own, busy.clock)
            number = 0
            while not done.is_set():
                worked(busy, f"W-{number}-A", f"W-{number}-B")
                reported(busy, number % 100, f"W-{number}-A", f"W-{number}-B")
                caught_up(projector)
                number += 1
            return number

    with another(dsn) as second, ThreadPoolExecutor(3) as pool:
        worker, *readers = pool.submit(work), pool.submit(reads, dsn, done), pool.submit(reads, dsn, done)
        try:
            found = [rebuild(second, switch=True, checkpoint=50) for _ in range(4)]
        finally:
            done.set()
        assert all(map(equal, found))
        assert worker.result() > 4
        for reader in readers:
            looks, wrong = reader.result()
            assert looks > 4
            assert wrong == []
    caught_up(project(store, desk.clock))
    assert equal(rebuild(store))


def test_a_reader_who_began_before_the_switch_ends_with_what_it_saw(store: Store, dsn: str) -> None:
    """The switch waits for a snapshot that is older than the build's last rows."""
    desk = Desk.founded(store)
    mixed_run(desk, project(store, desk.clock))
    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep%'"
    with (
        another(dsn) as second,
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(dsn, row_factory=dict_row) as reader,
        psycopg.connect(dsn, autocommit=True) as observer,
    ):
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT * FROM read.positions").fetchall()
        switched = pool.submit(rebuild, second, switch=True)
        while not observer.execute(waiting).rowcount:
            assert not switched.done()
        found = reader.execute(SEEN).fetchone()
        reader.commit()
        assert equal(switched.result())
    assert found is not None
    assert found["apart"] == 0


def test_a_reader_who_never_ends_blocks_the_switch_and_nobody_else(
    store: Store, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.projector.switching.ATTEMPTS", 2)
    monkeypatch.setattr("services.projector.switching.PATIENCE", 0.05)
    desk = Desk.founded(store)
    projector = project(store, desk.clock)
    with another(dsn) as second, psycopg.connect(dsn) as reader:
        reader.execute("SELECT * FROM read.assignments").fetchall()
        with pytest.raises(SwitchBlocked, match="readers held the read models in all of 2 attempts"):
            rebuild(second, switch=True)
        worked(desk, "T-1")
        assert projector.step()
    assert equal(rebuild(store, switch=True, resume=True))


def vacuumed(cursor: psycopg.Cursor[Any]) -> bool:
    found = cursor.execute(
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'autovacuum worker'"
        " AND query LIKE '%%read.assignments%%'"
    )
    return found.fetchone() is not None


def test_an_autovacuum_gives_way(store: Store, dsn: str) -> None:
    """A large read model is vacuumed for minutes; a switch must not wait for that, nor give up."""
    desk = Desk.founded(store)
    mixed_run(desk, project(store, desk.clock))
    slowly = "threshold = 0, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 100"
    with psycopg.connect(dsn, autocommit=True) as owner, psycopg.connect(dsn) as snapshot:
        owner.execute(
            f"ALTER TABLE read.assignments SET (autovacuum_vacuum_{slowly}, autovacuum_vacuum_cost_limit = 1)"
        )
        snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        snapshot.execute("SELECT FROM read.assignments")
        for _ in range(300):  # versions that nobody may clear away as long as the snapshot stands
            owner.execute("UPDATE read.assignments SET priority = priority")
        snapshot.rollback()
        owner.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
        try:
            owner.execute("SELECT pg_reload_conf()")
            while not vacuumed(owner.cursor()):
                owner.execute("SELECT pg_sleep(0.05)")
            assert equal(rebuild(store, switch=True))
        finally:
            owner.execute("ALTER SYSTEM RESET autovacuum_naptime")
            owner.execute("SELECT pg_reload_conf()")


# ---------------------------------------------------------------- stopped and resumed


class Stopped(Exception):
    """Somebody stopped it."""


def stopping(after: int, error: type[BaseException] = Stopped) -> Callable[[int, int], None]:
    """Progress that stops the build at its n-th batch."""
    calls = iter(range(1, after + 1))

    def progress(position: int, target: int) -> None:
        if next(calls) == after:
            raise error

    return progress


@pytest.mark.parametrize("error", [Stopped, KeyboardInterrupt])
@pytest.mark.parametrize("seed", range(4))
def test_a_stopped_build_goes_on_to_the_same_rows(store: Store, seed: int, error: type[BaseException]) -> None:
    """Stopped at a random point, worked on, resumed: the same rows, the live ones untouched until then."""
    desk = Desk.founded(store)
    projector = project(store, desk.clock)
    mixed_run(desk, projector)
    batches = store.recorder.head().position // SMALL
    stop = random.Random(seed).randint(2, batches)
    before = rows(store, "SELECT xmin::text AS x, ctid::text AS c, code FROM read.assignments ORDER BY code")
    with pytest.raises(error):
        rebuild(store, progress=stopping(stop, error), switch=True, checkpoint=SMALL)
    assert rows(store, "SELECT xmin::text AS x, ctid::text AS c, code FROM read.assignments ORDER BY code") == before
    worked(desk, "T-90", "T-91")
    caught_up(projector)
    seen: list[int] = []
    found = rebuild(store, progress=lambda at, _: seen.append(at), switch=True, resume=True, checkpoint=SMALL)
    assert seen[0] == stop * SMALL  # not from the beginning: the last checkpoint lies one batch before
    assert equal(found)
    assert rows(store, "SELECT 1 AS x FROM pg_namespace WHERE nspname = %s", BUILD) == []
    reported(desk, 50, "T-90", "T-91")
    caught_up(projector)
    assert equal(rebuild(store))


def test_without_resume_it_begins_anew(store: Store) -> None:
    desk = Desk.founded(store)
    mixed_run(desk, project(store, desk.clock))
    with pytest.raises(Stopped):
        rebuild(store, progress=stopping(3), checkpoint=SMALL)
    seen: list[int] = []
    assert equal(rebuild(store, progress=lambda at, _: seen.append(at), checkpoint=SMALL))
    assert seen[0] == SMALL
    # a build of other models is no build to go on with
    with pytest.raises(Stopped):
        rebuild(store, progress=stopping(3), checkpoint=SMALL)
    seen.clear()
    assert equal(rebuild(store, ["warnings"], lambda at, _: seen.append(at), resume=True, checkpoint=SMALL))
    assert seen[0] == SMALL


VICTIM = """
import sys
from services.projector.rebuild import rebuild
from services.store import Store
def progress(position, target):
    if position >= 60:
        print(position, flush=True)
        sys.stdin.read()
rebuild(Store.open(sys.argv[1]), progress=progress, switch=True, checkpoint=20)
"""


def test_a_killed_build_goes_on(store: Store, dsn: str) -> None:
    desk = Desk.founded(store)
    mixed_run(desk, project(store, desk.clock))
    command = [sys.executable, "-c", VICTIM, dsn]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"60\n"
        victim.kill()
    with psycopg.connect(dsn, autocommit=True) as connection:  # the server has noticed
        connection.execute("SELECT pg_advisory_lock(%s)", (REBUILD_LOCK,))
        connection.execute("SELECT pg_advisory_unlock(%s)", (REBUILD_LOCK,))
    seen: list[int] = []
    assert equal(rebuild(store, progress=lambda at, _: seen.append(at), resume=True, checkpoint=SMALL))
    assert seen[0] == 60


def test_one_rebuild_at_a_time(store: Store, dsn: str) -> None:
    desk = Desk.founded(store)
    mixed_run(desk, project(store, desk.clock))
    refused: list[str] = []
    with another(dsn) as second:

        def meanwhile(position: int, target: int) -> None:
            with pytest.raises(RebuildRunning) as found:
                rebuild(second, resume=True)
            refused.append(str(found.value))

        assert equal(rebuild(store, progress=meanwhile))
        assert set(refused) == {"another rebuild is running on this database; wait for its end, or stop it"}
        assert equal(rebuild(second))


# ---------------------------------------------------------------- rows in memory


def test_rows_in_memory_are_forgotten_after_a_switch(store: Store) -> None:
    """The projector has a corrupt row in memory; a rebuild mends the table, and the row does not come back."""
    desk = Desk.founded(store)
    projector = project(store, desk.clock)
    worked(desk, "T-1", "T-2")
    caught_up(projector)
    with store.recorder.transaction() as cursor:
        cursor.execute("UPDATE read.assignments SET priority = 99")
    projector = project(store, desk.clock)
    reported(desk, 10, "T-1", "T-2")
    caught_up(projector)  # loads the corrupt rows, and keeps them
    assert not equal(rebuild(store, switch=True))
    reported(desk, 20, "T-1", "T-2")
    caught_up(projector)
    found = rows(store, "SELECT DISTINCT priority FROM read.assignments")
    assert [row["priority"] for row in found] != [99]
    assert equal(rebuild(store))


def test_rows_in_memory_are_forgotten_after_another_projector_took_over(store: Store, dsn: str) -> None:
    """The first wakes up with rows and a position of long ago: it applies nothing twice, and goes on from the second's."""
    desk = Desk.founded(store)
    own = with_model(store, percents())
    worked(desk, "T-1", "T-2")
    reported(desk, 10, "T-1", "T-2")
    first = project(own, desk.clock)
    with another(dsn) as opened:
        reported(desk, 20, "T-1", "T-2")
        project(with_model(opened, percents()), desk.clock)
    reported(desk, 30, "T-1")  # its batch begins before and ends after what the second has applied
    with pytest.raises(IntegrityError):
        first.step()
    assert first.step()
    caught_up(first)
    found = rows(store, "SELECT code, percent, reports FROM read.percents ORDER BY code")
    assert [tuple(row.values()) for row in found] == [("T-1", 30, 3), ("T-2", 20, 2)]
    assert equal(rebuild(own))


def test_a_large_batch_is_written_as_a_small_one(store: Store) -> None:
    """By COPY and by JSON, one event at a time and all at once: the same rows."""
    desk = Desk.founded(store)
    codes = [f"T-{number:03}" for number in range(2 * COPY_FROM)]
    projector = project(store, desk.clock)
    worked(desk, *codes)
    for percent in (10, 20):
        reported(desk, percent, *codes)
    caught_up(projector)
    mixed_run(desk, projector)
    assert equal(rebuild(store))


def test_a_row_refused_in_a_large_batch_is_quarantined_alone(store: Store) -> None:
    """R-352: the table refuses one row of many; the model stops just before it."""
    desk = Desk.founded(store)
    codes = [f"T-{number:03}" for number in range(2 * COPY_FROM)]
    worked(desk, *codes)
    reported(desk, 10, *codes)
    good = store.recorder.head().position
    reported(desk, 66, codes[0])
    reported(desk, 70, *codes)
    projector = project(with_model(store, percents(oversized)), desk.clock)
    stands = stuck(projector)
    assert stands.pop("percents") == good
    assert set(stands.values()) == {store.recorder.head().position}
    assert rows(store, "SELECT DISTINCT percent, reports FROM read.percents") == [{"percent": 10, "reports": 1}]
