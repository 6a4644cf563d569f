#!/usr/bin/env python3
"""sauro-verify: check an audit bundle of Sauro offline, trusting neither the server that made it nor its makers.

One file, Python 3.11 or newer, the standard library and the package `cryptography`. Nothing of Sauro is imported: copy
this file to a machine of your own and run `python sauro_verify.py bundle.zip --key KEYS`.

What it checks: the signatures of manifest and checkpoints (`<installation>/export` signs manifests); that the bundle holds the
files its manifest names, each once and unchanged, and no others; that every event and receipt is a leaf of the signed
trees, at its position; that earlier checkpoints are beginnings of the last one; that no stream has a gap and each belongs to
the scope; that each act's post existed and held the authority it claimed, and that Sauro's own services did only what is
theirs; that the figures (tasks, obligations, warnings) and the dossier are what follows from the events.
What it checks with --entries FOLDER, a copy of the published audit folder: that nothing of the scope was left out. Without it a
bundle proves what it holds, not that it holds all: whole streams, or the end of one, may have been left out, and a bundle of
a programme relabelled as one of a task.
What it cannot check: whether what people entered is true.

Exit status: 0 all holds, 1 something does not (it says what and where), 2 the bundle cannot be read.
"""

from __future__ import annotations

import argparse
import base64
import html
import io
import json
import re
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "sauro-bundle/2"
LOCAL = timezone(timedelta(hours=7))  # Asia/Ho_Chi_Minh: no daylight saving since 1975
_LIMITS = {"DeadlineScheduled", "DeadlineRescheduled", "DeadlineApproached", "DeadlinePassed", "DeadlineCancelled"}
SYSTEM = {
    "timekeeper": _LIMITS | {"AssignmentMarkedAtRisk", "AssignmentCarriedOver", "PhaseOpened", "ObligationOpened"},
    "warning": _LIMITS | {
        "WarningRaised", "WarningDelivered", "WarningEscalated", "ResponseRecorded", "WarningResolved",
        "WarningSuperseded", "ObligationDeclared", "ObligationOpened",
    },
    "audit": {"AccessRecorded"},
}  # fmt: skip
"""Sauro's own services, and what each may cause; all act as post SAURO, without an authority."""
SAURO = "SAURO"
SCOPES = {"programme": "Chương trình", "unit": "Đơn vị", "assignment": "Nhiệm vụ"}
AUTHORISED = {"CompletionSignedOff"}
"""Acts nobody does without claiming an authority."""
LOGS = ("events", "receipts")
EXPORT = "export"
MANIFEST, NOTE = "manifest.json", "manifest.note"
JSONL = {"events": "events.jsonl", "receipts": "receipts.jsonl"}
NAMES = {
    MANIFEST, NOTE, "keys", "figures.json", "definitions.json", "dossier.html", "events.jsonl", "receipts.jsonl",
    "proofs/events", "proofs/receipts", "checkpoints/events", "checkpoints/receipts",
    "checkpoints/events.earlier.json", "checkpoints/receipts.earlier.json",
}  # fmt: skip
LARGEST, LARGEST_OF_ALL = 1 << 30, 2 << 30
DEFINING = {
    "UnitEstablished": "unit", "PostEstablished": "post", "AuthorityGranted": "grant", "ProgrammeRegistered": "",
    "CalendarAdopted": "", "CalendarAmended": "", "EscalationPolicyAdopted": "", "SettingsChanged": "",
    "RegimeDefined": "regime", "IndicatorDefined": "indicator", "RolesAssigned": "",
}  # fmt: skip

ENDING = {
    "UnitDissolved": ("UnitEstablished", "unit"),
    "PostAbolished": ("PostEstablished", "post"),
    "AuthorityRevoked": ("AuthorityGranted", "grant"),
}


OWN_KEYS = "no --key given: the bundle's own keys were used; compare them with keys you trust"
INCOMPLETE = (
    "this shows that what is here is part of the signed logs, not that all of the scope is here: to see that nothing was "
    "left out, get a copy of the published audit folder from elsewhere and name it with --entries"
)
_UNZIPPING = (
    OSError,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
)


class Unreadable(Exception):
    """The bundle cannot be read at all: exit 2."""


@dataclass
class Findings:
    """What does not hold, and what was checked."""

    problems: list[dict[str, str]] = field(default_factory=list)
    checked: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def wrong(self, rule: str, where: str, message: str) -> None:
        """Something does not hold."""
        self.problems.append({"rule": rule, "where": where, "message": message})


# ---- the tree of RFC 6962 ------------------------------------------------------------------------------------------------


def leaf_hash(data: bytes) -> bytes:
    """SHA-256 of 0x00 and a leaf."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01 and two children."""
    return sha256(b"\x01" + left + right).digest()


def joint_root(leaves: list[tuple[int, bytes]], size: int, proof: list[bytes]) -> bytes:
    """The root of a tree of `size` from some leaves' hashes by index, and the roots of all that lies between them."""
    rest = iter(proof)

    def walk(begin: int, end: int, low: int, high: int) -> bytes:
        if low == high:
            return next(rest)
        if end - begin == 1:
            return leaves[low][1]
        middle = begin + (1 << ((end - begin - 1).bit_length() - 1))
        cut, top = low, high
        while cut < top:
            half = (cut + top) // 2
            if leaves[half][0] < middle:
                cut = half + 1
            else:
                top = half
        return node_hash(walk(begin, middle, low, cut), walk(middle, end, cut, high))

    if size == 0:
        return sha256().digest()
    try:
        root = walk(0, size, 0, len(leaves))
    except StopIteration:
        raise ValueError("the proof is too short") from None
    if next(rest, None) is not None:
        raise ValueError("the proof is too long")
    return root


