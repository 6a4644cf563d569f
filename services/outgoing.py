"""A command ready to be sent, and its bytes on the wire."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from contracts.base import Command
from contracts.envelope import Actor


@dataclass(frozen=True)
class Outgoing:
    """A command with its address.

    The id depends on nothing but what the command is about, so that a second import sends duplicates. `programme` is
    the programme's code, or the organisation's for commands about it; `occurred_at` is aware. `texts` are the words of
    erasable fields, which a command model never holds itself.
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
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def type(self) -> str:
        """The CloudEvents type of the command."""
        return f"sauro.{self.aggregate}.{type(self.command).__name__}.v{self.command.version}"


def to_json(outgoing: Outgoing, source: str) -> bytes:
    """The command in its envelope: CloudEvents 1.0 in JSON structured mode, empty fields left out."""
    actor = {
        f"actor{name.replace('_', '')}": code for name, code in outgoing.actor.model_dump(exclude_none=True).items()
    }
    causes = {
        name: value
        for name, value in (("correlationid", outgoing.correlation_id), ("causationid", outgoing.causation_id))
        if value is not None
    }
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": outgoing.id,
            "source": source,
            "type": outgoing.type,
            "subject": outgoing.subject,
            "time": outgoing.occurred_at.isoformat(),
            "datacontenttype": "application/json",
            "organisation": outgoing.organisation,
            "programme": outgoing.programme,
            **actor,
            **causes,
            "data": outgoing.command.model_dump(mode="json", exclude_none=True) | dict(outgoing.texts),
        }
    )
