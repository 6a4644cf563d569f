"""Reads programme, roster and policy files: every error with its file and line, all of them at once."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from contracts.base import broken_rule

M = TypeVar("M")
Key = str | int

# Deeper than any file of ours: an alias that holds itself ends here.
_DEPTH = 12
# What is deeper than this is not composed at all: PyYAML does so by recursion, and the process would end.
_DEEPEST = 100
_TOO_DEEP, _WITHOUT_ALIASES = "is nested too deeply", "write the fields out, without aliases"
# By libyaml, in a tenth of the time, where PyYAML was built with it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SCALARS = ("null", "bool", "int", "float")
_ADVICE = {
    "extra_forbidden": "remove the field or correct its name",
    "missing": "add the field; write null where the source leaves it open",
    "date_from_datetime_parsing": "write the day as YYYY-MM-DD",
    "date_parsing": "write the day as YYYY-MM-DD",
    "date_type": "write the day as YYYY-MM-DD",
    "string_type": "write text, in quotes where YAML reads a number, a time or yes and no",
    "string_pattern_mismatch": "use upper-case letters, digits and hyphens, at most 40",
    "time_type": "write the time in quotes, as 'HH:MM'",
    "time_parsing": "write the time in quotes, as 'HH:MM'",
    "tuple_type": "write a list: [A, B]",
    "model_type": "write fields with values: {code: ..., ...}",
    "literal_error": "use one of the values named",
}


@dataclass(frozen=True, order=True)
class Problem:
    """What is wrong at a line of a file (1 is the first), and the way out."""

    file: str
    line: int
    path: str
    message: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.path or 'file'}: {self.message}; {self.way_out}"


@dataclass(frozen=True)
class Source:
    """Where each field of a file stands."""

    file: str
    lines: dict[tuple[Key, ...], int] = field(default_factory=dict, repr=False)

    def line(self, path: tuple[Key, ...]) -> int:
        """The line of the field, or of the nearest field around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def problem(self, path: tuple[Key, ...], message: str, way_out: str) -> Problem:
        """A problem at the field."""
        return Problem(self.file, self.line(path), ".".join(map(str, path)), message, way_out)


@dataclass(frozen=True)
class Read(Generic[M]):
    """A file as read: its model unless there are problems."""

    source: Source
    model: M | None
    problems: tuple[Problem, ...] = ()


def read(file: Path, model: type[M]) -> Read[M]:
    """The file as the model, with all problems found. Nothing is raised for a bad or missing file."""
    source = Source(str(file))
    try:
        node = _composed(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        return Read(source, None, (source.problem((), f"cannot be read: {error}", "name a readable UTF-8 file"),))
    except _TooDeep as error:
        return Read(source, None, (Problem(source.file, error.line, "", _TOO_DEEP, _WITHOUT_ALIASES),))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = Problem(source.file, line, "", f"is no YAML: {error.problem}", "correct the syntax")
        return Read(source, None, (problem,))
    except yaml.YAMLError as error:
        return Read(source, None, (source.problem((), f"is no YAML: {error}", "correct the syntax"),))
    problems: list[Problem] = []
    value = _value(node, (), source, problems) if node is not None else None
    try:
        read_model = TypeAdapter(model).validate_json(json.dumps(value))
    except ValidationError as error:
        problems += _problems(error, value, source)
        return Read(source, None, tuple(sorted(set(problems))))
    return Read(source, None if problems else read_model, tuple(sorted(problems)))


class _TooDeep(Exception):
    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def _composed(text: str) -> yaml.Node | None:
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise _TooDeep(event.start_mark.line + 1 if event.start_mark else 1)
    return yaml.compose(text, Loader=_LOADER)


def _value(node: yaml.Node, path: tuple[Key, ...], source: Source, problems: list[Problem]) -> Any:
    """The node as JSON has it. Days and times stay as written: the model reads them."""
    source.lines.setdefault(path, node.start_mark.line + 1)
    if len(path) > _DEPTH:
        problems.append(source.problem(path[:-1], _TOO_DEEP, _WITHOUT_ALIASES))
        return None
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, source, problems)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*path, n), source, problems) for n, item in enumerate(node.value)]
    kind = node.tag.rpartition(":")[2]
    if kind not in _SCALARS:
        return node.value
    return yaml.load(node.value, _LOADER) if node.value else None  # noqa: S506 - safe, either of them


def _mapping(node: yaml.MappingNode, path: tuple[Key, ...], source: Source, problems: list[Problem]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in node.value:
        at = (*path, str(key.value))
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            problems.append(Problem(source.file, line, ".".join(map(str, path)), "key is no name", "use plain names"))
        elif key.value in values:
            message = f"field '{key.value}' is given twice, first on line {source.lines[at]}"
            problems.append(Problem(source.file, line, ".".join(map(str, at)), message, "keep one of them"))
        else:
            source.lines[at] = line
            values[key.value] = _value(value, at, source, problems)
    return values


def _problems(error: ValidationError, value: Any, source: Source) -> Iterator[Problem]:
    for found in error.errors(include_url=False):
        path = tuple(_existing(found["loc"], value))
        rule, message = broken_rule(found)
        if rule in {"extra_forbidden", "missing"}:
            path = tuple(found["loc"])
        message = message[0].lower() + message[1:]
        if rule == "extra_forbidden":
            message = f"field '{found['loc'][-1]}' is unknown"
        elif rule == "missing":
            message = f"field '{found['loc'][-1]}' is missing"
        elif not isinstance(found["input"], dict | list):
            message += f" (found {found['input']!r})"
        yield source.problem(path, message, _ADVICE.get(rule, "correct the value"))


def _existing(loc: Iterable[Key], value: Any) -> Iterator[Key]:
    """The part of an error's place that stands in the file: pydantic adds names of union members."""
    for step in loc:
        if isinstance(value, dict) and step in value:
            value = value[str(step)]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            continue
        yield step