def consistent(first: int, second: int, old: bytes, new: bytes, proof: list[bytes]) -> bool:
    """Whether a tree is the beginning of another (RFC 9162, 2.1.4.2)."""
    if not 0 < first <= second or any(len(part) != 32 for part in proof):
        return False
    if first == second:
        return not proof and old == new
    path = proof if first & (first - 1) else [old, *proof]
    if not proof:
        return False
    number, last = first - 1, second - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    left = right = path[0]
    for other in path[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            left, right = node_hash(other, left), node_hash(other, right)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            right = node_hash(right, other)
        number, last = number >> 1, last >> 1
    return last == 0 and left == old and right == new


# ---- signed notes and checkpoints (C2SP) ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """A public key under the name it signs for."""

    name: str
    id: bytes
    public: bytes

    @classmethod
    def parse(cls, line: str) -> Key:
        """From `<name>+<id>+<base64>`; raises ValueError."""
        name, id_, material = line.strip().split("+", 2)
        key = base64.b64decode(material, validate=True)
        found = cls(name, bytes.fromhex(id_), key[1:])
        if key[:1] != b"\x01" or len(key) != 33 or found.id != sha256(name.encode() + b"\n" + key).digest()[:4]:
            raise ValueError(f"'{line.strip()[:80]}' is no Ed25519 verifier key")
        return found


@dataclass(frozen=True)
class Head:
    """A checkpoint that a known key signed; or, in the same form, an export's number and the SHA-256 of its manifest."""

    origin: str
    size: int
    root: bytes


def opened(note: str, keys: list[Key]) -> Head:
    """The checkpoint in a note; raises ValueError unless one of the keys signed it under the checkpoint's own name."""
    text, blank, tail = note.rpartition("\n\n")
    lines = (text + "\n").split("\n")
    if not blank or len(lines) < 4 or not re.fullmatch(r"0|[1-9]\d{0,18}", lines[1], re.ASCII):
        raise ValueError("it is not signed: a signed note has a name, a number, a hash, a blank line and signatures")
    root, by = base64.b64decode(lines[2], validate=True), []
    if len(root) != 32:
        raise ValueError("its hash does not have 32 bytes")
    for line in tail.splitlines():
        dash, name, signature = [*line.split(" ", 2), "", ""][:3]
        material = base64.b64decode(signature, validate=True)
        by.append(f"{name}+{material[:4].hex()}")
        for key in keys:
            if dash == "—" and (key.name, key.id) == (name, material[:4]) and name == lines[0]:
                try:
                    Ed25519PublicKey.from_public_bytes(key.public).verify(material[4:], (text + "\n").encode())
                except InvalidSignature:
                    raise ValueError(f"the signature of '{name}' does not fit its text") from None
                return Head(lines[0], int(lines[1]), root)
    raise ValueError(f"no trusted key signed it for '{lines[0]}'; it is signed by {', '.join(by) or 'nobody'}")


# ---- the bundle ----------------------------------------------------------------------------------------------------------


class Bundle:
    """The files of a bundle, read in memory: nothing is ever written, no name leads anywhere."""

    def __init__(self, file: Path, found: Findings) -> None:
        try:
            with zipfile.ZipFile(file) as archive:
                self.files = dict(self._read(archive, found))
        except _UNZIPPING as error:
            raise Unreadable(f"{file} cannot be read as a zip file: {error}") from None
        self.missing = sorted(NAMES - set(self.files))
        for name in self.missing:
            found.wrong("member", name, f"the bundle lacks {name}")

    @staticmethod
    def _read(archive: zipfile.ZipFile, found: Findings) -> Iterator[tuple[str, bytes]]:
        """The members a bundle has; others are not even unpacked, and of two with one name only the first is."""
        total, seen = 0, set()
        for info in archive.infolist():
            name = info.filename[:80]
            if info.filename not in NAMES:
                found.wrong("member", name, f"{name!r} does not belong in a bundle: its manifest does not name it")
                continue
            if info.filename in seen:
                found.wrong("member", name, f"{name} stands in the bundle twice; which one is meant?")
                continue
            seen.add(info.filename)
            with archive.open(info) as opened_file:
                content = opened_file.read(min(LARGEST, LARGEST_OF_ALL - total) + 1)
            total += len(content)
            if len(content) > LARGEST or total > LARGEST_OF_ALL:
                raise Unreadable(f"{info.filename} unpacks to more than this program reads ({LARGEST >> 30} GiB)")
            yield info.filename, content

    def json(self, name: str) -> Any:
        """A file as JSON."""
        try:
            return json.loads(self.files[name])
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"{name} is no JSON: {error}") from None

    def text(self, name: str) -> str:
        """A file as text."""
        return self.files[name].decode("utf-8", "replace")

    def lines(self, name: str) -> list[bytes]:
        """The lines of a file."""
        return self.files[name].split(b"\n")[:-1] if self.files[name] else []


