"""Folded states: a bounded LRU over snapshots and tails, and the overlay a batch decides on."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

import orjson
from pydantic import TypeAdapter

from domain.kernel import Decider, Recorded, StreamNotLoaded
from services.eventlog.codec import EventCodec
from services.eventlog.recorder import LogRecorder
from services.eventlog.snapshots import SnapshotRow, select_snapshots

SNAPSHOT_EVERY = 50


class Loaded(NamedTuple):
    """A stream as folded: its state (None before its first event), version, and when it began."""

    state: Any | None = None
    version: int = 0
    began_at: datetime | None = None


class Folder:
    """Folds events with the aggregates' own evolve, and keeps states as disposable snapshots."""

    def __init__(self, deciders: Iterable[Decider[Any]]) -> None:
        self.deciders = {decider.name: decider for decider in deciders}
        self._adapters = {name: TypeAdapter(decider.state) for name, decider in self.deciders.items()}
        self._fingerprints = {
            name: sha256(
                orjson.dumps(adapter.json_schema(mode="serialization"), option=orjson.OPT_SORT_KEYS)
            ).hexdigest()[:16]
            for name, adapter in self._adapters.items()
        }

    def fold(self, loaded: Loaded, event: Recorded[Any]) -> Loaded:
        """The stream one event further."""
        state = self.deciders[event.aggregate].evolve(loaded.state, event)
        return Loaded(state, event.version, loaded.began_at or event.occurred_at)

    def dump(self, stream: str, loaded: Loaded) -> SnapshotRow:
        """A snapshot row."""
        name = stream.split("/", 1)[0]
        state = self._adapters[name].dump_json(loaded.state)
        return stream, loaded.version, self._fingerprints[name], loaded.began_at, state

    def restore(self, row: Mapping[str, Any]) -> Loaded | None:
        """A state from its snapshot; None when the state's shape has changed since."""
        name = row["stream"].split("/", 1)[0]
        if row["fingerprint"] != self._fingerprints.get(name):
            return None
        return Loaded(self._adapters[name].validate_json(bytes(row["state"])), row["version"], row["began_at"])


class StateCache:
    """States of recently used streams. `position` is the log position up to which nobody else has appended unseen.

    For one thread; `fetch` alone may run beside it.
    """

    def __init__(self, recorder: LogRecorder, codec: EventCodec, folder: Folder, capacity: int) -> None:
        self._recorder, self._codec, self._folder, self._capacity = recorder, codec, folder, capacity
        self._states: OrderedDict[str, Loaded] = OrderedDict()
        self._touched: set[str] | None = set()
        """Streams that have changed since `keep_fetched`; None when any may have."""
        self.position = 0

    def get(self, stream: str) -> Loaded | None:
        """The cached state; None when it must be loaded."""
        found = self._states.get(stream)
        if found is not None:
            self._states.move_to_end(stream)
        return found

    def change(self, states: Mapping[str, Loaded]) -> None:
        """Keep states as a batch of ours has left them."""
        self._keep(states)
        if self._touched is not None:
            self._touched.update(states)

    def _keep(self, states: Mapping[str, Loaded]) -> None:
        """Keep states, dropping those least recently used."""
        for stream, loaded in states.items():
            self._states[stream] = loaded
            self._states.move_to_end(stream)
        while len(self._states) > self._capacity:
            self._states.popitem(last=False)

    def forget(self, streams: Iterable[str] | None = None) -> None:
        """Drop some streams, or all."""
        if streams is None:
            self._states.clear()
            self._touched = None
            return
        for stream in streams:
            self._states.pop(stream, None)
            if self._touched is not None:
                self._touched.add(stream)

    def follow(self, position: int, others: Iterable[str] | None) -> None:
        """The log has come to a position, and others have appended to some streams on the way there; None: to any."""
        self.forget(others)
        self.position = position

    def load(self, streams: Iterable[str]) -> None:
        """Bring streams into the cache."""
        missing = self._missing(streams)
        if missing and not self._states:
            self.position = self._recorder.head().position
            self._touched = None  # what was fetched before may be older than this
        self._keep(self._fetch(missing))

    def fetch(self, streams: Iterable[str]) -> dict[str, Loaded]:
        """Streams that are not here, for `keep_fetched`. Changes nothing."""
        return self._fetch(self._missing(streams))

    def keep_fetched(self, states: Mapping[str, Loaded]) -> None:
        """Keep what was fetched since the last time, but for streams that may have changed meanwhile."""
        touched, self._touched = self._touched, set()
        if touched is not None and self._states:  # without states there is no position to hold others' events against
            self._keep({stream: states[stream] for stream in self._missing(states) if stream not in touched})

    def _missing(self, streams: Iterable[str]) -> list[str]:
        return [stream for stream in dict.fromkeys(streams) if stream not in self._states]

    def _fetch(self, wanted: Sequence[str]) -> dict[str, Loaded]:
        """Snapshots and tails, in one query each for all streams."""
        if not wanted:
            return {}
        found: dict[str, Loaded] = dict.fromkeys(wanted, Loaded())
        found.update(self._snapshots(wanted))
        for stream, state in self._recorder.tails(wanted, [found[stream].version for stream in wanted]):
            found[stream] = self._folder.fold(found[stream], self._codec.decode(state))
        return found

    def _snapshots(self, streams: Sequence[str]) -> dict[str, Loaded]:
        with self._recorder.reading() as cursor:
            rows = select_snapshots(cursor, streams)
        restored = ((row["stream"], self._folder.restore(row)) for row in rows)
        return {stream: loaded for stream, loaded in restored if loaded is not None}


