"""Deadline events, shared by every aggregate that has limits (appendix 4 of the requirements, R-353, R-354).

A deadline belongs to the stream of its subject. Its id is `<kind>:<occurrence>:<due_version>` within that stream; a
limit that moves gets the next due version, so that a timer set for the old one can be told apart (R-141).
"""

from typing import Annotated, Literal

from pydantic import Field

from contracts.base import Command, Event, value
from contracts.limits import Limit
from contracts.types import Code, Instant, Version

DeadlineKind = Literal[
    "assignment_due",
    "assignment_milestone",
    "progress_update_due",
    "obligation_due",
    "obligation_opening",
    "report_period",
    "phase_start",
    "phase_end",
    "phase_review_due",
    "phase_handover",
    "work_start_due",
    "warning_response_due",
]


@value
class DeadlineKey:
    """Which deadline of a stream is meant."""

    kind: DeadlineKind
    occurrence: Code
    due_version: Version


@value
class Lead:
    """A rung of the escalation policy that falls due before the limit."""

    rung: Annotated[int, Field(ge=0, le=100)]
    at: Instant


class DeadlineScheduled(Event):
    """A limit was set; `leads` are the moments before it at which the policy wants to be called."""

    key: DeadlineKey
    limit: Limit
    leads: tuple[Lead, ...] = ()


class DeadlineRescheduled(Event):
    """The limit moved; warnings tied to the replaced one lose their ground (R-141). `warned`: there are some."""

    key: DeadlineKey
    replaces: Version
    limit: Limit
    leads: tuple[Lead, ...] = ()
    warned: bool = False


class DeadlineApproached(Event):
    """A rung before the limit was reached; the event's time is the rung's own instant."""

    key: DeadlineKey
    rung: int
    limit: Limit


class DeadlinePassed(Event):
    """The limit passed unmet; the event's time is the limit's own instant, however late it is processed (R-353)."""

    key: DeadlineKey
    limit: Limit


class DeadlineMet(Event):
    """What was owed came in before the limit, even if it was entered after it (R-347)."""

    key: DeadlineKey
    limit: Limit
    met_at: Instant
    after_passing: bool = False
    warned: bool = False


class DeadlineCancelled(Event):
    """The limit no longer applies."""

    key: DeadlineKey
    reason: Literal[
        "completed", "late_completion", "closed", "cancelled", "waived", "suspended", "superseded", "resolved"
    ]
    warned: bool = False


class RecordDeadlineApproached(Command):
    """The timekeeper found that a rung before a limit is due. Too late or twice: accepted with no events."""

    key: DeadlineKey
    rung: Annotated[int, Field(ge=0, le=100)]


class RecordDeadlinePassed(Command):
    """The timekeeper found that a limit is due. Too late or twice: accepted with no events."""

    key: DeadlineKey


DEADLINE_EVENTS: tuple[type[Event], ...] = (
    DeadlineScheduled,
    DeadlineRescheduled,
    DeadlineApproached,
    DeadlinePassed,
    DeadlineMet,
    DeadlineCancelled,
)
DEADLINE_COMMANDS: tuple[type[Command], ...] = (RecordDeadlineApproached, RecordDeadlinePassed)
