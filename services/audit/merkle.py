"""The Merkle tree of RFC 6962, section 2.1 (the same in RFC 9162): hashes, roots at any size, proofs and their checks.

Pure: who wants a proof hands over a function that knows the hashes of complete subtrees (`Nodes`). Indices are from 0, so the
leaf of log position 1 has index 0. A proof is a list of hashes from the leaf upwards, as both RFCs order it.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

EMPTY = sha256().digest()
"""The root of a tree without leaves."""

Nodes = Callable[[int, int], bytes]
"""The hash of the complete subtree at a level (0: leaves) and an index in that level."""


class ProofInvalid(Exception):
    """A proof does not lead to the root it is said to lead to; the message says which and why."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf: SHA-256 of 0x00 and its bytes."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256 of 0x01 and its two children."""
    return sha256(b"\x01" + left + right).digest()


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """The root over the hashes of 2^n neighbours; far faster than appending one by one."""
    row = hashes
    while len(row) > 1:
        row = [sha256(b"\x01" + row[i] + row[i + 1]).digest() for i in range(0, len(row), 2)]
    return row[0]


def complete_rows(hashes: Sequence[bytes]) -> list[Sequence[bytes]]:
    """The hashes of all complete subtrees over neighbours that begin at a tile, by level and index in it."""
    rows = [hashes]
    while len(row := rows[-1]) > 1:
        rows.append([sha256(b"\x01" + row[i] + row[i + 1]).digest() for i in range(0, len(row) - 1, 2)])
    return rows


def split(size: int) -> int:
    """The largest power of two smaller than a size of at least 2: where the RFCs split a tree."""
    return 1 << ((size - 1).bit_length() - 1)


@dataclass(slots=True)
class CompactRange:
    """A growing tree of which only the roots of its complete subtrees are kept, largest first: at most 64 hashes.

    `roots` holds one hash for each bit that is set in `size`.
    """

    size: int = 0
    roots: list[bytes] = field(default_factory=list)

    def append(self, hash_: bytes, level: int = 0) -> None:
        """Add a leaf's hash, or the root of a complete subtree of 2^level leaves at a place where one may begin."""
        if self.size & ((1 << level) - 1):
            raise ValueError(f"a subtree of 2^{level} leaves cannot begin at {self.size}")
        rest = self.size >> level
        while rest & 1:
            hash_ = node_hash(self.roots.pop(), hash_)
            rest >>= 1
        self.roots.append(hash_)
        self.size += 1 << level

    def root(self) -> bytes:
        """The root of the tree as it stands."""
        if not self.roots:
            return EMPTY
        found = self.roots[-1]
        for left in reversed(self.roots[:-1]):
            found = node_hash(left, found)
        return found

    def copy(self) -> "CompactRange":
        """The same tree, to grow by itself."""
        return CompactRange(self.size, list(self.roots))


def complete_subtrees(size: int) -> Iterator[tuple[int, int]]:
    """Level and index of the complete subtrees that make up a tree, largest first."""
    begin = 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            yield level, begin >> level
            begin += 1 << level


def _range_root(nodes: Nodes, begin: int, end: int) -> bytes:
    """MTH(D[begin:end]) for a range that the RFCs' splitting leads to."""
    width = end - begin
    if width & (width - 1) == 0:
        level = width.bit_length() - 1
        return nodes(level, begin >> level)
    middle = begin + split(width)
    return node_hash(_range_root(nodes, begin, middle), _range_root(nodes, middle, end))


def root_at(nodes: Nodes, size: int) -> bytes:
    """The root of the first `size` leaves."""
    return _range_root(nodes, 0, size) if size else EMPTY


