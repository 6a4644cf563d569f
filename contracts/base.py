"""The two kinds of message Sauro exchanges: commands (imperative) and events (past tense)."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """A frozen, strict value: unknown fields are refused, nothing is coerced."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Command(Model):
    """What somebody asks for. The class name is the command's name, `version` its schema version."""

    version: ClassVar[int] = 1


class Event(Model):
    """What happened. Once released, a version of an event never changes (R-345, R-360)."""

    version: ClassVar[int] = 1
