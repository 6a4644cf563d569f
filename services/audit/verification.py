"""`sauro audit verify`: the live database against the checkpoints that were published, every row and column of both logs.

The checkpoints come from outside the database: the audit folder, stream CHECKPOINTS, or a file a reviewer kept. What the
database itself holds of its checkpoints is compared with them, and trusted for nothing.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

import psycopg
from psycopg import Cursor

from services.audit.merkle import CompactRange
from services.audit.notes import Checkpoint, NoteInvalid, Verifier, opened_checkpoint
from services.audit.rows import (
    MOST_PROBLEMS,
    Problem,
    Stretch,
    check_part,
    check_stretch,
    connect,
    first_difference,
    leaf_hashes,
)
from services.audit.tiles import HASH, WIDTH
from services.eventlog import trees
from services.eventlog.reading import EVENTS, LOGS, count_of, head_of

STRETCH = 1 << 11
ALONE = 1 << 18
"""Up to so many rows one process does it all: starting others would take longer."""
MOST_WORKERS = 4
"""More keep PostgreSQL busier than themselves."""
MOST_SIZES = 4096
DATABASE = "database"
Progress = Callable[[int, int], None]
"""Rows done, rows in all."""
LeafTiles = Callable[[str, int], bytes | None]
"""The hashes of a log's first leaves from a copy of its tiles; None when the copy does not have them."""


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint's note, of which log, and where it was found."""

    log: str
    where: str
    note: str


@dataclass
class Report:
    """What was checked, against what, and what is wrong, most telling first in each log."""

    problems: list[Problem] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    covered: dict[str, int] = field(default_factory=dict)
    checkpoints: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether everything is as it was signed."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        rates = {
            name: round(rows / self.seconds) if self.seconds else None
            for name, rows in (("rows", sum(self.rows.values())), ("events", self.rows.get(EVENTS, 0)))
        }
        return {
            "clean": self.clean,
            "problems": [problem._asdict() for problem in self.problems],
            "rows": self.rows,
            "covered": self.covered,
            "checkpoints": self.checkpoints,
            "seconds": round(self.seconds, 3),
            "rows_per_second": rates["rows"],
            "events_per_second": rates["events"],  # though the receipts took their share of the time
        }


@contextmanager
def reading(dsn: str) -> Iterator[Cursor[Any]]:
    """A cursor that only reads, as the application's role, in one snapshot."""
    with psycopg.connect(dsn, options="-c role=sauro_app -c timezone=UTC -c datestyle=ISO") as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.cursor() as cursor:
            yield cursor


def verify(
    dsn: str,
    published: Sequence[Published],
    verifiers: Sequence[Verifier],
    *,
    tiles: LeafTiles | None = None,
    progress: Progress = lambda done, total: None,
    workers: int | None = None,
) -> Report:
    """Check both logs. `tiles`: a copy of the trees outside the database, to name the row when a root differs.

    `workers`: processes, this one included; by default one a core and at most MOST_WORKERS. A small log needs one.
    """
    began, report = time.monotonic(), Report()
    with reading(dsn) as cursor:
        heads = {log: head_of(cursor, log) for log in LOGS}
        total = sum(heads.values())
        workers = workers or min(os.cpu_count() or 1, MOST_WORKERS)
        with _stretches(dsn, cursor, workers if total > ALONE else 1) as check:
            done = 0
            for log in LOGS:
                own = [
                    Published(log, DATABASE, found.note) for found in trees.checkpoints(cursor, log, newest=MOST_SIZES)
                ]
                wanted = _checkpoints(log, [*(one for one in published if one.log == log), *own], verifiers, report)

                def step(rows: int) -> None:
                    nonlocal done
                    done += rows
                    progress(done, total)

                check_log(cursor, log, heads[log], wanted, report, tiles or (lambda log, size: None), check, step)
    report.seconds = time.monotonic() - began
    return report


