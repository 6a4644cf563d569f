"""Conditional requests (RFC 9110, section 13): entity tags from positions, and 304 without the data's query.

A tag names the positions of all read models (of the log too, for an answer read from it), the identity of their tables, the
release, and the URL; that of what was known at a past moment names that position instead, for it never changes. So one that
matches was given out for this very URL with a 200, and nothing behind it has changed since.
It is weak: `lag` may differ.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from projections.queries import Standing
from projections.scorecards import RATES_VERSION

Source = Literal["models", "log", "both"]
"""What an answer is read from. Its position is that of the log if it is the log alone."""
CACHE_CONTROL = "no-cache, private"
_TAGS = re.compile(r'(?:W/)?("[^"]*")')


def _release() -> str:
    try:
        return version("sauro")
    except PackageNotFoundError:  # run from its sources
        return "unreleased"


RELEASE = (_release(), RATES_VERSION)
"""Whatever else decides how rows are shown; a new release never answers 304 to a tag of the one before."""


class NotModified(Exception):
    """The caller holds the representation that would be sent: 304."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__("not modified")
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for, and which tags it holds (`If-None-Match`)."""

    url: str
    known: str
    source: Source

    def tag(self, where: Standing, fixed: int | None = None) -> str:
        """The entity tag of this URL as things stand; `fixed` is the position of an answer that never changes again."""
        if fixed is not None:
            return f'W/"{fixed}-{_digest((RELEASE, self.url, fixed))}"'
        head = None if self.source == "models" else where.head
        seen = (RELEASE, self.url, head, tuple(where.models.values()), where.build, where.held, where.as_of)
        return f'W/"{self.position(where)}-{_digest(seen)}"'

    def position(self, where: Standing) -> int:
        """The position of the answer."""
        return where.head if self.source == "log" else where.position

    def holds(self, where: Standing, fixed: int | None = None) -> bool:
        """Whether one of the tags is the present one, by weak comparison; `*` needs the answer to exist first."""
        return bool(self.known) and self.tag(where, fixed).removeprefix("W/") in _TAGS.findall(self.known)


def _digest(seen: object) -> str:
    return blake2b(repr(seen).encode(), digest_size=8).hexdigest()


_HEADERS = {
    "ETag": "weak entity tag of this URL at this position; send it back in `If-None-Match`",
    "Cache-Control": f"`{CACHE_CONTROL}`: keep it, ask before using it",
    "Sauro-Position": "log position the data was computed at",
    "Sauro-Lag": "events the read models have not applied yet",
}
_DOCUMENTED = {name: {"description": what, "schema": {"type": "string"}} for name, what in _HEADERS.items()}
OF_READING: dict[int | str, dict[str, Any]] = {
    200: {"headers": _DOCUMENTED},
    304: {"description": "nothing has changed since the answer whose tag was sent", "headers": _DOCUMENTED},
}
"""Responses of every reading endpoint, for the OpenAPI document."""
