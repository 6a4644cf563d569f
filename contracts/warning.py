"""Warning: raised, delivered, acknowledged, answered, resolved, or escalated a level (appendix 3.6, groups H and I).

Its id derives from the deadline it stands on, so a rung fires once however often it is found (R-131).
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contracts.base import Command, Event, Model
from contracts.deadlines import DEADLINE_COMMANDS, DEADLINE_EVENTS, DeadlineKey
from contracts.limits import Limit
from contracts.registry import AggregateContract, unchanged_since
from contracts.types import Code, ErasableText, KeptText, Line, StreamId, TextRef

Level = Annotated[int, Field(ge=0, le=9)]
WarningKind = Literal["early", "overdue", "missed_report", "missed_milestone", "stale", "unanswered"]
ResponseKind = Literal["directive", "adjustment", "completion"]


class Notice(Model):
    """A notice JetStream acknowledged: for whom, and its sequence in stream NOTICES."""

    recipient: Code
    stream_sequence: Annotated[int, Field(ge=1)]


class RaiseWarning(Command):
    """A rung before the limit was reached for a deadline of `about`, or, without `rung`, the limit itself.

    Which rung of which ladder that is, to whom it goes, and whether any is called for, the policy the limit was scheduled
    under decides.
    """

    about: StreamId
    key: DeadlineKey
    rung: Annotated[int, Field(ge=0, le=100)] | None = None


class RecordDelivery(Command):
    """The notices of a level were acknowledged by JetStream."""

    level: Level
    notices: Annotated[tuple[Notice, ...], Field(min_length=1)]


class AcknowledgeWarning(Command):
    """A recipient has seen it; that alone closes nothing (R-134)."""


class RecordResponse(Command):
    """The action taken: a directive, an adjustment, or completion (R-134)."""

    response: ResponseKind
    note: ErasableText | None = None


class ResolveWarning(Command):
    """Close an answered warning."""

    note: ErasableText | None = None


class EscalateWarning(Command):
    """The response limit passed: one level up, by the policy."""

    key: DeadlineKey


class DismissWarning(Command):
    """Set a warning aside as unfounded, with the reason; it stays readable."""

    reason: ErasableText


class SupersedeWarning(Command):
    """Its ground is gone: the limit moved, was met after all, or a stronger warning stands (R-141)."""

    reason: Literal["limit_moved", "limit_cancelled", "met_in_time", "stronger_warning"]


class WarningRaised(Event):
    """`recipients` are posts, resolved from the programme's roles when raised (R-146, R-153)."""

    about: StreamId
    key: DeadlineKey
    limit: Limit
    kind: WarningKind
    rule: Line
    rung: int
    level: Level
    act: Literal["remind", "warn", "demand_explanation", "escalate"]
    recipients: tuple[Code, ...]
    unit: Code | None = None
    phase: Code | None = None


class WarningDelivered(Event):
    """Every recipient of the level has a notice that JetStream holds; raising alone delivers nothing."""

    level: Level
    notices: tuple[Notice, ...]


class WarningAcknowledged(Event):
    """A recipient of the level has seen it; that alone closes nothing (R-134)."""

    level: Level


class ResponseRecorded(Event):
    """An action was taken: a directive, an adjustment, or completion (R-134)."""

    response: ResponseKind
    note: TextRef | None = None


class WarningResolved(Event):
    """The warning was closed after an answer."""

    version: ClassVar[int] = 2

    note: KeptText | None = None


class WarningEscalated(Event):
    """The warning went a level up; `top` when no level is left above."""

    level: Level
    rung: int
    act: Literal["remind", "warn", "demand_explanation", "escalate"]
    recipients: tuple[Code, ...]
    top: bool


class WarningDismissed(Event):
    """The warning was set aside as unfounded."""

    version: ClassVar[int] = 2

    reason: KeptText


class WarningSuperseded(Event):
    """The ground of the warning is gone; the warning stays readable (R-141)."""

    reason: Literal["limit_moved", "limit_cancelled", "met_in_time", "stronger_warning"]


CONTRACT = AggregateContract(
    name="warning",
    commands=(
        RaiseWarning,
        RecordDelivery,
        AcknowledgeWarning,
        RecordResponse,
        ResolveWarning,
        EscalateWarning,
        DismissWarning,
        SupersedeWarning,
        *DEADLINE_COMMANDS,
    ),
    events=(
        WarningRaised,
        WarningDelivered,
        WarningAcknowledged,
        ResponseRecorded,
        WarningResolved,
        WarningEscalated,
        WarningDismissed,
        WarningSuperseded,
        *DEADLINE_EVENTS,
    ),
    upcasters=unchanged_since(1, WarningResolved, WarningDismissed),
)