class Overlay:
    """The states a batch sees: what is cached, and on top what its own decisions have led to (R-357).

    Commands of one batch on one stream see each other; every stream read is remembered with the version it was read at.
    """

    def __init__(self, cache: StateCache, folder: Folder, now: datetime) -> None:
        self._cache, self._folder, self._now = cache, folder, now
        self._seen: dict[str, Loaded] = {}
        self.changed: dict[str, Loaded] = {}
        self.read: dict[str, int] = {}

    @property
    def now(self) -> datetime:
        """The instant this batch is recorded at, UTC."""
        return self._now

    def stream(self, stream: str) -> Loaded:
        """A stream as this batch sees it; raises StreamNotLoaded."""
        if (seen := self._seen.get(stream)) is not None:
            return seen
        loaded = self._cache.get(stream)
        if loaded is None:
            raise StreamNotLoaded(stream)
        self.read[stream] = loaded.version
        self._seen[stream] = loaded
        return loaded

    def load(self, stream: str) -> Any | None:
        """The state of another stream, as `Context` wants it."""
        return self.stream(stream).state

    def load_all(self, streams: Sequence[str]) -> list[Any | None]:
        """The states of several streams, as `Context` wants them."""
        missing = [stream for stream in streams if stream not in self._seen and self._cache.get(stream) is None]
        if missing:
            raise StreamNotLoaded(*missing)
        return [self.load(stream) for stream in streams]

    def apply(self, events: Sequence[Recorded[Any]]) -> None:
        """Fold the events of one command, all of them or, when one fails, none."""
        after: dict[str, Loaded] = {}
        for event in events:
            before = after.get(event.stream) or self.stream(event.stream)
            after[event.stream] = self._folder.fold(before, event)
        self.changed.update(after)
        self._seen.update(after)

    def snapshots(self) -> list[SnapshotRow]:
        """Rows for the streams that crossed a multiple of the snapshot distance in this batch."""
        return [
            self._folder.dump(stream, loaded)
            for stream, loaded in self.changed.items()
            if loaded.version // SNAPSHOT_EVERY > self.read.get(stream, 0) // SNAPSHOT_EVERY
        ]
