"""The Merkle tree against the RFC's definition, known vectors, and an implementation that is not ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audit import merkle
from services.audit.merkle import CompactRange, MemoryNodes, ProofInvalid, leaf_hash

# pymerkle 7.0.0 made this file once; it is licensed GPL-3.0, so it is no dependency, not even of the tests. The proof checks of
# github.com/transparency-dev/merkle (testdata/inclusion, testdata/consistency at 417fb0c3: 196 probes, those with errors
# among them) were run against this module too, with the same verdicts.
GOLDEN = Path(__file__).parents[1] / "golden" / "merkle" / "pymerkle.json"

# The leaves and roots every implementation of Certificate Transparency is tried on: certificate-transparency,
# cpp/merkletree/merkle_tree_test.cc (Apache-2.0); today also github.com/transparency-dev/merkle, package testonly.
KNOWN_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
KNOWN_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
sizes = st.integers(1, 700)


def leaves(size: int) -> list[bytes]:
    return [leaf_hash(b"leaf %d" % number) for number in range(size)]


LEAVES = leaves(700)
NODES = MemoryNodes(LEAVES)


def defined(hashes: list[bytes]) -> bytes:
    """MTH word for word as RFC 6962, section 2.1, over the hashes of leaves."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return sha256(b"\x01" + defined(hashes[:k]) + defined(hashes[k:])).digest()


def test_known_vectors() -> None:
    growing = CompactRange()
    assert growing.root().hex() == KNOWN_ROOTS[0]
    nodes = MemoryNodes([leaf_hash(leaf) for leaf in KNOWN_LEAVES])
    for size, leaf in enumerate(KNOWN_LEAVES, 1):
        growing.append(leaf_hash(leaf))
        assert growing.root().hex() == KNOWN_ROOTS[size] == merkle.root_at(nodes, size).hex()


def test_known_proofs() -> None:
    """The paths RFC 6962, section 2.1.3, gives for its tree of seven leaves, by the names it gives its nodes."""
    hashes = leaves(7)
    nodes = MemoryNodes(hashes)
    a, b, c, d, e, f, j = hashes
    g, h, i = (merkle.node_hash(*pair) for pair in ((a, b), (c, d), (e, f)))
    k, l = merkle.node_hash(g, h), merkle.node_hash(i, j)
    assert merkle.inclusion_proof(nodes, 0, 7) == [b, h, l]
    assert merkle.inclusion_proof(nodes, 3, 7) == [c, g, l]
    assert merkle.inclusion_proof(nodes, 4, 7) == [f, j, k]
    assert merkle.inclusion_proof(nodes, 6, 7) == [i, k]
    assert merkle.consistency_proof(nodes, 3, 7) == [c, d, g, l]
    assert merkle.consistency_proof(nodes, 4, 7) == [l]
    assert merkle.consistency_proof(nodes, 6, 7) == [i, j, k]


def test_agrees_with_another_implementation() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for size, root in golden["roots"].items():
        assert merkle.root_at(NODES, int(size)).hex() == root
    for name, path in golden["inclusion"].items():
        index, size = (int(part) for part in name.split(" of "))
        assert [hash_.hex() for hash_ in merkle.inclusion_proof(NODES, index, size)] == path
    for name, path in golden["consistency"].items():
        first, second = (int(part) for part in name.split(" to "))
        assert sorted(hash_.hex() for hash_ in merkle.consistency_proof(NODES, first, second)) == path


@given(sizes)
def test_any_size(size: int) -> None:
    growing = CompactRange()
    for leaf in LEAVES[:size]:
        growing.append(leaf)
    assert growing.root() == defined(LEAVES[:size]) == merkle.root_at(NODES, size)
    assert growing.size == size
    whole = [NODES(level, index) for level, index in merkle.complete_subtrees(size)]
    assert growing.roots == whole
    assert merkle.subtree_root(LEAVES[:256]) == defined(LEAVES[:256])


