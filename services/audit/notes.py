"""Signed notes and checkpoints: the C2SP formats `signed-note` and `tlog-checkpoint`, with Ed25519.

A log's origin is the name of its key. One key signs for both logs of an installation, as `<name>/events` and `<name>/receipts`,
and as `<name>/export` for the manifests of its exports: a note in the form of a checkpoint, with an export's number for size and
the SHA-256 of its manifest for root. As each text begins with its origin, none can stand for another.
"""

import base64
import binascii
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

EXPORT = "export"
SIGNED = ("events", "receipts", EXPORT)
"""What an installation signs for, each under an origin of its own."""
ED25519 = b"\x01"
_PRIVATE = "PRIVATE+KEY+"
_NAME = re.compile(r"[^\s+]{1,200}")
_SIZE = re.compile(r"0|[1-9]\d{0,18}", re.ASCII)
_MOST_SIGNATURES = 64


class NoteInvalid(Exception):
    """A note, checkpoint or key that cannot be read, or that no known key signed; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key under a name. Its text form is the C2SP `vkey`."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """The four bytes that stand before a signature."""
        return key_id(self.name, self.public)

    @property
    def vkey(self) -> str:
        """`<name>+<key id>+<base64 of type and key>`."""
        return f"{self.name}+{self.id.hex()}+{encoded(ED25519 + self.public)}"

    @classmethod
    def parse(cls, vkey: str) -> "Verifier":
        """A verifier from its text form; raises NoteInvalid."""
        try:
            name, id_, key = vkey.strip().split("+", 2)
            material = _decode(key)
        except (ValueError, NoteInvalid):
            raise NoteInvalid("a public key reads <name>+<8 hex digits>+<base64>") from None
        if material[:1] != ED25519 or len(material) != 33 or not _NAME.fullmatch(name):
            raise NoteInvalid(f"the public key of '{name}' is not an Ed25519 key")
        found = cls(name, material[1:])
        if found.id.hex() != id_:
            raise NoteInvalid(f"the public key of '{name}' does not have the id {id_}")
        return found


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key under a name. Its text form is that of Go's `sumdb/note`: PRIVATE+KEY+<name>+<id>+<base64>."""

    name: str
    seed: bytes = field(repr=False)

    @classmethod
    def generate(cls, name: str) -> "Signer":
        """A new key; raises NoteInvalid for a name with spaces or a plus."""
        if not _NAME.fullmatch(name):
            raise NoteInvalid(f"'{name}' cannot name a key: no spaces and no plus, such as sauro.example.vn")
        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> "Signer":
        """A signer from its text form; raises NoteInvalid, which never quotes the key."""
        parts = text.strip().split("+", 4)
        if len(parts) != 5 or "+".join(parts[:2]) + "+" != _PRIVATE:
            raise NoteInvalid("this is no private key of `sauro audit key new`")
        material = _decode(parts[4])
        if material[:1] != ED25519 or len(material) != 33:
            raise NoteInvalid("this is no Ed25519 private key")
        found = cls(parts[2], material[1:])
        if found.verifier().id.hex() != parts[3]:
            raise NoteInvalid(f"the private key of '{found.name}' does not fit its id")
        return found

    @classmethod
    def read(cls, file: Path) -> "Signer":
        """The key in a file; raises NoteInvalid when it cannot be read, or when others than its owner may read it."""
        try:
            mode = file.stat().st_mode & 0o077
            text = file.read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise NoteInvalid(f"the key {file} cannot be read: {error}; make one: sauro audit key new {file}") from None
        if mode:
            raise NoteInvalid(f"others may read the key {file}; let its owner alone: chmod 600 {file}")
        return cls.parse(text)

    def write(self, file: Path) -> None:
        """Keep the key in a new file only its owner may read; raises FileExistsError rather than replace one."""
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as opened:
            id_ = self.verifier().id.hex()
            opened.write(f"{_PRIVATE}{self.name}+{id_}+{encoded(ED25519 + self.seed)}\n")
            opened.flush()
            os.fsync(opened.fileno())

    def verifier(self) -> Verifier:
        """The public half."""
        private = Ed25519PrivateKey.from_private_bytes(self.seed)
        return Verifier(self.name, private.public_key().public_bytes_raw())

    def for_log(self, log: str) -> "Signer":
        """The same key under the origin of a log, or that of exports."""
        return Signer(f"{self.name}/{log}", self.seed)

    def sign(self, text: str) -> str:
        """The note: text, blank line, signature. The text ends with a newline."""
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        return f"{text}\n— {self.name} {encoded(self.verifier().id + signature)}\n"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a tree: whose, how many leaves, which root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The note text of `tlog-checkpoint`, without extension lines."""
        return f"{self.origin}\n{self.size}\n{encoded(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """A checkpoint from a note's text; raises NoteInvalid."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]) or not _SIZE.fullmatch(lines[1]):
            raise NoteInvalid("not a checkpoint: origin, size and root stand on a line each")
        root = _decode(lines[2])
        if len(root) != sha256().digest_size:
            raise NoteInvalid("not a checkpoint: the root does not have 32 bytes")
        return cls(lines[0], int(lines[1]), root)


def key_id(name: str, public: bytes) -> bytes:
    """The first four bytes of SHA-256 over name, newline, type and key."""
    return sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


def opened(note: str, verifiers: Iterable[Verifier]) -> tuple[str, list[Verifier]]:
    """A note's text and which of the keys signed it; signatures of others are passed over, as the format says.

    Raises NoteInvalid when it is no note, when none of the keys signed it, or when one of them stands for a signature that
    is not its own.
    """
    text, signatures = _taken_apart(note)
    known = {(verifier.name, verifier.id): verifier for verifier in verifiers}
    found: list[Verifier] = []
    for name, id_, signature in signatures:
        verifier = known.get((name, id_))
        if verifier is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(verifier.public).verify(signature, text.encode())
        except InvalidSignature:
            raise NoteInvalid(f"the signature of '{name}' does not fit the text") from None
        found.append(verifier)
    if not found:
        signers = ", ".join(f"{name}+{id_.hex()}" for name, id_, _ in signatures)
        raise NoteInvalid(f"no known key signed this: it is signed by {signers}")
    return text, found


def opened_checkpoint(note: str, verifiers: Iterable[Verifier]) -> Checkpoint:
    """The checkpoint in a note that one of the keys signed under the checkpoint's own origin; raises NoteInvalid."""
    text, signers = opened(note, verifiers)
    checkpoint = Checkpoint.parse(text)
    if all(signer.name != checkpoint.origin for signer in signers):
        raise NoteInvalid(f"'{signers[0].name}' cannot sign for '{checkpoint.origin}'")
    return checkpoint


def _taken_apart(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    text, blank, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    if not blank or len(lines) < 2 or lines[-1] or len(lines) > _MOST_SIGNATURES:
        raise NoteInvalid("not a signed note: text, a blank line, and signatures")
    if any(ord(character) < 0x20 and character != "\n" for character in note):
        raise NoteInvalid("not a signed note: it holds control characters")
    found = []
    for line in lines[:-1]:
        dash, _, rest = line.partition(" ")
        name, _, signature = rest.partition(" ")
        material = _decode(signature)
        if dash != "—" or not _NAME.fullmatch(name) or len(material) < 5:
            raise NoteInvalid("not a signed note: a signature line reads '— <name> <base64>'")
        found.append((name, material[:4], material[4:]))
    return text + "\n", found


def encoded(data: bytes) -> str:
    """Bytes as base64, as notes and proofs write them."""
    return base64.b64encode(data).decode("ascii")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteInvalid("what should be base64 is not") from None
