"""A programme with one late task, played on real engines, for the tests of what reviewers read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from contracts.assignment import Evidence, SignOffCompletion, StartWork, SubmitResult
from contracts.base import Command
from contracts.obligation import AcceptObligation, SubmitObligation
from projections.queries import begin_snapshot
from projections.scope import EVERYTHING
from services.audit.counterfactual import Reconciliation, reconcile
from services.audit.readings import Readings
from services.bus import Bus
from services.clock import SimulatedClock
from services.intake.reading import SeededSalts
from services.spine import Spine
from services.store import Store
from tests.integration.support import AUTHORITY, Sender, clock_at, founding, play, publish, stream, task
from tests.unit.spec import PROG

EVIDENCE = (Evidence(system="QLVB", number="1"),)
TASK, EXPLANATION = stream("T-1"), f"obligation/{PROG}/EXA-T-1"
WORDS = "Phòng chờ số liệu của đơn vị phối hợp"


class Stoppable(Spine):
    """All services; the warning service or the timekeeper can be told to do nothing, as if its process were down."""

    deaf = False
    idle = False

    async def _hear(self) -> int:
        return 0 if self.deaf else await super()._hear()

    async def settle(self, *, timers: bool = True) -> None:
        """The services' rounds without a timekeeper that is down."""
        if not self.idle:
            await super().settle(timers=timers)
            return
        await self._answer_all()
        while self.projector.step():
            pass


@dataclass
class Case:
    """One installation, and what is done in it."""

    store: Store
    bus: Bus
    clock: SimulatedClock
    sender: Sender
    spine: Stoppable

    @classmethod
    async def opened(cls, store: Store, bus: Bus) -> Case:
        """Organisation, programme and one task of ten days."""
        clock = clock_at()
        spine = Stoppable(store, bus, clock, SeededSalts(7))
        await spine.start()
        case = cls(store, bus, clock, Sender(clock), spine)
        await publish(spine, case.sender, *founding(case.sender))
        await case.assign("T-1", date(2026, 6, 10))
        return case

    async def assign(self, code: str, due: date) -> None:
        from contracts.assignment import AssignTask

        await self.do(AssignTask(content=task(due=due)), stream(code), "GD", authority=AUTHORITY)

    async def do(self, command: Command, subject: str, actor: str, **more: Any) -> None:
        await publish(self.spine, self.sender, self.sender.document(command, subject, actor, **more))

    async def play(self, until: str) -> None:
        await play(self.spine, until, self.clock)

    async def explained(self) -> None:
        """The task passes its limit, is warned about, explained, and finished late."""
        await self.do(StartWork(), TASK, "PBCXB-TP")
        await self.play("2026-06-14T08:00")
        await self.do(SubmitObligation(), EXPLANATION, "PBCXB-TP", texts={"note": WORDS})
        await self.do(AcceptObligation(), EXPLANATION, "GD")
        await self.do(SubmitResult(evidence=EVIDENCE), TASK, "PBCXB-TP")
        await self.do(SignOffCompletion(), TASK, "GD", authority=AUTHORITY)

    def read(self, what: str, *arguments: Any) -> Any:
        """The answer of a reading."""
        with self.store.recorder.transaction() as cursor:
            begin_snapshot(cursor)
            return getattr(Readings(cursor, EVERYTHING, self.store.registry), what)(*arguments).answer

    def reconciled(self) -> Reconciliation:
        """The counterfactual check up to now."""
        with self.store.recorder.transaction() as cursor:
            begin_snapshot(cursor)
            return reconcile(cursor, self.store.registry, PROG, self.clock.now())
