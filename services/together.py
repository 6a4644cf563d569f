"""Many CloudEvents in one message: the JSON batch format of CloudEvents 1.0, put together and cut apart.

A message costs NATS, its client and the loop some fifty microseconds, however little it holds.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence

import orjson

MOST = 1000
"""Events in a message, at most."""
_BETWEEN = b",\n"
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")


def batches(events: Iterable[bytes], room: int, most: int = MOST) -> Iterator[bytes]:
    """JSON batches of at most so many events and, unless one alone is larger, `room` bytes; each event stands on its own line."""
    together: list[bytes] = []
    size = 2
    for event in events:
        if together and (size + len(event) + len(_BETWEEN) > room or len(together) == most):
            yield b"[" + _BETWEEN.join(together) + b"]"
            together, size = [], 2
        together.append(event)
        size += len(event) + len(_BETWEEN)
    if together:
        yield b"[" + _BETWEEN.join(together) + b"]"


def events_in(payload: bytes) -> Sequence[bytes]:
    """The elements of a JSON batch, each as it was sent, to the byte; what is not a batch of 1 to MOST elements is one by itself.

    Nothing is said of the elements but that each is JSON.
    """
    text = payload.strip()
    if text[:1] != b"[" or text[-1:] != b"]":
        return (payload,)
    found = _lines(text[1:-1]) or _elements(text)
    return found if 1 <= len(found) <= MOST else (payload,)


def _lines(inside: bytes) -> Sequence[bytes]:
    """Elements that stand on lines of their own. Each is JSON by itself, so they were cut between elements and nowhere else."""
    lines = inside.split(_BETWEEN, MOST)
    try:
        for line in lines:
            orjson.loads(line)
    except orjson.JSONDecodeError:
        return ()
    return lines


def _elements(text: bytes) -> Sequence[bytes]:
    """Elements however they stand."""
    found: list[bytes] = []
    try:
        document = text.decode()
        at = 0
        while document[at] != "]" and len(found) <= MOST:
            begin = _after_space(document, at + 1)
            _, end = _DECODER.raw_decode(document, begin)
            found.append(document[begin:end].encode())
            at = _after_space(document, end)
            if document[at] not in ",]":
                return ()
    except (ValueError, IndexError, RecursionError):
        return ()
    return found if at + 1 == len(document) or len(found) > MOST else ()


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    assert space is not None
    return space.end()
