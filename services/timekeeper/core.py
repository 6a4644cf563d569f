"""Reads the next limit from read model `deadlines` and sends a command when it is due.

It keeps nothing: after downtime everything that fell due is found and sent in order, and the domain makes each fire once with
its own instant (R-353, R-354). A command that was sent and is not yet visible in the read model is not sent again for a while.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from contracts.deadlines import DeadlineKey, RecordDeadlineApproached, RecordDeadlinePassed
from projections.deadlines import DUE, EXISTS, NEXT
from services.bus import Bus
from services.clock import Clock
from services.outgoing import Outgoing
from services.senders import derived_id, send, system_command
from services.store import Store

BATCH = 2000
RESEND_AFTER = timedelta(seconds=60)
SOURCE = "timekeeper"


@dataclass(frozen=True, slots=True)
class DueNow:
    """A limit or a rung before it that is due."""

    stream: str
    organisation: str
    key: DeadlineKey
    at: datetime
    rung: int | None
    following: datetime | None = None
    """When the same limit, or the period after it, falls due next, as far as is known now."""

    @property
    def name(self) -> str:
        """The id its first command has."""
        return derived_id(SOURCE, self.stream, self.key.kind, self.key.occurrence, self.key.due_version, self.rung)


class Timekeeper:
    """One active timekeeper an installation."""

    def __init__(self, store: Store, bus: Bus, clock: Clock) -> None:
        self._store, self._bus, self._clock = store, bus, clock
        self._sent: OrderedDict[str, tuple[datetime, datetime]] = OrderedDict()  # first and last attempt
        self.overdue_seconds = 0.0
        self.sequence = 0

    async def step(self) -> int:
        """Send commands for what is due now; returns how many."""
        now = self._clock.now()
        due = await asyncio.to_thread(self._due, now)
        self.overdue_seconds = max(((now - found.at).total_seconds() for found in due), default=0.0)
        commands = [command for found in self._in_order(due, now) if (command := self._command(found, now)) is not None]
        if commands:
            self.sequence = (await send(self._bus, SOURCE, commands))[-1]
        return len(commands)

    async def can_see(self) -> bool:
        """Whether read model `deadlines` exists yet."""
        return await asyncio.to_thread(self._exists)

    def _exists(self) -> bool:
        with self._store.recorder.reading() as cursor:
            row = cursor.execute(EXISTS).fetchone()
        return row is not None and row["found"]

    async def next_at(self) -> datetime | None:
        """When the next limit or rung falls due, UTC; None when nothing is scheduled."""
        return await asyncio.to_thread(self._next)

    def _next(self) -> datetime | None:
        with self._store.recorder.reading() as cursor:
            row = cursor.execute(NEXT).fetchone()
        return row["next_at"] if row else None

    def _due(self, now: datetime) -> Sequence[DueNow]:
        with self._store.recorder.reading() as cursor:
            rows = cursor.execute(DUE, (now, BATCH), prepare=True).fetchall()
        return [_due_now(row) for row in rows]

    def _in_order(self, due: Sequence[DueNow], now: datetime) -> Iterator[DueNow]:
        """What may go now: nothing that falls due after something an earlier one still leads to (R-353).

        After downtime a rung is due and so is its limit; that limit goes before a later rung of another. What was sent and
        is still there after a while holds nobody up.
        """
        end: datetime | None = None
        for found in due:
            if end is not None and found.at > end:
                return
            first, _ = self._sent.get(found.name, (now, now))
            if found.following is not None and now - first < RESEND_AFTER:
                end = found.following if end is None else min(end, found.following)
            yield found

    def _command(self, due: DueNow, now: datetime) -> Outgoing | None:
        name = due.name
        first, sent = self._sent.get(name, (now, None))
        if sent is not None and now - sent < RESEND_AFTER:
            return None
        attempt = 0 if sent is None else int((now - due.at) / RESEND_AFTER)
        self._sent[name] = (first, now)
        while len(self._sent) > 10 * BATCH:
            self._sent.popitem(last=False)
        command: RecordDeadlineApproached | RecordDeadlinePassed = (
            RecordDeadlinePassed(key=due.key)
            if due.rung is None
            else RecordDeadlineApproached(key=due.key, rung=due.rung)
        )
        # A refused first attempt (this clock ahead of intake's) must not silence the limit for ever.
        id_ = name if attempt == 0 else derived_id(name, attempt)
        return system_command(command, due.stream, due.organisation, due.at, id_)


def _due_now(row: dict[str, Any]) -> DueNow:
    key = DeadlineKey(kind=row["kind"], occurrence=row["occurrence"], due_version=row["due_version"])
    at, rung = row["next_at"], row["next_rung"]
    later = [datetime.fromisoformat(lead) for number, lead in row["leads"] if number != rung]
    following = at if key.kind == "report_period" else None
    if rung is not None:
        following = min((*later, row["limit_at"]))
    return DueNow(row["stream"], row["organisation"], key, at, rung, following)
