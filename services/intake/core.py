"""A batch of messages to one transaction: known ones answered, new ones decided, all of it appended, then answered.

Synchronous on purpose: psycopg and the eventsourcing recorder are; the app calls it in a thread.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from contracts.receipts import Outcome, Refusal
from domain.kernel import SYSTEM_SOURCES, StreamNotLoaded
from services.clock import Clock
from services.collecting import no_collector
from services.eventlog.codec import EventCodec
from services.eventlog.recorder import Append, EncodedEvent, Head, LogRecorder, ReceiptRow, StreamsMoved
from services.eventlog.snapshots import write_snapshots
from services.intake.deciding import Decided, decide_one, missing_streams, surely_read
from services.intake.given import Given
from services.intake.reading import CommandReader, Incoming, Readable, Unreadable
from services.intake.states import Folder, Loaded, Overlay, StateCache
from services.settings import KEPT

MAX_TRIES = 32
SCOUTS = 3
"""How many times in a batch commands of a kind are asked ahead of their turn which streams they need."""
log = structlog.get_logger("sauro.intake")
Key = tuple[str, str]
Known = dict[Key, tuple[Given, bytes]]
"""Commands answered before, with the digest of their content."""


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message nobody can read, with the reason; published to DEADLETTERS with its original bytes."""

    incoming: Incoming
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Answered:
    """What a batch led to: receipts by sender in order, dead letters, and how many events were stored."""

    receipts: tuple[Given, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    events: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Ahead:
    """Commands read while the batch before them was stored, with what was looked up for them meanwhile.

    `states` are those they will surely need; `known` which of them were answered before, None when that is to be looked up.
    """

    commands: Sequence[tuple[Incoming, Readable | Unreadable]] = ()
    states: dict[str, Loaded] = field(default_factory=dict)
    known: Known | None = None

    def spend(self) -> tuple[dict[str, Loaded], Known | None]:
        """What was looked up, once: it may have become old when all this is tried again."""
        found = self.states, self.known
        self.states, self.known = {}, None
        return found


class TooMuchContention(Exception):
    """Other writers kept moving the streams of this batch; redelivery tries again."""


class Intake:
    """The only writer of the log."""

    def __init__(
        self,
        recorder: LogRecorder,
        codec: EventCodec,
        folder: Folder,
        reader: CommandReader,
        clock: Clock,
        states: int = KEPT,
    ) -> None:
        self._recorder, self._codec, self._folder = recorder, codec, folder
        self._reader, self._clock = reader, clock
        self._cache = StateCache(recorder, codec, folder, states)
        self._last: datetime | None = None
        self._latest: Known = {}
        """What the last batch was answered: who looked up receipts while it was stored may have found none of it."""

    def process(
        self, batch: Sequence[Incoming], storing: Callable[[], object] = _nothing, ahead: Ahead | None = None
    ) -> Answered:
        """Answer what was read ahead, then a batch; raises on transient trouble with nothing stored.

        `storing` is called when all is decided: what is left is PostgreSQL's work more than ours.
        """
        with no_collector():
            ahead = ahead or Ahead()
            states, known = ahead.spend()
            self._cache.keep_fetched(states)
            read = self._read(batch)
            commands = [*ahead.commands, *read]
            looked_up = self._looked_up(commands if known is None else read)
            return self._answered(commands, {**(known or {}), **self._latest, **looked_up}, storing)

    def read_ahead(self, batch: Sequence[Incoming]) -> Ahead:
        """Read commands and look up what they will surely need, beside `process` of the batch before: changes nothing."""
        with no_collector():
            commands, deciders = self._read(batch), self._folder.deciders
            readable = (found for _, found in commands if isinstance(found, Readable))
            states = self._cache.fetch(s for found in readable for s in surely_read(found, deciders))
            return Ahead(commands, states, self._looked_up(commands))

    def _read(self, batch: Sequence[Incoming]) -> list[tuple[Incoming, Readable | Unreadable]]:
        return [(incoming, self._reader.read(incoming)) for incoming in batch]

    def _looked_up(self, batch: Sequence[tuple[Incoming, Readable | Unreadable]]) -> Known:
        receipts = self._recorder.receipts([key for _, found in batch if (key := _key(found)) is not None])
        return {key: (Given.of(receipt), digest) for key, (receipt, digest) in receipts.items()}

    def _answered(
        self, batch: Sequence[tuple[Incoming, Readable | Unreadable]], known: Known, storing: Callable[[], object]
    ) -> Answered:
        dead = [DeadLetter(incoming, found.refusal) for incoming, found in batch if isinstance(found, Unreadable)]
        keyed = [(key, found) for _, found in batch if (key := _key(found)) is not None]
        fresh: dict[Key, Readable | Unreadable] = {}
        for key, found in keyed:
            if key not in known:
                fresh.setdefault(key, found)
        try:
            first, events = self._store(fresh, storing)
        except Exception:
            self._cache.forget()
            raise
        answers = {key: known[key] for key, _ in keyed if key in known}
        self._latest = answers | {key: (first[key], found.digest) for key, found in fresh.items()}
        return self._told(keyed, known, first, fresh, dead, events)

    def _store(
        self, fresh: dict[Key, Readable | Unreadable], storing: Callable[[], object]
    ) -> tuple[dict[Key, Given], int]:
        if not fresh:
            return {}, 0
        for _ in range(MAX_TRIES):
            now = self._clock.now()
            if self._last is None:
                self._last = self._recorder.head().recorded_at or now
            overlay = Overlay(self._cache, self._folder, max(now, self._last))
            decided = self._decide(fresh, overlay)
            append = self._append_of(fresh, decided, overlay)
            rows = overlay.snapshots()
            storing()
            try:
                head, others = self._recorder.append(
                    append,
                    self._codec.stored,
                    lambda cursor: write_snapshots(cursor, rows),  # noqa: B023
                )
            except StreamsMoved as moved:
                log.info("streams moved, deciding again", streams=len(moved.streams))
                self._cache.forget(moved.streams)
                self._last = self._recorder.head().recorded_at
                continue
            self._last = overlay.now
            self._cache.follow(head.position + len(append.events), others)
            self._cache.change(overlay.changed)
            return dict(zip(fresh, self._given(append, head), strict=True)), len(append.events)
        raise TooMuchContention(
            f"in {MAX_TRIES} tries others appended to what {len(fresh)} commands rest on; they are taken again"
        )

    def _decide(self, fresh: dict[Key, Readable | Unreadable], overlay: Overlay) -> list[Decided]:
        deciders = self._folder.deciders
        waiting = deque(found for found in fresh.values() if isinstance(found, Readable))
        self._cache.load(stream for found in waiting for stream in surely_read(found, deciders))
        decided: list[Decided] = []
        scouts: Counter[type[Any]] = Counter()
        for found in fresh.values():
            if isinstance(found, Unreadable):
                decided.append(Decided(refusal=found.refusal))
                continue
            waiting.popleft()
            while True:
                try:
                    decided.append(decide_one(found, deciders[found.aggregate], overlay))
                    break
                except StreamNotLoaded as missing:
                    # What one command turns out to need, its like behind it need, too: ask them, and load once.
                    kind = type(found.request.data)
                    scouts[kind] += 1
                    like = [w for w in waiting if type(w.request.data) is kind] if scouts[kind] <= SCOUTS else ()
                    self._cache.load({*missing.streams, *missing_streams(like, deciders, overlay)})
        return decided

    def _append_of(self, fresh: dict[Key, Readable | Unreadable], decided: list[Decided], overlay: Overlay) -> Append:
        texts = (
            text
            for found, what in zip(fresh.values(), decided, strict=True)
            if isinstance(found, Readable) and what.events
            for text in found.texts
        )
        events = [event for what in decided for event in what.events]
        types = map(self._codec.type_of, events)
        return Append(
            recorded_at=overlay.now,
            read=overlay.read,
            known_position=self._cache.position,
            events=[
                EncodedEvent(event.stream, event.version, type_, self._codec.tail(event, type_))
                for event, type_ in zip(events, types, strict=True)
            ],
            receipts=[_row(key, found, what) for (key, found), what in zip(fresh.items(), decided, strict=True)],
            texts=list(texts),
        )

    @staticmethod
    def _given(append: Append, head: Head) -> Iterator[Given]:
        position, at = head.position + 1, append.recorded_at
        for number, row in enumerate(append.receipts, head.receipt + 1):
            yield Given(
                source=row.source,
                id=row.command_id,
                outcome=row.outcome,
                receipt=number,
                recorded_at=at,
                positions=tuple(range(position, position + row.events)),
                version=row.version,
                refusal=row.refusal,
            )
            position += row.events

    @staticmethod
    def _told(
        keyed: list[tuple[Key, Readable | Unreadable]],
        known: Known,
        first: dict[Key, Given],
        fresh: dict[Key, Readable | Unreadable],
        dead: list[DeadLetter],
        events: int,
    ) -> Answered:
        receipts: list[Given] = []
        outcomes: dict[str, int] = {}
        answered: set[Key] = set()
        for key, found in keyed:
            if key in known:
                given = _again(*known[key], found)
            elif key in answered:
                given = _again(first[key], fresh[key].digest, found)
            else:
                given = first[key]
            answered.add(key)
            name = "duplicate" if given.duplicate else given.outcome
            outcomes[name] = outcomes.get(name, 0) + 1
            if given.source not in SYSTEM_SOURCES:
                receipts.append(given)
        return Answered(tuple(receipts), tuple(dead), events, outcomes)


def _key(found: Readable | Unreadable) -> Key | None:
    if isinstance(found, Readable):
        return found.request.source, found.request.id
    return (found.source, found.id) if found.source is not None and found.id is not None else None


def _row(key: Key, found: Readable | Unreadable, what: Decided) -> ReceiptRow:
    refused: Outcome = "unreadable" if isinstance(found, Unreadable) else "rejected"
    return ReceiptRow(
        source=key[0],
        command_id=key[1],
        outcome=refused if what.refusal else "accepted",
        digest=found.digest,
        events=len(what.events),
        version=what.version,
        refusal=what.refusal,
    )


def _again(given: Given, digest: bytes, found: Readable | Unreadable) -> Given:
    """The answer to a repeated id: the first receipt again, or a refusal when the content differs (R-356)."""
    if digest == found.digest:
        return given._replace(duplicate=True)
    reused = Refusal(
        rule="IdReused",
        field="id",
        message=f"id '{given.id}' was used for other content (receipt {given.receipt}); send this under a new id",
    )
    return given._replace(outcome="rejected", positions=(), version=None, refusal=reused)
