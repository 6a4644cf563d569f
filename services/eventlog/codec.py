"""The one form of an event: the bytes that are stored, published and hashed.

`position` and `recordedtime` come first, so that everything after them is encoded before the log's lock is taken.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, cast

import orjson
from eventsourcing.persistence import Mapper, StoredEvent
from pydantic import TypeAdapter

from contracts.base import Event
from contracts.envelope import Actor
from contracts.registry import ContractRegistry
from domain.kernel import Recorded


@lru_cache(maxsize=4096)
def instant_text(instant: datetime) -> str:
    """RFC 3339 in UTC with `Z`, microseconds only when there are any."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


@lru_cache(maxsize=4096)
def _parse_instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@lru_cache(maxsize=65_536)
def actor_of(post: str, unit: str, on_behalf: str | None, authority: str | None) -> Actor:
    """The one Actor of these four, kept: a department acts under few of them."""
    return Actor(post=post, unit=unit, on_behalf=on_behalf, authority=authority)


class EventCodec:
    """Between `Recorded` and bytes, through the contract registry's types and upcasters (R-360)."""

    def __init__(self, registry: ContractRegistry) -> None:
        self._registry = registry
        self._types = registry.event_types
        self._adapters: dict[type[Event], TypeAdapter[Event]] = {}

    def type_of(self, event: Recorded[Any]) -> str:
        """The CloudEvents type of an event, by the aggregate of its stream."""
        return self._types[event.aggregate, type(event.data)]

    def tail(self, event: Recorded[Any], type_: str | None = None) -> bytes:
        """Everything of the stored form after `position` and `recordedtime`; its type if that is known already."""
        attributes: dict[str, Any] = {
            "specversion": "1.0",
            "id": event.id,
            "source": f"//sauro/{event.organisation}",
            "type": type_ or self.type_of(event),
            "subject": event.stream,
            "time": instant_text(event.occurred_at),
            "datacontenttype": "application/json",
            "organisation": event.organisation,
            "programme": event.programme,
            "streamversion": event.version,
            "actorpost": event.actor.post,
            "actorunit": event.actor.unit,
        }
        optional = {"actoronbehalf": event.actor.on_behalf, "actorauthority": event.actor.authority}
        attributes.update({name: value for name, value in optional.items() if value is not None})
        attributes.update(
            sender=event.sender,
            commandid=event.command_id,
            correlationid=event.correlation_id,
            causationid=event.causation_id,
        )
        if event.policy_version is not None:
            attributes["policyversion"] = event.policy_version
        data: bytes = event.data.__pydantic_serializer__.to_json(event.data, exclude_none=True)
        return orjson.dumps(attributes)[1:-1] + b',"data":' + data + b"}"

    @staticmethod
    def stored(position: int, recorded_at: datetime, tail: bytes) -> bytes:
        """The stored form, once the log has given the position."""
        return b'{"position":%d,"recordedtime":"%b",%b' % (position, instant_text(recorded_at).encode(), tail)

    def decode(self, state: bytes) -> Recorded[Any]:
        """An event from its stored form; older versions come back as the newest (R-360)."""
        return self.from_document(orjson.loads(state))

    def from_document(self, document: dict[str, Any]) -> Recorded[Any]:
        """An event from its stored form as parsed JSON."""
        data, type_ = document["data"], document["type"]
        known = self._registry.events.get(type_)
        if known is None:
            type_, data = self._registry.upcast(type_, data)
            known = self._registry.events[type_]
        return Recorded(
            data=known.model.model_validate(data, strict=False),
            stream=document["subject"],
            version=document["streamversion"],
            occurred_at=_parse_instant(document["time"]),
            recorded_at=_parse_instant(document["recordedtime"]),
            actor=actor_of(
                document["actorpost"],
                document["actorunit"],
                document.get("actoronbehalf"),
                document.get("actorauthority"),
            ),
            organisation=document["organisation"],
            programme=document["programme"],
            sender=document["sender"],
            command_id=document["commandid"],
            correlation_id=document["correlationid"],
            causation_id=document["causationid"],
            id=document["id"],
            position=document["position"],
            policy_version=document.get("policyversion"),
        )


class EnvelopeMapper(Mapper[str]):
    """The library's mapper, over the stored form: what is stored is the published CloudEvent itself."""

    def __init__(self, codec: EventCodec) -> None:  # no transcoder, compressor or cipher: one form only
        self.compressor = self.cipher = None
        self.codec = codec

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """The stored event of a recorded one that has its position."""
        event = cast(Recorded[Any], domain_event)
        return StoredEvent(
            originator_id=event.stream,
            originator_version=event.version,
            topic=self.codec.type_of(event),
            state=self.codec.stored(event.position, event.recorded_at, self.codec.tail(event)),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """The recorded event of a stored one."""
        return self.codec.decode(stored_event.state)
