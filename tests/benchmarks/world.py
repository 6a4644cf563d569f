"""Big logs, quickly. What a few assignments went through is decided by intake itself; their stored events are then cloned.

A clone's bytes come from the event store's own codec, with the pattern's code and ids replaced; positions are gapless, versions
right, every command has its receipt, and snapshots lie where intake would have written them. Rounds are interleaved over all
assignments as they would be in life, so a stream's events do not lie side by side on disk.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from domain.kernel import Recorded
from services.calendar_source import proposed_calendar
from services.clock import SystemClock
from services.eventlog.codec import EventCodec
from services.eventlog.recorder import APPEND_LOCK, CHANNEL
from services.eventlog.snapshots import SnapshotRow
from services.intake.reading import Incoming
from services.intake.states import SNAPSHOT_EVERY, Folder, Loaded
from services.outgoing import Outgoing, to_json
from services.programmes.check import check
from services.programmes.importer import import_commands
from services.projector.core import Projector
from services.spine import intake_for
from services.store import Store
from tests.benchmarks.bench import Bench, Installation
from tests.benchmarks.commands import PROGRAMME, SOURCE, Chain, chain, code_of, outgoing, random_ids, uuid7s

TOGETHER = 500
PATTERN = "Z-"
_EVENTS = (
    "COPY log.events (notification_id, originator_id, originator_version, topic, recorded_at, state)"
    " FROM STDIN (FORMAT BINARY)"
)
_RECEIPTS = (
    "COPY log.receipts (receipt, source, command_id, outcome, digest, recorded_at, first_position, event_count, version)"
    " FROM STDIN (FORMAT BINARY)"
)


Edit = Callable[[bytes], bytes]
"""Changes a template's bytes, such as the instant of a limit."""


@dataclass(frozen=True)
class World:
    """An imported programme with so many assignments, the chains given to them in turn."""

    assignments: int
    chains: tuple[Chain, ...] = (chain(),)
    uuid7: bool = True


def imported(at: datetime) -> list[Outgoing]:
    """The commands that import one programme."""
    found = check(Path(__file__).parents[2] / "deploy" / "programmes" / "skhcn-td500.yaml")
    assert found.programme and found.roster and found.policy
    return list(import_commands(found.programme, found.roster, found.policy, proposed_calendar([2026, 2027]), at))


def world(bench: Bench, wanted: World, *, projected: bool = False) -> str:
    """The template database of a world, with its read models if they are wanted."""

    def make(place: Installation) -> None:
        bench.says(f"building {wanted.assignments:,} assignments")
        build(place, wanted)
        if projected:
            project(bench, place)

    return bench.template((wanted, projected), make)


def project(bench: Bench, place: Installation) -> None:
    """Let the projector follow the whole log."""
    store = Store.open(place.dsn, application="bench-world")
    head = store.recorder.max_notification_id() or 0
    projector = Projector(store, SystemClock())
    projector.prepare()
    while projector.step():
        bench.says(f"projecting {projector.position:,} of {head:,} events")
    store.close()
    place.execute("VACUUM ANALYZE")


def build(place: Installation, wanted: World) -> None:
    """Import, let intake decide the patterns, clone them."""
    store = Store.open(place.dsn, application="bench-world")
    try:
        at = datetime.now(UTC)
        patterns = [f"Z-{number:07}" for number in range(len(wanted.chains))]
        send(store, "PROGRAMME-IMPORT", imported(at))
        for code, steps in zip(patterns, wanted.chains, strict=True):
            send(store, SOURCE, outgoing(steps, code, at))
        rounds = [Pattern(store, code) for code in patterns]
        Cloning(store, place.dsn, rounds, wanted).run()
    finally:
        store.close()
    place.execute("VACUUM ANALYZE log.events")
    place.execute("VACUUM ANALYZE log.receipts")


def grow(place: Installation, wanted: World, *, series: str, edit: Edit = bytes, first: int = 0) -> int:
    """Clone more assignments behind the end of a log; returns its head. `edit` changes what is cloned."""
    store = Store.open(place.dsn, application="bench-world")
    try:
        patterns = []
        for number, steps in enumerate(wanted.chains):
            code = f"{PATTERN}{series}{number:05}"
            if not store.recorder.tails([f"assignment/{PROGRAMME}/{code}"], [0]):
                send(store, SOURCE, outgoing(steps, code, datetime.now(UTC)))
            patterns.append(Pattern(store, code, edit))
        Cloning(store, place.dsn, patterns, wanted, series=series, first=first).run()
        return store.recorder.max_notification_id() or 0
    finally:
        store.close()


def send(store: Store, source: str, commands: Sequence[Outgoing]) -> None:
    """Commands straight to intake, all of which it must accept."""
    intake = intake_for(store, SystemClock())
    for start in range(0, len(commands), TOGETHER):
        part = commands[start : start + TOGETHER]
        batch = [Incoming(source, one.programme, to_json(one, source), number) for number, one in enumerate(part)]
        refused = [receipt for receipt in intake.process(batch).receipts if receipt.outcome != "accepted"]
        assert not refused, refused[0]


@dataclass(frozen=True)
class Template:
    """A stored event with holes for stream, code and ids."""

    version: int
    topic: str
    tail: bytes


