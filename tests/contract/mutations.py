"""Bad forms of a valid command, field by field: what each class of bad input looks like."""

import copy
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, time
from typing import Any, Literal, get_args, get_origin

from contracts.limits import Day
from contracts.registry import MessageType
from contracts.types import Code, ErasableText, Instant, Line, MessageId, Paragraph, PersonId, Sha256, StreamId
from tests.contract.samples import bare, command, constraint, fields_of, typed, without_none

Path = tuple[str | int, ...]
CLASSES = ("missing", "wrong type", "out of range", "too long", "NUL character", "duplicate key", "NFD text")
_MARK = "\ue000twice"
_NFD = unicodedata.normalize("NFD", "Sở Văn hóa")
_PATTERNED = (Code, MessageId, StreamId, PersonId, Sha256)
_LONGEST = ((Line, 300), (Paragraph, 4000), (ErasableText, 4000))


@dataclass(frozen=True)
class Mutation:
    """One bad form of a command. `where` is the path of the bad field within the envelope."""

    kind: str
    where: Path
    payload: bytes

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.where))} {self.kind}"


def mutations(known: MessageType[Any]) -> Iterator[Mutation]:
    """Every field of the command, nested ones too, in every bad form its type can take."""
    valid = command(known)
    for path, hint, required in _fields(known.model, valid["data"], ("data",)):
        if required:
            yield Mutation("missing", path, _dumps(_without(valid, path)))
        yield Mutation("duplicate key", path, _twice(valid, path))
        for kind, value in _bad_values(hint):
            yield Mutation(kind, path, _dumps(_with(valid, path, value)))


def optional_left_out(known: MessageType[Any]) -> bytes:
    """The command with its required fields alone, those of nested objects untouched."""
    valid = command(known)
    kept = {name: field for name, field in known.model.model_fields.items() if field.is_required()}
    return _dumps(valid | {"data": {name: valid["data"][name] for name in kept}})


def day_fields(known: MessageType[Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every local day of the command, with the command itself."""
    valid = command(known)
    for path, hint, _ in _fields(known.model, valid["data"], ("data",)):
        if bare(hint) is date:
            yield path, valid


def with_value(document: dict[str, Any], path: Path, value: Any) -> bytes:
    """The document with another value at a path."""
    return _dumps(_with(document, path, value))


def _fields(model: type[Any], data: dict[str, Any], path: Path) -> Iterator[tuple[Path, Any, bool]]:
    for name, annotation in fields_of(model).items():
        if name not in data:
            continue
        hint = without_none(annotation)
        yield (*path, name), hint, model.__pydantic_fields__[name].is_required()
        inner, value, place = bare(hint), data[name], (*path, name)
        if get_origin(inner) is tuple and value:
            inner, value, place = bare(get_args(inner)[0]), value[0], (*place, 0)
        if hasattr(inner, "__pydantic_fields__") and hint != ErasableText:
            yield from _fields(inner, value, place)


def _bad_values(hint: Any) -> Iterator[tuple[str, Any]]:
    yield "wrong type", _wrong_type(hint)
    yield "NUL character", "A\x00B"
    yield "NFD text", _NFD
    yield from (("out of range", value) for value in _out_of_range(hint))
    if (value := _too_long(hint)) is not None:
        yield "too long", value


def _wrong_type(hint: Any) -> Any:
    inner = bare(hint)
    if inner in (int, float, bool) or get_origin(inner) is tuple:
        return {"not": "this"}
    return 5


def _out_of_range(hint: Any) -> Iterator[Any]:
    inner = bare(hint)
    if inner in (int, float):
        low, high = constraint(hint, "ge"), constraint(hint, "le")
        yield from (bound for bound in (None if low is None else low - 1, high and high + 1) if bound is not None)
    elif hint == Instant:
        yield from ("1970-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "1780000000", "2026-06-04T10:15:00")
    elif hint == Day:
        yield from ("9999-12-31", "1900-01-01")
    elif inner is date:
        yield "2026-02-30"
    elif inner is time:
        yield "24:00:00"
    elif get_origin(inner) is Literal:
        yield "no-such-choice"
    elif hint in _PATTERNED:
        yield from ("không", f"{typed(hint)}\n")
    elif hint in (Line, Paragraph, ErasableText):
        yield from ("", "  ", "a\u0085b", "a\u202eb")
    elif get_origin(inner) is tuple and constraint(hint, "min_length"):
        yield []


def _too_long(hint: Any) -> Any | None:
    inner = bare(hint)
    if get_origin(inner) is tuple:
        most = constraint(hint, "max_length")
        return None if most is None else [None] * (most + 1)
    for known, most in _LONGEST:
        if hint == known:
            return "x" * (most + 1)
    if hint in _PATTERNED:
        return f"{typed(hint)}" * 101
    return "x" * 1000 if inner in (str, date, time) or get_origin(inner) is Literal else None


def _at(document: dict[str, Any], path: Path) -> tuple[dict[str, Any], Any]:
    found = copy.deepcopy(document)
    place: Any = found
    for step in path[:-1]:
        place = place[step]
    return found, place


def _with(document: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    found, place = _at(document, path)
    place[path[-1]] = value
    return found


def _without(document: dict[str, Any], path: Path) -> dict[str, Any]:
    found, place = _at(document, path)
    del place[path[-1]]
    return found


def _twice(document: dict[str, Any], path: Path) -> bytes:
    found, place = _at(document, path)
    place[_MARK] = place[path[-1]]
    return _dumps(found).replace(_MARK.encode(), str(path[-1]).encode())


def _dumps(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()
