"""The scalar types of the published language.

Every text is NFC and free of control characters, because PostgreSQL cannot store NUL and because two spellings of one
Vietnamese word must not be two values. A text that may name people is erasable: the command carries the words, the log
carries a salted hash and a reference (R-359).
"""

import re
import unicodedata
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, Protocol

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from contracts.base import value

# C0 without tab and line ends, DEL, C1, line and paragraph separators, bidirectional overrides, lone surrogates
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_AWARE = TypeAdapter[datetime](AwareDatetime)
_EARLIEST, _LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def _clean(text: str) -> str:
    if not text.isprintable() and (found := _CONTROL.search(text)):
        raise PydanticCustomError(
            "control_character",
            "text holds the control character {code}; remove it",
            {"code": f"U+{ord(found.group()):04X}"},
        )
    if not text.isascii() and not unicodedata.is_normalized("NFC", text):
        raise PydanticCustomError("not_nfc", "text is not in Unicode normalisation form C; normalise it before sending")
    if not text.strip():
        raise PydanticCustomError("blank", "text is blank; leave the field out or fill it")
    return text


def _one_line(text: str) -> str:
    if not text.isprintable() and ("\n" in text or "\r" in text):
        raise PydanticCustomError("line_break", "text holds a line break; this field is one line")
    return _clean(text)


def _instant(value: Any) -> Any:
    if isinstance(value, str):
        return _instant_of(value)
    if isinstance(value, datetime):
        return _utc(value) if value.tzinfo else value  # pydantic says what one without a zone lacks
    raise _no_instant()


@lru_cache(maxsize=65_536)
def _instant_of(text: str) -> datetime | str:
    """The instant a text names; the text itself, if pydantic is to say what is wrong with it. Many limits name the same one."""
    if not _RFC3339.fullmatch(text):
        raise _no_instant()  # pydantic alone would take "1780000000" for an instant
    try:
        return _utc(_AWARE.validate_python(text))
    except ValidationError:
        return text


def _utc(instant: datetime) -> datetime:
    if not _EARLIEST <= instant <= _LATEST:
        raise PydanticCustomError("instant_out_of_range", "instant lies outside 1990 to 2200")
    return instant.astimezone(UTC)


def _no_instant() -> PydanticCustomError:
    return PydanticCustomError("instant_format", "an instant is RFC 3339 text with offset: 2026-06-05T15:00:00+07:00")


Code = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9-]{1,40}$")]
"""An upper-case code: of a programme, unit, post, task, authority …"""

SourceCode = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,40}$")]
"""A sending system. Lower-case codes are reserved for Sauro's own services."""

MessageId = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,100}$")]
"""An id given by the sender, unique within its source; UUIDv7 is recommended."""

StreamId = Annotated[str, StringConstraints(pattern=r"^[a-z]{1,30}(/[A-Z0-9-]{1,40}){1,2}$")]
"""`<aggregate>/<CODE>` or `<aggregate>/<CODE>/<CODE>`."""

PersonId = Annotated[str, StringConstraints(pattern=r"^P-[A-Z0-9]{6,32}$")]
"""A pseudonym; who it is is kept outside the log (R-359)."""

Instant = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_instant)]
"""A point in time, RFC 3339 with offset, kept in UTC."""

Line = Annotated[str, StringConstraints(min_length=1, max_length=300), AfterValidator(_one_line)]
"""One line of text that names no person."""

Paragraph = Annotated[str, StringConstraints(min_length=1, max_length=4000), AfterValidator(_clean)]
"""A longer text that names no person."""

Percent = Annotated[int, Field(ge=0, le=100)]
Version = Annotated[int, Field(ge=1, le=2_000_000_000)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


@value
class TextRef:
    """Where an erasable text lies and its salted SHA-256; the words are stored beside the log and can be erased."""

    ref: Annotated[str, StringConstraints(pattern=r"^[0-9a-f-]{36}$")]
    digest: Sha256


class Sealer(Protocol):
    """Keeps the words of an erasable text and hands back the reference that enters the log."""

    def seal(self, text: str) -> TextRef:
        """The reference of a text that is now kept."""
        ...


def _seal(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str):
        if isinstance(value, TextRef):
            return value
        raise PydanticCustomError("string_type", "an erasable text is a string")
    if not 1 <= len(value) <= 4000:
        rule: Literal["string_too_long", "blank"] = "string_too_long" if value else "blank"
        raise PydanticCustomError(rule, "an erasable text has 1 to 4000 characters")
    sealer: Sealer | None = (info.context or {}).get("sealer")
    if sealer is None:
        raise PydanticCustomError("no_sealer", "erasable texts are sealed by intake")
    return sealer.seal(_clean(value))


ErasableText = Annotated[
    TextRef,
    BeforeValidator(_seal, json_schema_input_type=str),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 4000, "x-erasable": True}),
]
"""A text that may name people: words in the command, a `TextRef` in the event."""

KeptText = TextRef | Line
"""An erasable text in an event whose first version had a plain line there.

New events hold a `TextRef`. A line stands there only where version 1 recorded it; it is in the log for ever and cannot be erased.
"""
