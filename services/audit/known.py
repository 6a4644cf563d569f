"""What readings are of: programmes and units must be known, and everything has an organisation it belongs to.

A reading of a mistyped name would be empty, and an empty answer looks like a clean bill.
"""

from collections.abc import Mapping
from typing import Any

from psycopg import Cursor

from projections import queries_history
from projections.queries_scorecards import programmes, unit_codes
from projections.scope import EVERYTHING, ReadScope
from services.store import Store


class NotKnown(Exception):
    """A programme or unit nobody knows at the moment that is read; the message names those there are."""


def require_programme(cursor: Cursor[Any], programme: str | None, scope: ReadScope = EVERYTHING) -> None:
    """Raise NotKnown for a programme that there is not; None stands for all."""
    if programme is not None:
        _require("programme", programme, [row["code"] for row in programmes(cursor, scope)])


def require_unit(cursor: Cursor[Any], unit: str | None, programme: str | None = None) -> None:
    """Raise NotKnown for a unit that there is not (in a programme's organisation); `-` stands for what no unit owns."""
    if unit not in (None, "-"):
        _require("unit", str(unit), unit_codes(cursor, programme))


def _require(what: str, code: str, known: list[str]) -> None:
    if code not in known:
        raise NotKnown(
            f"{what} '{code}' is not known; at the moment that is read there are: {', '.join(known) or 'none'}"
        )


class Owners:
    """Whose a programme is: it belongs to one organisation for ever, so each is looked up once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, str] = {}

    def of(self, programme: str | None) -> str | None:
        """The organisation of a programme; None for none, and for one that the log does not know."""
        if programme is None:
            return None
        if programme not in self._known:
            with self._store.recorder.reading() as cursor:
                owner = queries_history.organisation_of(cursor, programme)
            if owner is None:
                return None
            self._known[programme] = owner
        return self._known[programme]


def asked_of(path: Mapping[str, str], template: str, query: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The organisation and the programme that a request names, by its path or its filters; None where it names none."""
    if (stream := path.get("stream")) is not None:
        aggregate, _, rest = stream.partition("/")
        code = rest.split("/", 1)[0]
        return (code, None) if aggregate == "organisation" else (None, code)
    if "/organisations/" in template:
        return path.get("code"), None
    named = path.get("programme") or (path.get("code") if "/programmes/" in template else None)
    return None, named or query.get("programme")