class Pattern:
    """What intake stored for one assignment, by command, ready to be cloned."""

    def __init__(self, store: Store, code: str, edit: Edit = bytes) -> None:
        self.code, self._edit = code, edit
        self.stream = f"assignment/{PROGRAMME}/{code}"
        events = [store.codec.decode(state) for _, state in store.recorder.tails([self.stream], [0])]
        by_command: dict[str, list[Recorded[Any]]] = {}
        for event in events:
            by_command.setdefault(event.command_id, []).append(event)
        self.rounds = [[self._template(store.codec, event) for event in found] for found in by_command.values()]
        self.events = len(events)
        self.snapshot = self._snapshot(Folder(store.registry.deciders), events)

    def _template(self, codec: EventCodec, event: Recorded[Any]) -> Template:
        bare = event._replace(id="@ID@", command_id="@COMMAND@", correlation_id="@COMMAND@", causation_id="@COMMAND@")
        tail = self._edit(codec.tail(bare).replace(b"%", b"%%"))
        for old, new in ((self.code.encode(), b"%(code)b"), (b"@COMMAND@", b"%(command)b"), (b"@ID@", b"%(id)b")):
            tail = tail.replace(old, new)
        return Template(event.version, codec.type_of(event), tail)

    def _snapshot(self, folder: Folder, events: Sequence[Recorded[Any]]) -> SnapshotRow | None:
        """The last snapshot intake would have written, one command at a time."""
        loaded, found = Loaded(), None
        for before, event in zip((0, *(event.version for event in events)), events, strict=False):
            loaded = folder.fold(loaded, event)
            if loaded.version // SNAPSHOT_EVERY > before // SNAPSHOT_EVERY:
                found = folder.dump(self.stream, loaded)
        return found


class Cloning:
    """Copies clones of patterns behind the present end of the log, as a superuser."""

    def __init__(
        self, store: Store, dsn: str, patterns: Sequence[Pattern], wanted: World, *, series: str = "B", first: int = 0
    ) -> None:
        self._store, self._dsn, self._patterns, self._wanted = store, dsn, patterns, wanted
        self._series, self._first = series, first
        self._position, self._receipt, self._at = 0, 0, datetime.min.replace(tzinfo=UTC)
        self._ids: Iterator[str] = iter(())

    def run(self) -> None:
        """All rounds of all clones, under the log's own lock: services may run beside."""
        with psycopg.connect(self._dsn) as events, psycopg.connect(self._dsn) as receipts:
            events.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
            self._begin()
            with (
                events.cursor().copy(_EVENTS) as event_copy,
                receipts.cursor().copy(_RECEIPTS) as receipt_copy,
            ):
                event_copy.set_types(["int8", "text", "int8", "text", "timestamptz", "bytea"])
                receipt_copy.set_types(["int8", "text", "text", "int2", "bytea", "timestamptz", "int8", "int4", "int8"])
                for number, templates in self._in_turn():
                    self._command(number, templates, event_copy, receipt_copy)
            self._write_snapshots(events)
            receipts.commit()
            events.execute(f"NOTIFY {CHANNEL}".encode())

    def _begin(self) -> None:
        head = self._store.recorder.head()
        assert head.recorded_at is not None
        self._position, self._receipt, self._at = head.position, head.receipt, head.recorded_at
        millis = int(self._at.timestamp() * 1000) - 10**9 + self._position
        self._ids = uuid7s(millis) if self._wanted.uuid7 else random_ids(millis)

    def _in_turn(self) -> Iterator[tuple[int, Sequence[Template]]]:
        for step in range(max(len(pattern.rounds) for pattern in self._patterns)):
            for number in range(self._first, self._first + self._wanted.assignments):
                rounds = self._patterns[number % len(self._patterns)].rounds
                if step < len(rounds):
                    yield number, rounds[step]

    def _command(self, number: int, templates: Sequence[Template], events: Any, receipts: Any) -> None:
        self._receipt += 1
        if self._receipt % TOGETHER == 0:
            self._at += timedelta(microseconds=1)  # a batch has one instant
        code, id_ = code_of(number, self._series), next(self._ids)
        stream = f"assignment/{PROGRAMME}/{code}"
        holes = {b"code": code.encode(), b"command": id_.encode()}
        first = self._position + 1
        for template in templates:
            self._position += 1
            holes[b"id"] = b"%08x-0000-5000-8000-%012x" % (self._position, self._position)
            state = self._store.codec.stored(self._position, self._at, template.tail % holes)
            events.write_row((self._position, stream, template.version, template.topic, self._at, state))
        version = templates[-1].version
        receipts.write_row((self._receipt, SOURCE, id_, 1, os.urandom(32), self._at, first, len(templates), version))

    def _write_snapshots(self, connection: psycopg.Connection[Any]) -> None:
        kept = [pattern.snapshot for pattern in self._patterns]
        if not any(kept):
            return
        statement = "COPY read.snapshots (stream, version, fingerprint, began_at, state) FROM STDIN"
        with connection.cursor().copy(statement) as copy:
            for number in range(self._first, self._first + self._wanted.assignments):
                pattern = self._patterns[number % len(self._patterns)]
                if (row := pattern.snapshot) is not None:
                    stream, version, fingerprint, began_at, state = row
                    old, new = pattern.code, code_of(number, self._series)
                    clone = state.replace(old.encode(), new.encode())
                    copy.write_row((stream.replace(old, new), version, fingerprint, began_at, clone))