def inclusion_proof(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """PATH(index, D[size]): what leads from a leaf to the root of a tree of `size`. Raises ValueError beyond it."""
    if not 0 <= index < size:
        raise ValueError(f"index {index} does not lie in a tree of {size}")
    found: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + split(end - begin)
        if index < middle:
            found.append(_range_root(nodes, middle, end))
            end = middle
        else:
            found.append(_range_root(nodes, begin, middle))
            begin = middle
    found.reverse()
    return found


def consistency_proof(nodes: Nodes, first: int, second: int) -> list[bytes]:
    """PROOF(first, D[second]): that the tree of `first` leaves is the beginning of that of `second`.

    Empty for equal sizes. Raises ValueError for an empty first tree, which shows nothing, and for one larger than the second.
    """
    if not 0 < first <= second:
        raise ValueError(f"a tree of {first} is not the beginning of one of {second}")
    found: list[bytes] = []
    begin, end, whole = 0, second, True
    while first != end:
        middle = begin + split(end - begin)
        if first <= middle:
            found.append(_range_root(nodes, middle, end))
            end = middle
        else:
            found.append(_range_root(nodes, begin, middle))
            begin, whole = middle, False
    if not whole:
        found.append(_range_root(nodes, begin, end))
    found.reverse()
    return found


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check an inclusion proof of a leaf's hash (RFC 9162, 2.1.3.2); raises ProofInvalid."""
    if not 0 <= index < size:
        raise ProofInvalid(f"index {index} does not lie in a tree of {size}")
    if any(len(hash_) != sha256().digest_size for hash_ in (leaf, *proof)):
        raise ProofInvalid("a hash does not have 32 bytes")
    number, last, found = index, size - 1, leaf
    for other in proof:
        if last == 0:
            raise ProofInvalid(f"the inclusion proof of index {index} in a tree of {size} is too long")
        if number & 1 or number == last:
            found = node_hash(other, found)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            found = node_hash(found, other)
        number, last = number >> 1, last >> 1
    if last:
        raise ProofInvalid(f"the inclusion proof of index {index} in a tree of {size} is too short")
    if found != root:
        raise ProofInvalid(f"the inclusion proof of index {index} does not lead to the root of the tree of {size}")


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> None:
    """Check a consistency proof (RFC 9162, 2.1.4.2); raises ProofInvalid."""
    where = f"consistency proof from {first} to {second}"
    if not 0 <= first <= second or (first == 0 and (second or first_root != EMPTY)):
        raise ProofInvalid(f"{where}: the first tree is empty or not the smaller one")
    if any(len(hash_) != sha256().digest_size for hash_ in proof):
        raise ProofInvalid(f"{where}: a hash does not have 32 bytes")
    if first == second:
        if proof or first_root != second_root:
            raise ProofInvalid(f"{where}: two roots for one size" if not proof else f"{where}: must be empty")
        return
    old, new = _roots_of_consistency(first, second, first_root, proof, where)
    if old != first_root:
        raise ProofInvalid(f"{where}: does not lead to the root of the first tree")
    if new != second_root:
        raise ProofInvalid(f"{where}: does not lead to the root of the second tree")


def _roots_of_consistency(
    first: int, second: int, first_root: bytes, proof: Sequence[bytes], where: str
) -> tuple[bytes, bytes]:
    path = list(proof) if first & (first - 1) else [first_root, *proof]
    if not proof:
        raise ProofInvalid(f"{where}: is empty")
    number, last = first - 1, second - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    old = new = path[0]
    for other in path[1:]:
        if last == 0:
            raise ProofInvalid(f"{where}: too long")
        if number & 1 or number == last:
            old, new = node_hash(other, old), node_hash(other, new)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            new = node_hash(new, other)
        number, last = number >> 1, last >> 1
    if last:
        raise ProofInvalid(f"{where}: too short")
    return old, new


def joint_proof(nodes: Nodes, indices: Sequence[int], size: int) -> list[bytes]:
    """One inclusion proof of many leaves: the roots of the largest subtrees that hold none of them, left to right.

    `indices` rise strictly. For one leaf these are the hashes of its inclusion proof in another order; for a run of
    neighbours hardly more than for one.
    """
    found: list[bytes] = []

    def walk(begin: int, end: int, low: int, high: int) -> None:
        if low == high:
            found.append(_range_root(nodes, begin, end))
        elif end - begin > 1:
            middle = begin + split(end - begin)
            cut = bisect_left(indices, middle, low, high)
            walk(begin, middle, low, cut)
            walk(middle, end, cut, high)

    if size:
        walk(0, size, 0, len(indices))
    return found


class MemoryNodes:
    """The complete subtrees of a tree held in memory; for small trees and tests."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        """Build from the hashes of the leaves."""
        self._levels = [list(leaves)]
        while len(row := self._levels[-1]) > 1:
            self._levels.append([node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)])

    def __call__(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree."""
        return self._levels[level][index]
