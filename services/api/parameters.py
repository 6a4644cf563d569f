"""Query parameters: the types they share, the page token, and the refusal of what is unknown."""

import base64
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

import orjson
from fastapi import FastAPI, Path, Query, Request
from fastapi.routing import APIRoute
from pydantic import BeforeValidator

from contracts.types import Code
from domain.calendar import LOCAL
from services.api.problems import FieldError, invalid, invalid_all

_OFFSET = re.compile(r"T.*(Z|[+-]\d\d:?\d\d)$")
CodePath = Annotated[Code, Path(description="an upper-case code")]
CodeQuery = Annotated[Code | None, Query()]
Limit = Annotated[int, Query(ge=1, le=500, description="rows of a page")]
Cursor = Annotated[str | None, Query(max_length=400, description="`next` of the page before")]


def _bound(text: Any, *, end: bool) -> datetime:
    try:
        if len(text) == 10:
            midnight = datetime.combine(date.fromisoformat(text), time(), LOCAL)
            return midnight + (timedelta(days=1) if end else timedelta(microseconds=1))
        instant = datetime.fromisoformat(text).astimezone(UTC) if _OFFSET.search(text) else None
    except (ValueError, OverflowError):
        instant = None
    if instant is None:
        raise ValueError("a day (2026-06-05) or an instant with its offset (2026-06-05T08:00:00Z; write + as %2B)")
    return instant


def _from(text: Any) -> datetime:
    return _bound(text, end=False)


def _to(text: Any) -> datetime:
    return _bound(text, end=True)


# A limit is exclusive: one at midnight belongs to the day that ends with it. So a day begins just after its first
# instant and ends with the first instant of the next.
DueFrom = Annotated[
    datetime | None,
    BeforeValidator(_from, json_schema_input_type=str),
    Query(description="limits of this local day (Asia/Ho_Chi_Minh) or instant and later"),
]
DueTo = Annotated[
    datetime | None,
    BeforeValidator(_to, json_schema_input_type=str),
    Query(description="limits up to the end of this local day, or up to this instant"),
]
Before = Annotated[
    datetime | None,
    BeforeValidator(lambda text: _bound(text, end=False), json_schema_input_type=str),
    Query(description="limits before this instant, or before this local day begins"),
]


def token_of(key: Sequence[Any] | None) -> str | None:
    """The opaque token of a page's last key."""
    if key is None:
        return None
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def key_of(token: str | None, kinds: Sequence[type]) -> list[Any] | None:
    """The key a token stands for, in columns of some types; a 422 when it is none of ours."""
    if token is None:
        return None
    try:
        key = orjson.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
        return [_part(part, kind) for part, kind in zip(key, kinds, strict=True)]
    except (ValueError, TypeError):
        raise invalid("query.cursor", "cursor", "not a cursor of this list; send `next` of the page before") from None


def _part(part: Any, kind: type) -> Any:
    if not isinstance(part, str) or "\0" in part:
        raise TypeError("a key is made of texts")
    return datetime.fromisoformat(part) if kind is datetime else part


def _known_parameters(app: FastAPI, path: str, method: str) -> list[str]:
    operation = app.openapi()["paths"].get(path, {}).get(method.lower(), {})
    return sorted(found["name"] for found in operation.get("parameters", ()) if found["in"] == "query")


async def only_known_parameters(request: Request) -> None:
    """Refuse query parameters the endpoint does not have, and those given twice (422)."""
    given = Counter(name for name, _ in request.query_params.multi_items())
    route = request.scope.get("route")
    if not given or not isinstance(route, APIRoute):
        return
    known = _known_parameters(request.app, route.path_format, request.method)
    there_are = f"there are {', '.join(known)}" if known else "there are none"
    errors = [
        FieldError(field=f"query.{name}", rule="unknown_parameter", message=f"not a parameter here; {there_are}")
        for name in given
        if name not in known
    ]
    errors += [
        FieldError(field=f"query.{name}", rule="given_twice", message="give it once")
        for name, times in given.items()
        if name in known and times > 1
    ]
    if errors:
        raise invalid_all(errors)