@given(st.integers(0, 500), st.integers(0, 3))
def test_whole_subtrees_may_be_added_where_they_may_begin(begin: int, level: int) -> None:
    growing = CompactRange()
    for leaf in LEAVES[:begin]:
        growing.append(leaf)
    width = 1 << level
    if begin % width:
        with pytest.raises(ValueError, match="cannot begin"):
            growing.append(LEAVES[0], level)
        return
    growing.append(merkle.subtree_root(LEAVES[begin : begin + width]), level)
    assert growing.root() == merkle.root_at(NODES, begin + width)


@given(st.data())
def test_any_inclusion(data: st.DataObject) -> None:
    size = data.draw(sizes)
    index = data.draw(st.integers(0, size - 1))
    root = merkle.root_at(NODES, size)
    proof = merkle.inclusion_proof(NODES, index, size)
    merkle.verify_inclusion(LEAVES[index], index, size, proof, root)
    refuses(lambda: merkle.verify_inclusion(leaf_hash(b"another"), index, size, proof, root))
    refuses(lambda: merkle.verify_inclusion(LEAVES[index], index, size, [*proof, root], root))
    refuses(lambda: merkle.verify_inclusion(LEAVES[index], size, size, proof, root))
    if proof:
        refuses(lambda: merkle.verify_inclusion(LEAVES[index], index, size, proof[:-1], root))
        refuses(lambda: merkle.verify_inclusion(LEAVES[index], index, size, flipped(data, proof), root))
    if size > 1:
        other = data.draw(st.integers(0, size - 1).filter(lambda number: number != index))
        refuses(lambda: merkle.verify_inclusion(LEAVES[index], other, size, proof, root))


@given(st.data())
def test_any_consistency(data: st.DataObject) -> None:
    second = data.draw(sizes)
    first = data.draw(st.integers(1, second))
    old, new = merkle.root_at(NODES, first), merkle.root_at(NODES, second)
    proof = merkle.consistency_proof(NODES, first, second)
    merkle.verify_consistency(first, second, old, new, proof)
    refuses(lambda: merkle.verify_consistency(first, second, leaf_hash(b"fork"), new, proof))
    refuses(lambda: merkle.verify_consistency(first, second, old, leaf_hash(b"fork"), proof))
    refuses(lambda: merkle.verify_consistency(first, second, old, new, [*proof, new]))
    if proof:
        refuses(lambda: merkle.verify_consistency(first, second, old, new, proof[:-1]))
        refuses(lambda: merkle.verify_consistency(first, second, old, new, flipped(data, proof)))


@given(st.data())
def test_two_logs_that_part_have_no_consistency(data: st.DataObject) -> None:
    first = data.draw(st.integers(1, 200))
    second = data.draw(st.integers(first, 260))
    at = data.draw(st.integers(0, first - 1))
    fork = MemoryNodes([*LEAVES[:at], leaf_hash(b"rewritten"), *LEAVES[at + 1 : second]])
    old, new = merkle.root_at(NODES, first), merkle.root_at(fork, second)
    refuses(lambda: merkle.verify_consistency(first, second, old, new, merkle.consistency_proof(fork, first, second)))


@given(st.data())
def test_a_joint_proof_of_one_leaf_has_the_hashes_of_its_own(data: st.DataObject) -> None:
    size = data.draw(sizes)
    index = data.draw(st.integers(0, size - 1))
    assert sorted(merkle.joint_proof(NODES, [index], size)) == sorted(merkle.inclusion_proof(NODES, index, size))
    assert merkle.joint_proof(NODES, range(size), size) == []


def test_beyond_the_tree() -> None:
    for index in (7, -1):
        with pytest.raises(ValueError, match="tree"):
            merkle.inclusion_proof(NODES, index, 7)
    for first in (8, 0):
        with pytest.raises(ValueError, match="tree"):
            merkle.consistency_proof(NODES, first, 7)


def flipped(data: st.DataObject, proof: list[bytes]) -> list[bytes]:
    """The proof with one bit of one hash turned."""
    place = data.draw(st.integers(0, len(proof) - 1))
    bit = data.draw(st.integers(0, 255))
    changed = bytearray(proof[place])
    changed[bit // 8] ^= 1 << bit % 8
    return [*proof[:place], bytes(changed), *proof[place + 1 :]]


def refuses(check: Callable[[], None]) -> None:
    with pytest.raises(ProofInvalid):
        check()
