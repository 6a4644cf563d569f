"""Assignment: a six-clear task (group B, appendix 3.1).

Six-clear: person, work, time, responsibility, authority, result (R-017). A draft may miss any of them; an assignment
may not.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contracts.base import Command, Event, value
from contracts.deadlines import DEADLINE_COMMANDS, DEADLINE_EVENTS
from contracts.limits import Boundary, Day, Limit, LocalTime
from contracts.phase import CauseType, Responsibility
from contracts.registry import AggregateContract, unchanged_since
from contracts.types import (
    Code,
    ErasableText,
    Instant,
    KeptText,
    Line,
    MessageId,
    Percent,
    Sha256,
    StreamId,
    TextRef,
)

Cadence = Literal["weekly", "monthly", "quarterly", "yearly"]
Timeliness = Literal["early", "on_time", "late", "undated"]


@value
class Due:
    """A limit as a person writes it: the day, the hour if any, and how it is meant (R-163, R-164)."""

    day: Day
    hour: LocalTime | None = None
    boundary: Boundary = "by_end_of"


@value
class Deliverable:
    """A product the task ends in (R-017)."""

    code: Code
    what: Line


@value
class Measure:
    """How the result is measured, and the target value if there is one (R-018)."""

    what: Line
    target: Line | None = None


@value
class CheckingRule:
    """Who checks, and how often (R-019)."""

    checked_by: Code
    every: Cadence | Literal["once"]


@value
class Milestone:
    """An intermediate result with its own limit (R-126, R-244)."""

    code: Code
    what: Line
    due: Due


@value
class ExternalReference:
    """The document in another system this task came from (R-130)."""

    system: Code
    number: Line


@value
class LeadResolution:
    """How a text that names several leads was resolved to one (R-021, R-083)."""

    named: Annotated[tuple[Code, ...], Field(min_length=2)]
    rule: Literal["first_named", "split", "decision"]
    reason: Line


@value
class TaskContent:
    """What a task says. Every field may be missing in a draft; `sample_fields` are filled from sample data."""

    person: Code | None = None
    work: Line | None = None
    due: Due | None = None
    cadence: Cadence | None = None
    responsibility: Line | None = None
    authority: Code | None = None
    deliverables: Annotated[tuple[Deliverable, ...], Field(max_length=20)] = ()
    measures: Annotated[tuple[Measure, ...], Field(max_length=20)] = ()
    checking: CheckingRule | None = None
    lead_unit: Code | None = None
    coordinating_units: Annotated[tuple[Code, ...], Field(max_length=60)] = ()
    kind: Code = "WORK"
    phase: Code | None = None
    content_area: Code | None = None
    category: Code | None = None
    priority: Annotated[int, Field(ge=1, le=5)] = 3
    tags: Annotated[tuple[Code, ...], Field(max_length=12)] = ()
    parent: Code | None = None
    mandatory_child: bool = True
    milestones: Annotated[tuple[Milestone, ...], Field(max_length=20)] = ()
    update_every_days: Annotated[int, Field(ge=1, le=366)] | None = None
    external: ExternalReference | None = None
    lead_resolution: LeadResolution | None = None
    sample_fields: Annotated[tuple[Line, ...], Field(max_length=30)] = ()
    source: Line | None = None


@value
class Evidence:
    """A document, photo or measurement, by reference and digest (R-116)."""

    system: Code
    number: Line
    sha256: Sha256 | None = None


@value
class Verdict:
    """Timeliness, judged twice, and the instant that decided (R-124, R-347)."""

    decided_at: Instant
    late_entry: bool
    against_original: Timeliness
    against_current: Timeliness


class DraftTask(Command):
    """Keep a task that is not yet clear; it is listed for completion (R-023)."""

    content: TaskContent


class AssignTask(Command):
    """Assign a clear task. Without `content` the draft is assigned as it stands (R-017)."""

    content: TaskContent | None = None


class AcknowledgeAssignment(Command):
    """The accountable person takes note."""


class StartWork(Command):
    """Work has begun."""


class ReportProgress(Command):
    """How far it is, for which moment, in the reporter's own judgement (R-123)."""

    percent: Percent
    judgement: Literal["on_track", "difficult", "blocked"] = "on_track"
    volume: Line | None = None
    difficulty: ErasableText | None = None


class ReachMilestone(Command):
    """An intermediate result is there (R-126)."""

    milestone: Code


class RaiseDifficulty(Command):
    """An obstacle, with a proposal how to clear it (R-143, R-144)."""

    field: Code
    what: ErasableText
    proposal: ErasableText | None = None


