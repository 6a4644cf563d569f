"""A command ready to be sent, and its bytes on the wire."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from contracts.base import Command
from contracts.envelope import Actor
from contracts.types import TextRef

BESIDE = TextRef(ref="0" * 36, digest="0" * 64)
"""Stands in a command where words are to go; `Outgoing.texts` puts them in its place."""


class Outgoing(NamedTuple):
    """A command with its address.

    The id depends on nothing but what the command is about, so that a second import sends duplicates. `programme` is
    the programme's code, or the organisation's for commands about it; `occurred_at` is aware. `texts` are the words of
    erasable fields, which a command model never holds itself, by the field's path: `note`, `lines.0.cause_text`.
    """

    id: str
    aggregate: str
    command: Command
    subject: str
    programme: str
    organisation: str
    actor: Actor
    occurred_at: datetime
    correlation_id: str | None = None
    causation_id: str | None = None
    texts: Mapping[str, str] = MappingProxyType({})

    @property
    def type(self) -> str:
        """The CloudEvents type of the command."""
        return f"sauro.{self.aggregate}.{type(self.command).__name__}.v{self.command.version}"


def to_json(outgoing: Outgoing, source: str) -> bytes:
    """The command in its envelope: CloudEvents 1.0 in JSON structured mode, empty fields left out."""
    actor, command = outgoing.actor, outgoing.command
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": outgoing.id,
        "source": source,
        "type": outgoing.type,
        "subject": outgoing.subject,
        "time": outgoing.occurred_at.isoformat(),
        "datacontenttype": "application/json",
        "organisation": outgoing.organisation,
        "programme": outgoing.programme,
        "actorpost": actor.post,
        "actorunit": actor.unit,
    }
    optional = {
        "actoronbehalf": actor.on_behalf,
        "actorauthority": actor.authority,
        "correlationid": outgoing.correlation_id,
        "causationid": outgoing.causation_id,
    }
    attributes.update({name: value for name, value in optional.items() if value is not None})
    if outgoing.texts:
        attributes["data"] = _worded(command.model_dump(mode="json", exclude_none=True), outgoing.texts)
    else:
        data: bytes = command.__pydantic_serializer__.to_json(command, exclude_none=True)
        attributes["data"] = orjson.Fragment(data)
    return orjson.dumps(attributes)


def _worded(data: dict[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """The command's data with the words in their places."""
    for path, words in texts.items():
        *way, last = path.split(".")
        place: Any = data
        for step in way:
            place = place[int(step)] if isinstance(place, list) else place[step]
        place[last] = words
    return data
