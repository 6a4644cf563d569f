"""The second door for commands: the same bytes on the same JetStream subject, and where the receipt will be."""

from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote

import nats.errors
import nats.js.errors
import orjson
import structlog
from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field
from starlette.datastructures import State

from contracts.receipts import Receipt
from projections import queries_log as queries
from services.addressing import ADDRESS, broken_address, is_reserved
from services.api.answers import Answer, encoded, open_snapshot
from services.api.problems import FieldError, Problem, ProblemDetails, away, busy, invalid, invalid_all, respond
from services.api.waiting import Waiting, preferred_wait
from services.bus import Bus
from services.eventlog.recorder import receipt_of
from services.intake.reading import MAX_COMMAND_BYTES, canonical_digest
from services.store import Store

router = APIRouter(prefix="/v1", tags=["commands"])
MEDIA_TYPES = ("application/cloudevents+json", "application/json")
NOT_KEPT = {"Cache-Control": "no-store", "Vary": "Prefer"}
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


_PREFERENCE = Header(
    description="`wait=5` (RFC 7240): answer with the receipt if there is one within so many seconds, 30 at most",
    examples=["wait=5"],
)
_APPLIED = {"Preference-Applied": {"description": "`wait=<seconds>`, as applied", "schema": {"type": "string"}}}
_RECEIPT: dict[int | str, dict[str, Any]] = {
    200: {"model": Answer[Receipt], "description": "accepted, with `Prefer: wait`: the receipt", "headers": _APPLIED},
    202: {"description": "published; the receipt comes later"},
    422: {
        "model": ProblemDetails,
        "description": "the command cannot be addressed; or, with `Prefer: wait`, it was refused: the members of a receipt's"
        " answer (`position`, `lag`, `as_of`, `data`) stand beside those of the problem",
        "headers": _APPLIED,
    },
}


@router.post(
    "/commands",
    status_code=HTTPStatus.ACCEPTED,
    response_model=Accepted,
    responses=_PROBLEMS | _RECEIPT,
    openapi_extra=_BODY,
    summary="Publish a command",
)
async def publish(request: Request, prefer: Annotated[list[str] | None, _PREFERENCE] = None) -> Response:
    """Publish one command as it is. Only its address is read here; intake validates, decides and writes the receipt.

    With `Prefer: wait=5` the answer is the receipt: 200 for an accepted command (a repeated one gets its first receipt again,
    `duplicate` true), 422 for a refused one, 202 when the receipt is not there in time or too many wait already.
    """
    _require_media_type(request)
    payload = await _body(request)
    address = source, id_, programme = _address(payload)
    state = request.app.state
    if seconds := min(preferred_wait(prefer or ()), int(state.limits.wait)):
        waiting: Waiting = state.waiting
        async with waiting.receipt(source, id_) as awaited:
            await _publish(state, source, programme, payload)
            receipt = None if awaited is None else await waiting.until(awaited, request.receive, seconds)
        if awaited is not None:
            answer = await run_in_threadpool(_answered, state.store, address, payload, receipt)
            if answer is not None:
                return _with_receipt(request, answer, seconds)
    else:
        await _publish(state, source, programme, payload)
    path = f"/v1/receipts/{source}/{quote(id_, safe='')}"
    content = orjson.dumps({"id": id_, "source": source, "receipt": path})
    return Response(content, HTTPStatus.ACCEPTED, {"Location": path, **NOT_KEPT}, "application/json")


def _answered(
    store: Store, address: tuple[str, str, str], payload: bytes, receipt: Receipt | None
) -> tuple[Receipt, dict[str, Any]] | None:
    """The receipt with what stands beside it in an answer; looked up when it was not heard.

    One that was stored for other content under the same id says nothing of this command.
    """
    source, id_, _ = address
    with open_snapshot(store) as snapshot:
        if receipt is None:
            row = queries.receipt(snapshot.cursor, snapshot.scope, source, id_)
            if row is None or bytes(row["digest"]) not in (
                canonical_digest(orjson.loads(payload)),
                sha256(payload).digest(),
            ):
                return None
            receipt = receipt_of(row)
        return receipt, snapshot.envelope()


def _with_receipt(request: Request, answer: tuple[Receipt, dict[str, Any]], seconds: int) -> Response:
    receipt, envelope = answer
    headers = {
        "Sauro-Position": str(envelope["position"]),
        "Sauro-Lag": str(envelope["lag"]),
        "Preference-Applied": f"wait={seconds}",
        **NOT_KEPT,
    }
    content = {**envelope, "data": receipt.model_dump(mode="json", exclude_none=True)}
    if receipt.refusal is None:
        return Response(encoded(content), HTTPStatus.OK, headers, "application/json")
    why = receipt.refusal
    errors = [FieldError(field=f"body.{why.field}", rule=why.rule, message=why.message)]
    refused = Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "command-refused", why.message, errors=errors, more=content)
    response = respond(request, refused)
    response.headers.update(headers)
    return response


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


async def _publish(state: State, source: str, programme: str, payload: bytes) -> None:
    bus: Bus | None = state.bus
    if bus is None or not bus.client.is_connected:
        raise away("nats", "NATS does not answer; nothing was published, send the command again")
    if state.publishing.locked():
        raise busy(
            "too many commands are being published at this moment; nothing was published, send the command again"
        )
    try:
        async with state.publishing:
            # No message id: intake knows repeated commands, and refuses another content under a known id.
            await bus.publish_all([(bus.names.command(source, programme), payload, None)])
    except (nats.errors.Error, nats.js.errors.Error, OSError) as error:
        log.warning("publish failed", source=source, error=str(error) or type(error).__name__)
        detail = "JetStream did not acknowledge; send the command again under the same id, it is never applied twice"
        raise away("nats", detail) from error
