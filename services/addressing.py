"""What addresses a command: its source, id and programme. Checked where a command comes in by another door than NATS."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from contracts.types import Code, MessageId, SourceCode

ADDRESS: dict[str, tuple[TypeAdapter[str], str]] = {
    "source": (TypeAdapter(SourceCode), "1 to 40 letters, digits and hyphens: the code of the sending system"),
    "id": (TypeAdapter(MessageId), "1 to 100 printable ASCII characters without spaces, unique within the source"),
    "programme": (TypeAdapter(Code), "1 to 40 upper-case letters, digits and hyphens: the programme's code"),
}


def broken_address(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(field, rule, what it should be) for each attribute without which a command cannot be addressed."""
    found = []
    for name, (adapter, meaning) in ADDRESS.items():
        if name not in document:
            found.append((name, "missing", f"missing; {meaning}"))
            continue
        try:
            adapter.validate_python(document[name], strict=True)
        except ValidationError as error:
            found.append((name, str(error.errors()[0]["type"]), meaning))
    return found


def is_reserved(source: str) -> bool:
    """Whether a source is kept for Sauro's own services: lower-case codes are."""
    return source.islower()
