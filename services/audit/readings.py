"""What a reviewer reads, the same by API and command line: the answer as plain data, and what of it goes on record."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg import Cursor

from contracts.access import Act
from projections import queries_history as queries
from projections.scope import ReadScope
from services.audit import causation
from services.audit.causation import Document
from services.audit.chronicle import Tolerances, chronicle, narrator
from services.audit.counterfactual import reconcile
from services.audit.known import require_programme
from services.audit.late import late_entries
from services.audit.narrative import Language, Narrator
from services.audit.telling import accesses_told, chain_told, history_told, late_told, tree_told
from services.registry import Registry


class NothingThere(Exception):
    """No such subject or event; the message names it."""


class Ambiguous(Exception):
    """A code that several streams have; the message names them."""


@dataclass(frozen=True, slots=True)
class Read:
    """An answer, and for the record: what was read, and whose it is (None: of the whole installation)."""

    answer: Any
    act: Act
    about: str
    organisation: str | None
    programme: str | None


@dataclass(frozen=True)
class Readings:
    """All readings over one snapshot. Raises NothingThere, Ambiguous and, for a programme nobody knows, NotKnown."""

    cursor: Cursor[Any]
    scope: ReadScope
    registry: Registry

    def history(self, subject: str, language: Language) -> Read:
        """The history of a subject: a stream, `<PROGRAMME>/<CODE>`, or a code that only one stream has."""
        stream = self._stream(subject)
        found = chronicle(self.cursor, self.scope, stream)
        return self._of(
            "history", stream, found.entries[0].document, history_told(found, *self._told(language, found.documents))
        )

    def causes(self, event: str, language: Language) -> Read:
        """What led to an event, named by position or id."""
        document = self._event(event)
        found = causation.causes(self.cursor, self.scope, document)
        told = chain_told(found, *self._told(language, [step.document for step in found.steps]))
        return self._of("causes", f"event {document['position']}", document, told)

    def effects(self, event: str, language: Language) -> Read:
        """What an event led to; `whole` is False when there was more than is shown."""
        document = self._event(event)
        found = causation.effects(self.cursor, self.scope, document)
        told = tree_told(found.root, *self._told(language, found.documents))
        return self._of("effects", f"event {document['position']}", document, {"whole": found.whole, **told})

    def late(self, programme: str | None, after: int, limit: int, language: Language) -> Read:
        """Late entries after a position."""
        require_programme(self.cursor, programme, self.scope)
        found = late_entries(self.cursor, self.scope, self.registry, programme)
        found = [entry for entry in found if entry.document["position"] > after][:limit]
        teller = self._told(language, [entry.document for entry in found])
        return self._over("late", "late entries", programme, [late_told(entry, *teller) for entry in found])

    def accesses(self, programme: str | None, before: int | None, limit: int) -> Read:
        """Who read what, newest first, before a position."""
        require_programme(self.cursor, programme, self.scope)
        found = causation.parsed(queries.accesses(self.cursor, self.scope, programme, limit, before))
        return self._over("access", "record of readings", programme, accesses_told(self.cursor, found))

    def reconciled(self, programme: str | None, until: datetime | None) -> Read:
        """The counterfactual check of everything or of one programme; raises ValueError for a moment before the log's last."""
        require_programme(self.cursor, programme, self.scope)
        found = reconcile(self.cursor, self.registry, programme, until)
        answer = {
            "until": found.until,
            "on_record": dict(found.on_record),
            "not_due": dict(found.not_due),
            "findings": [asdict(finding) for finding in found.findings],
            "unexplained": len(found.unexplained),
        }
        return self._over("reconcile", "reconciliation", programme, answer)

    def _stream(self, subject: str) -> str:
        aggregates = [decider.name for decider in self.registry.deciders]
        found = queries.streams_named(self.cursor, self.scope, aggregates, subject)
        if subject in found:
            return subject
        if not found:
            raise NothingThere(f"subject '{subject}'")
        if len(found) > 1:
            raise Ambiguous(f"'{subject}' is one of {', '.join(found[:20])}; name the stream")
        return found[0]

    def _event(self, wanted: str) -> Document:
        document = causation.find(self.cursor, self.scope, wanted)
        if document is None:
            raise NothingThere(f"event with position or id '{wanted}'")
        return document

    def _told(self, language: Language, documents: list[Document]) -> tuple[Narrator, Tolerances]:
        programmes: Iterable[str] = {document["programme"] for document in documents}
        return narrator(self.cursor, language, documents), Tolerances.of(
            self.cursor, self.scope, self.registry, programmes
        )

    @staticmethod
    def _of(act: Act, about: str, document: Document, answer: Any) -> Read:
        return Read(answer, act, about, document["organisation"], document["programme"])

    def _over(self, act: Act, what: str, programme: str | None, answer: Any) -> Read:
        owner = queries.organisation_of(self.cursor, programme) if programme else None
        return Read(answer, act, f"{what} of {programme or 'all programmes'}", owner, programme)
