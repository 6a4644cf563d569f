"""The history of one subject: its own events, and those of the warnings, explanations and decisions they led to."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from psycopg import Cursor

from contracts.programme import Settings
from domain.programme_state import Programme
from projections import queries_history as queries
from projections.queries import Row
from projections.scope import ReadScope
from services.audit.causation import Document, name_of, parsed
from services.audit.narrative import Language, Names, Narrator, instant, local_text, refs_in
from services.eventlog.codec import EventCodec
from services.registry import Registry

_SHARED = ("organisation/", "programme/")
"""Streams that many things concern: what is caused there is told, their own history is not."""


GENERATIONS = 6
"""How far from the subject streams are followed: warning, explanation, the warning about a late explanation …"""


@dataclass(frozen=True)
class Entry:
    """An event as it is told; `own` when it is of the subject itself, `led_to` the events it caused."""

    document: Document
    own: bool
    receipt: Row | None
    led_to: tuple[Document, ...] = ()


@dataclass(frozen=True)
class Chronicle:
    """The history of a subject in log order; `whole` is False when it goes on beyond GENERATIONS."""

    stream: str
    entries: tuple[Entry, ...]
    whole: bool = True

    @property
    def documents(self) -> list[Document]:
        """All events it tells or points to."""
        return [one for entry in self.entries for one in (entry.document, *entry.led_to)]


@dataclass
class Tolerances:
    """How late an entry may come and still count at its own time, by programme and log position (R-347)."""

    _steps: dict[str, list[tuple[int, timedelta]]] = field(default_factory=dict)

    @classmethod
    def of(cls, cursor: Cursor[Any], scope: ReadScope, registry: Registry, programmes: Iterable[str]) -> "Tolerances":
        """From the programmes' streams, folded with the domain's own rules."""
        codec = EventCodec(registry.contracts)
        decider = next(decider for decider in registry.deciders if decider.name == "programme")
        found = cls()
        states: dict[str, Programme] = {}
        streams = [f"programme/{code}" for code in sorted(set(programmes))]
        for stored in queries.of_streams(cursor, scope, streams):
            event = codec.decode(stored)
            state = states[event.stream] = decider.evolve(states.get(event.stream), event)
            hours = timedelta(hours=state.settings.late_entry_tolerance_hours)
            found._steps.setdefault(state.code, []).append((event.position, hours))
        return found

    def at(self, programme: str, position: int) -> timedelta:
        """The tolerance in force when the event at a position was recorded."""
        steps = self._steps.get(programme, [])
        number = bisect_right(steps, position, key=lambda step: step[0])
        return steps[number - 1][1] if number else timedelta(hours=Settings().late_entry_tolerance_hours)


def chronicle(cursor: Cursor[Any], scope: ReadScope, stream: str) -> Chronicle:
    """The history of a stream; empty when there is no such stream."""
    told: dict[int, Document] = {}
    streams: set[str] = set()
    more = {stream}
    for _ in range(GENERATIONS):
        found = parsed(queries.of_streams(cursor, scope, sorted(more)))
        if not found:
            more = set()
            break
        caused = parsed(queries.caused_by(cursor, scope, (document["id"] for document in found), found[0]["position"]))
        told |= {document["position"]: document for document in (*found, *caused)}
        streams |= more
        more = {document["subject"] for document in caused if not document["subject"].startswith(_SHARED)} - streams
    entries = tuple(_entries(cursor, stream, [told[position] for position in sorted(told)]))
    return Chronicle(stream, entries, whole=not more)


def _entries(cursor: Cursor[Any], stream: str, told: list[Document]) -> Iterable[Entry]:
    effects: dict[str, list[Document]] = {}
    for document in told:
        effects.setdefault(document["causationid"], []).append(document)
    receipts = queries.receipts_of(cursor, {(document["sender"], document["commandid"]) for document in told})
    for document in told:
        receipt = receipts.get((document["sender"], document["commandid"]))
        led_to = tuple(effects.get(document["id"], ()))
        yield Entry(document, document["subject"] == stream, receipt, led_to)


def narrator(cursor: Cursor[Any], language: Language, documents: Iterable[Mapping[str, Any]]) -> Narrator:
    """Who tells these events: with the names as established, and the words that are still kept."""
    documents = list(documents)
    refs = [ref for document in documents for ref in refs_in(document["data"])]
    owners = {document["organisation"] for document in documents}
    names = Names.of(parsed(queries.who_is_who(cursor, owners)))
    return Narrator(language, names, queries.words_kept(cursor, refs) if refs else {})


def told(tell: Narrator, document: Mapping[str, Any], tolerances: Tolerances) -> dict[str, Any]:
    """One event as a reader gets it: the sentence, who, both times, and where it stands."""
    tolerance = tolerances.at(document["programme"], document["position"])
    return {
        "position": document["position"],
        "stream": document["subject"],
        "event": name_of(document),
        "id": document["id"],
        "sentence": tell.sentence(document),
        "who": tell.actor(document),
        "occurred_at": document["time"],
        "recorded_at": document["recordedtime"],
        "entered_late": tell.lag(document, tolerance),
        "actor": {
            key: document[key]
            for key in ("actorpost", "actorunit", "actoronbehalf", "actorauthority")
            if key in document
        },
    }


def caused_by(document: Mapping[str, Any], receipt: Row | None) -> dict[str, Any]:
    """The command an event comes from: its sender, its id, the receipt that answered it."""
    return {
        "sender": document["sender"],
        "command": document["commandid"],
        "receipt": receipt["receipt"] if receipt else None,
        "cause": None if document["causationid"] == document["commandid"] else document["causationid"],
    }


def times(document: Mapping[str, Any]) -> tuple[str, str]:
    """When it occurred and when it was recorded, as local text."""
    return local_text(instant(document["time"])), local_text(instant(document["recordedtime"]))