Part = tuple[int, int, list[int]]
"""First and last position of a stretch, and the sizes whose last leaf lies in it."""
Check = Callable[[str, list[Part]], Iterable[Stretch]]


def check_log(
    cursor: Cursor[Any],
    log: str,
    head: int,
    wanted: Mapping[int, Checkpoint],
    report: Report,
    tiles: LeafTiles,
    check: Check,
    step: Callable[[int], None] = lambda rows: None,
) -> None:
    """Check one log up to its head against checkpoints by size, adding to the report."""
    problems: list[Problem] = []
    covered = max(wanted, default=0)
    if not wanted and head:
        problems.append(
            Problem(log, None, "unsigned", f"log.{log} has {head} rows and no checkpoint to hold them against")
        )
    if covered > head:
        message = (
            f"log.{log} ends at {head}; a checkpoint was signed at {covered}: rows {head + 1} to {covered} are gone"
        )
        problems.append(Problem(log, head + 1, "truncated", message))
    if (rows := count_of(cursor, log)) != head:
        problems.append(Problem(log, None, "count", f"log.{log} has {rows} rows up to position {head}"))
        head = min(head, max(rows, covered))  # a position far out must not make this read for ever
    sizes = sorted({size for size in wanted if size <= head} | {head}) if head else []
    roots, tree, tile_roots = {}, CompactRange(), []
    for stretch in check(log, _plan(head, sizes)):
        for size, ends in sorted(stretch.ends.items()):
            end = tree.copy()
            for root in stretch.roots[: (size - tree.size) // WIDTH]:
                end.append(root, 8)
            for level, hash_ in ends:
                end.append(hash_, level)
            roots[size] = end.root()
        for root in stretch.roots:
            tree.append(root, 8)
        tile_roots += stretch.roots
        problems += stretch.problems
        step(stretch.rows)
    wrong = [size for size in sizes if size in wanted and roots[size] != wanted[size].root]
    if wrong:
        problems.append(_located(cursor, log, wanted, wrong, sizes, tiles, tile_roots, problems))
    problems += _upper_tiles(cursor, log, tile_roots)
    report.problems += sorted(problems, key=_telling)[:MOST_PROBLEMS]
    report.rows[log], report.covered[log], report.checkpoints[log] = head, covered, len(wanted)


def _telling(problem: Problem) -> tuple[int, bool]:
    return (problem.position if problem.position is not None else 2**62, problem.rule == "root")


def _plan(head: int, sizes: Sequence[int]) -> list[Part]:
    by_stretch: dict[int, list[int]] = {}
    for size in sizes:
        by_stretch.setdefault((size - 1) // STRETCH, []).append(size)
    return [
        (number * STRETCH + 1, min((number + 1) * STRETCH, head), by_stretch.get(number, []))
        for number in range(-(-head // STRETCH))
    ]


def _checkpoints(
    log: str, found: Sequence[Published], verifiers: Sequence[Verifier], report: Report
) -> dict[int, Checkpoint]:
    """The checkpoints that hold by their signatures, one a size; the rest are problems."""
    by_size: dict[int, tuple[Checkpoint, str]] = {}
    for one in found:
        try:
            checkpoint = opened_checkpoint(one.note, [key for key in verifiers if key.name.endswith(f"/{log}")])
        except NoteInvalid as error:
            report.problems.append(
                Problem(log, None, "signature", f"a checkpoint in the {one.where} does not hold: {error}")
            )
            continue
        known, where = by_size.setdefault(checkpoint.size, (checkpoint, one.where))
        if known.root != checkpoint.root:
            message = (
                f"two checkpoints of size {checkpoint.size} with different roots, in the {where} and in the {one.where}: "
                "the log was forked"
            )
            report.problems.append(Problem(log, None, "fork", message))
    thinned = sorted(by_size)
    if len(thinned) > MOST_SIZES:
        thinned = [*thinned[:: -(-len(thinned) // MOST_SIZES)], thinned[-1]]
    return {size: by_size[size][0] for size in thinned}


def _located(
    cursor: Cursor[Any],
    log: str,
    wanted: Mapping[int, Checkpoint],
    wrong: Sequence[int],
    sizes: Sequence[int],
    tiles: LeafTiles,
    roots: Sequence[bytes],
    problems: Sequence[Problem],
) -> Problem:
    """Say where a root stops being the one signed: the first row, if a copy of the tiles or a row tells, else a range."""
    size = wrong[0]
    message = f"log.{log} does not lead to the root signed at {size}"
    kept = tiles(log, size)
    if kept is not None and _root_of(kept) == wanted[size].root:
        at = _first_row(cursor, log, size, kept, roots)
        return Problem(log, at, "root", f"{message}; the first row that differs is {at}")
    known = [problem.position for problem in problems if problem.position is not None and problem.position <= size]
    if known:
        return Problem(log, min(known), "root", f"{message}; the first row that differs is {min(known)}")
    right = max((one for one in sizes if one < size and one in wanted), default=0)
    return Problem(log, right + 1, "root", f"{message}; the first row that differs lies from {right + 1} to {size}")


def _root_of(kept: bytes) -> bytes:
    tree = CompactRange()
    for place in range(0, len(kept), HASH):
        tree.append(kept[place : place + HASH])
    return tree.root()


def _first_row(cursor: Cursor[Any], log: str, size: int, kept: bytes, roots: Sequence[bytes]) -> int:
    for tile in range(-(-size // WIDTH)):
        part = kept[tile * WIDTH * HASH : (tile + 1) * WIDTH * HASH]
        if len(part) == WIDTH * HASH and tile < len(roots) and _root_of(part) == roots[tile]:
            continue
        first = tile * WIDTH + 1
        made = b"".join(leaf_hashes(cursor, log, first, first + len(part) // HASH - 1))
        if made != part:
            return first + first_difference(made, part)
    return size


def _upper_tiles(cursor: Cursor[Any], log: str, roots: Sequence[bytes]) -> list[Problem]:
    """Compare the tiles above the lowest with the roots that were found; what a copier gets must be right, too."""
    found, level, row = [], 1, list(roots)
    while len(row) >= WIDTH:
        above = []
        for place in range(0, len(row) - len(row) % WIDTH, WIDTH):
            tree = CompactRange()
            for root in row[place : place + WIDTH]:
                tree.append(root)
            above.append((b"".join(row[place : place + WIDTH]), tree.root()))
        for index, hashes, root in trees.level_tiles(cursor, log, level, 0, len(above)):
            if (hashes, root) != above[index]:
                at = index * WIDTH ** (level + 1) + 1
                found.append(
                    Problem(log, at, "tile", f"audit.tiles: tile {index} of level {level} is not what the log leads to")
                )
        level, row = level + 1, [root for _, root in above]
    return found


@contextmanager
def _stretches(dsn: str, cursor: Cursor[Any], workers: int) -> Iterator[Check]:
    """How stretches are checked: here, and by other processes at the same time.

    Each gives only the roots of its tiles, which are put together here in order. Others get work once one of them has started,
    which takes as long as a quarter of a million rows; what they work on is not waited for while there is something left to do.
    """
    if workers < 2:
        yield lambda log, plan: (check_stretch(cursor, log, *part) for part in plan)
        return
    others = workers - 1
    with ProcessPoolExecutor(others, get_context("spawn"), connect, (dsn,)) as pool:
        started = pool.submit(bool)

        def check(log: str, plan: list[Part]) -> Iterator[Stretch]:
            parts, found = deque(plan), deque[Future[Stretch]]()
            while parts or found:
                while parts and started.done() and sum(not one.done() for one in found) < 2 * others:
                    found.append(pool.submit(check_part, log, *parts.popleft()))
                if parts and not (found and found[0].done()):
                    found.append(Future())
                    found[-1].set_result(check_stretch(cursor, log, *parts.popleft()))
                else:
                    yield found.popleft().result()

        yield check
