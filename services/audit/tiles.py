"""The layout of C2SP `tlog-tiles`: tiles of 256 hashes, bundles of 256 entries, and the paths they have."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from services.audit.merkle import node_hash

HEIGHT = 8
WIDTH = 1 << HEIGHT
HASH = 32
LARGEST_ENTRY = 0xFFFF
"""An entry's length stands in 16 bits; a larger one cannot be told in a bundle, though it is a leaf like any other."""
_PATH = re.compile(
    r"(?P<level>entries|[0-9]|[1-5][0-9]|6[0-3])(?P<index>(/x\d{3}){0,5}/\d{3})(\.p/(?P<width>\d{1,3}))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Tile:
    """Which tile: its level (None for a bundle of entries), its index in the level, how many hashes or entries."""

    level: int | None
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Below the log's prefix: tile/0/x001/234, tile/entries/000.p/7."""
        level = "entries" if self.level is None else str(self.level)
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{index_path(self.index)}{partial}"

    def within(self, size: int) -> bool:
        """Whether a tree of `size` has all of it."""
        return (self.index * WIDTH + self.width) << (HEIGHT * (self.level or 0)) <= size

    @classmethod
    def parse(cls, path: str) -> "Tile | None":
        """The tile at a path (without `tile/`), None when there can be none."""
        if not (match := _PATH.fullmatch(path)):
            return None
        index = int(match["index"].replace("/x", "").replace("/", ""))
        width = int(match["width"]) if match["width"] else WIDTH
        found = cls(None if match["level"] == "entries" else int(match["level"]), index, width)
        return found if 0 < width <= WIDTH and found.path == f"tile/{path}" else None


def index_path(index: int) -> str:
    """An index in groups of three digits, all but the last marked: 1234067 is x001/x234/067."""
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[place : place + 3] for place in range(0, len(digits), 3)]
    return "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])


def tiles_between(old: int, new: int) -> Iterator[Tile]:
    """The hash tiles a tree of `new` leaves has and one of `old` had not, the partial ones of `new` included."""
    level = 0
    while new >> (HEIGHT * level):
        before, after = old >> (HEIGHT * level), new >> (HEIGHT * level)
        if before != after:
            for index in range(before // WIDTH, after // WIDTH):
                yield Tile(level, index)
            if width := after % WIDTH:
                yield Tile(level, after // WIDTH, width)
        level += 1


def bundle(entries: Sequence[bytes]) -> bytes | None:
    """A bundle of entries, each after its length in 16 bits; None when one is too long for that."""
    if any(len(entry) > LARGEST_ENTRY for entry in entries):
        return None
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def hashes_of(tile: bytes) -> list[bytes]:
    """The hashes of a tile."""
    return [tile[place : place + HASH] for place in range(0, len(tile), HASH)]


TileReader = Callable[[Tile], bytes]
"""Gives a tile's bytes; raises LookupError when there is none."""


class TileNodes:
    """Complete subtrees of a tree of `size` leaves, from its tiles."""

    def __init__(self, tile: TileReader, size: int) -> None:
        self._tile, self._size = tile, size
        self._rows: dict[tuple[int, int], list[list[bytes]]] = {}

    def __call__(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree of the tree."""
        tile_level, inside = divmod(level, HEIGHT)
        tile_index, place = divmod(index, WIDTH >> inside)
        rows = self._row(tile_level, tile_index)
        return rows[inside][place]

    def _row(self, level: int, index: int) -> list[list[bytes]]:
        if (level, index) not in self._rows:
            width = min(WIDTH, (self._size >> (HEIGHT * level)) - index * WIDTH)
            rows = [hashes_of(self._tile(Tile(level, index, width)))]
            while len(row := rows[-1]) > 1:
                rows.append([node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)])
            self._rows[level, index] = rows
        return self._rows[level, index]
