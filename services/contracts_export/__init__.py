"""The published language as documents: JSON Schema, AsyncAPI and OpenAPI, written from the registry and kept fresh.

Whatever is written depends on the contracts alone: same contracts, same bytes. Schemas of older event versions, which upcasters
read, stay as they were when those versions were the newest.
"""

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from contracts.base import Command, Event
from contracts.envelope import CommandEnvelope, EventEnvelope
from contracts.receipts import Receipt
from contracts.registry import MessageType
from services.contracts_export.asyncapi import asyncapi
from services.registry import REGISTRY, Registry

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FOLDER = Path(__file__).resolve().parents[2] / "contracts" / "schemas"


def documents(registry: Registry) -> dict[str, dict[str, Any]]:
    """Every generated document by its path within the folder."""
    found = {
        f"json-schema/commands/{known.type}.json": command_schema(known)
        for known in registry.contracts.commands.values()
    }
    found |= {
        f"json-schema/events/{known.type}.json": event_schema(known) for known in registry.contracts.events.values()
    }
    found["json-schema/receipt.json"] = _named(Receipt.model_json_schema(), "sauro.receipt.v1", Receipt)
    found["asyncapi.json"] = asyncapi(registry.contracts)
    if (openapi := _openapi()) is not None:
        found["openapi.json"] = openapi
    return found


def command_schema(known: MessageType[Command]) -> dict[str, Any]:
    """JSON Schema 2020-12 of a command in its envelope, as a sender writes it: erasable texts are strings."""
    model: Any = known.model
    return _enveloped(CommandEnvelope[model].model_json_schema(), known.type, model)


def event_schema(known: MessageType[Event]) -> dict[str, Any]:
    """JSON Schema 2020-12 of an event in its stored and published form."""
    model: Any = known.model
    return _enveloped(EventEnvelope[model].model_json_schema(), known.type, model)


def export(registry: Registry, folder: Path) -> list[Path]:
    """Write every document below the folder and remove what does not belong there; the paths written, sorted."""
    wanted = _contents(registry)
    for name in _present(registry, folder) - wanted.keys():
        (folder / name).unlink()
    for name, content in wanted.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return [folder / name for name in sorted(wanted)]


def stale(registry: Registry, folder: Path) -> list[str]:
    """Names of documents that are missing, different or superfluous, sorted; empty when all are fresh."""
    wanted, present = _contents(registry), _present(registry, folder)
    different = {name for name in wanted.keys() & present if (folder / name).read_bytes() != wanted[name]}
    return sorted((wanted.keys() ^ present) | different)


def main_export(folder: Path = FOLDER) -> int:
    """Write the documents and say so; the exit code."""
    print(f"{len(export(REGISTRY, folder))} documents written to {folder}")
    return 0


def main_check(folder: Path = FOLDER) -> int:
    """Say which documents are stale; exit code 1 if any."""
    names = stale(REGISTRY, folder)
    for name in names:
        print(f"{folder / name}: stale, missing or superfluous; run 'sauro contracts export {folder}'")
    if not names:
        print(f"contracts: all documents in {folder} are fresh")
    return 1 if names else 0


def _enveloped(schema: dict[str, Any], type_: str, model: type[BaseModel]) -> dict[str, Any]:
    schema["properties"]["type"] = {"const": type_, "title": "Type", "type": "string"}
    return _named(schema, type_, model)


def _named(schema: dict[str, Any], type_: str, model: type[BaseModel]) -> dict[str, Any]:
    description = " ".join((model.__doc__ or model.__name__).split())
    return schema | {
        "$schema": DIALECT,
        "$id": f"urn:sauro:schema:{type_}",
        "title": model.__name__,
        "description": description,
    }


def _openapi() -> dict[str, Any] | None:
    """The API's own description; None in an installation without the API."""
    if find_spec("services.api.app") is None:
        return None
    from services.api.app import openapi_document  # noqa: PLC0415  # only this document needs the API and its libraries

    return openapi_document()


def _contents(registry: Registry) -> dict[str, bytes]:
    return {
        name: json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True).encode() + b"\n"
        for name, document in documents(registry).items()
    }


def _present(registry: Registry, folder: Path) -> set[str]:
    """The documents in a folder but those of older event versions."""
    older = {f"json-schema/events/{type_}.json" for type_ in registry.contracts.older_events}
    return set(_files(folder, folder)) - older if folder.is_dir() else set()


def _files(folder: Path, root: Path) -> Iterator[str]:
    for path in folder.rglob("*.json"):
        yield path.relative_to(root).as_posix()
