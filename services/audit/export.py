"""`sauro audit export`: a bundle a reviewer can check alone, of one programme, unit or assignment.

A bundle is a zip file with a signed manifest: the events as stored and the receipts of their commands, each proven against one
signed checkpoint; earlier checkpoints, proven to be its beginnings; the public keys; figures, definitions in force, and a
dossier to read. The organisation's stream and the programmes' own are always part of it: a judgement of who might do what needs
them. Exports are numbered by the database, with who asked and why (R-358).

The figures are computed here by the read models' own rules; `sauro-verify` computes them from the events by its own.
"""

import base64
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import orjson
from psycopg import Cursor

from domain.kernel import Recorded
from projections import assignments, obligations, warnings
from projections.model import ReadModel
from services.audit import merkle
from services.audit.counting import counted
from services.audit.dossier import Heading, dossier
from services.audit.leaves import Leaf, receipt_leaf
from services.audit.notes import EXPORT, Checkpoint, NoteInvalid, Signer, Verifier, opened_checkpoint
from services.audit.reading import nodes_of
from services.audit.sauro_verify import FORMAT, MANIFEST, NOTE, definitions
from services.eventlog import reading, trees
from services.eventlog.reading import EVENTS, LOGS, RECEIPTS
from services.eventlog.trees import SignedCheckpoint
from services.store import Store

MOST_EARLIER = 32
_EPOCH = (1980, 1, 1, 0, 0, 0)
_OWNED: dict[str, ReadModel] = {
    "assignment": assignments.MODEL,
    "obligation": obligations.MODEL,
    "warning": warnings.MODEL,
}
PART = 4096


class NothingToExport(Exception):
    """What was asked for has no signed events."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What an export is of: a programme's code, a unit's code, or an assignment as PROGRAMME/CODE."""

    kind: Literal["programme", "unit", "assignment"]
    code: str


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks for an export of what, when (UTC) and why."""

    scope: Scope
    by_post: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Exported:
    """An export that was made."""

    number: int
    events: int
    receipts: int
    sizes: dict[str, int]


def export(opened: Store, request: Request, file: Path, key: Signer, since: Sequence[str] = ()) -> Exported:
    """Write a bundle. `key`: the installation's, which signs the manifest under its origin for exports.

    `since`: checkpoints a reviewer holds; the bundle will prove it goes on from them.

    Raises NothingToExport, or NoteInvalid for a checkpoint of `since` that is not this log's.
    """
    signer = key.for_log(EXPORT)
    with opened.recorder.transaction() as cursor:
        trees.insert_key(cursor, EXPORT, signer.verifier().vkey, request.at)
        number = trees.next_export(cursor)
        signed = _signed(cursor)
        events = _events(opened, cursor, request.scope, signed[EVENTS].size)
        files = _files(opened, cursor, request, number, signed, events, since)
        manifest = _manifest(request, number, signed, files)
        digest = sha256(manifest).digest()
        note = signer.sign(Checkpoint(signer.name, number, digest).text())
        _write(file, {MANIFEST: manifest, NOTE: note.encode(), **files})
        sizes = {log: head.size for log, head in signed.items()}
        scope = {"kind": request.scope.kind, "code": request.scope.code}
        both = (sizes[EVENTS], sizes[RECEIPTS])
        trees.insert_export(cursor, number, request.at, request.by_post, request.reason, scope, both, digest)
    return Exported(number, len(events), files["receipts.jsonl"].count(b"\n"), sizes)


def _signed(cursor: Cursor[Any]) -> dict[str, SignedCheckpoint]:
    """The last checkpoint of the receipts, and the last one of the events of which all have their receipts in it.

    Each log is signed by itself: while both grow, the events' last checkpoint may run ahead.
    """
    receipts = trees.last_checkpoint(cursor, RECEIPTS)
    if receipts is not None:
        reach = reading.events_receipted(cursor, receipts.size)
        for events in trees.checkpoints(cursor, EVENTS, up_to=reach, newest=1):
            return {EVENTS: events, RECEIPTS: receipts}
    raise NothingToExport("nothing is signed yet: is the audit service running? sauro serve audit")


def _events(opened: Store, cursor: Cursor[Any], scope: Scope, size: int) -> list[Leaf]:
    """All events of the streams the scope needs, up to the checkpoint."""
    streams = _streams(opened, cursor, scope, size)
    if not streams:
        raise NothingToExport(f"there are no signed events of {scope.kind} {scope.code}")
    programmes = {stream.split("/")[1] for stream in streams}
    around = {f"programme/{programme}" for programme in programmes}
    own = reading.positions_of(cursor, sorted(streams | around), size)
    organisations = {
        f"organisation/{orjson.loads(state)['organisation']}"
        for _, state in reading.events_at(cursor, own[:1] + reading.positions_of(cursor, sorted(around), size))
    }
    positions = reading.positions_of(cursor, sorted(streams | around | organisations), size)
    return reading.events_at(cursor, positions)


def _streams(opened: Store, cursor: Cursor[Any], scope: Scope, size: int) -> set[str]:
    if scope.kind == "programme":
        return {
            stream
            for stream in reading.streams_like(cursor, f"%/{scope.code}%", size)
            if stream.split("/")[1] == scope.code and not stream.startswith("organisation/")
        }
    if scope.kind == "assignment":
        programme, _, _ = scope.code.partition("/")
        stream = f"assignment/{scope.code}"
        duties = set(_owned(opened, cursor, f"obligation/{programme}/%", size, lambda row: row.about == stream))
        subjects = {stream, *duties}
        about = _owned(opened, cursor, f"warning/{programme}/%", size, lambda row: row.about in subjects)
        return {*reading.streams_like(cursor, stream, size), *duties, *about}
    return set(_owned(opened, cursor, "%", size, lambda row: row.unit == scope.code))


def _owned(opened: Store, cursor: Cursor[Any], pattern: str, size: int, wanted: Any) -> Iterable[str]:
    """Streams whose row was wanted at some time, by the read models' own rules."""
    streams = [s for s in reading.streams_like(cursor, pattern, size) if s.split("/")[0] in _OWNED]
    rows: dict[str, Any] = {}
    found = set()
    positions = reading.positions_of(cursor, streams, size)
    for _, state in _in_parts(cursor, positions):
        event: Recorded[Any] = opened.codec.decode(state)
        if not _OWNED[event.aggregate].handles_event(event):
            continue
        rows[event.stream] = row = _OWNED[event.aggregate].apply(rows.get(event.stream), event)
        if row is not None and wanted(row):
            found.add(event.stream)
    return found


