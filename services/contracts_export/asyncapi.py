"""The AsyncAPI 3.0 document: every channel of the bus, its messages, and what an installation does on it.

Addresses come from `services.bus`, message schemas from the contracts registry. Operations are seen from Sauro: it
receives commands and sends everything else.
"""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from contracts.base import Command, Event
from contracts.envelope import CommandEnvelope, EventEnvelope
from contracts.receipts import Receipt
from contracts.registry import ContractRegistry, MessageType
from services.bus import STREAMS, Names, StreamSpec
from services.together import MOST

Json = dict[str, Any]
NAMES = Names()
CLOUD_EVENT, BATCH, BYTES, TEXT = (
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/octet-stream",
    "text/plain; charset=utf-8",
)
_REFERENCE = "#/components/schemas/{model}"
_CODE, _SOURCE = "[A-Z0-9-]{1,40}", "[A-Za-z0-9-]{1,40}"
_PARAMETERS = {
    "source": f"the sending system, {_SOURCE}",
    "programme": f"the programme's code, {_CODE}; the organisation's for messages about an organisation",
    "aggregate": "the aggregate the event belongs to",
    "name": "the event's name without version",
    "post": f"the post a notice is for, {_CODE}",
    "log": "which log: events or receipts",
}
_ADDRESSES = {
    "COMMANDS": NAMES.command("{source}", "{programme}"),
    "RECEIPTS": NAMES.receipt("{source}"),
    "EVENTS": NAMES.event("{programme}", "{aggregate}", "{name}"),
    "NOTICES": NAMES.notice("{programme}", "{post}"),
    "DEADLETTERS": NAMES.dead_letter("{source}"),
    "CHECKPOINTS": NAMES.checkpoint("{log}"),
}


def asyncapi(registry: ContractRegistry) -> Json:
    """The whole document."""
    messages = {
        "COMMANDS": {type_: _message(type_, known.model) for type_, known in registry.commands.items()}
        | {"sauro.command.batch": _command_batch(registry.commands)},
        "EVENTS": {type_: _message(type_, known.model) for type_, known in registry.events.items()}
        | {type_: _older(type_) for type_ in sorted(registry.older_events)},
        "RECEIPTS": {"sauro.receipt.v1.batch": _batch()},
        "NOTICES": {"sauro.notice.v1": _notice()},
        "DEADLETTERS": {"deadletter": _dead_letter()},
        "CHECKPOINTS": {"checkpoint": _checkpoint()},
    }
    return {
        "asyncapi": "3.0.0",
        "id": "urn:sauro",
        "info": {
            "title": "Sauro",
            "version": "1",
            "description": "Commands in; receipts, events and notices out, over NATS JetStream. A receipt means "
            "committed; the broker's acknowledgement does not.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CLOUD_EVENT,
        "servers": {
            "nats": {
                "host": "{host}:{port}",
                "protocol": "nats",
                "description": "NATS with JetStream, 2.12 or newer",
                "variables": {"host": {"default": "localhost"}, "port": {"default": "4222"}},
            }
        },
        "channels": {spec.name.lower(): _channel(spec, messages[spec.name]) for spec in STREAMS},
        "operations": _operations(),
        "components": {
            "messages": {name: message for group in messages.values() for name, message in group.items()},
            "schemas": _schemas(registry),
        },
    }


def _channel(spec: StreamSpec, messages: Iterable[str]) -> Json:
    address = _ADDRESSES[spec.name]
    names = [name for name in _PARAMETERS if f"{{{name}}}" in address]
    return {
        "address": address,
        "title": spec.name,
        "description": spec.what,
        "servers": [{"$ref": "#/servers/nats"}],
        "parameters": {name: {"description": _PARAMETERS[name]} for name in names},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "x-jetstream": {
            "stream": NAMES.stream(spec.name),
            "subjects": [NAMES.subject(*spec.tokens)],
            **({"keptAs": NAMES.subject(*spec.kept_as)} if spec.kept_as else {}),
            "retention": "limits",
            "maxAgeDays": spec.max_age_days,
        },
    }


def _operations() -> Json:
    reply = {"channel": {"$ref": "#/channels/receipts"}}
    return {
        "receiveCommand": _operation("receive", "COMMANDS", "Intake takes commands in batches and decides them.")
        | {"reply": reply},
        "sendReceipts": _operation("send", "RECEIPTS", "After the commit: one message a sender and batch."),
        "sendEvent": _operation("send", "EVENTS", "The relay publishes the stored bytes; sequence = log position."),
        "receiveEvent": _operation("receive", "EVENTS", "The warning service hears deadline and warning events."),
        "sendNotice": _operation("send", "NOTICES", "The warning service tells each post a warning names."),
        "sendDeadLetter": _operation("send", "DEADLETTERS", "Intake puts aside what nobody can read, with the reason."),
        "sendCheckpoint": _operation(
            "send", "CHECKPOINTS", "The audit publishes each head it signed; keep them elsewhere."
        ),
    }


def _operation(action: str, stream: str, summary: str) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{stream.lower()}"},
        "summary": summary,
        "bindings": {"nats": {"bindingVersion": "0.1.0"}},
    }


def _message(type_: str, model: type[BaseModel]) -> Json:
    return {
        "name": type_,
        "title": model.__name__,
        "summary": " ".join((model.__doc__ or model.__name__).split()),
        "contentType": CLOUD_EVENT,
        "payload": {"$ref": _REFERENCE.format(model=type_)},
    }


