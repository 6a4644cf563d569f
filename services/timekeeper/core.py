"""Reads the next limit from read model `deadlines` and sends a command when it is due.

It keeps nothing: after downtime everything that fell due is found and sent in order, and the domain makes each fire once with
its own instant (R-353, R-354). A command that was sent and is not yet visible in the read model is not sent again for a while,
and never again once its receipt says that it was accepted.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.deadlines import DeadlineKey, RecordDeadlineApproached, RecordDeadlinePassed
from projections.deadlines import DUE, EXISTS, NEXT
from services.bus import Bus
from services.clock import Clock
from services.outgoing import Outgoing
from services.senders import derived_id, send, system_command
from services.store import Store

BATCH = 2000
MOST = 100_000
"""Commands on their way at a time, at most."""
BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
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
    def place(self) -> tuple[datetime, str, str, str]:
        """Where it stands in the order in which limits go."""
        return self.at, self.stream, self.key.kind, self.key.occurrence

    @property
    def name(self) -> str:
        """The id its first command has."""
        return derived_id(SOURCE, self.stream, self.key.kind, self.key.occurrence, self.key.due_version, self.rung)


@dataclass(frozen=True, slots=True)
class Sent:
    """A command on its way: when it was first and last sent, and its present id."""

    first: datetime
    last: datetime
    id: str


class Timekeeper:
    """One active timekeeper an installation."""

    def __init__(self, store: Store, bus: Bus, clock: Clock) -> None:
        self._store, self._bus, self._clock = store, bus, clock
        self._sent: OrderedDict[str, Sent] = OrderedDict()
        self._seen = False
        self.overdue_seconds = 0.0
        self.sequence = 0

    async def step(self) -> int:
        """Send commands for what is due now, page by page while pages hold something new; returns how many."""
        now, count = self._clock.now(), 0
        after: DueNow | None = None
        end: datetime | None = None
        while True:
            page = await asyncio.to_thread(self._due, now, after)
            if after is None:
                self.overdue_seconds = (now - page[0].at).total_seconds() if page else 0.0
            due, end = self._in_order(page, end, now)
            commands = await asyncio.to_thread(self._commands, due, now)
            if commands:
                self.sequence = (await send(self._bus, SOURCE, commands))[-1]
            count += len(commands)
            if not commands or len(due) < BATCH or count >= MOST:
                return count
            after = page[-1]

    async def can_see(self) -> bool:
        """Whether read model `deadlines` exists yet; once seen, it is there."""
        self._seen = self._seen or await asyncio.to_thread(self._exists)
        return self._seen

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

    def _due(self, now: datetime, after: DueNow | None) -> Sequence[DueNow]:
        with self._store.recorder.reading() as cursor:
            start = after.place if after else (BEGINNING, "", "", "")
            rows = cursor.execute(DUE, (now, *start, BATCH), prepare=True).fetchall()
        return [_due_now(row) for row in rows]

    def _in_order(
        self, due: Sequence[DueNow], end: datetime | None, now: datetime
    ) -> tuple[list[DueNow], datetime | None]:
        """What may go now: nothing that falls due after something an earlier one still leads to (R-353).

        After downtime a rung is due and so is its limit; that limit goes before a later rung of another. What was sent and
        is still there after a while holds nobody up. `end` is that instant so far.
        """
        going: list[DueNow] = []
        for found in due:
            if end is not None and found.at > end:
                break
            sent = self._sent.get(found.name)
            if found.following is not None and (sent is None or now - sent.first < RESEND_AFTER):
                end = found.following if end is None else min(end, found.following)
            going.append(found)
        return going, end

    def _commands(self, due: Sequence[DueNow], now: datetime) -> list[Outgoing]:
        """Commands for what was not sent yet or must be sent again; what is on its way waits for the read model."""
        old = [sent.id for found in due if (sent := self._sent.get(found.name)) and now - sent.last >= RESEND_AFTER]
        answered = self._store.recorder.receipts([(SOURCE, id_) for id_ in old])
        commands = []
        for found in due:
            sent = self._sent.get(found.name)
            if sent is not None and now - sent.last < RESEND_AFTER:
                continue
            id_ = found.name if sent is None else sent.id
            self._sent[found.name] = Sent(sent.first if sent else now, now, id_)
            if (SOURCE, id_) in answered:
                if answered[SOURCE, id_][0].outcome == "accepted":
                    continue  # it is in the log; the read model does not show it yet
                # A refused attempt (this clock ahead of intake's) must not silence the limit for ever.
                id_ = derived_id(found.name, int((now - found.at) / RESEND_AFTER))
                self._sent[found.name] = Sent(self._sent[found.name].first, now, id_)
            commands.append(_command(found, id_))
        while len(self._sent) > MOST:
            self._sent.popitem(last=False)
        return commands


def _command(due: DueNow, id_: str) -> Outgoing:
    command: RecordDeadlineApproached | RecordDeadlinePassed = (
        RecordDeadlinePassed(key=due.key) if due.rung is None else RecordDeadlineApproached(key=due.key, rung=due.rung)
    )
    return system_command(command, due.stream, due.organisation, due.at, id_)


def _due_now(row: dict[str, Any]) -> DueNow:
    key = DeadlineKey(kind=row["kind"], occurrence=row["occurrence"], due_version=row["due_version"])
    at, rung = row["next_at"], row["next_rung"]
    later = [datetime.fromisoformat(lead) for number, lead in row["leads"] if number != rung]
    following = at if key.kind == "report_period" else None
    if rung is not None:
        following = min((*later, row["limit_at"]))
    return DueNow(row["stream"], row["organisation"], key, at, rung, following)
