"""The second door for commands: the same bytes on the same JetStream subject, and where the receipt will be."""

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import nats.errors
import nats.js.errors
import orjson
import structlog
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from services.addressing import ADDRESS, broken_address, is_reserved
from services.api.problems import FieldError, Problem, ProblemDetails, away, invalid, invalid_all
from services.bus import Bus
from services.intake.reading import MAX_COMMAND_BYTES

router = APIRouter(prefix="/v1", tags=["commands"])
MEDIA_TYPES = ("application/cloudevents+json", "application/json")
PUBLISH_SECONDS = 5.0
log = structlog.get_logger("sauro.api")


class Accepted(BaseModel):
    """The command is published; whether it is accepted, the receipt will say."""

    id: str
    source: str
    receipt: str = Field(description="path of the receipt, once intake has committed it")


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status.value: {"model": ProblemDetails, "description": status.phrase}
    for status in (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            name: {
                "schema": {
                    "type": "object",
                    "description": "a command's CloudEvent in JSON structured mode; see contracts/schemas",
                    "required": sorted(ADDRESS),
                    "properties": {name: adapter.json_schema() for name, (adapter, _) in ADDRESS.items()},
                }
            }
            for name in MEDIA_TYPES
        },
    }
}


@router.post(
    "/commands",
    status_code=HTTPStatus.ACCEPTED,
    response_model=Accepted,
    responses=_PROBLEMS,
    openapi_extra=_BODY,
    summary="Publish a command",
)
async def publish(request: Request) -> Response:
    """Publish one command as it is. Only its address is read here; intake validates, decides and writes the receipt."""
    _require_media_type(request)
    payload = await _body(request)
    source, id_, programme = _address(payload)
    await _publish(request.app.state.bus, source, programme, payload)
    path = f"/v1/receipts/{source}/{quote(id_, safe='')}"
    content = orjson.dumps({"id": id_, "source": source, "receipt": path})
    return Response(content, HTTPStatus.ACCEPTED, {"Location": path}, "application/json")


def _require_media_type(request: Request) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in MEDIA_TYPES:
        detail = f"content type '{given[:80]}' is not taken; send {' or '.join(MEDIA_TYPES)}"
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)


async def _body(request: Request) -> bytes:
    payload = bytearray()
    async for chunk in request.stream():
        payload += chunk
        if len(payload) > MAX_COMMAND_BYTES:
            detail = f"a command has at most {MAX_COMMAND_BYTES} bytes"
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", detail)
    return bytes(payload)


def _address(payload: bytes) -> tuple[str, str, str]:
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        errors = [FieldError(field="body", rule="not_json", message=str(error))]
        raise Problem(HTTPStatus.BAD_REQUEST, "not-json", f"the body is not JSON: {error}", errors=errors) from None
    if not isinstance(document, dict):
        raise invalid("body", "not_an_envelope", "a command is one JSON object, a CloudEvent")
    if broken := broken_address(document):
        raise invalid_all([FieldError(field=f"body.{name}", rule=rule, message=why) for name, rule, why in broken])
    source: str = document["source"]
    if is_reserved(source):
        detail = f"source '{source}' is reserved: lower-case codes are those of Sauro's own services; use upper case"
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "reserved-source",
            detail,
            errors=[FieldError(field="body.source", rule="reserved", message=detail)],
        )
    return source, document["id"], document["programme"]


async def _publish(bus: Bus | None, source: str, programme: str, payload: bytes) -> None:
    if bus is None or not bus.client.is_connected:
        raise away("nats", "NATS does not answer; nothing was published, send the command again")
    try:
        # No message id: intake knows repeated commands, and refuses another content under a known id.
        await bus.js.publish(bus.names.command(source, programme), payload, timeout=PUBLISH_SECONDS)
    except (nats.errors.Error, nats.js.errors.Error, OSError) as error:
        log.warning("publish failed", source=source, error=str(error) or type(error).__name__)
        detail = "JetStream did not acknowledge; send the command again under the same id, it is never applied twice"
        raise away("nats", detail) from error
