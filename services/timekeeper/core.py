"""Reads the next limit from read model `deadlines` and sends a command when it is due.

It keeps nothing: after downtime everything that fell due is found and sent in order, and the domain makes each fire once with
its own instant (R-353, R-354). A command that was sent and is not yet visible in the read model is not sent again for a while,
and never again once its receipt says that it was accepted.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast

from psycopg.rows import tuple_row

from contracts.deadlines import DeadlineKey, DeadlineKind, RecordDeadlineApproached, RecordDeadlinePassed
from projections.deadlines import DUE, EXISTS, NEXT, NEXT_AFTER
from services.bus import Bus
from services.clock import Clock
from services.outgoing import Outgoing
from services.senders import derived_id, send, system_command
from services.store import Store

BATCH = 2000
MOST = 100_000
"""Commands on their way at a time, at most."""
BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
FIRST = (BEGINNING, "", "", "")
"""A place before all that falls due."""
RESEND_AFTER = timedelta(seconds=60)
A_ROW = 0.00025
"""Seconds to pause before the next look for each row the last one found: each change of the read model would otherwise have all
that is on its way read again."""
SOURCE = "timekeeper"


class DueNow(NamedTuple):
    """A limit or a rung before it that is due, in the order of the columns of DUE."""

    at: datetime
    stream: str
    kind: str
    occurrence: str
    due_version: int
    rung: int | None
    organisation: str
    limit_at: datetime
    leads: list[tuple[int, str]]

    @property
    def identity(self) -> tuple[Any, ...]:
        """What its command is known by."""
        return self.stream, self.kind, self.occurrence, self.due_version, self.rung

    @property
    def following(self) -> datetime | None:
        """When the same limit, or the period after it, falls due next, as far as is known now."""
        if self.rung is None:
            return self.at if self.kind == "report_period" else None
        return min((datetime.fromisoformat(at) for rung, at in self.leads if rung != self.rung), default=self.limit_at)


class Sent(NamedTuple):
    """A command on its way: when it was first and last sent, and its present id."""

    first: datetime
    last: datetime
    id: str


class Timekeeper:
    """One active timekeeper an installation."""

    def __init__(self, store: Store, bus: Bus, clock: Clock) -> None:
        self._store, self._bus, self._clock = store, bus, clock
        self._sent: OrderedDict[tuple[Any, ...], Sent] = OrderedDict()
        self._seen = False
        self._looked = BEGINNING
        self.pause = 0.0
        """Seconds to let pass before the next look; 0 when nothing is due."""
        self.sequence = 0

    async def step(self) -> int:
        """Send commands for what is due now, page by page while pages hold something new; returns how many."""
        self._looked, count = (now := self._clock.now()), 0
        after: DueNow | None = None
        end: datetime | None = None
        while True:
            page = await asyncio.to_thread(self._due, now, after)
            if after is None:
                self.pause = len(page) * A_ROW
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
        return await asyncio.to_thread(self._next, NEXT)

    async def next_unseen(self) -> datetime | None:
        """When the first limit or rung falls due that the last look did not see yet, UTC; None when there is none."""
        return await asyncio.to_thread(self._next, NEXT_AFTER, self._looked)

    def _next(self, query: str, *after: datetime) -> datetime | None:
        with self._store.recorder.reading() as cursor:
            row = cursor.execute(query, after, prepare=True).fetchone()
        return row["next_at"] if row else None

    def _due(self, now: datetime, after: DueNow | None) -> Sequence[DueNow]:
        start = after[: len(FIRST)] if after else FIRST
        with (
            self._store.recorder.reading() as pooled,
            pooled.connection.cursor(binary=True, row_factory=tuple_row) as cursor,
        ):
            return [DueNow(*row) for row in cursor.execute(DUE, (now, *start, BATCH), prepare=True)]

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
            if (following := found.following) is not None:
                sent = self._sent.get(found.identity)
                if sent is None or now - sent.first < RESEND_AFTER:
                    end = following if end is None else min(end, following)
            going.append(found)
        return going, end

    def _commands(self, due: Sequence[DueNow], now: datetime) -> list[Outgoing]:
        """Commands for what was not sent yet or must be sent again; what is on its way waits for the read model."""
        resend = now - RESEND_AFTER
        waiting = [(found, self._sent.get(found.identity)) for found in due]
        old = [sent.id for _, sent in waiting if sent is not None and sent.last <= resend]
        answered = self._store.recorder.receipts([(SOURCE, id_) for id_ in old])
        commands = []
        for found, sent in waiting:
            if sent is None:
                id_ = derived_id(SOURCE, *found.identity)
            elif sent.last > resend:
                continue
            else:
                id_ = sent.id
            first = sent.first if sent else now
            if (SOURCE, id_) in answered:
                if answered[SOURCE, id_][0].outcome == "accepted":
                    self._sent[found.identity] = Sent(first, now, id_)
                    continue  # it is in the log; the read model does not show it yet
                # A refused attempt (this clock ahead of intake's) must not silence the limit for ever.
                id_ = derived_id(derived_id(SOURCE, *found.identity), int((now - found.at) / RESEND_AFTER))
            self._sent[found.identity] = Sent(first, now, id_)
            commands.append(_command(found, id_))
        while len(self._sent) > MOST:
            self._sent.popitem(last=False)
        return commands


def _command(due: DueNow, id_: str) -> Outgoing:
    key = DeadlineKey(kind=cast(DeadlineKind, due.kind), occurrence=due.occurrence, due_version=due.due_version)
    command: RecordDeadlineApproached | RecordDeadlinePassed = (
        RecordDeadlinePassed(key=key) if due.rung is None else RecordDeadlineApproached(key=key, rung=due.rung)
    )
    return system_command(command, due.stream, due.organisation, due.at, id_)
