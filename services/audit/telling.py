"""What the history says as plain data: the same for the API's JSON and the command line."""

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg import Cursor

from projections import queries_history as queries
from projections.past import read_now
from projections.scope import EVERYTHING
from services.audit.causation import Causes, Document, Node, parsed
from services.audit.chronicle import Chronicle, Tolerances, caused_by, narrator, told
from services.audit.late import LateEntry
from services.audit.narrative import Language, Narrator, recorded_words, refs_in
from services.eventlog.codec import instant_text
from services.registry import Registry

Told = dict[str, Any]


def history_told(found: Chronicle, tell: Narrator, tolerances: Tolerances) -> Told:
    """The history of a subject, entry by entry."""
    entries = [
        {
            **told(tell, entry.document, tolerances),
            "own": entry.own,
            "caused_by": caused_by(entry.document, entry.receipt),
            "led_to": [
                {"position": one["position"], "stream": one["subject"], "sentence": tell.sentence(one)}
                for one in entry.led_to
            ],
        }
        for entry in found.entries
    ]
    return {"stream": found.stream, "whole": found.whole, "entries": entries}


def chain_told(found: Causes, tell: Narrator, tolerances: Tolerances) -> Told:
    """The chain of causes, the event first, the first command last."""
    steps = [{"link": step.link, **told(tell, step.document, tolerances)} for step in found.steps]
    sender, command = found.command
    receipt = found.receipt["receipt"] if found.receipt else None
    return {
        "steps": steps,
        "command": {"sender": sender, "command": command, "receipt": receipt},
        "outside": found.outside,
    }


def tree_told(root: Node, tell: Narrator, tolerances: Tolerances) -> Told:
    """An event with what it led to; nested, without recursion, as trees may be deep."""
    whole: Told = {}
    waiting = [(root, whole)]
    while waiting:
        node, into = waiting.pop()
        into.update(link=node.link, **told(tell, node.document, tolerances), effects=[{} for _ in node.effects])
        waiting += zip(node.effects, into["effects"], strict=True)
    return whole


def events_told(
    cursor: Cursor[Any], registry: Registry, positions: Sequence[int], language: Language
) -> dict[int, Told]:
    """Some events by position, as they are known now."""
    read_now(cursor)
    documents = parsed(queries.at_positions(cursor, EVERYTHING, positions))
    tell = narrator(cursor, language, documents)
    tolerances = Tolerances.of(cursor, EVERYTHING, registry, {document["programme"] for document in documents})
    return {document["position"]: told(tell, document, tolerances) for document in documents}


def late_told(entry: LateEntry, tell: Narrator, tolerances: Tolerances) -> Told:
    """A late entry with both clocks' verdicts."""
    return {
        "why": entry.why,
        **told(tell, entry.document, tolerances),
        "sender": entry.document["sender"],
        "delay_seconds": int(entry.delay.total_seconds()),
        "tolerance_seconds": int(entry.tolerance.total_seconds()),
        "counted": entry.counted,
        "limit_at": instant_text(entry.limit_at) if entry.limit_at else None,
        "limit_kind": entry.limit_kind,
        "by_occurred": entry.by_occurred,
        "by_recorded": entry.by_recorded,
    }


def accesses_told(cursor: Cursor[Any], documents: Iterable[Document]) -> list[Told]:
    """Readings, with the words of their reasons where those are still kept."""
    documents = list(documents)
    refs = [ref for document in documents for ref in refs_in(document["data"])]
    stored = queries.words_kept(cursor, refs) if refs else {}
    found = []
    for document in documents:
        data = dict(document["data"])
        reason = data.pop("reason", None)
        kept = None
        if reason is not None:
            state, words = recorded_words(reason, stored)
            kept = {"digest": reason["digest"], "words": words, "state": state}
        where = {"position": document["position"], "stream": document["subject"], "at": document["time"]}
        found.append(
            {**where, **data, "log_position": data["position"], "position": document["position"], "reason": kept}
        )
    return found
