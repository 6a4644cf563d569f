"""The demo: four programmes on real engines, played from their issue to a day, with a simulated clock.

The engines run relaxed (no fsync) in the demo, and the output says so; nothing else differs from production.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Protocol

from domain.calendar import WorkingCalendar, local_date, to_local
from domain.limits import by_end_of
from services.bus import Bus
from services.calendar_source import proposed_calendar
from services.clock import SimulatedClock
from services.engines import EngineAddresses
from services.eventlog.migrations import migrate
from services.intake.reading import SeededSalts
from services.programmes.check import Checked, check
from services.programmes.importer import import_commands
from services.registry import REGISTRY, Registry
from services.simulation.changes import SWAP
from services.simulation.departments import Departments
from services.simulation.result import DemoResult, build_result
from services.simulation.slots import slots_between
from services.simulation.world import World
from services.spine import Spine
from services.store import Store

START = datetime(2026, 5, 30, 1, tzinfo=UTC)
"""2026-05-30 08:00 in Asia/Ho_Chi_Minh: the day the first programme was issued."""

LAST_DAY = date(2027, 9, 30)
IMPORTER = "PROGRAMME-IMPORT"
FILES = ("svhttdl-td500", "svhttdl-cchc-2025", "skhcn-td500", "phn-cthd500")
_CALENDAR = range(2025, 2029)


@dataclass(frozen=True)
class DemoOptions:
    """What to play. `until` is the last local day, inclusive; `scale` multiplies the sample tasks."""

    seed: int = 7
    until: date = LAST_DAY
    scale: int = 1
    headless: bool = False
    json: Path | None = None
    data: Path | None = None
    relaxed: bool = True
    programmes: Path = Path(__file__).parents[2] / "deploy" / "programmes"


class Progress(Protocol):
    """Who wants to know how far it is."""

    def day(self, today: date, until: date, events: int) -> None:
        """A simulated day has come; `events` are stored so far."""
        ...

    def says(self, what: str) -> None:
        """A step that takes a while."""
        ...


class Silent:
    """Nobody watches."""

    def day(self, today: date, until: date, events: int) -> None:
        """Nothing."""

    def says(self, what: str) -> None:
        """Nothing."""


class NotPlayable(Exception):
    """A programme's file has problems, or the database holds a log already."""


@dataclass
class Play:
    """One run: the spine, the clock that drives it, and the departments."""

    options: DemoOptions
    store: Store
    spine: Spine
    clock: SimulatedClock
    progress: Progress

    async def run(self) -> DemoResult:
        """Import, play, count."""
        began = time.monotonic()
        if self.store.recorder.head().position:
            raise NotPlayable("the database holds events already; play on an empty one (another --data folder)")
        self.progress.says("Nhập bốn chương trình")
        programmes = await self._import()
        world = World(self.store)
        calendar = WorkingCalendar((*proposed_calendar(_CALENDAR), *SWAP))
        slots = slots_between(START, self.options.until, calendar)
        departments = Departments(world, slots, self.options.seed, self.options.until, self.options.scale)
        departments.begin()
        await self._through(departments)
        world.follow()
        self.progress.says("Dựng lại các mô hình đọc để đối chiếu")
        played = time.monotonic() - began
        return await asyncio.to_thread(
            build_result, self.store, self.spine, world, departments.desk, programmes, self._days(), played
        )

    def _days(self) -> int:
        return (self.options.until - local_date(START)).days + 1

    async def _import(self) -> tuple[Checked, ...]:
        calendar, found = proposed_calendar(_CALENDAR), []
        for name in FILES:
            checked = check(self.options.programmes / f"{name}.yaml")
            if checked.programme is None or checked.roster is None or checked.policy is None or not checked.clean:
                raise NotPlayable(f"{name}: {checked.problems[0] if checked.problems else 'cannot be read'}")
            commands = import_commands(checked.programme, checked.roster, checked.policy, calendar, self.clock.now())
            await self.spine.publish(IMPORTER, commands)
            await self.spine.settle()
            found.append(checked)
        return tuple(found)

    async def _through(self, departments: Departments) -> None:
        """From one due moment to the next: half-days and limits, whichever comes first."""
        end = local_midnight_after(self.options.until)
        half_days = departments.slots.at
        slot, shown = 0, None
        while True:
            due = await self.spine.timekeeper.next_at()
            half_day = half_days[slot] if slot < len(half_days) else None
            moment = min((at for at in (due, half_day) if at is not None), default=None)
            if moment is None or moment >= end:
                break
            self.clock.move_to(moment)
            if half_day is not None and moment == half_day:
                await self.spine.publish_messages(departments.act(slot))
                slot += 1
            await self.spine.settle(timers=moment == due)
            today = to_local(moment).date()
            if today != shown:
                shown = today
                self.progress.day(today, self.options.until, self.spine.projector.position)


def local_midnight_after(day: date) -> datetime:
    """The instant at which the local day is over, UTC."""
    return by_end_of(day).at


async def run_demo(
    options: DemoOptions,
    addresses: EngineAddresses,
    registry: Registry = REGISTRY,
    progress: Progress | None = None,
    after: Callable[[DemoResult], None] | None = None,
) -> DemoResult:
    """Play on engines that run already. The database must hold no log. Raises NotPlayable."""
    await asyncio.to_thread(migrate, addresses.postgres)
    store = Store.open(addresses.postgres, registry, application="sauro-demo")
    bus = await Bus.connect(addresses.nats)
    try:
        await bus.ensure_streams()
        clock = SimulatedClock(START)
        spine = Spine(store, bus, clock, SeededSalts(options.seed))
        await spine.start()
        result = await Play(options, store, spine, clock, progress or Silent()).run()
        await spine.stop()
    finally:
        await bus.close()
        store.close()
    if options.json is not None:
        options.json.write_text(result.as_json(), encoding="utf-8")
    if after is not None:
        after(result)
    return result
