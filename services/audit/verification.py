"""`sauro audit verify`: the live database against the checkpoints that were published, every row and column of both logs.

The checkpoints come from outside the database: the audit folder, stream CHECKPOINTS, or a file a reviewer kept. What the
database itself holds of its checkpoints is compared with them, and trusted for nothing. Erasable texts are compared with the
digests the events hold of them; one that is gone was erased, which is allowed, and counted.
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
from services.eventlog.trees import SignedCheckpoint

STRETCH = 1 << 11
ALONE = 1 << 18
"""Up to so many rows one process does it all: starting others would take longer."""
MOST_WORKERS = 4
"""More keep PostgreSQL busier than themselves."""
MOST_SIZES = 2048
"""So many checkpoints of one source are enough to say where a log changed; what somebody kept in a file is all used."""
DATABASE = "database"
Progress = Callable[[int, int], None]
"""Rows done, rows in all."""
LeafTiles = Callable[[str, int], bytes | None]
"""The hashes of a log's first leaves from a copy of its tiles; None when the copy does not have them."""


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint's note, of which log, and where it was found; `kept` by somebody, who wants this one held against the log."""

    log: str
    where: str
    note: str
    kept: bool = False


@dataclass
class Report:
    """What was checked, against what, and what is wrong, most telling first in each log."""

    problems: list[Problem] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    covered: dict[str, int] = field(default_factory=dict)
    checkpoints: dict[str, int] = field(default_factory=dict)
    sources: dict[str, dict[str, int]] = field(default_factory=dict)
    """By where checkpoints were found: how many were found, and how many of them were held against the logs."""
    texts: dict[str, int] = field(default_factory=lambda: {"sealed": 0, "erased": 0})
    """Erasable texts the events refer to, and how many of them are gone."""
    notes: list[str] = field(default_factory=list)
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
            "sources": self.sources,
            "texts": self.texts,
            "notes": self.notes,
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
        total, done = sum(heads.values()), 0
        workers = workers or min(os.cpu_count() or 1, MOST_WORKERS)

        def step(rows: int) -> None:
            nonlocal done
            done += rows
            progress(done, total)

        with _stretches(dsn, cursor, workers if total > ALONE else 1) as check:
            means = Means(cursor, check, tiles or (lambda log, size: None), step)
            for log in LOGS:
                own = trees.checkpoints(cursor, log, newest=MOST_SIZES)
                outside = _thinned([one for one in published if one.log == log], report)
                inside = [Published(log, DATABASE, found.note) for found in own]
                wanted = _checkpoints(log, [*outside, *inside], verifiers, report)
                check_log(means, log, heads[log], wanted, report)
                report.problems += _kept_otherwise(cursor, log, own, wanted)
        report.problems += _lost_exports(cursor)
    report.seconds = time.monotonic() - began
    return report


Part = tuple[int, int, list[int]]
"""First and last position of a stretch, and the sizes whose last leaf lies in it."""
Check = Callable[[str, list[Part]], Iterable[Stretch]]


@dataclass(frozen=True, slots=True)
class Means:
    """What a check works with: a snapshot, how stretches are checked, a copy of the tiles, whom to tell of rows done."""

    cursor: Cursor[Any]
    check: Check
    tiles: LeafTiles = lambda log, size: None
    step: Callable[[int], None] = lambda rows: None


def check_log(means: Means, log: str, head: int, wanted: Mapping[int, Checkpoint], report: Report) -> None:
    """Check one log up to its head against checkpoints by size, adding to the report."""
    problems, covered = [], max(wanted, default=0)
    if not wanted and head:
        message = f"log.{log} has {head} rows and no checkpoint to hold them against"
        problems.append(Problem(log, None, "unsigned", message))
    if covered > head:
        message = (
            f"log.{log} ends at {head}; a checkpoint was signed at {covered}: rows {head + 1} to {covered} are gone"
        )
        problems.append(Problem(log, head + 1, "truncated", message))
    if (rows := count_of(means.cursor, log)) != head:
        problems.append(Problem(log, None, "count", f"log.{log} has {rows} rows up to position {head}"))
        head = min(head, max(rows, covered))  # a position far out must not make this read for ever
    sizes = sorted({size for size in wanted if size <= head} | {head}) if head else []
    roots: dict[int, bytes] = {}
    tile_roots: list[bytes] = []
    tree = CompactRange()
    for stretch in means.check(log, _plan(head, sizes)):
        roots |= _ends(tree, stretch)
        for root in stretch.roots:
            tree.append(root, 8)
        tile_roots += stretch.roots
        problems += stretch.problems
        report.texts["sealed"] += stretch.sealed
        report.texts["erased"] += stretch.erased
        means.step(stretch.rows)
    wrong = [size for size in sizes if size in wanted and roots[size] != wanted[size].root]
    if wrong:
        problems.append(_located(means, log, wanted, wrong[0], sizes, tile_roots, problems))
    problems += _upper_tiles(means.cursor, log, tile_roots)
    report.problems += sorted(problems, key=_telling)[:MOST_PROBLEMS]
    report.rows[log], report.covered[log], report.checkpoints[log] = head, covered, len(wanted)


