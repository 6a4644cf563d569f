"""`sauro audit export`: a bundle a reviewer can check alone, of one programme, unit or assignment.

A bundle is a zip file with a signed manifest: the events as stored and the receipts of their commands, each proven against one
signed checkpoint; earlier checkpoints, proven to be its beginnings; the public keys; figures, definitions in force, and a
dossier to read. What belongs to a scope says `sauro-verify`, which checks it; the organisation's stream and the programmes' own
always do: a judgement of who might do what needs them. Exports are numbered by the database, with who asked and why (R-358).

The figures are computed here by the read models' own rules; `sauro-verify` computes them from the events by its own.
"""

import re
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import orjson
from psycopg import Cursor

from services.audit import merkle, sauro_verify
from services.audit.counting import counted
from services.audit.leaves import Leaf, receipt_leaf
from services.audit.notes import EXPORT, Checkpoint, NoteInvalid, Signer, Verifier, encoded, opened_checkpoint
from services.audit.reading import nodes_of
from services.audit.sauro_verify import FORMAT, MANIFEST, NOTE, definitions, dossier, streams_of
from services.eventlog import reading, trees
from services.eventlog.reading import EVENTS, LOGS, RECEIPTS
from services.eventlog.trees import SignedCheckpoint
from services.store import Store

MOST_EARLIER = 32
_EPOCH = (1980, 1, 1, 0, 0, 0)
_CODE = r"[A-Z0-9-]{1,40}"
PART = 4096
ROOM = 1 << 16
"""What manifest and note may take of a bundle."""
_JSON = orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z


class NothingToExport(Exception):
    """What was asked for has no signed events."""


class TooLarge(Exception):
    """A bundle would be larger than `sauro-verify` reads."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What an export is of: a programme's code, a unit's code, or an assignment as PROGRAMME/CODE; else ValueError."""

    kind: Literal["programme", "unit", "assignment"]
    code: str

    def __post_init__(self) -> None:
        parts = 2 if self.kind == "assignment" else 1
        if not re.fullmatch("/".join([_CODE] * parts), self.code, re.ASCII):
            form = "PROGRAMME/CODE" if parts == 2 else "a code"
            raise ValueError(
                f"'{self.code}' names no {self.kind}: it is {form}, of upper-case letters, digits and hyphens"
            )

    @property
    def programme(self) -> str | None:
        """The programme it lies in; None for a unit, which may have work in any."""
        return None if self.kind == "unit" else self.code.partition("/")[0]


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
    organisation: str


def export(
    opened: Store,
    request: Request,
    file: Path,
    key: Signer,
    since: Sequence[str] = (),
    record: Callable[[Exported], None] = lambda made: None,
) -> Exported:
    """Write a bundle. `key`: the installation's, which signs the manifest under its origin for exports.

    `since`: checkpoints a reviewer holds; the bundle will prove it goes on from them. `record` puts the export on record: when
    it raises, there is no bundle, and no number is used.

    Raises NothingToExport, TooLarge, or NoteInvalid for a checkpoint of `since` that is not this log's.
    """
    signer = key.for_log(EXPORT)
    part = file.with_name(f".{file.name}.part")
    try:
        with opened.recorder.transaction() as cursor:
            trees.insert_key(cursor, EXPORT, signer.verifier().vkey, request.at)
            number = trees.next_export(cursor)
            signed = _signed(cursor)
            events = _events(cursor, request.scope, signed[EVENTS].size)
            manifest, files = _files(opened, cursor, request, number, signed, events, since)
            digest = sha256(manifest).digest()
            note = signer.sign(Checkpoint(signer.name, number, digest).text())
            _write(part, {MANIFEST: manifest, NOTE: note.encode(), **files})
            sizes = {log: head.size for log, head in signed.items()}
            organisation = orjson.loads(events[-1][1])["organisation"]
            made = Exported(number, len(events), files["receipts.jsonl"].count(b"\n"), sizes, organisation)
            scope = {"kind": request.scope.kind, "code": request.scope.code}
            both = (sizes[EVENTS], sizes[RECEIPTS])
            trees.insert_export(cursor, number, request.at, request.by_post, request.reason, scope, both, digest)
            record(made)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return made


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


def _events(cursor: Cursor[Any], scope: Scope, size: int) -> list[Leaf]:
    """All events of the streams the scope needs, up to the checkpoint."""
    near = reading.streams_like(cursor, f"%/{scope.programme or ''}%", size)
    documents = (orjson.loads(state) for _, state in _in_parts(cursor, reading.positions_of(cursor, near, size)))
    if not (streams := streams_of(scope.kind, scope.code, documents)):
        raise NothingToExport(f"there are no signed events of {scope.kind} {scope.code}")
    return reading.events_at(cursor, reading.positions_of(cursor, sorted(streams), size))


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
) -> tuple[bytes, dict[str, bytes]]:
    """The manifest, and the files it names."""
    documents = [orjson.loads(state) | {"_bytes": state} for _, state in events]
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
    manifest = _manifest(request, number, {log: (signed[log].size, len(leaves[log])) for log in LOGS})
    files["dossier.html"] = dossier(orjson.loads(orjson.dumps(manifest, option=_JSON)), found, documents).encode()
    _check_size(files)
    manifest["files"] = {name: sha256(content).hexdigest() for name, content in sorted(files.items())}
    return orjson.dumps(manifest, option=_JSON), files


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
        found.append({"note": note, "proof": [encoded(hash_) for hash_ in proof]})
    return orjson.dumps(found, option=orjson.OPT_INDENT_2)


def _manifest(request: Request, number: int, logs: dict[str, tuple[int, int]]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "number": number,
        "made_at": request.at,
        "by": request.by_post,
        "reason": request.reason,
        "scope": {"kind": request.scope.kind, "code": request.scope.code},
        "logs": {log: {"size": size, "leaves": leaves} for log, (size, leaves) in logs.items()},
    }


def _check_size(files: dict[str, bytes]) -> None:
    """What nobody could check must not be handed out."""
    largest, all_of_them = sauro_verify.LARGEST, sauro_verify.LARGEST_OF_ALL
    name, size = max(((name, len(content)) for name, content in files.items()), key=lambda found: found[1])
    if size > largest or sum(map(len, files.values())) > all_of_them - ROOM:
        raise TooLarge(
            f"{name} would have {size >> 20} MiB; sauro-verify reads files of {largest >> 20} MiB, {all_of_them >> 20} in all: "
            "export a unit or single tasks instead"
        )


def _write(file: Path, files: dict[str, bytes]) -> None:
    """The zip file; the same content gives the same bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
