"""Which read models changed, told to those who listen: the timekeeper is woken by limits alone."""

from datetime import UTC, datetime

import psycopg

from contracts.assignment import AssignTask
from projections.deadlines import NAME as DEADLINES
from projections.status import CHANNEL
from services.clock import SimulatedClock
from services.hosting import Bell
from services.projector.core import Projector
from services.projector.rebuild import rebuild
from services.store import Store
from tests.integration.support import Desk, stream, task


def _heard(ears: psycopg.Connection) -> set[str]:
    return {name for notice in ears.notifies(timeout=5, stop_after=1) for name in notice.payload.split()}


async def test_a_projected_batch_and_a_rebuild_tell_which_models_changed(store: Store, dsn: str) -> None:
    desk = Desk.founded(store, SimulatedClock(datetime.now(UTC)))
    projector = Projector(store, desk.clock)
    projector.prepare()
    while projector.step():
        pass
    with psycopg.connect(dsn, autocommit=True) as ears:
        ears.execute(f"LISTEN {CHANNEL}".encode())
        async with Bell(dsn, CHANNEL, about=DEADLINES) as bell, Bell(dsn, CHANNEL, about="warnings") as other:
            for rung in (bell, other):
                await rung.wait(5)  # it rings once when it begins to listen
            desk.accept(desk.sender.document(AssignTask(content=task()), stream("N-1")))
            projector.step()
            changed = _heard(ears)
            assert {"assignments", DEADLINES} <= changed
            assert "warnings" not in changed
            await bell.wait(5)
            assert not other._rung.is_set()
        rebuild(store, switch=True)
        assert {"assignments", DEADLINES} <= _heard(ears)
