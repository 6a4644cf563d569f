"""From a message's bytes to a request, or to the reason why it cannot be read.

Three outcomes of a message start here: unreadable (dead letter), refused by a rule (rejection receipt), transient
(redelivery). What is unreadable names field and rule.
"""

import json
from dataclasses import dataclass, field
from hashlib import sha256
from secrets import token_bytes
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL

import orjson
from pydantic import TypeAdapter, ValidationError

from contracts.base import Command, broken_rule
from contracts.envelope import CommandEnvelope
from contracts.receipts import Refusal
from contracts.registry import ContractRegistry
from contracts.types import MessageId, SourceCode, TextRef
from domain.kernel import Request
from services.eventlog.codec import actor_of
from services.eventlog.recorder import SealedText
from services.ids import named_uuid
from services.together import MOST

MAX_COMMAND_BYTES = 56 * 1024
"""So that its events stay below the 65,535 bytes of an entry in C2SP's `tlog-tiles`."""
_SOURCE = TypeAdapter[str](SourceCode)
_ID = TypeAdapter[str](MessageId)


class Incoming(NamedTuple):
    """A command as it came: the subject tokens of its message, its bytes, the message's sequence in COMMANDS, its place there."""

    source: str
    programme: str
    payload: bytes
    sequence: int
    part: int = 0