def _older(type_: str) -> Json:
    return {
        "name": type_,
        "title": type_.split(".")[2],
        "summary": "An older version: no longer sent, still in the log and in the stream of what has been.",
        "contentType": CLOUD_EVENT,
        "payload": {"$ref": f"json-schema/events/{type_}.json"},
    }


def _command_batch(types: Iterable[str]) -> Json:
    return {
        "name": "sauro.command.batch",
        "title": "Commands",
        "summary": "Several commands of one subject, a CloudEvents JSON batch; each is answered by itself, in order.",
        "contentType": BATCH,
        "payload": {
            "type": "array",
            "minItems": 1,
            "maxItems": MOST,
            "items": {"oneOf": [{"$ref": _REFERENCE.format(model=type_)} for type_ in types]},
        },
    }


def _batch() -> Json:
    return {
        "name": "sauro.receipt.v1.batch",
        "title": "Receipts",
        "summary": "Receipts of one sender, a CloudEvents JSON batch.",
        "contentType": BATCH,
        "payload": {"type": "array", "items": {"$ref": _REFERENCE.format(model="sauro.receipt.v1")}},
    }


def _notice() -> Json:
    return {
        "name": "sauro.notice.v1",
        "title": "Notice",
        "summary": "A warning for a post; delivered once JetStream has acknowledged it.",
        "contentType": CLOUD_EVENT,
        "payload": {"$ref": _REFERENCE.format(model="sauro.notice.v1")},
    }


def _dead_letter() -> Json:
    headers = {
        "Nats-Msg-Id": "stream and sequence of the message; behind the first command of a batch, also the place in it",
        "Sauro-Rule": "the rule it breaks",
        "Sauro-Field": "the field that breaks it",
        "Sauro-Reason": "the way out",
    }
    properties = {name: {"type": "string", "description": what} for name, what in headers.items()}
    return {
        "name": "deadletter",
        "title": "DeadLetter",
        "summary": "The original bytes of a message nobody could read.",
        "contentType": BYTES,
        "headers": {"type": "object", "properties": properties, "required": sorted(properties)},
        "payload": {"description": "the bytes as they came; nothing is promised of them"},
    }


def _checkpoint() -> Json:
    headers = {"Nats-Msg-Id": {"type": "string", "description": "the checkpoint's origin and size"}}
    return {
        "name": "checkpoint",
        "title": "Checkpoint",
        "summary": "The signed head of a log's Merkle tree, a C2SP signed note: origin, size, root, and who signed.",
        "contentType": TEXT,
        "headers": {"type": "object", "properties": headers, "required": sorted(headers)},
        "payload": {"type": "string", "description": "C2SP tlog-checkpoint, signed with Ed25519"},
    }


def _schemas(registry: ContractRegistry) -> Json:
    known: list[MessageType[Any]] = [*registry.commands.values(), *registry.events.values()]
    # a dict keeps each model once: deadline commands and events belong to several aggregates
    models: list[type[BaseModel]] = [Receipt, CommandEnvelope[Command], EventEnvelope[Event], *(m.model for m in known)]
    wanted = list(dict.fromkeys(models))
    names, document = models_json_schema([(model, "validation") for model in wanted], ref_template=_REFERENCE)
    found: Json = document["$defs"]
    commands = _envelope(found, _name(names, CommandEnvelope[Command]), "CommandEnvelope")
    events = _envelope(found, _name(names, EventEnvelope[Event]), "EventEnvelope")
    for base in (Command, Event):
        found.pop(base.__name__, None)
    found |= {type_: _typed(message, commands, names) for type_, message in registry.commands.items()}
    found |= {type_: _typed(message, events, names) for type_, message in registry.events.items()}
    found["sauro.receipt.v1"] = _cloud_event("sauro.receipt.v1", {"$ref": _name(names, Receipt)})
    found["sauro.notice.v1"] = _cloud_event("sauro.notice.v1", _NOTICE)
    return found


def _name(names: Any, model: type[BaseModel]) -> str:
    reference: str = names[model, "validation"]["$ref"]
    return reference


def _envelope(schemas: Json, reference: str, name: str) -> Json:
    """Give the open envelope its own name; `data` is narrowed by each message."""
    schema = schemas.pop(reference.rsplit("/", 1)[1])
    schema["title"] = name
    schema["properties"]["data"] = {"type": "object"}
    schemas[name] = schema
    return {"$ref": _REFERENCE.format(model=name)}


def _typed(message: MessageType[Any], envelope: Json, names: Any) -> Json:
    narrowed = {"type": {"const": message.type}, "data": {"$ref": _name(names, message.model)}}
    return {"title": message.type, "allOf": [envelope, {"type": "object", "properties": narrowed}]}


def _cloud_event(type_: str, data: Json) -> Json:
    text = {"type": "string"}
    attributes = dict.fromkeys(("id", "source", "subject", "datacontenttype"), text)
    properties = {
        **attributes,
        "specversion": {"const": "1.0"},
        "type": {"const": type_},
        "time": {"type": "string", "format": "date-time"},
        "data": data,
    }
    return {"title": type_, "type": "object", "properties": properties, "required": sorted(properties)}


_NOTICE: Json = {
    "type": "object",
    "properties": {
        "post": {"type": "string"},
        "warning": {"type": "string", "description": "the warning's stream"},
        "level": {"type": "integer", "minimum": 0, "maximum": 9},
        "act": {"enum": ["remind", "warn", "demand_explanation", "escalate"]},
        "about": {"type": ["string", "null"], "description": "the stream the warning is about"},
        "limit": {"type": ["string", "null"], "format": "date-time"},
    },
    "required": ["post", "warning", "level", "act"],
}
