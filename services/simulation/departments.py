"""The departments of all programmes: they follow the record, and act in one batch a half-day."""

from dataclasses import dataclass, field
from datetime import date
from random import Random
from typing import Any

from domain.kernel import Recorded
from services.outgoing import to_json
from services.simulation.answers import Answers
from services.simulation.changes import CULTURE, SCIENCE, WARD, Changes
from services.simulation.desk import Desk
from services.simulation.mistakes import Mistakes
from services.simulation.phases import Phases
from services.simulation.reports import Reports
from services.simulation.reviews import Reviews
from services.simulation.samples import Samples
from services.simulation.slots import Slots
from services.simulation.tasks import Tasks
from services.simulation.world import World

PLAYED = (CULTURE, SCIENCE, WARD)
"""The programmes that run; the reform plan of 2025 is past and only wound up."""

_YEAR_REVIEW_SLOTS = 6


@dataclass
class Departments:
    """Every simulated department, office and authority."""

    world: World
    slots: Slots
    seed: int
    until: date
    scale: int
    desk: Desk = field(init=False)

    def __post_init__(self) -> None:
        desk = self.desk = Desk(self.world, Random(self.seed), self.slots)  # noqa: S311
        self.tasks, self.reports, self.answers = Tasks(desk), Reports(desk), Answers(desk)
        self.reviews, self.phases = Reviews(desk), Phases(desk, self.tasks)
        self.changes = Changes(desk, self.reports)
        self.samples = Samples(desk, PLAYED, self.until, self.scale)
        self.mistakes = Mistakes(desk, PLAYED)
        self._reactions = {
            ("assignment", "TaskAssigned"): self.tasks.assigned,
            ("assignment", "ResultSubmitted"): self.reviews.submitted,
            ("assignment", "ResultReturned"): self.tasks.returned,
            ("assignment", "MatterReferredUp"): self.reviews.referred,
            ("assignment", "ExtensionRequested"): self.reviews.extension_asked,
            ("assignment", "AssignmentMarkedAtRisk"): self.reviews.at_risk,
            ("assignment", "DifficultyRaised"): self.reviews.difficulty_raised,
            ("obligation", "ObligationDeclared"): self.reports.declared,
            ("obligation", "DueConfigured"): self.reports.due_configured,
            ("obligation", "ObligationSubmitted"): self.reports.submitted,
            ("obligation", "NothingToReportDeclared"): self.reports.submitted,
            ("obligation", "ObligationReturned"): self.reports.returned,
            ("obligation", "ObligationAccepted"): self.reports.accepted,
            ("obligation", "ObligationConsolidated"): self.reports.consolidated,
            ("warning", "WarningDelivered"): self.answers.delivered,
            ("phase", "PhaseOpened"): self.phases.opened,
        }

    def begin(self) -> None:
        """Read what was imported, and plan what will change."""
        self.changes.plan()
        self._plan_last_phases()
        self.follow()

    def follow(self) -> None:
        """Hear what was recorded since."""
        self.world.follow(self._heard)

    def _heard(self, event: Recorded[Any]) -> None:
        name = type(event.data).__name__
        if name == "DeadlinePassed" and event.data.key.kind == "phase_end":
            self.phases.ended(event.stream)
        elif react := self._reactions.get((event.aggregate, name)):
            react(event.stream)

    def _plan_last_phases(self) -> None:
        """Phases without an end day are reviewed for the year before the run ends, opened early where they must be."""
        if self.until < date(2027, 9, 1):
            return
        last = len(self.slots.at) - _YEAR_REVIEW_SLOTS
        for programme in PLAYED:
            self.desk.put_at(last, f"phase/{programme}/P5", self.phases.open_last)

    def act(self, slot: int) -> list[tuple[str, str, bytes]]:
        """All that goes out in a half-day: sender, programme, bytes."""
        self.desk.turn_to(slot)
        self.follow()
        self.desk.work()
        self.samples.release()
        self.mistakes.make()
        messages = [(source, out.programme, to_json(out, source)) for source, out in self.desk.outbox]
        return messages + self.desk.raw
