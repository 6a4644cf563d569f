"""Access: who read the audit history, what of it, when and why, as events of their own stream (R-358).

A system stream, not an aggregate: nobody decides anything about it. `access/<ORGANISATION>/<YYYY-MM>` holds the readings of one
local month of what belongs to an organisation; `access/SAURO/…` those that span the installation.
"""

from typing import Annotated, Literal

from pydantic import Field

from contracts.base import Command, Event
from contracts.registry import AggregateContract
from contracts.types import Code, ErasableText, Instant, Line, TextRef

Act = Literal["history", "causes", "effects", "late", "reconcile", "replay", "diff", "export", "access"]
Door = Literal["api", "cli"]
Position = Annotated[int, Field(ge=0)]


class RecordAccess(Command):
    """A reading was answered. `about` is what was read: a stream, a position, or the filters that were given.

    `reader` is the post the reader named, None when none was named; nothing has authenticated it. `position` is the log
    position the answer was computed at, `as_of` the past moment that was asked for.
    """

    act: Act
    door: Door
    about: Line
    position: Position
    programme: Code | None = None
    reader: Code | None = None
    reason: ErasableText | None = None
    as_of: Instant | None = None


class AccessRecorded(Event):
    """Somebody read the audit history. The event's time is when the answer was ready; the reason can be erased (R-359)."""

    act: Act
    door: Door
    about: Line
    position: Position
    programme: Code | None = None
    reader: Code | None = None
    reason: TextRef | None = None
    as_of: Instant | None = None


CONTRACT = AggregateContract(name="access", commands=(RecordAccess,), events=(AccessRecorded,))
