"""A submission: what was handed in, by whom, and the verdict on its timeliness (R-091, R-124, R-347)."""

from dataclasses import dataclass
from datetime import datetime

from contracts.assignment import Verdict
from contracts.limits import Limit
from domain.timeliness import judge


@dataclass(frozen=True, slots=True)
class Submission:
    """A result or report handed in: its number, by which post when, and the instant that decides timeliness. UTC."""

    number: int
    post: str
    unit: str
    at: datetime
    decides_at: datetime
    late_entry: bool

    def verdict(self, original: Limit | None, current: Limit | None) -> Verdict:
        """Timeliness against the first limit and against the one in force; without a limit it is undated (R-169)."""
        return Verdict(
            decided_at=self.decides_at,
            late_entry=self.late_entry,
            against_original=judge(self.decides_at, original.at if original else None),
            against_current=judge(self.decides_at, current.at if current else None),
        )
