"""Tells stored events to a person: who did what under which authority, when it happened and when it was entered.

Works on stored documents, not on models, so that an event type added later is told, too.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Literal

from domain.calendar import to_local
from domain.kernel import SYSTEM_SOURCES
from services.audit.sentences import SENTENCES, labels, phrase

Language = Literal["vi", "en"]
Document = Mapping[str, Any]
_HOLE = re.compile(r"\{([a-z_.]+)(?::([a-z_]+))?\}")
_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")


@dataclass
class Names:
    """Names of units and posts by organisation, as established; the last one counts."""

    units: dict[tuple[str, str], str] = field(default_factory=dict)
    posts: dict[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def of(cls, documents: Iterable[Document]) -> "Names":
        """From the events that name units and posts."""
        names = cls()
        for document in documents:
            data, organisation = document["data"], document["organisation"]
            if "post" in data:
                names.posts[organisation, data["post"]] = data["title_vi"]
            elif "unit" in data:
                names.units[organisation, data["unit"]] = data["name_vi"]
        return names

    def post(self, organisation: str, code: str) -> str:
        """A post as people know it, with its code."""
        known = self.posts.get((organisation, code))
        return f"{known} ({code})" if known and known != code else code

    def unit(self, organisation: str, code: str) -> str:
        """A unit as people know it, with its code."""
        known = self.units.get((organisation, code))
        return f"{known} ({code})" if known and known != code else code


class Narrator:
    """Tells events in one language. `kept` are salt and words of the erasable texts that are still stored, by reference."""

    def __init__(self, language: Language, names: Names, kept: Mapping[str, tuple[bytes, str]]) -> None:
        self._language = 0 if language == "vi" else 1
        self._names, self._kept = names, kept
        self._labels = labels(self._language)

    def say(self, what: str, /, **values: object) -> str:
        """A phrase in this language."""
        return phrase(what, self._language, **values)

    def sentence(self, document: Document) -> str:
        """What happened, in one sentence."""
        name = document["type"].split(".")[2]
        template = SENTENCES.get(name)
        if template is None:
            told = "; ".join(f"{key}: {self._plain(value)}" for key, value in document["data"].items())
            return self.say("unknown_event", name=name) + (f" ({told})" if told else "")
        parts = _OPTIONAL.split(template[self._language])  # odd ones stood in brackets
        filled = (self._filled(part, document) for part in parts)
        return "".join(text for number, (text, whole) in enumerate(filled) if whole or number % 2 == 0)

    def actor(self, document: Document) -> str:
        """Who acted: post, unit, for whom, under which authority."""
        if document["sender"] in SYSTEM_SOURCES:
            return self.say("system", sender=document["sender"])
        organisation = document["organisation"]
        parts = [
            self._names.post(organisation, document["actorpost"]),
            self._names.unit(organisation, document["actorunit"]),
        ]
        if (principal := document.get("actoronbehalf")) is not None:
            parts.append(self.say("on_behalf", post=self._names.post(organisation, principal)))
        if (authority := document.get("actorauthority")) is not None:
            parts.append(self.say("authority", authority=authority))
        return ", ".join(parts)

    def lag(self, document: Document, tolerance: timedelta) -> str | None:
        """How much later it was entered than it happened, if later than the programme tolerates."""
        if document["sender"] in SYSTEM_SOURCES:
            return None
        late = instant(document["recordedtime"]) - instant(document["time"])
        return self.say("late", lag=self.span(late)) if late > tolerance else None

    def span(self, time: timedelta) -> str:
        """A length of time in days, hours or minutes."""
        if time >= timedelta(days=2):
            return self.say("days", n=time // timedelta(days=1))
        if time >= timedelta(hours=2):
            return self.say("hours", n=time // timedelta(hours=1))
        return self.say("minutes", n=max(1, time // timedelta(minutes=1)))

    def words(self, ref: Mapping[str, Any]) -> str:
        """An erasable text: its words if they are those that were recorded, else what became of them; its digest always."""
        state, words = recorded_words(ref, self._kept)
        return self.say(state, words=words, digest=ref["digest"][:12])

    def _filled(self, text: str, document: Document) -> tuple[str, bool]:
        """The text with its holes filled, and whether each of them had a value."""
        whole = True

        def fill(found: re.Match[str]) -> str:
            nonlocal whole
            value = _at(document["data"], found[1])
            if value in (None, [], ""):
                whole = False
                return "–"
            return self._shown(value, found[2], document["organisation"])

        return _HOLE.sub(fill, text), whole

    def _shown(self, value: Any, how: str | None, organisation: str) -> str:
        shown: dict[str | None, Callable[[], str]] = {
            None: lambda: self._plain(value),
            "post": lambda: self._names.post(organisation, value),
            "posts": lambda: ", ".join(self._names.post(organisation, one) for one in value),
            "notices": lambda: ", ".join(f"{one['recipient']} (#{one['stream_sequence']})" for one in value),
            "causes": lambda: ", ".join(f"{one['item']}: {self._plain(one['cause_text'])}" for one in value),
            "unit": lambda: self._names.unit(organisation, value),
            "list": lambda: ", ".join(map(str, value)),
            "limit": lambda: self._limit(value),
            "when": lambda: local_text(instant(value)),
            "words": lambda: self._plain(value),
        }
        if (show := shown.get(how)) is not None:
            return show()
        return self._labels.get(str(how), {}).get(value, str(value))

    def _limit(self, limit: Any) -> str:
        return self.say(limit["boundary"], when=_named(limit["named"])) if isinstance(limit, dict) else str(limit)

    def _plain(self, value: Any) -> str:
        if isinstance(value, dict):
            if value.keys() == {"ref", "digest"}:
                return self.words(value)
            if value.keys() == {"at", "boundary", "named"}:
                return self._limit(value)
            return ", ".join(f"{key} {self._plain(part)}" for key, part in value.items())
        return ", ".join(self._plain(part) for part in value) if isinstance(value, list) else str(value)


def recorded_words(
    ref: Mapping[str, Any], kept: Mapping[str, tuple[bytes, str]]
) -> tuple[Literal["kept", "erased", "words_changed"], str | None]:
    """The words of an erasable text, and what became of them; words that the digest in the log does not fit are not told."""
    if (found := kept.get(ref["ref"])) is None:
        return "erased", None
    salt, words = found
    fit = sha256(salt + words.encode()).hexdigest() == ref["digest"]
    return ("kept", words) if fit else ("words_changed", None)


def instant(text: str) -> datetime:
    """An instant as it is stored."""
    return datetime.fromisoformat(text)


def local_text(at: datetime) -> str:
    """An instant in Asia/Ho_Chi_Minh: 05/06/2026 15:00, with seconds where there are any."""
    local = to_local(at)
    return f"{local:%d/%m/%Y %H:%M:%S}" if local.second else f"{local:%d/%m/%Y %H:%M}"


def refs_in(data: Any) -> Iterable[str]:
    """The references of all erasable texts in an event's data."""
    if isinstance(data, dict):
        if data.keys() == {"ref", "digest"}:
            yield data["ref"]
        else:
            for value in data.values():
                yield from refs_in(value)
    elif isinstance(data, list):
        for value in data:
            yield from refs_in(value)


def _named(text: str) -> str:
    """The named day, hour or month of a limit, day first."""
    day, _, hour = text.partition("T")
    return (f"{hour} " if hour else "") + "/".join(reversed(day.split("-")))


def _at(data: Any, path: str) -> Any:
    for name in path.split("."):
        data = data.get(name) if isinstance(data, dict) else None
    return data