def _ends(tree: CompactRange, stretch: Stretch) -> dict[int, bytes]:
    """The roots at the sizes that end in a stretch, from the tree before it."""
    roots = {}
    for size, ends in stretch.ends.items():
        end = tree.copy()
        for root in stretch.roots[: (size - tree.size) // WIDTH]:
            end.append(root, 8)
        for level, hash_ in ends:
            end.append(hash_, level)
        roots[size] = end.root()
    return roots


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


def _thinned(found: Sequence[Published], report: Report) -> list[Published]:
    """At most MOST_SIZES of each source, the newest first and the rest spread evenly; of what somebody kept, all."""
    by_source: dict[str, list[Published]] = {}
    for one in found:
        by_source.setdefault(one.where, []).append(one)
    held: list[Published] = []
    for where, every in by_source.items():
        step = -(-len(every) // MOST_SIZES)
        some = [one for number, one in enumerate(reversed(every)) if one.kept or number % step == 0]
        counts = report.sources.setdefault(where, {"found": 0, "held": 0})
        counts["found"], counts["held"] = counts["found"] + len(every), counts["held"] + len(some)
        held += some
    return held


def _checkpoints(
    log: str, found: Sequence[Published], verifiers: Sequence[Verifier], report: Report
) -> dict[int, Checkpoint]:
    """The checkpoints that hold by their signatures, one a size; the rest are problems. The same note is opened once."""
    keys = [key for key in verifiers if key.name.endswith(f"/{log}")]
    by_size: dict[int, tuple[Checkpoint, str]] = {}
    places: dict[str, str] = {}
    for one in found:
        places.setdefault(one.note, one.where)
    for note, where in places.items():
        try:
            checkpoint = opened_checkpoint(note, keys)
        except NoteInvalid as error:
            message = f"a checkpoint in the {where} does not hold: {error}"
            report.problems.append(Problem(log, None, "signature", message))
            continue
        known, other = by_size.setdefault(checkpoint.size, (checkpoint, where))
        if known.root != checkpoint.root:
            message = (
                f"two checkpoints of size {checkpoint.size} with different roots, in the {other} and in the {where}: "
                "the log was forked"
            )
            report.problems.append(Problem(log, None, "fork", message))
    return {size: checkpoint for size, (checkpoint, _) in sorted(by_size.items())}


def _kept_otherwise(
    cursor: Cursor[Any], log: str, own: Sequence[SignedCheckpoint], wanted: Mapping[int, Checkpoint]
) -> list[Problem]:
    """Where audit.checkpoints says something else than its notes, or lacks what was published."""
    found = []
    for row in own:
        try:
            said = Checkpoint.parse(row.note.rpartition("\n\n")[0] + "\n")
        except NoteInvalid:
            continue  # said already
        if (row.size, row.root) != (said.size, said.root):
            message = f"audit.checkpoints: the row of size {row.size} does not say what its note says"
            found.append(Problem(log, None, "checkpoint", message))
    if lost := sorted(set(wanted) - trees.signed_sizes(cursor, log, list(wanted))):
        message = (
            f"audit.checkpoints lacks {len(lost)} of the checkpoints that were published, the first of size {lost[0]}"
        )
        found.append(Problem(log, None, "checkpoint", message))
    return found


def _lost_exports(cursor: Cursor[Any]) -> list[Problem]:
    rows, last = trees.count_exports(cursor)
    if rows == last:
        return []
    return [Problem("exports", None, "exports", f"audit.exports has {rows} rows, the last of number {last}")]


def _located(
    means: Means,
    log: str,
    wanted: Mapping[int, Checkpoint],
    size: int,
    sizes: Sequence[int],
    roots: Sequence[bytes],
    problems: Sequence[Problem],
) -> Problem:
    """Say where a root stops being the one signed: the first row, if a copy of the tiles or a row tells, else a range."""
    message = f"log.{log} does not lead to the root signed at {size}"
    kept = means.tiles(log, size)
    if kept is not None and _root_of(kept) == wanted[size].root:
        at = _first_row(means.cursor, log, size, kept, roots)
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
