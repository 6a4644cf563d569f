"""Every error is an RFC 9457 problem; those of a request name field and rule."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
import psycopg
import structlog
from eventsourcing.persistence import InterfaceError, OperationalError
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from services.api.conditional import NotModified

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = "2"
AWAY = (psycopg.OperationalError, psycopg.InterfaceError, OperationalError, InterfaceError)
NOT_BUILT = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)
log = structlog.get_logger("sauro.api")


class FieldError(BaseModel):
    """Which field breaks which rule, and the way out."""

    field: str = Field(description="where: `query.limit`, `path.code`, `body.source`")
    rule: str = Field(description="name of the broken rule")
    message: str


class ProblemDetails(BaseModel):
    """A problem as RFC 9457 describes it."""

    type: str = Field(description="`urn:sauro:problem:<name>`")
    title: str
    status: int
    detail: str
    instance: str = Field(description="the path that was asked for")
    errors: list[FieldError] | None = None


class Problem(Exception):
    """An answer that is an error; `more` are extension members."""

    def __init__(
        self,
        status: HTTPStatus,
        name: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.name, self.detail, self.errors, self.more = status, name, detail, errors, more or {}


def not_found(what: str) -> Problem:
    """404 for something the log does not know."""
    return Problem(HTTPStatus.NOT_FOUND, "not-found", f"{what} is not known here")


def invalid(field: str, rule: str, message: str) -> Problem:
    """422 for one field."""
    return invalid_all([FieldError(field=field, rule=rule, message=message)])


def invalid_all(errors: Sequence[FieldError]) -> Problem:
    """422 for several fields."""
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    detail = f"field '{first.field}': {first.message}{more}"
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", detail, errors=errors)


def away(what: str, detail: str) -> Problem:
    """503 for an engine that does not answer."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"{what}-away", detail)


def busy(detail: str) -> Problem:
    """503 for a bound that is reached; a little later there is room again."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "busy", detail)


def respond(request: Request, problem: Problem) -> Response:
    """The response of a problem, with the position it was computed at if there was one."""
    status = problem.status
    content: dict[str, Any] = {
        "type": f"urn:sauro:problem:{problem.name}",
        "title": status.phrase,
        "status": status.value,
        "detail": problem.detail,
        "instance": request.url.path,
        **problem.more,
    }
    if problem.errors:
        content["errors"] = [error.model_dump() for error in problem.errors]
    headers = {"Cache-Control": "no-store", **getattr(request.state, "standing_headers", {})}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = RETRY_SECONDS
    return Response(orjson.dumps(content, option=orjson.OPT_UTC_Z), status.value, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make every error of an app a problem."""

    @app.exception_handler(NotModified)
    async def _not_modified(_: Request, unchanged: NotModified) -> Response:
        return Response(None, HTTPStatus.NOT_MODIFIED, unchanged.headers)

    @app.exception_handler(Problem)
    def _problem(request: Request, problem: Problem) -> Response:
        return respond(request, problem)

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> Response:
        return respond(request, invalid_all(list(_field_errors(error.errors()))))

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        detail = _ROUTING.get(status, str(error.detail)).format(method=request.method, path=request.url.path)
        response = respond(request, Problem(status, status.phrase.lower().replace(" ", "-"), detail))
        response.headers.update(error.headers or {})
        return response

    for kind in AWAY:
        app.add_exception_handler(kind, _database_away)

    for missing in NOT_BUILT:
        app.add_exception_handler(missing, _not_built)

    @app.exception_handler(Exception)
    def _unexpected(request: Request, error: Exception) -> Response:
        log.error("unexpected error", path=request.url.path, exc_info=error)
        problem = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "unexpected", "an error of the service; it has been logged")
        return respond(request, problem)


_ROUTING = {
    HTTPStatus.NOT_FOUND: "there is nothing at {path}; see /v1/openapi.json for what there is",
    HTTPStatus.METHOD_NOT_ALLOWED: "{method} is not allowed at {path}",
}


def _database_away(request: Request, error: Exception) -> Response:
    log.warning("PostgreSQL is away", path=request.url.path, error=str(error).strip())
    return respond(request, away("postgresql", "PostgreSQL does not answer; try again"))


def _not_built(request: Request, error: Exception) -> Response:
    log.warning("a read model is not built", path=request.url.path, error=str(error).strip())
    detail = "the read models are not built yet: is the projector running? try again"
    return respond(request, Problem(HTTPStatus.SERVICE_UNAVAILABLE, "not-built", detail))


def _field_errors(errors: Iterable[Mapping[str, Any]]) -> Iterable[FieldError]:
    for error in errors:
        field = ".".join(str(part) for part in error["loc"])
        yield FieldError(field=field, rule=error["type"], message=error["msg"])
