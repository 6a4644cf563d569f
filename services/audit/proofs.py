"""Proofs as the API and the command line give them: with what they lead to, hashes in base64."""

from typing import Any

from psycopg import Cursor

from services.audit import merkle
from services.audit.leaves import LEAVES
from services.audit.merkle import leaf_hash
from services.audit.notes import encoded
from services.audit.reading import nodes_of
from services.eventlog import trees


def inclusion(cursor: Cursor[Any], log: str, position: int, size: int | None = None) -> dict[str, Any]:
    """That a position (receipt number) is in the tree of `size`, or of the last checkpoint; raises LookupError."""
    size = _size(cursor, log, size)
    if not 1 <= position <= size:
        raise LookupError(f"position {position} does not lie in the {log} signed up to {size}")
    nodes = nodes_of(cursor, log, size)
    proof = merkle.inclusion_proof(nodes, position - 1, size)
    leaf = LEAVES[log](cursor, position, position)
    return {
        "log": log,
        "position": position,
        "index": position - 1,
        "size": size,
        "leaf_hash": encoded(leaf_hash(leaf[0][1]) if leaf else b""),
        "root": encoded(merkle.root_at(nodes, size)),
        "proof": [encoded(hash_) for hash_ in proof],
    }


def consistency(cursor: Cursor[Any], log: str, first: int, second: int | None = None) -> dict[str, Any]:
    """That the tree of size `first` is the beginning of that of `second`, or of the last checkpoint; raises LookupError."""
    second = _size(cursor, log, second)
    if not 1 <= first <= second:
        raise LookupError(f"the {log} of size {first} cannot be a beginning of those of size {second}")
    nodes = nodes_of(cursor, log, second)
    return {
        "log": log,
        "from": first,
        "to": second,
        "from_root": encoded(merkle.root_at(nodes, first)),
        "to_root": encoded(merkle.root_at(nodes, second)),
        "proof": [encoded(hash_) for hash_ in merkle.consistency_proof(nodes, first, second)],
    }


def _size(cursor: Cursor[Any], log: str, size: int | None) -> int:
    last = trees.last_checkpoint(cursor, log)
    if last is None:
        raise LookupError(f"no checkpoint of the {log} is signed yet")
    if size is None:
        return last.size
    if not 1 <= size <= last.size:
        raise LookupError(f"the {log} are signed up to {last.size}; there is no tree of {size}")
    return size