class SubmitResult(Command):
    """The lead unit hands in the result with evidence (R-116)."""

    evidence: Annotated[tuple[Evidence, ...], Field(max_length=20)] = ()
    note: ErasableText | None = None


class ReturnResult(Command):
    """The reviewer sends the result back, with the reason."""

    reason: ErasableText


class SignOffCompletion(Command):
    """The authority the task names accepts the result; never the submitter (R-091)."""

    note: ErasableText | None = None


class ReferMatterUp(Command):
    """A matter beyond the stated authority goes to the level above (R-024)."""

    addressee: Code
    matter: ErasableText


class RecordHigherDecision(Command):
    """What the level above decided on a matter referred up (R-024)."""

    decision: Literal["approved", "refused", "redirected"]
    note: ErasableText | None = None


class RequestExtension(Command):
    """Ask for a later limit before a new one counts (R-330)."""

    due: Due
    reason: ErasableText


class ApproveExtension(Command):
    """The approver the programme names moves the limit; earlier lateness stays (R-324, R-330)."""

    note: ErasableText | None = None


class RefuseExtension(Command):
    """The limit stays as it is (R-330)."""

    reason: ErasableText


class AmendAssignment(Command):
    """Change scope, product or other content; the limit moves by extension only (R-322)."""

    work: Line | None = None
    deliverables: tuple[Deliverable, ...] | None = None
    measures: tuple[Measure, ...] | None = None
    priority: Annotated[int, Field(ge=1, le=5)] | None = None
    tags: tuple[Code, ...] | None = None
    reason: Line


class ReassignAssignment(Command):
    """Another lead or accountable person from now on; the first one's responsibility ends (R-021, R-022)."""

    lead_unit: Code | None = None
    person: Code | None = None
    reason: Line


class SuspendAssignment(Command):
    """Stop the clock of the task, with the reason."""

    reason: Line


class ResumeAssignment(Command):
    """Take a suspended task up again; its limits run on."""

    reason: Line


class CarryOverAssignment(Command):
    """Take the task into the next phase; identity, original limit and lateness stay (R-061)."""

    to_phase: Code
    due: Due | None = None
    reason: Line


class CancelAssignment(Command):
    """The task is no longer wanted; it stays readable."""

    reason: Line


class CloseUnfinished(Command):
    """Close without completion, with cause and responsibility (R-066, R-159, R-160)."""

    cause: CauseType
    cause_text: ErasableText
    responsibility: Responsibility
    partly_done_percent: Percent | None = None
    volume: Line | None = None


class MarkAtRisk(Command):
    """A rule says the task may not be done in time (R-132)."""

    rule: Literal["time_left", "missed_milestone", "no_update", "open_difficulty"]


class ClearRisk(Command):
    """The ground of a risk is gone (R-132)."""

    reason: Line


class TaskDrafted(Event):
    """A task was kept as a draft; `missing` names what is not yet clear (R-023)."""

    content: TaskContent
    missing: tuple[Line, ...]


class TaskAssigned(Event):
    """All six are clear. `original` is the first limit; it never changes."""

    content: TaskContent
    original: Limit | None = None


class AssignmentAcknowledged(Event):
    """The accountable person took note."""


class WorkStarted(Event):
    """Work began."""


class ProgressReported(Event):
    """Progress as reported; `late_entry` when it was entered after the programme's tolerance (R-123, R-347)."""

    percent: Percent
    judgement: Literal["on_track", "difficult", "blocked"]
    volume: Line | None = None
    difficulty: TextRef | None = None
    late_entry: bool = False


class MilestoneReached(Event):
    """An intermediate result was reached (R-126)."""

    milestone: Code


class DifficultyRaised(Event):
    """An obstacle was named; `complete` when a proposal came with it (R-143, R-144)."""

    field: Code
    what: TextRef
    proposal: TextRef | None = None
    complete: bool


class SubtaskDelegated(Event):
    """A part of the task was given to another stream; a mandatory one must end first."""

    child: StreamId
    mandatory: bool
    due: Limit | None = None


class ResultSubmitted(Event):
    """The result was handed in; `decides_at` is the instant timeliness is judged by (R-116, R-347)."""

    submission: Annotated[int, Field(ge=1)]
    evidence: tuple[Evidence, ...]
    note: TextRef | None = None
    decides_at: Instant
    late_entry: bool


class ResultReturned(Event):
    """The reviewer sent the submission back, with the reason."""

    version: ClassVar[int] = 2

    submission: int
    reason: KeptText


class CompletionSignedOff(Event):
    """The result was accepted; the verdict on its timeliness is final (R-091, R-124)."""

    version: ClassVar[int] = 2

    submission: int
    submitter: Code
    verdict: Verdict
    note: KeptText | None = None