class Readable(NamedTuple):
    """A command that could be read. `digest` is the SHA-256 of its canonical JSON (R-356)."""

    request: Request[Any]
    aggregate: str
    digest: bytes
    texts: tuple[SealedText, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message that could not be read; `source` and `id` are set when both could be."""

    refusal: Refusal
    digest: bytes
    source: str | None = None
    id: str | None = None


class Seal:
    """Seals the erasable texts of one command: keeps words and salt, hands out reference and hash."""

    def __init__(self, salts: "Salts", scope: str) -> None:
        self._salts, self._scope = salts, scope
        self.texts: list[SealedText] = []

    def seal(self, text: str) -> TextRef:
        """Keep the words; the reference is unique to this reading of the command."""
        salt = self._salts.salt(self._scope, len(self.texts))
        ref = named_uuid(NAMESPACE_URL.bytes, f"{self._scope}/{len(self.texts)}/{salt.hex()}")
        self.texts.append(SealedText(ref, salt, text))
        return TextRef(ref=ref, digest=sha256(salt + text.encode()).hexdigest())


class Salts:
    """Salts for erasable texts, from the system's randomness."""

    def salt(self, scope: str, number: int) -> bytes:
        """16 bytes nobody can guess."""
        return token_bytes(16)


@dataclass(frozen=True, slots=True)
class SeededSalts(Salts):
    """Salts that follow from a seed, so that a simulated run gives the same bytes; never for production."""

    seed: int = field(default=0)

    def salt(self, scope: str, number: int) -> bytes:
        """16 bytes that depend on seed, command and field alone."""
        return sha256(f"{self.seed}/{scope}/{number}".encode()).digest()[:16]


class _Broken(Exception):
    def __init__(self, rule: str, name: str, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(rule=rule, field=_printable(name), message=_printable(message))


def _printable(text: str) -> str:
    """What the sender wrote, fit for PostgreSQL and JSON: NUL and lone surrogates stand escaped."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Broken("duplicate_key", twice[:80], f"key '{twice[:80]}' stands twice in one object; send it once")
    return found


def _constant(name: str) -> Any:
    raise _Broken("not_json", "(message)", f"{name} is not JSON; use a number or leave the field out")


def _parsed(payload: bytes) -> tuple[dict[str, Any], bytes]:
    r"""The message as parsed JSON, and the digest of its canonical form; raises _Broken.

    orjson keeps the last of two equal keys without a word. But every string of a message stands in its canonical form with
    the same quotation marks, so fewer marks there mean that a key was lost. Only \u0022 could blur that: messages with
    such escapes go the thorough way, as do those orjson refuses, to have their error named.
    """
    if len(payload) > MAX_COMMAND_BYTES:
        if payload.lstrip()[:1] == b"[":
            raise _Broken(
                "not_an_envelope", "(message)", f"no JSON batch: that is one array of 1 to {MOST} CloudEvents"
            )
        raise _Broken("too_large", "(message)", f"{len(payload)} bytes; a command has at most {MAX_COMMAND_BYTES}")
    try:
        document = orjson.loads(payload)
        canonical = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, TypeError):
        document, canonical = None, b""
    if type(document) is dict and payload.count(b'"') == canonical.count(b'"') and b"\\u" not in payload:
        return document, sha256(canonical).digest()
    document = _document(payload)
    return document, canonical_digest(document)


def _document(payload: bytes) -> dict[str, Any]:
    try:
        document = json.loads(payload.decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise _Broken("not_utf8", "(message)", f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise _Broken("too_deep", "(message)", "the JSON is nested too deeply") from None
    except ValueError as error:
        raise _Broken("not_json", "(message)", f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise _Broken(
            "not_an_envelope",
            "(message)",
            f"a command is one JSON object, a CloudEvent; a batch holds 1 to {MOST}",
        )
    return document


def _explain(error: ValidationError) -> Refusal:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = _printable(".".join(str(part) for part in first["loc"])) or "(message)"
    others = error.error_count() - 1
    more = f" (and {others} more)" if others else ""
    rule, said = broken_rule(first)
    message = f"{_printable(said)}{more}; see the JSON Schema of this type"
    return Refusal(rule=rule, field=where[:200], message=message[:1000])


def canonical_digest(document: Any) -> bytes:
    """SHA-256 over the parsed JSON with sorted keys: spacing and key order make no difference (R-356)."""
    try:
        return sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).digest()
    except TypeError:  # integers beyond 64 bits, lone surrogates, deep nesting
        try:
            return sha256(json.dumps(document, sort_keys=True).encode()).digest()
        except RecursionError:
            raise _Broken("too_deep", "(message)", "the JSON is nested too deeply") from None


class CommandReader:
    """Validates messages one by one against the registry's commands."""

    def __init__(self, registry: ContractRegistry, organisation: str | None = None, salts: Salts | None = None) -> None:
        self._registry = registry
        self._organisation = organisation
        self._salts = salts or Salts()
        self._envelopes: dict[str, type[CommandEnvelope[Command]]] = {}

    def read(self, incoming: Incoming) -> Readable | Unreadable:
        """The request a message holds, or why it cannot be read."""
        try:
            document, digest = _parsed(incoming.payload)
        except _Broken as broken:
            return Unreadable(broken.refusal, sha256(incoming.payload).digest())
        try:
            return self._validated(incoming, document, digest)
        except _Broken as broken:
            refusal = broken.refusal
        except ValidationError as error:
            refusal = _explain(error)
        source, id_ = _known(_SOURCE, document.get("source")), _known(_ID, document.get("id"))
        if source != incoming.source:
            source = id_ = None  # never let one sender use up another's ids
        both = source is not None and id_ is not None
        return Unreadable(refusal, digest, source if both else None, id_ if both else None)

    def _validated(self, incoming: Incoming, document: dict[str, Any], digest: bytes) -> Readable:
        type_ = document.get("type")
        known = self._registry.commands.get(type_) if isinstance(type_, str) else None
        if known is None:
            raise _Broken("unknown_type", "type", f"no command of type {str(type_)[:120]!r} is known here")
        if known.type not in self._envelopes:
            self._envelopes[known.type] = CommandEnvelope[known.model]  # type: ignore[name-defined]
        seal = Seal(self._salts, f"{incoming.source}/{document.get('id')}")
        envelope = self._envelopes[known.type].model_validate_json(incoming.payload, context={"sealer": seal})
        self._agree(incoming, envelope, known.aggregate)
        return Readable(request_of(envelope), known.aggregate, digest, tuple(seal.texts))

    def _agree(self, incoming: Incoming, envelope: CommandEnvelope[Any], aggregate: str) -> None:
        """Envelope, NATS subject and stream must say the same."""
        stream = envelope.subject.split("/")
        if envelope.source != incoming.source:
            raise _Broken("source_mismatch", "source", f"sent on the subject of '{incoming.source}'")
        if envelope.programme != incoming.programme:
            raise _Broken("programme_mismatch", "programme", f"sent on the subject of '{incoming.programme}'")
        if stream[0] != aggregate:
            raise _Broken("subject_mismatch", "subject", f"a command of '{aggregate}' has a subject '{aggregate}/…'")
        if stream[1] != envelope.programme:
            raise _Broken(
                "subject_mismatch", "subject", f"the stream belongs to '{stream[1]}', not '{envelope.programme}'"
            )
        if aggregate == "organisation" and stream[1] != envelope.organisation:
            raise _Broken("organisation_mismatch", "organisation", f"the stream is that of '{stream[1]}'")
        if (len(stream) == 2) != (aggregate in ("organisation", "programme")):
            raise _Broken("subject_mismatch", "subject", f"'{envelope.subject}' is not a stream of '{aggregate}'")


def request_of(envelope: CommandEnvelope[Any]) -> Request[Any]:
    """The request a validated envelope stands for."""
    return Request(
        data=envelope.data,
        subject=envelope.subject,
        occurred_at=envelope.time,
        actor=actor_of(envelope.actorpost, envelope.actorunit, envelope.actoronbehalf, envelope.actorauthority),
        source=envelope.source,
        id=envelope.id,
        organisation=envelope.organisation,
        programme=envelope.programme,
        correlation_id=envelope.correlationid,
        causation_id=envelope.causationid,
        expected_version=envelope.expectedversion,
    )


def _known(adapter: TypeAdapter[str], value: Any) -> str | None:
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError:
        return None
