"""Phase: one stream a phase: planned, opened, reviewed, closed, corrected (appendix 3.5, group C)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contracts.base import Command, Event, value
from contracts.deadlines import DEADLINE_COMMANDS, DEADLINE_EVENTS
from contracts.limits import Day, Limit
from contracts.registry import AggregateContract, unchanged_since
from contracts.types import Code, ErasableText, KeptText, Line, Paragraph, StreamId, TextRef

CauseType = Literal["objective", "subjective", "both"]


@value
class Responsibility:
    """Who is responsible: collective, individual and head apart; an empty head needs a reason (R-160)."""

    collective: Code | None = None
    individual: Code | None = None
    head: Code | None = None
    head_missing_reason: Line | None = None


@value
class ReviewLine:
    """One line per open item of a phase review (R-063, R-159, R-160)."""

    item: StreamId
    cause: CauseType
    cause_text: ErasableText
    responsibility: Responsibility


@value
class ReviewedItem:
    """An open item as a signed review has it (R-063, R-159, R-160)."""

    item: StreamId
    cause: CauseType
    cause_text: KeptText
    responsibility: Responsibility


@value
class MissingProduct:
    """A mandatory product that is missing when the phase closes (R-047, R-049)."""

    obligation: StreamId
    reason: Line
    follow_up: Line


class PlanPhase(Command):
    """Plan a phase. No `start`: it starts with the issue of the programme (R-033). No `end` day: none is known (R-038).

    `takes_over_from`: when that phase ends, its tasks that nobody has begun are to be started in this one (R-036).
    """

    name_vi: Line
    name_en: Line | None = None
    aim: Paragraph | None = None
    contents: tuple[Paragraph, ...] = ()
    start: Day | None = None
    end: Day | None = None
    end_year: Annotated[int, Field(ge=2000, le=2100)] | None = None
    end_boundary: Literal["before", "by_end_of"] = "by_end_of"
    needs_review_of: Code | None = None
    takes_over_from: Code | None = None
    duties_in_text: bool = True


class OpenPhase(Command):
    """Open by hand, with the missing review of the phase before named when there is one (R-051)."""

    reason: Line
    missing_review_reason: Line | None = None


class StartPhaseReview(Command):
    """Begin the review of the phase (R-063)."""

    note: ErasableText | None = None


class SignOffPhaseReview(Command):
    """Sign the review; every open item needs cause and responsibility (R-063)."""

    lines: tuple[ReviewLine, ...] = ()
    summary: ErasableText | None = None


class DeclareProductMissing(Command):
    """Decide that a mandatory product is missing, with reason and follow-up (R-047)."""

    product: MissingProduct


class ApproveCommendationList(Command):
    """The list of a phase; entries are posts or units (R-255)."""

    entries: Annotated[tuple[Code, ...], Field(min_length=1)]


class ApproveAccountabilityList(Command):
    """The list of posts or units to be held to account; an empty one is a nil return (R-255)."""

    entries: Annotated[tuple[Code, ...], Field(min_length=1)]


class DeclareNilReturn(Command):
    """An empty list must be declared (R-258)."""

    list: Literal["commendation", "accountability"]


class ClosePhase(Command):
    """Close; refused while a mandatory product is neither accepted nor declared missing (R-049)."""

    note: ErasableText | None = None


class CorrectClosedPhase(Command):
    """Correct a figure after closing; the frozen one stays (R-064)."""

    figure: Line
    was: Line
    now: Line
    reason: Line


class ReviewYear(Command):
    """The yearly review of a phase without end day (3.5, phase 5)."""

    year: Annotated[int, Field(ge=2000, le=2100)]
    summary: ErasableText | None = None


class PhasePlanned(Event):
    """A phase was planned; without `end_limit` no end day is known (R-033, R-038)."""

    name_vi: Line
    name_en: Line | None = None
    aim: Paragraph | None = None
    contents: tuple[Paragraph, ...] = ()
    start: Day | None = None
    end: Day | None = None
    end_year: int | None = None
    end_limit: Limit | None = None
    needs_review_of: Code | None = None
    takes_over_from: Code | None = None
    duties_in_text: bool = True


class PhaseFollowed(Event):
    """When this phase ends, its tasks that nobody has begun are to be started in the phase named (R-036)."""

    by: Code


class PhaseOpened(Event):
    """The phase began on a local day, and why; a missing review before it is marked (R-051)."""

    cause: Literal["issuance", "date", "decision"]
    starts_on: Day
    reason: Line | None = None
    review_missing: bool = False
    missing_review_reason: Line | None = None


class PhaseReviewStarted(Event):
    """The review of the phase began (R-063)."""

    version: ClassVar[int] = 2

    note: KeptText | None = None


class PhaseReviewSignedOff(Event):
    """The review was signed, with one line per open item (R-063)."""

    version: ClassVar[int] = 2

    lines: tuple[ReviewedItem, ...] = ()
    summary: TextRef | None = None


class MandatoryProductDeclaredMissing(Event):
    """A mandatory product was declared missing, with reason and follow-up (R-047)."""

    product: MissingProduct


class CommendationListApproved(Event):
    """The commendation list of the phase was approved (R-255)."""

    entries: tuple[Code, ...]


class AccountabilityListApproved(Event):
    """The accountability list of the phase was approved (R-255)."""

    entries: tuple[Code, ...]


class NilReturnDeclared(Event):
    """A list was declared empty (R-258)."""

    list: Literal["commendation", "accountability"]


class PhaseClosed(Event):
    """The phase closed; its figures are frozen, missing products are named (R-049, R-064)."""

    version: ClassVar[int] = 2

    missing: tuple[MissingProduct, ...] = ()
    note: KeptText | None = None


class ClosedPhaseCorrected(Event):
    """A figure of the closed phase was corrected; the frozen one stays readable (R-064)."""

    figure: Line
    was: Line
    now: Line
    reason: Line


class YearReviewed(Event):
    """A phase without end day was reviewed for a year (appendix 3.5)."""

    year: int
    summary: TextRef | None = None


class ProductRequired(Event):
    """A mandatory product or milestone of the phase was declared as an obligation."""

    obligation: StreamId
    mandatory: bool


CONTRACT = AggregateContract(
    name="phase",
    commands=(
        PlanPhase,
        OpenPhase,
        StartPhaseReview,
        SignOffPhaseReview,
        DeclareProductMissing,
        ApproveCommendationList,
        ApproveAccountabilityList,
        DeclareNilReturn,
        ClosePhase,
        CorrectClosedPhase,
        ReviewYear,
        *DEADLINE_COMMANDS,
    ),
    events=(
        PhasePlanned,
        PhaseFollowed,
        PhaseOpened,
        PhaseReviewStarted,
        PhaseReviewSignedOff,
        ProductRequired,
        MandatoryProductDeclaredMissing,
        CommendationListApproved,
        AccountabilityListApproved,
        NilReturnDeclared,
        PhaseClosed,
        ClosedPhaseCorrected,
        YearReviewed,
        *DEADLINE_EVENTS,
    ),
    upcasters=unchanged_since(1, PhaseReviewStarted, PhaseReviewSignedOff, PhaseClosed),
)
