"""Tiles and bundles of any width, and the proofs made from them: full tiles as kept, partial ones from what they follow from."""

from typing import Any

from psycopg import Cursor

from services.audit import merkle
from services.audit.leaves import LEAVES
from services.audit.merkle import leaf_hash
from services.audit.tiles import WIDTH, Tile, TileNodes
from services.eventlog import trees


def entries_of(cursor: Cursor[Any], log: str, tile: Tile) -> list[bytes]:
    """The leaves below a tile of level 0, or of a bundle; raises LookupError when some are not there."""
    first = tile.index * WIDTH + 1
    found = LEAVES[log](cursor, first, first + tile.width - 1)
    if len(found) != tile.width:
        raise LookupError(f"log.{log} does not hold all of {first} to {first + tile.width - 1}")
    return [entry for _, entry in found]


def read_tile(cursor: Cursor[Any], log: str, tile: Tile) -> bytes:
    """The hashes of a tile; raises LookupError when the tree has not come so far."""
    assert tile.level is not None
    if tile.width == WIDTH:
        if (hashes := trees.tile_hashes(cursor, log, tile.level, tile.index)) is None:
            raise LookupError(f"there is no {tile.path} of {log}")
        return hashes
    if (whole := trees.tile_hashes(cursor, log, tile.level, tile.index)) is not None:
        return whole[: 32 * tile.width]
    if tile.level == 0:
        return b"".join(map(leaf_hash, entries_of(cursor, log, tile)))
    first = tile.index * WIDTH
    roots = trees.tile_roots(cursor, log, tile.level - 1, first, first + tile.width)
    if len(roots) != tile.width:
        raise LookupError(f"there is no {tile.path} of {log}")
    return b"".join(roots)


def nodes_of(cursor: Cursor[Any], log: str, size: int) -> merkle.Nodes:
    """The complete subtrees of a log's tree of `size`."""
    return TileNodes(lambda tile: read_tile(cursor, log, tile), size)
