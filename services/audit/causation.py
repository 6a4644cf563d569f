"""What led to an event, up to the first command; and all that it led to, as a tree.

Found by the read model of causes and by stream, without reading the log; `_cause_of` names the exception.

Three links join events. `cause`: a command names the event it answers (`causationid`). `limit`: a rung or a limit that was
reached, met or ended rests on the event that set it; the timekeeper's commands name no cause, the deadline's key does.
`command`: events of one command, which happened together.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

import orjson
from psycopg import Cursor

from projections import queries_history as queries
from projections.queries import Row
from projections.scope import ReadScope

Link = Literal["cause", "limit", "command", "asked"]
Document = dict[str, Any]
MOST = 5_000
SETS = frozenset({"DeadlineScheduled", "DeadlineRescheduled"})
RESTS = frozenset({"DeadlineApproached", "DeadlinePassed", "DeadlineMet", "DeadlineCancelled"})
_STREAM = re.compile(r"[a-z]{1,30}(/[A-Z0-9-]{1,40}){1,2}")


@dataclass
class Node:
    """An event and what it led to; `link` says how it hangs on the one above."""

    document: Document
    link: Link
    effects: list["Node"] = field(default_factory=list)


@dataclass(frozen=True)
class Effects:
    """All that an event led to; `whole` is False when there was more than MOST."""

    root: Node
    whole: bool

    @property
    def documents(self) -> list[Document]:
        """All events of the tree."""
        found, waiting = [], [self.root]
        while waiting:
            node = waiting.pop()
            found.append(node.document)
            waiting += node.effects
        return found


@dataclass(frozen=True)
class Causes:
    """From an event up to its first command. `outside` is a cause that this log does not hold."""

    steps: tuple[Node, ...]
    command: tuple[str, str]
    receipt: Row | None
    outside: str | None


def parsed(states: Iterable[bytes]) -> list[Document]:
    """Stored events as documents."""
    return [orjson.loads(state) for state in states]


def name_of(document: Mapping[str, Any]) -> str:
    """The event's name."""
    return str(document["type"].split(".")[2])


def find(cursor: Cursor[Any], scope: ReadScope, wanted: str) -> Document | None:
    """The event at a position, or with an id."""
    if wanted.isdecimal() and len(wanted) < 19:
        found = queries.at_positions(cursor, scope, [int(wanted)])
    else:
        found = queries.with_id(cursor, scope, wanted) if _is_ours(wanted) else []
    return orjson.loads(found[0]) if found else None


def causes(cursor: Cursor[Any], scope: ReadScope, document: Document) -> Causes:
    """The chain from an event up to the first command."""
    steps = [Node(document, "asked")]
    while True:
        document, outside = steps[-1].document, None
        above = _limit_of(cursor, scope, document)
        if above is not None:
            steps.append(Node(above, "limit"))
            continue
        if document["causationid"] in (document["commandid"], document["id"]):
            break
        cause = _cause_of(cursor, scope, document)
        if cause is None:
            outside = document["causationid"]
            break
        steps.append(Node(cause, "cause"))
    key = document["sender"], document["commandid"]
    return Causes(tuple(steps), key, queries.receipts_of(cursor, [key]).get(key), outside)


def _cause_of(cursor: Cursor[Any], scope: ReadScope, document: Document) -> Document | None:
    """The event that an event's command names as its cause; None when this log does not hold it, or only later.

    It is mostly in a stream that the event's command wrote to or spoke of, or was itself caused; else the log is searched
    backwards.
    """
    wanted = document["causationid"]
    if not _is_ours(wanted):
        return None
    near = {
        stream for one in _of_command(cursor, scope, document) for stream in (one["subject"], *_streams_in(one["data"]))
    }
    found = parsed(queries.with_id(cursor, scope, wanted, sorted(near), document["position"]))
    return found[0] if found else None


def _is_ours(wanted: str) -> bool:
    """Whether an id can be that of an event: they are UUIDs made from names (RFC 9562, version 5). Most systems' own are not."""
    try:
        return UUID(wanted).version == 5 and str(UUID(wanted)) == wanted
    except ValueError:
        return False


def _streams_in(data: Any) -> Iterator[str]:
    """The streams an event speaks of: a warning says what it is about."""
    if isinstance(data, dict | list):
        for value in data.values() if isinstance(data, dict) else data:
            yield from _streams_in(value)
    elif isinstance(data, str) and _STREAM.fullmatch(data):
        yield data


def effects(cursor: Cursor[Any], scope: ReadScope, document: Document) -> Effects:
    """All that an event led to, breadth first."""
    root = Node(document, "asked")
    seen = {document["position"]: root}
    generation = _together(cursor, scope, root, seen)
    while generation and len(seen) < MOST:
        generation = _next(cursor, scope, generation, seen)
    return Effects(root, len(seen) < MOST)


def _together(cursor: Cursor[Any], scope: ReadScope, root: Node, seen: dict[int, Node]) -> list[Node]:
    """The event itself and, hanging on it, those its command recorded after it."""
    found = _of_command(cursor, scope, root.document)
    later = [other for other in found if other["position"] > root.document["position"]]
    return [root, *(_hang(other, "command", root, seen) for other in later)]


def _of_command(cursor: Cursor[Any], scope: ReadScope, document: Document) -> list[Document]:
    """All events of the command that an event comes from."""
    receipts = queries.receipts_of(cursor, [(document["sender"], document["commandid"])])
    return parsed(queries.of_commands(cursor, scope, receipts.values())) or [document]


def _next(cursor: Cursor[Any], scope: ReadScope, generation: Sequence[Node], seen: dict[int, Node]) -> list[Node]:
    by_id = {node.document["id"]: node for node in generation}
    first = min(node.document["position"] for node in generation)
    children = [
        _hang(document, "cause", by_id[document["causationid"]], seen)
        for document in parsed(queries.caused_by(cursor, scope, by_id, first))
        if document["position"] not in seen
    ]
    limits = {_limit_key(node.document): node for node in generation if name_of(node.document) in SETS}
    for document in parsed(queries.limits_of(cursor, {stream for stream, *_ in limits})) if limits else ():
        node = limits.get(_limit_key(document))
        if node is not None and name_of(document) in RESTS and document["position"] not in seen:
            children.append(_hang(document, "limit", node, seen))
    return children


def _hang(document: Document, link: Link, above: Node, seen: dict[int, Node]) -> Node:
    node = seen[document["position"]] = Node(document, link)
    above.effects.append(node)
    above.effects.sort(key=lambda other: int(other.document["position"]))
    return node


def _limit_key(document: Mapping[str, Any]) -> tuple[str, str, str, int]:
    key = document["data"]["key"]
    return document["subject"], key["kind"], key["occurrence"], key["due_version"]


def _limit_of(cursor: Cursor[Any], scope: ReadScope, document: Document) -> Document | None:
    """The event that set the limit a rung or passing rests on."""
    if name_of(document) not in RESTS or name_of(document) == "DeadlineCancelled":
        return None
    wanted = _limit_key(document)
    known = parsed(queries.limits_of(cursor, [document["subject"]]))
    setting = [one for one in known if name_of(one) in SETS and _limit_key(one) == wanted]
    return setting[-1] if setting else None
