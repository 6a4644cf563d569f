"""Receipts: what became of a command. A receipt means committed; a broker's acknowledgement does not."""

from typing import Annotated, Literal

from pydantic import Field

from contracts.base import Model
from contracts.types import Instant, MessageId, SourceCode

Outcome = Literal["accepted", "rejected", "duplicate", "unreadable"]


class Refusal(Model):
    """Which rule was broken, on which field, and the way out."""

    rule: str
    field: str
    message: str


class Receipt(Model):
    """The answer to one command, known by (source, id) for ever (R-356).

    `positions` are the log positions of the command's events (empty for a timer that came too late), `version` is
    the subject's version after the command. A repeated command gets the first receipt again with `duplicate` true.
    """

    source: SourceCode
    id: MessageId
    outcome: Outcome
    receipt: Annotated[int, Field(ge=0)]
    recorded_at: Instant
    positions: tuple[int, ...] = ()
    version: int | None = None
    refusal: Refusal | None = None
    duplicate: bool = False
