"""Proof over HTTP: checkpoints, tiles and entries in the C2SP layout, proofs, public keys. Nothing here needs a read model."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel

from projections.scope import EVERYTHING
from services.api.answers import PROBLEMS, Answer, LogReading, Snapshot
from services.api.problems import not_found
from services.audit import proofs
from services.audit.reading import entries_of, read_tile
from services.audit.tiles import Tile, bundle
from services.eventlog import trees

router = APIRouter(prefix="/v1/audit", responses=PROBLEMS, tags=["audit"])
Log = Annotated[Literal["events", "receipts"], Path(description="which log")]
Size = Annotated[int, Query(ge=1, lt=2**62)]
_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}


class Inclusion(BaseModel):
    """An inclusion proof (RFC 9162, 2.1.3); hashes in base64, the leaf's neighbour first."""

    log: str
    position: int
    index: int
    size: int
    leaf_hash: str
    root: str
    proof: list[str]


class PublicKey(BaseModel):
    """A key that signs for a log's checkpoints, or (`export`) for the manifests of exports, as a C2SP verifier key."""

    vkey: str
    log: str
    since: str


@router.get("/keys", response_model=Answer[list[PublicKey]], summary="Public keys")
def keys(reading: LogReading) -> Response:
    """Keys that sign checkpoints and exports. Compare them with those you were given another way."""
    found = [{"vkey": vkey, "log": log, "since": since} for vkey, log, since in trees.keys(reading.cursor)]
    return reading.from_log(found)


@router.get("/{log}/checkpoint", response_class=Response, summary="The last checkpoint")
def checkpoint(log: Log, reading: LogReading) -> Response:
    """The head of the log's tree as C2SP tlog-checkpoint: a signed note."""
    found = reading.found(trees.last_checkpoint(reading.cursor, log), f"a checkpoint of the {log}")
    return _closed(reading, found.note.encode(), "text/plain; charset=utf-8", {"Cache-Control": "no-cache"})


@router.get("/{log}/tile/{path:path}", response_class=Response, summary="A tile, or a bundle of entries")
def tile(log: Log, path: Annotated[str, Path(max_length=60)], reading: LogReading) -> Response:
    """`<L>/<N>[.p/<W>]` or `entries/<N>[.p/<W>]` as C2SP tlog-tiles; 404 where the tree has not come so far.

    Also 404: a bundle with an entry longer than 65,535 bytes, which that layout cannot tell (read it at /v1/events).
    """
    wanted = Tile.parse(path)
    if wanted is not None and wanted.level is None and reading.scope != EVERYTHING:
        raise not_found(f"a bundle of entries for who may not read all (tile {path} of the {log})")
    last = trees.last_checkpoint(reading.cursor, log)
    if wanted is None or last is None or not wanted.within(last.size):
        raise not_found(f"tile {path} of the {log}")
    try:
        content = (
            bundle(entries_of(reading.cursor, log, wanted))
            if wanted.level is None
            else read_tile(reading.cursor, log, wanted)
        )
    except LookupError:
        content = None
    if content is None:
        raise not_found(f"tile {path} of the {log}")
    return _closed(reading, content, "application/octet-stream", _IMMUTABLE)


@router.get("/{log}/proofs/inclusion", response_model=Answer[Inclusion], summary="An inclusion proof")
def inclusion(
    log: Log, reading: LogReading, position: Annotated[int, Query(ge=1, lt=2**62)], size: Size | None = None
) -> Response:
    """That a log position (a receipt number) is in the tree of `size`; without it, of the last checkpoint."""
    try:
        return reading.from_log(proofs.inclusion(reading.cursor, log, position, size))
    except LookupError as error:
        raise not_found(f"such a proof ({error})") from None


@router.get("/{log}/proofs/consistency", response_model=Answer[dict[str, Any]], summary="A consistency proof")
def consistency(
    log: Log,
    reading: LogReading,
    first: Annotated[int, Query(alias="from", ge=1, lt=2**62)],
    second: Annotated[int | None, Query(alias="to", ge=1, lt=2**62)] = None,
) -> Response:
    """That the tree of size `from` is the beginning of that of size `to`; without it, of the last checkpoint."""
    try:
        return reading.from_log(proofs.consistency(reading.cursor, log, first, second))
    except LookupError as error:
        raise not_found(f"such a proof ({error})") from None


def _closed(reading: Snapshot, content: bytes, media_type: str, headers: dict[str, str]) -> Response:
    reading.close()
    return Response(content, media_type=media_type, headers=headers)
