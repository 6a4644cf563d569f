"""Obligation: something owed by a unit or post by a limit (appendix 3.2, groups C, E, J, K).

Reports, mandatory products, phase milestones, commitments, personal plans and explanations are kinds of it.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contracts.assignment import Due, Evidence, Verdict
from contracts.base import Command, Event, value
from contracts.deadlines import DEADLINE_COMMANDS, DEADLINE_EVENTS, DeadlineKey
from contracts.limits import Day, Limit
from contracts.registry import AggregateContract, unchanged_since
from contracts.types import Code, ErasableText, Instant, KeptText, Line, StreamId, TextRef, Version

ObligationKind = Literal[
    "report",
    "ad_hoc_report",
    "mandatory_product",
    "phase_milestone",
    "commitment",
    "personal_plan",
    "unit_plan",
    "register",
    "explanation",
    "self_review",
    "consultation_reply",
]


@value
class Period:
    """The data period of a report, kept apart from its limit (R-166)."""

    code: Code
    start: Instant
    end: Instant


@value
class Duty:
    """What is owed, by whom, to whom. No owner: the source leaves it open (R-043). No limit: it is undated (R-169).

    `covers_kind`: a milestone by which all tasks of a kind are to be finished, whatever their own limit (R-055).
    """

    kind: ObligationKind
    title: Line
    unit: Code | None = None
    post: Code | None = None
    addressee: Code | None = None
    aggregator: Code | None = None
    phase: Code | None = None
    mandatory: bool = False
    regime: Code | None = None
    regime_version: Version | None = None
    period: Period | None = None
    about: StreamId | None = None
    covers_kind: Code | None = None
    ambiguous: Line | None = None
    source: Line | None = None
    sample_fields: tuple[Line, ...] = ()


class DeclareObligation(Command):
    """Say that something is owed."""

    duty: Duty
    due: Due | None = None
    opens_on: Day | None = None


class RequestAdHocReport(Command):
    """Ask for a report at once, or file that one is coming (R-168)."""

    duty: Duty
    due: Due | None = None
    reason: Line


class DemandExplanation(Command):
    """An explanation is owed for a task or report (R-157); its limit comes from the programme's settings.

    `key` is the limit that passed, when the warning service asks; the policy then says whether one is called for.
    """

    about: StreamId
    key: DeadlineKey | None = None
    reason: Line


class ConfigureDue(Command):
    """Set or move the limit (R-169, R-171)."""

    due: Due
    reason: Line


class OpenObligation(Command):
    """Open the window for submission."""


class SetOwner(Command):
    """Name the owner a source left open (R-043, R-053)."""

    unit: Code
    post: Code | None = None
    reason: Line


class SubmitObligation(Command):
    """Hand in what is owed (R-163, R-180)."""

    document: Evidence | None = None
    channel: Literal["electronic", "paper"] = "electronic"
    note: ErasableText | None = None


class DeclareNothingToReport(Command):
    """An empty list or report, declared; it counts as submitted (R-258)."""

    note: ErasableText | None = None


class AcceptObligation(Command):
    """The addressee or aggregator accepts the submission; never the submitter (R-091)."""

    note: ErasableText | None = None


class ReturnObligation(Command):
    """Send back as incomplete or wrong (R-182)."""

    reason: ErasableText


class ConsolidateObligation(Command):
    """Take the accepted report into a consolidated one (R-176, R-178)."""

    consolidated_in: Code


class ForwardObligation(Command):
    """The consolidated report went to the superior (R-179)."""

    addressee: Code


class CorrectObligation(Command):
    """A new version of an accepted report; earlier ones stay readable (R-183)."""

    document: Evidence
    reason: Line


class WaiveObligation(Command):
    """It is no longer owed, with the reason."""

    reason: Line


class ObligationDeclared(Event):
    """Something is owed; without a limit it is undated (R-169)."""

    duty: Duty
    limit: Limit | None = None
    opens_at: Instant | None = None
    reason: Line | None = None


class DueConfigured(Event):
    """The limit was set or moved (R-169, R-171)."""

    limit: Limit
    reason: Line


class ObligationOpened(Event):
    """The window for submission opened."""


class OwnerSet(Event):
    """The owner a source left open was named (R-043, R-053)."""

    unit: Code
    post: Code | None = None
    reason: Line


class ObligationSubmitted(Event):
    """What is owed came in; `decides_at` is the instant timeliness is judged by (R-163, R-347)."""

    submission: Annotated[int, Field(ge=1)]
    document: Evidence | None = None
    channel: Literal["electronic", "paper"]
    note: TextRef | None = None
    decides_at: Instant
    late_entry: bool


class NothingToReportDeclared(Event):
    """An empty list or report was declared; it counts as submitted (R-258)."""

    version: ClassVar[int] = 2

    submission: Annotated[int, Field(ge=1)]
    note: KeptText | None = None
    decides_at: Instant
    late_entry: bool


class ObligationAccepted(Event):
    """The submission was accepted; the first submission is judged beside it (R-182, R-347)."""

    version: ClassVar[int] = 2

    submission: int
    submitter: Code
    verdict: Verdict
    first_submission_verdict: Verdict
    note: KeptText | None = None


class ObligationReturned(Event):
    """The submission was sent back, with the reason (R-182)."""

    version: ClassVar[int] = 2

    submission: int
    reason: KeptText


class ObligationConsolidated(Event):
    """The report went into a consolidated one, or came too late for it (R-176, R-178)."""

    consolidated_in: Code
    after_consolidation: bool = False


class ObligationForwarded(Event):
    """The consolidated report went to the superior (R-179)."""

    addressee: Code


class ObligationCorrected(Event):
    """A new version replaced an accepted report; earlier ones stay readable (R-183)."""

    correction: Annotated[int, Field(ge=2)]
    document: Evidence
    reason: Line


class ObligationWaived(Event):
    """It is no longer owed."""

    reason: Line


CONTRACT = AggregateContract(
    name="obligation",
    commands=(
        DeclareObligation,
        RequestAdHocReport,
        DemandExplanation,
        ConfigureDue,
        OpenObligation,
        SetOwner,
        SubmitObligation,
        DeclareNothingToReport,
        AcceptObligation,
        ReturnObligation,
        ConsolidateObligation,
        ForwardObligation,
        CorrectObligation,
        WaiveObligation,
        *DEADLINE_COMMANDS,
    ),
    events=(
        ObligationDeclared,
        DueConfigured,
        ObligationOpened,
        OwnerSet,
        ObligationSubmitted,
        NothingToReportDeclared,
        ObligationAccepted,
        ObligationReturned,
        ObligationConsolidated,
        ObligationForwarded,
        ObligationCorrected,
        ObligationWaived,
        *DEADLINE_EVENTS,
    ),
    upcasters=unchanged_since(1, NothingToReportDeclared, ObligationAccepted, ObligationReturned),
)