class MatterReferredUp(Event):
    """A matter beyond the stated authority went to the level above (R-024)."""

    addressee: Code
    matter: TextRef


class HigherDecisionRecorded(Event):
    """The level above decided the matter referred up (R-024)."""

    addressee: Code
    decision: Literal["approved", "refused", "redirected"]
    note: TextRef | None = None


class ExtensionRequested(Event):
    """A later limit was asked for; the current one still counts (R-330)."""

    version: ClassVar[int] = 2

    limit: Limit
    reason: KeptText


class ExtensionApproved(Event):
    """The limit moved; `after_passing` when the old one had passed, which stays late (R-324, R-330)."""

    version: ClassVar[int] = 2

    limit: Limit
    was: Limit
    after_passing: bool
    requested_by: Code
    note: KeptText | None = None


class ExtensionRefused(Event):
    """The limit stayed as it was (R-330)."""

    version: ClassVar[int] = 2

    reason: KeptText


class AssignmentAmended(Event):
    """Content other than the limit changed; fields that are absent stayed (R-322)."""

    work: Line | None = None
    deliverables: tuple[Deliverable, ...] | None = None
    measures: tuple[Measure, ...] | None = None
    priority: int | None = None
    tags: tuple[Code, ...] | None = None
    reason: Line


class AssignmentReassigned(Event):
    """Lead or accountable person changed; both sides are named (R-021, R-022)."""

    from_unit: Code
    to_unit: Code
    from_person: Code
    to_person: Code
    reason: Line


class AssignmentSuspended(Event):
    """The task was suspended; its deadlines are cancelled."""

    reason: Line


class AssignmentResumed(Event):
    """The suspended task went on in the status it had before."""

    status: Literal["assigned", "acknowledged", "in_progress", "under_review"]
    reason: Line


class AssignmentCarriedOver(Event):
    """The task entered the next phase; original limit and lateness stay (R-061)."""

    from_phase: Code | None = None
    to_phase: Code
    limit: Limit | None = None
    was_overdue: bool
    reason: Line


class AssignmentCancelled(Event):
    """The task was called off."""

    reason: Line


class AssignmentClosedUnfinished(Event):
    """The task ended without completion, with cause and responsibility (R-066, R-159, R-160)."""

    version: ClassVar[int] = 2

    cause: CauseType
    cause_text: KeptText
    responsibility: Responsibility
    partly_done_percent: Percent | None = None
    volume: Line | None = None
    explanation: StreamId | None = None


class AssignmentMarkedAtRisk(Event):
    """A rule found the task at risk; `because_of` is the event that showed it (R-132)."""

    rule: Literal["time_left", "missed_milestone", "no_update", "open_difficulty"]
    because_of: MessageId | None = None


class AssignmentRiskCleared(Event):
    """The task is no longer at risk (R-132)."""

    reason: Line


CONTRACT = AggregateContract(
    name="assignment",
    commands=(
        DraftTask,
        AssignTask,
        AcknowledgeAssignment,
        StartWork,
        ReportProgress,
        ReachMilestone,
        RaiseDifficulty,
        SubmitResult,
        ReturnResult,
        SignOffCompletion,
        ReferMatterUp,
        RecordHigherDecision,
        RequestExtension,
        ApproveExtension,
        RefuseExtension,
        AmendAssignment,
        ReassignAssignment,
        SuspendAssignment,
        ResumeAssignment,
        CarryOverAssignment,
        CancelAssignment,
        CloseUnfinished,
        MarkAtRisk,
        ClearRisk,
        *DEADLINE_COMMANDS,
    ),
    events=(
        TaskDrafted,
        TaskAssigned,
        AssignmentAcknowledged,
        WorkStarted,
        ProgressReported,
        MilestoneReached,
        DifficultyRaised,
        SubtaskDelegated,
        ResultSubmitted,
        ResultReturned,
        CompletionSignedOff,
        MatterReferredUp,
        HigherDecisionRecorded,
        ExtensionRequested,
        ExtensionApproved,
        ExtensionRefused,
        AssignmentAmended,
        AssignmentReassigned,
        AssignmentSuspended,
        AssignmentResumed,
        AssignmentCarriedOver,
        AssignmentCancelled,
        AssignmentClosedUnfinished,
        AssignmentMarkedAtRisk,
        AssignmentRiskCleared,
        *DEADLINE_EVENTS,
    ),
    upcasters=unchanged_since(
        1,
        ResultReturned,
        CompletionSignedOff,
        ExtensionRequested,
        ExtensionApproved,
        ExtensionRefused,
        AssignmentClosedUnfinished,
    ),
)