def verify(
    file: Path, keys: list[Key] | None = None, known: list[str] | None = None, entries: Path | None = None
) -> Findings:
    """Check a bundle; raises Unreadable.

    `keys` are those the reviewer trusts, `known` checkpoints the reviewer has, `entries` a copy of the published folder.
    """
    found = Findings()
    bundle = Bundle(file, found)
    if bundle.missing:
        return found
    manifest = bundle.json(MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise Unreadable(f"the manifest does not say {FORMAT}; is there a newer sauro-verify?")
    try:
        own = [Key.parse(line) for line in bundle.text("keys").splitlines() if line]
    except ValueError as error:
        raise Unreadable(f"keys: {error}") from None
    if keys is None:
        found.notes.append(OWN_KEYS)
    trusted = own if keys is None else keys
    signed = _check_manifest(bundle, manifest, trusted, found)
    _check_files(bundle, manifest, found)
    leaves = {log: _parsed(bundle, log, found) for log in LOGS}
    heads = {log: _check_log(bundle, log, leaves[log], trusted, known or [], found) for log in LOGS}
    _check_origins([signed, *heads.values()], found)
    _check_known_all(known or [], heads, found)
    events, receipts = leaves["events"], leaves["receipts"]
    _check_order(events, found)
    _check_receipts(events, receipts, found)
    _check_authority(events, found)
    if _check_stated(manifest, heads, leaves, found):
        _check_scope(manifest["scope"], events, found)
        _check_figures(bundle, manifest, events, found)
        if entries is None:
            found.notes.append(INCOMPLETE)
        elif heads["events"] is not None:
            _check_complete(entries, heads["events"], manifest["scope"], events, found)
    found.checked |= {
        "export": manifest.get("number"),
        "scope": manifest.get("scope"),
        "events": len(events),
        "receipts": len(receipts),
        "streams": len({event["subject"] for event in events}),
        "checkpoints": {log: {"origin": head.origin, "size": head.size} for log, head in heads.items() if head},
    }
    return found


def _check_files(bundle: Bundle, manifest: dict[str, Any], found: Findings) -> None:
    files = manifest.get("files")
    files = files if isinstance(files, dict) else {}
    for name in sorted(files.keys() | NAMES - {MANIFEST, NOTE}):
        if name not in NAMES:
            found.wrong("file", name[:80], f"the manifest names {name[:80]!r}, which the bundle lacks")
        elif name not in files:
            found.wrong("file", name, f"the manifest does not name {name}")
        elif files[name] != sha256(bundle.files[name]).hexdigest():
            found.wrong("file", name, f"{name} is not the file the manifest names: its SHA-256 differs")


def _check_manifest(bundle: Bundle, manifest: dict[str, Any], keys: list[Key], found: Findings) -> Head | None:
    """The manifest's own signature: a signed note of the export's number and the manifest's SHA-256."""
    try:
        signed = opened(bundle.text(NOTE), keys)
    except ValueError as error:
        found.wrong("manifest", NOTE, f"the manifest's signature does not hold: {error}")
        return None
    if not signed.origin.endswith(f"/{EXPORT}"):
        found.wrong("manifest", NOTE, f"'{signed.origin}' signed the manifest; that key is not one for exports")
    if signed.root != sha256(bundle.files[MANIFEST]).digest():
        found.wrong("manifest", MANIFEST, "the manifest is not the one that was signed: its SHA-256 differs")
    if signed.size != manifest.get("number"):
        message = f"the manifest is that of export {manifest.get('number')}; the one signed was export {signed.size}"
        found.wrong("manifest", MANIFEST, message)
    return signed


def _check_stated(
    manifest: dict[str, Any], heads: dict[str, Head | None], leaves: dict[str, list[dict[str, Any]]], found: Findings
) -> bool:
    """Whether the manifest has the form of one; it must state the sizes signed and the leaves the bundle holds."""
    scope: Any = manifest.get("scope")
    try:
        _instant(manifest["made_at"])
        fits = isinstance(manifest["by"], str) and isinstance(manifest["reason"], str)
        fits = fits and scope.keys() == {"kind", "code"} and scope["kind"] in SCOPES and isinstance(scope["code"], str)
    except (KeyError, ValueError, TypeError, AttributeError):
        fits = False
    if not fits:
        found.wrong("manifest", MANIFEST, "the manifest does not say what was exported for whom, when and why")
    logs = {log: {"size": head.size if head else None, "leaves": len(leaves[log])} for log, head in heads.items()}
    if manifest.get("logs") != logs and None not in heads.values():
        found.wrong("manifest", MANIFEST, f"the manifest states {manifest.get('logs')}; the bundle holds {logs}")
    return fits


def _check_origins(signed: list[Head | None], found: Findings) -> None:
    names = {head.origin.rpartition("/")[0] for head in signed if head is not None}
    if len(names) > 1:
        message = f"manifest and checkpoints are those of several installations: {', '.join(sorted(names))}"
        found.wrong("origin", NOTE, message)


_NUMBER = {"events": "position", "receipts": "receipt"}
_NEEDED = {
    "events": {"position": int, "recordedtime": str, "subject": str, "streamversion": int, "type": str, "time": str,
               "sender": str, "commandid": str, "actorpost": str, "actorunit": str, "organisation": str,
               "programme": str, "data": dict},
    "receipts": {"receipt": int, "source": str, "id": str, "outcome": str, "events": int},
}  # fmt: skip


def _parsed(bundle: Bundle, log: str, found: Findings) -> list[dict[str, Any]]:
    documents = []
    if bundle.files[JSONL[log]][-1:] not in (b"", b"\n"):
        found.wrong(
            "form", JSONL[log], f"{JSONL[log]} does not end with a line: what follows the last one is not proven"
        )
    for number, line in enumerate(bundle.lines(JSONL[log]), 1):
        try:
            document = json.loads(line)
            fits = all(isinstance(document[name], kind) for name, kind in _NEEDED[log].items())
            if log == "events":
                document["_at"], document["_recorded"] = _instant(document["time"]), _instant(document["recordedtime"])
        except (ValueError, KeyError, TypeError, RecursionError):
            fits = False
        if not fits:
            found.wrong("form", f"{JSONL[log]} line {number}", f"line {number} is no stored {log[:-1]}")
            continue
        documents.append(document | {"_bytes": line})
    return documents


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None or not 1900 <= instant.year <= 9000:
        raise ValueError(f"{text} is no instant of this log")
    return instant


def _check_log(
    bundle: Bundle, log: str, leaves: list[dict[str, Any]], keys: list[Key], known: list[str], found: Findings
) -> Head | None:
    where = f"checkpoints/{log}"
    try:
        head = opened(bundle.text(where), keys)
    except ValueError as error:
        found.wrong("signature", where, f"the checkpoint of the {log} does not hold: {error}")
        return None
    if not head.origin.endswith(f"/{log}"):
        found.wrong("origin", where, f"the checkpoint is one of '{head.origin}', not of the {log}")
    numbers = [leaf[_NUMBER[log]] for leaf in leaves]
    proof = bundle.files[f"proofs/{log}"]
    hashes = [(number - 1, leaf_hash(leaf["_bytes"])) for number, leaf in zip(numbers, leaves, strict=True)]
    if any(b <= a for a, b in zip([0, *numbers], numbers, strict=False)):
        found.wrong("order", JSONL[log], f"the {log} do not stand in order of their positions, each once")
    elif numbers and numbers[-1] > head.size:
        found.wrong("proof", JSONL[log], f"{log} {numbers[-1]} lies beyond the checkpoint of {head.size}")
    else:
        parts = [proof[place : place + 32] for place in range(0, len(proof), 32)]
        why = "they do not lead to the signed root: a leaf, a position or the proof was changed"
        try:
            holds = joint_root(hashes, head.size, parts) == head.root
        except ValueError as error:
            holds, why = False, str(error)
        if not holds:
            found.wrong("proof", f"proofs/{log}", f"the {log} are not proven by the checkpoint of {head.size}: {why}")
    chain = _check_earlier(bundle, log, head, keys, found)
    for note in known:
        _check_known(log, head, chain, note, keys, found)
    return head


def _check_earlier(bundle: Bundle, log: str, head: Head, keys: list[Key], found: Findings) -> dict[int, bytes]:
    """The roots of earlier checkpoints that are proven to be beginnings of the last, by size."""
    name = f"checkpoints/{log}.earlier.json"
    chain = {head.size: head.root}
    items = bundle.json(name)
    if not isinstance(items, list):
        found.wrong("form", name, f"{name} is no list of checkpoints")
        items = []
    for number, item in enumerate(items, 1):
        try:
            earlier = opened(item["note"], keys)
            proof = [base64.b64decode(text, validate=True) for text in item["proof"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            found.wrong(
                "signature", f"{name} no. {number}", f"an earlier checkpoint of the {log} does not hold: {error}"
            )
            continue
        if earlier.origin != head.origin or not consistent(earlier.size, head.size, earlier.root, head.root, proof):
            found.wrong(
                "consistency",
                f"{name} no. {number}",
                f"the {log} of size {earlier.size} are not the beginning of those of size {head.size}: "
                "the log was written anew, or two logs are shown",
            )
            continue
        chain[earlier.size] = earlier.root
    return chain


def _check_known(log: str, head: Head, chain: dict[int, bytes], note: str, keys: list[Key], found: Findings) -> None:
    """Compare with a checkpoint the reviewer already had of this log."""
    if note.split("\n", 1)[0] != head.origin:
        return
    try:
        mine = opened(note, keys)
    except ValueError as error:
        found.wrong("signature", "--checkpoint", f"your checkpoint does not hold with these keys: {error}")
        return
    if mine.size in chain and chain[mine.size] != mine.root:
        message = (
            f"your checkpoint and the bundle's give two roots for the {log} of size {mine.size}: the log was forked"
        )
        found.wrong("fork", "--checkpoint", message)
    elif mine.size not in chain:
        found.wrong(
            "unlinked",
            "--checkpoint",
            f"nothing in the bundle leads from your checkpoint of {mine.size} to that of {head.size}; "
            "ask for an export made with --since YOUR-CHECKPOINT",
        )
    else:
        found.notes.append(f"your checkpoint of the {log} of size {mine.size} is part of this log")


def _check_known_all(known: list[str], heads: dict[str, Head | None], found: Findings) -> None:
    """A checkpoint of the reviewer's that is of neither log was compared with nothing, and must not seem to hold."""
    origins = [head.origin for head in heads.values() if head is not None]
    for origin in (note.split("\n", 1)[0] for note in known):
        if origin not in origins:
            message = (
                f"your checkpoint is one of {origin[:80]!r}; the bundle's are of {' and '.join(origins) or 'nobody'}"
            )
            found.wrong("unlinked", "--checkpoint", message)


# ---- what the events must obey ---------------------------------------------------------------------------------------------


def _check_order(events: list[dict[str, Any]], found: Findings) -> None:
    versions: dict[str, int] = {}
    last: datetime | None = None
    for event in events:
        where, stream = f"position {event['position']}", event["subject"]
        expected = versions.get(stream, 0) + 1
        if event["streamversion"] != expected:
            message = f"{stream} goes on with version {event['streamversion']} where {expected} must come"
            found.wrong("gap", where, message)
        versions[stream] = event["streamversion"]
        if last is not None and event["_recorded"] < last:
            found.wrong("time", where, f"recorded at {event['recordedtime']}, before the event in front of it")
        last = event["_recorded"]


def _check_receipts(events: list[dict[str, Any]], receipts: list[dict[str, Any]], found: Findings) -> None:
    by_command = {(receipt["source"], receipt["id"]): receipt for receipt in receipts}
    for event in events:
        receipt, where = by_command.get((event["sender"], event["commandid"])), f"position {event['position']}"
        named = f"{event['sender']}/{event['commandid']}"
        if receipt is None:
            found.wrong("receipt", where, f"there is no receipt of the command {named} that led to this event")
            continue
        first = receipt.get("firstposition")
        first = first if isinstance(first, int) else 0
        if receipt["outcome"] != "accepted" or not first <= event["position"] < first + receipt["events"]:
            message = f"receipt {receipt['receipt']} of command {named} does not say that it led to this event"
            found.wrong("receipt", where, message)


@dataclass
class Organisation:
    """Who existed and held what, as the log had it at the point reached."""

    posts: dict[str, str] = field(default_factory=dict)
    grants: dict[str, dict[str, Any]] = field(default_factory=dict)

    def apply(self, event: dict[str, Any]) -> None:
        """Take in an event of the organisation's stream."""
        data, name = event["data"], _name(event)
        if name == "PostEstablished":
            self.posts[data["post"]] = data["unit"]
        elif name == "PostAbolished":
            self.posts.pop(data["post"], None)
        elif name == "AuthorityGranted":
            self.grants[data["grant"]] = dict(data)
        elif name == "AuthorityRevoked":
            self.grants[data["grant"]]["revoked"] = event["_at"]

    def holds(self, post: str, authority: str, programme: str, at: datetime) -> bool:
        """Whether a post holds an authority at an instant; the day a grant ends still counts, a revoked one ends at once."""
        day = at.astimezone(LOCAL).date()
        return any(
            grant["post"] == post
            and grant["authority"] == authority
            and grant.get("within_programme") in (None, programme)
            and date.fromisoformat(grant["valid_from"]) <= day
            and (grant.get("valid_to") is None or day <= date.fromisoformat(grant["valid_to"]))
            and not ("revoked" in grant and at >= grant["revoked"])
            for grant in self.grants.values()
        )


def _name(event: dict[str, Any]) -> str:
    """The event's name: `sauro.assignment.TaskAssigned.v1` is TaskAssigned."""
    parts: list[str] = event["type"].split(".")
    return parts[2] if len(parts) == 4 else ""


def _check_authority(events: list[dict[str, Any]], found: Findings) -> None:
    organisations: dict[str, Organisation] = {}
    acts = 0
    for event in events:
        organisation = organisations.setdefault(event["organisation"], Organisation())
        where = f"position {event['position']}"
        try:
            if event["subject"].startswith("organisation/"):
                organisation.apply(event)
            elif event["sender"] in SYSTEM:
                _check_system(event, where, found)
            else:
                acts += 1
                _check_act(event, organisation, where, found)
        except (KeyError, ValueError, TypeError) as error:
            found.wrong("form", where, f"{event['type']} cannot be understood ({type(error).__name__}: {error})")
    found.checked["acts"] = acts


def _check_system(event: dict[str, Any], where: str, found: Findings) -> None:
    """One of Sauro's own services acts as itself and claims nothing; what is not its own to do, a person must have done."""
    sender, name = event["sender"], _name(event)
    if name not in SYSTEM[sender]:
        found.wrong("actor", where, f"the service '{sender}' cannot cause {name}: that is an act of a person")
    elif (event["actorpost"], event["actorunit"]) != (SAURO, SAURO) or "actorauthority" in event:
        found.wrong("actor", where, f"the service '{sender}' acts as '{event['actorpost']}', not as {SAURO} alone")


def _check_act(event: dict[str, Any], organisation: Organisation, where: str, found: Findings) -> None:
    post, unit, authority = event["actorpost"], event["actorunit"], event.get("actorauthority")
    if organisation.posts.get(post) != unit:
        known = organisation.posts.get(post)
        message = f"post '{post}' of unit '{unit}' acted; the organisation has " + (
            f"it in unit '{known}'" if known else "no such post"
        )
        found.wrong("actor", where, message)
    if authority is None:
        if _name(event) in AUTHORISED:
            found.wrong("authority", where, f"post '{post}' claimed no authority; {_name(event)} needs one")
        return
    # A limit that passed carries its own instant; the act that brought it up is judged when it was recorded.
    moments = [event["_recorded"]] if _name(event).startswith("Deadline") else [event["_at"], event["_recorded"]]
    for moment in moments:
        if not organisation.holds(post, authority, event["programme"], moment):
            message = f"post '{post}' claimed authority '{authority}' and did not hold it at {moment.isoformat()}"
            found.wrong("authority", where, message)
            return


# ---- figures, definitions, dossier -----------------------------------------------------------------------------------------

LABELS = {
    "assigned": "Đã giao",
    "drafts": "Dự thảo",
    "open": "Đang thực hiện",
    "overdue_open": "Đang quá hạn",
    "done": "Hoàn thành",
    "done_on_time_original": "Đúng hạn (hạn gốc)",
    "done_on_time_current": "Đúng hạn (hạn hiện hành)",
    "done_late": "Hoàn thành trễ",
    "done_undated": "Hoàn thành, không có hạn",
    "ever_overdue": "Từng quá hạn",
    "extended": "Được gia hạn",
    "carried_over": "Chuyển giai đoạn",
    "suspended": "Tạm dừng",
    "cancelled": "Đã hủy",
    "unfinished": "Đóng, chưa xong",
    "reports_owed": "Báo cáo phải nộp",
    "reports_on_time": "Báo cáo đúng hạn",
    "reports_late": "Báo cáo trễ hạn",
    "reports_missing": "Báo cáo quá hạn chưa nộp",
    "reports_undated": "Báo cáo chưa có thời hạn",
    "explanations_owed": "Giải trình phải nộp",
    "explanations_open": "Giải trình chưa nộp",
    "products_owed": "Sản phẩm, kế hoạch, sổ phải có",
    "products_accepted": "Sản phẩm, kế hoạch, sổ đã chấp nhận",
    "milestones": "Mốc của giai đoạn",
    "milestones_missed": "Mốc bị lỡ",
    "commitments_owed": "Cam kết, kế hoạch cá nhân phải có",
    "commitments_signed": "Cam kết, kế hoạch cá nhân đã nộp",
    "obligations_owed": "Nghĩa vụ",
    "obligations_met": "Nghĩa vụ đúng hạn",
    "obligations_late": "Nghĩa vụ trễ hạn",
    "obligations_open": "Nghĩa vụ chưa nộp",
    "obligations_overdue": "Nghĩa vụ quá hạn chưa nộp",
    "obligations_waived": "Nghĩa vụ được miễn",
    "warnings_raised": "Cảnh báo đã phát",
    "warnings_open": "Cảnh báo đang mở",
    **{f"warnings_open_level_{level}": f"Cảnh báo mở cấp {level}" for level in range(5)},
}
KINDS = {
    "report": "báo cáo định kỳ", "ad_hoc_report": "báo cáo đột xuất", "mandatory_product": "sản phẩm bắt buộc",
    "phase_milestone": "mốc của giai đoạn", "commitment": "bản cam kết", "personal_plan": "kế hoạch cá nhân",
    "unit_plan": "kế hoạch của đơn vị", "register": "sổ theo dõi", "explanation": "giải trình",
    "self_review": "bản tự kiểm điểm", "consultation_reply": "trả lời lấy ý kiến",
}  # fmt: skip
OPEN = {"assigned", "acknowledged", "in_progress", "under_review"}
_STATUS = {
    "AssignmentAcknowledged": "acknowledged", "WorkStarted": "in_progress", "ProgressReported": "in_progress",
    "ResultSubmitted": "under_review", "ResultReturned": "in_progress", "CompletionSignedOff": "completed",
    "AssignmentSuspended": "suspended", "AssignmentCancelled": "cancelled",
    "AssignmentClosedUnfinished": "closed_unfinished",
}  # fmt: skip
FIGURES = tuple(LABELS)
OF_A_KIND = tuple(name for name in FIGURES if name.startswith("obligations_"))


def _task(task: dict[str, Any], event: dict[str, Any]) -> None:
    """Fold one event into what is counted of a task."""
    name, data = _name(event), event["data"]
    if name in ("TaskDrafted", "TaskAssigned"):
        content = data["content"]
        original = data.get("original")
        task.clear()
        task |= {
            "status": "draft" if name == "TaskDrafted" else "assigned",
            "unit": content.get("lead_unit"),
            "phase": content.get("phase"),
            "original": _instant(original["at"]) if original else None,
        }
    elif name == "AssignmentResumed":
        task["status"] = "in_progress" if task.get("progress") else "assigned"
    elif name == "AssignmentReassigned":
        task["unit"] = data["to_unit"]
    elif name == "ExtensionApproved":
        task["extended"] = True
    elif name == "AssignmentCarriedOver":
        task["carried"] = task.get("carried") or task.get("phase") is not None
        task["phase"] = data["to_phase"]
    elif name.startswith("Deadline") and data["key"]["kind"] == "assignment_due":
        _due(task, name, data)
    task["status"] = _STATUS.get(name, task["status"])
    if name == "ProgressReported":
        task["progress"] = True
    if name == "CompletionSignedOff":
        task["original_verdict"] = data["verdict"]["against_original"]
        task["current_verdict"] = data["verdict"]["against_current"]


def _due(task: dict[str, Any], name: str, data: dict[str, Any]) -> None:
    if name == "DeadlinePassed":
        task["overdue"] = task["was_overdue"] = True
    elif name != "DeadlineApproached":
        task["overdue"] = False
    original = task.get("original")
    if name == "DeadlineMet" and data.get("after_passing") and original and _instant(data["met_at"]) < original:
        task["was_overdue"] = False


_DUTY_STATUS = {
    "ObligationOpened": "open", "ObligationSubmitted": "submitted", "NothingToReportDeclared": "submitted",
    "ObligationAccepted": "accepted", "ObligationReturned": "open", "ObligationConsolidated": "consolidated",
    "ObligationForwarded": "forwarded", "ObligationWaived": "waived",
}  # fmt: skip


def _duty(duty: dict[str, Any], event: dict[str, Any]) -> None:
    """Fold one event into what is counted of an obligation."""
    name, data = _name(event), event["data"]
    if name == "ObligationDeclared":
        duty.clear()
        duty |= {"kind": data["duty"]["kind"], "unit": data["duty"].get("unit"), "limit": _limit(data)}
    elif name == "DueConfigured":
        duty["limit"] = duty["limit"] or _limit(data)
    elif name == "OwnerSet":
        duty["unit"] = data["unit"]
    elif name in ("ObligationSubmitted", "NothingToReportDeclared"):
        duty["decides"] = _instant(data["decides_at"])
    elif name.startswith("Deadline") and data["key"]["kind"] == "obligation_due" and name != "DeadlineApproached":
        duty["missed"] = name == "DeadlinePassed"
        if duty["missed"] or (name == "DeadlineMet" and data.get("after_passing")):
            duty["was_missed"] = duty["missed"]
    duty["status"] = _DUTY_STATUS.get(name, duty.get("status"))


def _limit(data: dict[str, Any]) -> datetime | None:
    limit = data.get("limit")
    return _instant(limit["at"]) if limit else None


def _warning(warning: dict[str, Any], event: dict[str, Any]) -> None:
    name, data = _name(event), event["data"]
    if name == "WarningRaised":
        warning |= {"unit": data.get("unit"), "level": data["level"], "open": True}
    elif name == "WarningEscalated":
        warning["level"] = data["level"]
    elif name in ("WarningResolved", "WarningDismissed", "WarningSuperseded"):
        warning["open"] = False


_FOLDS: dict[str, Callable[[dict[str, Any], dict[str, Any]], None]] = {
    "assignment": _task,
    "obligation": _duty,
    "warning": _warning,
}


def _count_task(task: dict[str, Any]) -> Iterator[str]:
    status, on_time = task["status"], ("early", "on_time")
    yield {"draft": "drafts", "completed": "done", "closed_unfinished": "unfinished"}.get(status, status)
    if status != "draft":
        yield "assigned_"
    if status in OPEN:
        yield "open"
        if task.get("overdue"):
            yield "overdue_open"
    if status == "completed":
        if task["original_verdict"] in on_time:
            yield "done_on_time_original"
        if task["current_verdict"] in on_time:
            yield "done_on_time_current"
        if task["original_verdict"] in ("late", "undated"):
            yield f"done_{task['original_verdict']}"
    for flag, name in (("was_overdue", "ever_overdue"), ("extended", "extended"), ("carried", "carried_over")):
        if task.get(flag):
            yield name


def _count_duty(duty: dict[str, Any]) -> Iterator[str]:
    kind, status, limit = duty["kind"], duty["status"], duty["limit"]
    accepted = status in ("accepted", "consolidated", "forwarded")
    in_, missed = accepted or status == "submitted", duty.get("missed", False)
    late = limit is not None and "decides" in duty and duty["decides"] >= limit
    yield "obligations_owed"
    if in_:
        yield "obligations_late" if late else "obligations_met"
    elif status == "waived":
        yield "obligations_waived"
    else:
        yield "obligations_open"
    if missed and not in_:
        yield "obligations_overdue"
    if kind in ("report", "ad_hoc_report"):
        yield "reports_owed"
        if in_:
            yield "reports_late" if late else "reports_on_time"
        elif missed:
            yield "reports_missing"
        if limit is None:
            yield "reports_undated"
    yield from _count_other(kind, duty, in_=in_, accepted=accepted)


def _count_other(kind: str, duty: dict[str, Any], *, in_: bool, accepted: bool) -> Iterator[str]:
    if kind == "explanation":
        yield "explanations_owed"
        if not in_ and duty["status"] != "waived":
            yield "explanations_open"
    elif kind in ("mandatory_product", "unit_plan", "register"):
        yield "products_owed"
        if accepted:
            yield "products_accepted"
    elif kind == "phase_milestone":
        yield "milestones"
        if duty.get("was_missed"):
            yield "milestones_missed"
    elif kind in ("commitment", "personal_plan"):
        if duty["status"] != "waived":
            yield "commitments_owed"
        if in_:
            yield "commitments_signed"


def figures(events: list[dict[str, Any]], unit: str | None = None) -> dict[str, Any]:
    """The figures that follow from events, in all, by unit, and of obligations by kind; of one unit only, if it is named."""
    subjects: dict[str, dict[str, Any]] = {}
    for event in events:
        kind = event["subject"].split("/", 1)[0]
        if kind in _FOLDS:
            _FOLDS[kind](subjects.setdefault(event["subject"], {}), event)
    units: dict[str, Counter[str]] = {}
    kinds: dict[str, Counter[str]] = {}
    for stream, subject in subjects.items():
        own = subject.get("unit") or "-"
        if unit is not None and own != unit:
            continue
        row = units.setdefault(own, Counter())
        if stream.startswith("assignment/"):
            counted = Counter(_count_task(subject))
            counted["assigned"] = counted.pop("assigned_", 0)
            row.update(counted)
            continue
        if stream.startswith("obligation/"):
            found = list(_count_duty(subject))
            row.update(found)
            kinds.setdefault(subject["kind"], Counter()).update(found)
            continue
        row["warnings_raised"] += 1
        if subject.get("open"):
            row["warnings_open"] += 1
            row[f"warnings_open_level_{min(subject['level'], 4)}"] += 1
    rows = {name: {figure: row[figure] for figure in FIGURES} for name, row in sorted(units.items())}
    total = {figure: sum(row[figure] for row in rows.values()) for figure in FIGURES}
    by_kind = {kind: {figure: row[figure] for figure in OF_A_KIND} for kind, row in sorted(kinds.items())}
    return {"total": total, "units": rows, "kinds": by_kind}


# ---- what belongs to a scope ---------------------------------------------------------------------------------------------------


def streams_of(kind: str, code: str, events: Iterable[dict[str, Any]]) -> set[str]:
    """The streams that belong to a scope, by events in log order: organisation's and programmes' own always among them.

    To a programme all of its streams. To a unit the tasks, obligations and warnings it answered for at some time. To a task
    (PROGRAMME/CODE) its phases, what is owed or warned of about it, and whatever those led to in turn.
    """
    found: set[str] = set()
    phases: set[str] = set()
    ids: set[str] = set()
    rows: dict[str, dict[str, Any]] = {}
    for event in events:
        stream = event["subject"]
        aggregate, owner = stream.split("/")[:2]
        if aggregate in ("organisation", "access") or (kind != "unit" and owner != code.partition("/")[0]):
            continue
        if aggregate in _FOLDS and (kind == "unit" or stream == f"assignment/{code}"):
            _FOLDS[aggregate](rows.setdefault(stream, {}), event)
        row = rows.get(stream, {})
        if kind == "unit":
            belongs = row.get("unit") == code
        elif kind == "assignment" and aggregate != "programme":
            about = event["data"].get("about", event["data"].get("duty", {}).get("about"))
            belongs = stream == f"assignment/{code}" or stream in found or about in found or event["causationid"] in ids
            ids |= {event["id"]} if belongs else set()
            phases |= {f"phase/{owner}/{row['phase']}"} if row.get("phase") else set()
        else:
            belongs = kind == "programme"
        if belongs:
            found |= {stream, f"programme/{owner}", f"organisation/{event['organisation']}"}
    return found | phases


def _check_scope(scope: dict[str, str], events: list[dict[str, Any]], found: Findings) -> None:
    of = f"{scope['kind']} {scope['code']}"
    try:
        mine = streams_of(scope["kind"], scope["code"], events)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        found.wrong("scope", "events.jsonl", f"what belongs to {of} cannot be told ({type(error).__name__}: {error})")
        return
    first = {event["subject"]: event["position"] for event in reversed(events)}
    for stream in sorted(first.keys() - mine, key=first.__getitem__):
        found.wrong("scope", f"position {first[stream]}", f"{stream} does not belong to {of}")
    for stream in sorted(mine - first.keys()):
        if not stream.startswith("phase/"):
            found.wrong("scope", "events.jsonl", f"the bundle lacks {stream}")
    if not mine:
        found.wrong("scope", "events.jsonl", f"the bundle holds nothing of {of}")


def _check_complete(
    folder: Path, head: Head, scope: dict[str, str], events: list[dict[str, Any]], found: Findings
) -> None:
    """That the bundle holds every event of its scope, by a copy of the published folder, which has them all."""
    places: dict[str, list[int]] = {}
    stack: list[bytes] = []

    def read() -> Iterator[dict[str, Any]]:
        for number, entry in enumerate(_entries(folder / "events", head.size)):
            hash_, rest = leaf_hash(entry), number
            while rest & 1:
                hash_, rest = node_hash(stack.pop(), hash_), rest >> 1
            stack.append(hash_)
            event = json.loads(entry)
            places.setdefault(event["subject"], []).append(number + 1)
            yield event

    try:
        mine = streams_of(scope["kind"], scope["code"], read())
    except (OSError, LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
        found.wrong("entries", "--entries", f"whether something was left out cannot be checked: {error}")
        return
    root = stack.pop() if stack else sha256().digest()
    while stack:
        root = node_hash(stack.pop(), root)
    if root != head.root:
        message = f"the entries of {folder} do not lead to the root signed at {head.size}: they are of another log, or changed"
        found.wrong("entries", "--entries", message)
        return
    have = {event["position"] for event in events}
    for stream in sorted(mine):
        if left := [place for place in places.get(stream, ()) if place not in have]:
            message = f"{len(left)} events of {stream} belong to {scope['kind']} {scope['code']} and were left out"
            found.wrong("incomplete", f"position {left[0]}", message)
    found.checked["complete"] = head.size


def _entries(folder: Path, size: int) -> Iterator[bytes]:
    """A log's first leaves from its entry bundles (C2SP tlog-tiles); raises ValueError where the folder lacks one."""
    for index in range(-(-size // 256)):
        digits = str(index).zfill(-(-len(str(index)) // 3) * 3)
        *above, last = [digits[place : place + 3] for place in range(0, len(digits), 3)]
        file = folder.joinpath("tile", "entries", *(f"x{group}" for group in above), last)
        width, place = min(256, size - 256 * index), 0
        partial = [
            one for one in file.with_name(f"{last}.p").glob("*") if one.name.isdecimal() and int(one.name) >= width
        ]
        content = next((one.read_bytes() for one in (file, *partial) if one.is_file()), b"")
        for _ in range(width):
            begin, place = place + 2, place + 2 + int.from_bytes(content[place : place + 2], "big")
            if len(content) < max(begin, place):
                raise ValueError(
                    f"{file} lacks entries up to {size}: the copy is older, or an entry is too long for it"
                )
            yield content[begin:place]


Places = dict[tuple[str, str], dict[str, Any]]
"""Rows of figures by what they are of: (unit, its code; empty for all), (kind, an obligation's kind)."""


def _places(found: dict[str, Any]) -> Places:
    def rows(name: str) -> dict[str, Any]:
        group = found.get(name)
        return {key: row for key, row in group.items() if isinstance(row, dict)} if isinstance(group, dict) else {}

    total = found.get("total")
    return {
        ("unit", ""): total if isinstance(total, dict) else {},
        **{("unit", name): row for name, row in rows("units").items()},
        **{("kind", name): row for name, row in rows("kinds").items()},
    }


def definitions(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The definitions in force at the end: the last event of each kind and key of a stream, with its position."""
    latest: dict[tuple[str, str, str], dict[str, Any]] = {}
    for event in events:
        name, data = _name(event), event["data"]
        if name in ENDING:
            ended, key = ENDING[name]
            latest.pop((event["subject"], ended, str(data[key])), None)
        if name not in DEFINING:
            continue
        content = data[DEFINING[name]] if DEFINING[name] else ""
        key = content if isinstance(content, str) else str(content.get("code", ""))
        latest[event["subject"], name, key] = {
            "stream": event["subject"],
            "definition": name,
            "key": key,
            "version": data.get("regime_version")
            or data.get("policy", {}).get("policy_version")
            or event["streamversion"],
            "position": event["position"],
        }
    return [latest[place] for place in sorted(latest)]


# ---- the dossier: one HTML page in Vietnamese, without anything from outside, fit for printing ------------------------------

_STYLE = """
body{font:11pt/1.45 "Noto Serif","Times New Roman",serif;margin:2rem auto;max-width:60rem;color:#111}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}h3{font-size:1rem;margin:1.2rem 0 .2rem;break-after:avoid}
table{border-collapse:collapse;width:100%;font-size:8.5pt}th,td{border:1px solid #999;padding:.2rem .4rem;text-align:left}
td[data-figure]{text-align:right;font-variant-numeric:tabular-nums}tr{break-inside:avoid}
ol{padding-left:1.2rem;list-style:none;margin:0}li{break-inside:avoid;font-size:9.5pt;border-bottom:1px solid #eee}
.q{color:#555}.note{border:1px solid #999;padding:.6rem .9rem;background:#f7f7f4}
@page{size:A4 landscape;margin:15mm}@media print{body{margin:0;max-width:none}.note{background:none}}
"""
_NOTE = (
    '<p class="note">Hồ sơ này được kiểm tra ngoại tuyến bằng chương trình <code>sauro-verify</code>: số liệu và danh sách sự '
    "kiện được tính lại từ các sự kiện đã ký. Chứng cứ cho thấy bản ghi không bị sửa đổi từ khi được ký; không chứng minh "
    "rằng nội dung người nhập khai báo là đúng sự thật.</p>"
)


def dossier(manifest: dict[str, Any], found: dict[str, Any], events: list[dict[str, Any]]) -> str:
    """The page of an export, of what its manifest says, its figures, and its events with their stored `_bytes`.

    Raises KeyError, TypeError or ValueError for what is not of their form.
    """
    scope, position = manifest["scope"], manifest["logs"]["events"]["size"]
    title = html.escape(f"Hồ sơ kiểm chứng số {manifest['number']}: {SCOPES[scope['kind']].lower()} {scope['code']}")
    return (
        f'<!DOCTYPE html>\n<html lang="vi"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>{title}</h1>\n"
        f"<p>Người yêu cầu: {html.escape(manifest['by'])}. Lý do: {html.escape(manifest['reason'])}. "
        f"Lập lúc {local_text(_instant(manifest['made_at']))}. Sổ sự kiện đã ký đến vị trí {position}.</p>\n{_NOTE}\n"
        f"<h2>Số liệu</h2>\n{_table(found)}\n{_kinds(found)}"
        f"<h2>Diễn biến</h2>\n{_streams(events)}\n</body></html>\n"
    )


def _table(found: dict[str, Any]) -> str:
    places = [("", found["total"]), *found["units"].items()]
    return _rows("Chỉ tiêu", [name or "Tổng" for name, _ in places], "unit", places, FIGURES)


def _kinds(found: dict[str, Any]) -> str:
    """Obligations by kind; nothing where there are none."""
    if not (places := list(found["kinds"].items())):
        return ""
    names = [KINDS.get(kind, kind) for kind, _ in places]
    return f"<h2>Nghĩa vụ theo loại</h2>\n{_rows('Loại', names, 'kind', places, OF_A_KIND)}\n"


def _rows(
    title: str, heads: list[str], of: str, places: list[tuple[str, dict[str, int]]], names: tuple[str, ...]
) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    rows = []
    for figure in names:
        cells = "".join(
            f'<td data-{of}="{html.escape(name)}" data-figure="{figure}">{row[figure]}</td>' for name, row in places
        )
        rows.append(f"<tr><th>{LABELS[figure]}</th>{cells}</tr>")
    return f"<table><thead><tr><th>{title}</th>{head}</tr></thead><tbody>\n" + "\n".join(rows) + "\n</tbody></table>"


def _streams(events: list[dict[str, Any]]) -> str:
    by_stream: dict[str, list[dict[str, Any]]] = {}
    for event in sorted(events, key=lambda event: (event["subject"], event["streamversion"])):
        by_stream.setdefault(event["subject"], []).append(event)
    parts = []
    for stream, own in by_stream.items():
        lines = "\n".join(_line(event) for event in own)
        parts.append(f"<h3>{html.escape(stream)}</h3>\n<ol>\n{lines}\n</ol>")
    return "\n".join(parts)


def _line(event: dict[str, Any]) -> str:
    """What tells of an event: position, when, which act, by whom, when recorded, by which command."""
    authority = f", thẩm quyền {event['actorauthority']}" if "actorauthority" in event else ""
    said = f"{_name(event)} do {event['actorpost']} ({event['actorunit']}){authority}"
    return (
        f'<li data-position="{event["position"]}" data-sha256="{sha256(event["_bytes"]).hexdigest()}">'
        f'<span class="q">{event["position"]}</span> {local_text(_instant(event["time"]))} {html.escape(said)} '
        f'<span class="q">(ghi nhận {local_text(_instant(event["recordedtime"]))}, '
        f"lệnh {html.escape(event['sender'])}/{html.escape(event['commandid'])})</span></li>"
    )


def local_text(instant: datetime) -> str:
    """An instant as people in Asia/Ho_Chi_Minh write it."""
    return instant.astimezone(LOCAL).strftime("%d/%m/%Y %H:%M:%S")


def _check_figures(bundle: Bundle, manifest: dict[str, Any], events: list[dict[str, Any]], found: Findings) -> None:
    scope, position = manifest["scope"], None
    try:
        position = manifest["logs"]["events"]["size"]
        made, defined = figures(events, scope["code"] if scope["kind"] == "unit" else None), definitions(events)
        page = dossier(manifest, made, events).encode()
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        message = f"the figures cannot be computed from these events ({type(error).__name__}: {error})"
        found.wrong("figures", "events.jsonl", message)
        return
    stated = bundle.json("figures.json")
    _compare_figures(made, stated if isinstance(stated, dict) else {}, found)
    if not isinstance(stated, dict) or stated.get("position") != position:
        found.wrong("figures", "figures.json", f"the figures do not say that they are those of position {position}")
    if bundle.json("definitions.json") != defined:
        found.wrong("definitions", "definitions.json", "these are not the definitions in force by the events")
    if bundle.files["dossier.html"] != page:
        theirs, mine = bundle.text("dossier.html"), page.decode()
        pairs = enumerate(zip_longest(theirs, mine))
        at = next(place for place, (one, other) in pairs if one != other) if theirs != mine else 0
        line, around = mine.count("\n", 0, at) + 1, slice(max(0, at - 80), at + 40)
        message = f"line {line} of the dossier reads …{theirs[around]!r}…; from the events follows …{mine[around]!r}…"
        found.wrong("dossier", "dossier.html", message)
    found.checked["figures"] = sum(len(row) for row in _places(made).values())


def _compare_figures(made: dict[str, Any], stated: dict[str, Any], found: Findings) -> None:
    if made == {group: stated.get(group) for group in made}:
        return
    mine, theirs = _places(made), _places(stated)
    before = len(found.problems)
    for place in sorted(mine.keys() | theirs.keys()):
        a, b = mine.get(place, {}), theirs.get(place, {})
        for figure in sorted(a.keys() | b.keys()):
            if a.get(figure) != b.get(figure):
                message = f"figures.json says {figure} = {b.get(figure)} for {place[1] or 'all'}; the events give {a.get(figure)}"
                found.wrong("figures", "figures.json", message)
    if len(found.problems) == before:
        found.wrong("figures", "figures.json", "figures.json does not have the form of the figures")


# ---- the program -----------------------------------------------------------------------------------------------------------


def key_text(argument: str) -> str:
    """The public keys an option names: a file's content, or what it says itself; raises OSError."""
    file = Path(argument)
    return argument if "+" in argument and not file.is_file() else file.read_text(encoding="utf-8")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="sauro-verify", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("bundle", type=Path, help="the bundle, a zip file made by 'sauro audit export'")
    parser.add_argument(
        "--key", help="the public keys you trust: a file, or one key as text; without it the bundle's own"
    )
    parser.add_argument("--checkpoint", type=Path, action="append", default=[], help="a checkpoint you already have")
    parser.add_argument(
        "--entries",
        type=Path,
        help="a copy of the published audit folder: check that nothing of the scope was left out",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """The console script."""
    options = _options(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a bundle may say what no terminal can print
    try:
        keys = [Key.parse(line) for line in key_text(options.key).splitlines() if line.strip()] if options.key else None
        known = [file.read_text(encoding="utf-8", errors="replace") for file in options.checkpoint]
        found = verify(options.bundle, keys, known, options.entries)
    except (Unreadable, OSError, ValueError) as error:
        print(json.dumps({"clean": False, "unreadable": str(error)}) if options.json else f"cannot be checked: {error}")
        raise SystemExit(2) from None
    if options.json:
        report = {
            "clean": not found.problems,
            "problems": found.problems,
            "checked": found.checked,
            "notes": found.notes,
        }
        print(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        _say(found)
    raise SystemExit(1 if found.problems else 0)


def _say(found: Findings) -> None:
    for problem in found.problems:
        print(f"WRONG  {problem['where']}: {problem['message']}")
    for note in found.notes:
        print(f"note   {note}")
    checked = found.checked
    for log, head in checked.get("checkpoints", {}).items():
        print(f"signed {log}: {head['size']} by {head['origin']}")
    if checked:
        print(
            f"export {checked.get('export')}: {checked['events']} events in {checked['streams']} streams, {checked['receipts']} "
            f"receipts, {checked['acts']} acts, {checked.get('figures', 0)} figures of the dossier"
        )
    print(f"{len(found.problems)} problems" if found.problems else _held(found))


def _held(found: Findings) -> str:
    if OWN_KEYS in found.notes:
        return "all holds by keys the bundle brought itself: that proves nothing until you compare them with keys you trust"
    return "all holds: nothing here was changed since it was signed" + (
        f", and of its scope nothing was left out up to position {found.checked['complete']}"
        if "complete" in found.checked
        else ""
    )


if __name__ == "__main__":
    main()
