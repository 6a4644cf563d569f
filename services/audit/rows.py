"""One stretch of a log, read and checked row by row: the part of a verification that can be done by many at once."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

import psycopg
from psycopg import Cursor

from services.audit.leaves import disagreeing, receipt_leaf
from services.audit.merkle import complete_rows, complete_subtrees, leaf_hash
from services.audit.tiles import HASH, HEIGHT, WIDTH
from services.eventlog.reading import EVENTS, RECEIPTS, Row, event_rows, receipt_rows, texts_unlike
from services.eventlog.trees import level_tiles

_MISSING = bytes(HASH)
_SEALED = re.compile(
    rb'\{"ref":"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})","digest":"([0-9a-f]{64})"\}'
)
"""How an event refers to an erasable text."""
SHORTEST = 320
"""Bytes that stand before the data of any event: no need to search them."""
MOST_PROBLEMS = 20


class Problem(NamedTuple):
    """Something that is not as it was signed: in which log, at which position (None: the log as a whole), and what."""

    log: str
    position: int | None
    rule: str
    message: str


@dataclass(slots=True)
class Stretch:
    """A stretch as found: the roots of its full tiles, what leads to the roots asked for, and what is wrong with its rows.

    `sealed`: references to erasable texts in its events; `erased`: those whose text is gone.
    """

    rows: int = 0
    sealed: int = 0
    erased: int = 0
    roots: list[bytes] = field(default_factory=list)
    ends: dict[int, list[tuple[int, bytes]]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def check_stretch(cursor: Cursor[Any], log: str, first: int, last: int, sizes: Collection[int]) -> Stretch:
    """Check the rows from a position (the first of a tile) to another; `sizes`: trees whose roots will be asked for."""
    found = Stretch()
    hashes = (_event_hashes if log == EVENTS else _receipt_hashes)(cursor, first, last, found)
    ending: dict[int, list[int]] = {}
    for size in sizes:
        ending.setdefault((size - first + 1) // WIDTH, []).append(size)
    for tile in range(len(hashes) // WIDTH + 1):
        rows = complete_rows(hashes[tile * WIDTH : (tile + 1) * WIDTH])
        found.roots += rows[HEIGHT] if len(rows) > HEIGHT else ()
        for size in ending.get(tile, ()):
            found.ends[size] = [(level, rows[level][index]) for level, index in complete_subtrees(size % WIDTH)]
    _check_tiles(cursor, log, first, hashes, found)
    del found.problems[MOST_PROBLEMS:]
    return found


_connections: list[psycopg.Connection[Any]] = []


def connect(dsn: str) -> None:
    """Make this process one that checks stretches for another: `check_part` reads over this connection."""
    options = "-c role=sauro_app -c timezone=UTC -c datestyle=ISO"
    _connections.append(psycopg.connect(dsn, options=options, autocommit=True))


def check_part(log: str, first: int, last: int, sizes: Collection[int]) -> Stretch:
    """`check_stretch` in a process that is connected."""
    with _connections[0].cursor() as cursor:
        return check_stretch(cursor, log, first, last, sizes)


def leaf_hashes(cursor: Cursor[Any], log: str, first: int, last: int) -> list[bytes]:
    """The hashes of a stretch's leaves as they are now, nothing checked."""
    return (_event_hashes if log == EVENTS else _receipt_hashes)(cursor, first, last, Stretch())


def _event_hashes(cursor: Cursor[Any], first: int, last: int, found: Stretch) -> list[bytes]:
    rows = event_rows(cursor, first, last)
    found.rows = len(rows)
    found.problems += [
        Problem(EVENTS, position, "column", f"row {position}: {different}") for position, different in disagreeing(rows)
    ]
    _check_texts(cursor, rows, found)
    return _aligned(EVENTS, [row[0] for row in rows], (row[5] or b"" for row in rows), first, last, found)


def _check_texts(cursor: Cursor[Any], rows: Sequence[Row], found: Stretch) -> None:
    """Compare the erasable texts of a stretch with the digests its events hold, all at once; most events have none."""
    sealed = [
        (row[0], *pair.groups())
        for row in rows
        if row[5] and row[5].find(b'"digest":"', SHORTEST) > 0
        for pair in _SEALED.finditer(row[5])
    ]
    if not sealed:
        return
    found.sealed = len(sealed)
    for position, ref, gone in texts_unlike(cursor, sealed):
        found.erased += gone
        if not gone:
            message = f"log.texts: the words of {ref} are not those event {position} holds the digest of"
            found.problems.append(Problem(EVENTS, position, "text", message))


def _receipt_hashes(cursor: Cursor[Any], first: int, last: int, found: Stretch) -> list[bytes]:
    rows = receipt_rows(cursor, first, last)
    found.rows = len(rows)
    return _aligned(RECEIPTS, [row[0] for row in rows], map(receipt_leaf, rows), first, last, found)


def _aligned(
    log: str, positions: list[int], leaves: Iterable[bytes], first: int, last: int, found: Stretch
) -> list[bytes]:
    """The hashes by position; a row that is missing or stands twice is a problem, and moves none of the others.

    Leaves are taken one by one and let go at once: to keep those of a stretch costs more than to hash them.
    """
    if positions == list(range(first, last + 1)):
        return [sha256(b"\x00" + leaf).digest() for leaf in leaves]
    hashes = [_MISSING] * (last + 1 - first)
    for position, leaf in zip(positions, leaves, strict=True):
        if hashes[position - first] is not _MISSING:
            found.problems.append(Problem(log, position, "twice", f"position {position} stands twice"))
        hashes[position - first] = leaf_hash(leaf)
    gone = [position for position, hash_ in enumerate(hashes, first) if hash_ is _MISSING]
    found.problems += [
        Problem(log, position, "missing", f"row {position} is missing") for position in gone[:MOST_PROBLEMS]
    ]
    return hashes


def _check_tiles(cursor: Cursor[Any], log: str, first: int, hashes: list[bytes], found: Stretch) -> None:
    """Compare with the full tiles the database keeps, where it keeps them."""
    index = (first - 1) // WIDTH
    for tile, kept, root in level_tiles(cursor, log, 0, index, index + len(found.roots)):
        place = (tile - index) * WIDTH
        made = b"".join(hashes[place : place + WIDTH])
        if made != kept:
            at = first + place + first_difference(made, kept)
            found.problems.append(Problem(log, at, "tile", f"row {at} is not the one whose hash audit.tiles keeps"))
        elif root != found.roots[tile - index]:
            at = first + place
            found.problems.append(
                Problem(log, at, "tile", f"audit.tiles: the root of tile {tile} is not that of its hashes")
            )


def first_difference(made: bytes, kept: bytes) -> int:
    """The index of the first hash that differs between two tiles; the length of the shorter one when none does."""
    least = min(len(made), len(kept)) // HASH
    return next(
        (i for i in range(least) if made[i * HASH : i * HASH + HASH] != kept[i * HASH : i * HASH + HASH]), least
    )