def _in_parts(cursor: Cursor[Any], positions: Sequence[int]) -> Iterable[Leaf]:
    rest = iter(positions)
    while part := list(islice(rest, PART)):
        yield from reading.events_at(cursor, part)


def _files(
    opened: Store,
    cursor: Cursor[Any],
    request: Request,
    number: int,
    signed: dict[str, SignedCheckpoint],
    events: Sequence[Leaf],
    since: Sequence[str],
) -> dict[str, bytes]:
    documents = [orjson.loads(state) for _, state in events]
    commands = sorted({(document["sender"], document["commandid"]) for document in documents})
    rows = reading.receipts_of(cursor, commands, signed[RECEIPTS].size)
    leaves: dict[str, list[Leaf]] = {EVENTS: list(events), RECEIPTS: [(row[0], receipt_leaf(row)) for row in rows]}
    keys = [(log, vkey) for vkey, log, _ in trees.keys(cursor)]
    files: dict[str, bytes] = {"keys": "".join(f"{vkey}\n" for _, vkey in keys).encode()}
    for log in LOGS:
        nodes = nodes_of(cursor, log, signed[log].size)
        proof = merkle.joint_proof(nodes, [position - 1 for position, _ in leaves[log]], signed[log].size)
        files[f"{log}.jsonl"] = b"".join(leaf + b"\n" for _, leaf in leaves[log])
        files[f"proofs/{log}"] = b"".join(proof)
        files[f"checkpoints/{log}"] = signed[log].note.encode()
        verifiers = [Verifier.parse(vkey) for name, vkey in keys if name == log]
        files[f"checkpoints/{log}.earlier.json"] = _earlier(cursor, log, signed[log].size, nodes, verifiers, since)
    unit = request.scope.code if request.scope.kind == "unit" else None
    found = counted((opened.codec.from_document(document) for document in documents), unit)
    files["figures.json"] = orjson.dumps({"position": signed[EVENTS].size, **found}, option=orjson.OPT_INDENT_2)
    files["definitions.json"] = orjson.dumps(definitions(documents), option=orjson.OPT_INDENT_2)
    scope = request.scope
    heading = Heading(number, scope.kind, scope.code, request.by_post, request.reason, request.at, signed[EVENTS].size)
    files["dossier.html"] = dossier(heading, found, documents, [state for _, state in events]).encode()
    return files


def _earlier(
    cursor: Cursor[Any], log: str, size: int, nodes: merkle.Nodes, verifiers: Sequence[Verifier], since: Sequence[str]
) -> bytes:
    """Earlier checkpoints, the first one and some between, and those asked for, each with its consistency proof."""
    every = trees.checkpoints(cursor, log, up_to=size - 1)
    notes = [found.note for found in every[:: -(-len(every) // MOST_EARLIER) or 1]]
    for note in since:
        if not note.split("\n", 1)[0].endswith(f"/{log}"):
            continue
        held = opened_checkpoint(note, verifiers)
        if held.size > size:
            raise NoteInvalid(
                f"the {log} are signed up to {size} only; the checkpoint to go on from is one of {held.size}"
            )
        notes.append(note)
    found = []
    for note in dict.fromkeys(notes):
        earlier = opened_checkpoint(note, verifiers)
        proof = merkle.consistency_proof(nodes, earlier.size, size)
        found.append({"note": note, "proof": [base64.b64encode(hash_).decode() for hash_ in proof]})
    return orjson.dumps(found, option=orjson.OPT_INDENT_2)


def _manifest(request: Request, number: int, signed: dict[str, SignedCheckpoint], files: dict[str, bytes]) -> bytes:
    return orjson.dumps(
        {
            "format": FORMAT,
            "number": number,
            "made_at": request.at,
            "by": request.by_post,
            "reason": request.reason,
            "scope": {"kind": request.scope.kind, "code": request.scope.code},
            "logs": {
                log: {"size": head.size, "leaves": files[f"{log}.jsonl"].count(b"\n")} for log, head in signed.items()
            },
            "files": {name: sha256(content).hexdigest() for name, content in sorted(files.items())},
        },
        option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z,
    )


def _write(file: Path, files: dict[str, bytes]) -> None:
    """The zip file, whole or not at all; the same content gives the same bytes."""
    temporary = file.with_name(f".{file.name}.part")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    temporary.replace(file)
