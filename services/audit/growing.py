"""A tree as the follower grows it: the hashes of its partial tiles, and what became full since the last checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.audit.merkle import EMPTY, CompactRange, leaf_hash, subtree_root
from services.audit.tiles import WIDTH
from services.eventlog.trees import FullTile


@dataclass(slots=True)
class Growing:
    """`rows` holds the hashes of the partial tile of each level, lowest first; `entries` the leaves of the lowest one.

    `full` and `bundles` collect tiles that became full, until `taken`.
    """

    size: int = 0
    rows: list[list[bytes]] = field(default_factory=lambda: [[]])
    entries: list[bytes] = field(default_factory=list)
    full: list[FullTile] = field(default_factory=list)
    bundles: list[tuple[int, list[bytes]]] = field(default_factory=list)

    @classmethod
    def resumed(cls, size: int, roots: Sequence[Sequence[bytes]], entries: Sequence[bytes]) -> "Growing":
        """A tree of `size` from the roots of the full tiles below each partial one (level 1 first), and its last leaves."""
        tree = cls(size, [[leaf_hash(entry) for entry in entries], *(list(row) for row in roots)], list(entries))
        if any(len(row) != size // WIDTH**level % WIDTH for level, row in enumerate(tree.rows)):
            raise LookupError(f"tiles or leaves of a tree of {size} are missing")
        return tree

    def extend(self, entries: Sequence[bytes]) -> None:
        """Add leaves."""
        done = 0
        while done < len(entries):
            part = entries[done : done + WIDTH - len(self.entries)]
            done += len(part)
            self.entries += part
            self.rows[0] += map(leaf_hash, part)
            self.size += len(part)
            if len(self.entries) == WIDTH:
                self.bundles.append((self.size // WIDTH - 1, self.entries))
                self.entries = []
                self._carry()

    def _carry(self) -> None:
        """Move the roots of full tiles up."""
        for level, row in enumerate(self.rows):
            if len(row) < WIDTH:
                return
            root = subtree_root(row)
            self.full.append(FullTile(level, self.size // WIDTH ** (level + 1) - 1, b"".join(row), root))
            self.rows[level] = []
            if level + 1 == len(self.rows):
                self.rows.append([])
            self.rows[level + 1].append(root)

    def taken(self) -> tuple[list[FullTile], list[tuple[int, list[bytes]]]]:
        """What became full since the last time, tiles and bundles; from here on nobody else gets it."""
        full, bundles = self.full, self.bundles
        self.full, self.bundles = [], []
        return full, bundles

    def root(self) -> bytes:
        """The root as the tree stands."""
        tree = CompactRange()
        for level in reversed(range(len(self.rows))):
            for hash_ in self.rows[level]:
                tree.append(hash_, 8 * level)
        return tree.root() if self.size else EMPTY

    def partial(self, level: int) -> bytes:
        """The hashes of a level's partial tile."""
        return b"".join(self.rows[level]) if level < len(self.rows) else b""
