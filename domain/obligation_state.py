"""The state of an obligation: what folds of its events know (appendix 3.2)."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from contracts.limits import Limit
from contracts.obligation import (
    DueConfigured,
    Duty,
    NothingToReportDeclared,
    ObligationAccepted,
    ObligationConsolidated,
    ObligationCorrected,
    ObligationDeclared,
    ObligationForwarded,
    ObligationOpened,
    ObligationReturned,
    ObligationSubmitted,
    ObligationWaived,
    OwnerSet,
)
from domain.deadlines import DEADLINE_FOLD, Deadlines
from domain.kernel import Recorded, changed, folding
from domain.submissions import Submission

Status = Literal["undated", "scheduled", "open", "submitted", "accepted", "consolidated", "forwarded", "waived"]
OWED: frozenset[Status] = frozenset({"undated", "scheduled", "open"})
SETTLED: frozenset[Status] = frozenset({"accepted", "consolidated", "forwarded", "waived"})


@dataclass(frozen=True)
class Obligation:
    """The state of one obligation stream. `submission` is pending or accepted, `first` the first ever (R-182).

    `settled_at` is when the log recorded that it was accepted or waived. UTC.
    """

    code: str
    duty: Duty
    began_at: datetime
    status: Status
    original: Limit | None = None
    current: Limit | None = None
    opens_at: datetime | None = None
    submissions: int = 0
    submission: Submission | None = None
    first: Submission | None = None
    settled_at: datetime | None = None
    correction: int = 1
    consolidated_in: str | None = None
    deadlines: Deadlines = field(default_factory=Deadlines)

    @property
    def is_open(self) -> bool:
        """Whether it is still owed, or handed in and not yet accepted."""
        return self.status not in SETTLED

    @property
    def overdue(self) -> bool:
        """Whether the limit in force has passed, handed in since or not."""
        due = self.deadlines.get("obligation_due")
        return due is not None and due.passed

    @property
    def missed(self) -> bool:
        """Whether nothing came in before the limit (derived from `DeadlinePassed`, never set by hand)."""
        return self.status in OWED and self.overdue

    @property
    def unit(self) -> str | None:
        """The owning unit; None while the source leaves it open (R-043)."""
        return self.duty.unit

    @property
    def accountable(self) -> str | None:
        """The post that owes it, when one is named."""
        return self.duty.post

    @property
    def category(self) -> str | None:
        """Obligations have no category of their own."""
        return None

    @property
    def phase(self) -> str | None:
        """The phase it belongs to."""
        return self.duty.phase


def _on_declared(state: Obligation | None, recorded: Recorded[ObligationDeclared]) -> Obligation:
    data = recorded.data
    return Obligation(
        code=recorded.code,
        duty=data.duty,
        began_at=recorded.occurred_at,
        status="undated" if data.limit is None else "scheduled",
        original=data.limit,
        current=data.limit,
        opens_at=data.opens_at,
    )


def _on_due(state: Obligation, recorded: Recorded[DueConfigured]) -> Obligation:
    limit = recorded.data.limit
    status: Status = "scheduled" if state.status == "undated" else state.status
    return changed(state, status=status, original=state.original or limit, current=limit)


def _on_opened(state: Obligation, recorded: Recorded[ObligationOpened]) -> Obligation:
    return changed(state, status="open") if state.status in OWED else state


def _on_owner(state: Obligation, recorded: Recorded[OwnerSet]) -> Obligation:
    return changed(state, duty=replace(state.duty, unit=recorded.data.unit, post=recorded.data.post))


def _on_submitted(
    state: Obligation, recorded: Recorded[ObligationSubmitted] | Recorded[NothingToReportDeclared]
) -> Obligation:
    data, actor = recorded.data, recorded.actor
    handed_in = Submission(
        data.submission, actor.post, actor.unit, recorded.occurred_at, data.decides_at, data.late_entry
    )
    return changed(
        state, status="submitted", submissions=data.submission, submission=handed_in, first=state.first or handed_in
    )


def _on_accepted(state: Obligation, recorded: Recorded[ObligationAccepted]) -> Obligation:
    return changed(state, status="accepted", settled_at=recorded.recorded_at)


def _on_returned(state: Obligation, recorded: Recorded[ObligationReturned]) -> Obligation:
    return changed(state, status="open", submission=None)


def _on_consolidated(state: Obligation, recorded: Recorded[ObligationConsolidated]) -> Obligation:
    return changed(state, status="consolidated", consolidated_in=recorded.data.consolidated_in)


def _on_forwarded(state: Obligation, recorded: Recorded[ObligationForwarded]) -> Obligation:
    return changed(state, status="forwarded")


def _on_corrected(state: Obligation, recorded: Recorded[ObligationCorrected]) -> Obligation:
    return changed(state, correction=recorded.data.correction)


def _on_waived(state: Obligation, recorded: Recorded[ObligationWaived]) -> Obligation:
    return changed(state, status="waived", settled_at=recorded.recorded_at)


_FOLD: dict[Any, Any] = {
    **DEADLINE_FOLD,
    ObligationDeclared: _on_declared,
    DueConfigured: _on_due,
    ObligationOpened: _on_opened,
    OwnerSet: _on_owner,
    ObligationSubmitted: _on_submitted,
    NothingToReportDeclared: _on_submitted,
    ObligationAccepted: _on_accepted,
    ObligationReturned: _on_returned,
    ObligationConsolidated: _on_consolidated,
    ObligationForwarded: _on_forwarded,
    ObligationCorrected: _on_corrected,
    ObligationWaived: _on_waived,
}
evolve = folding(_FOLD)
