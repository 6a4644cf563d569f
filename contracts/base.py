"""The two kinds of message Sauro exchanges, commands (imperative) and events (past tense), and the values they are made of."""

from dataclasses import field
from typing import ClassVar, TypeVar, cast, dataclass_transform

from pydantic import BaseModel, ConfigDict, Field
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
T = TypeVar("T")


class Model(BaseModel):
    """A frozen, strict message: unknown fields are refused, nothing is coerced."""

    model_config = {**_STRICT, "frozen": True}


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(Field, field))
def value(cls: type[T]) -> type[T]:
    """Makes a class a part of messages: as frozen and strict as they are, in a third of a pydantic model's memory.

    States keep such values by the hundred thousand, and models would have the cycle collector walk through all of them.
    """
    return cast(type[T], dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)(cls))


_AS_OF_MODELS = {
    "unexpected_keyword_argument": ("extra_forbidden", "Extra inputs are not permitted"),
    "dataclass_type": ("model_type", "Input should be an object"),
}


def broken_rule(error: ErrorDetails) -> tuple[str, str]:
    """The rule a validation error stands for and what it says: the same for a value as for a message."""
    return _AS_OF_MODELS.get(error["type"], (error["type"], error["msg"]))


class Command(Model):
    """What somebody asks for. The class name is the command's name, `version` its schema version."""

    version: ClassVar[int] = 1


class Event(Model):
    """What happened. Once released, a version of an event never changes (R-345, R-360)."""

    version: ClassVar[int] = 1
