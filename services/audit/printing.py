"""The history on a terminal, in plain lines that can be piped, searched and mailed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from textwrap import wrap
from typing import Any

from projections.model import View
from services.audit.chronicle import GENERATIONS
from services.audit.diff import Changed, Difference, Moved
from services.audit.narrative import Language, instant, local_text
from services.audit.sentences import found_text, labels, phrase

Told = Mapping[str, Any]
WIDTH = 80
NAMED = 10
"""So many events are named beside a figure; JSON has all."""
_OF_A_TASK = (
    ("work", None),
    ("unit", None),
    ("person", None),
    ("authority", None),
    ("status", "assignment_status"),
    ("health", "health"),
    ("original_due", None),
    ("due", None),
    ("percent", None),
    ("was_overdue", "yes_no"),
    ("extensions", None),
    ("version", None),
)


class Printer:
    """Prints what `services.audit.telling` tells."""

    def __init__(self, language: Language, line: Callable[[str], None]) -> None:
        self._language = 0 if language == "vi" else 1
        self._labels = labels(self._language)
        self._line = line

    def _say(self, name: str, /, **values: object) -> str:
        return phrase(name, self._language, **values)

    def history(self, told: Told) -> None:
        """A subject: its own events at the margin, those of what it led to indented with their stream."""
        self._line(told["stream"])
        for entry in told["entries"]:
            self._entry(entry, "" if entry["own"] else "        ", named=not entry["own"])
            caused = entry["caused_by"]
            receipt = f", {self._say('receipt')} {caused['receipt']}" if caused["receipt"] else ""
            indent = "    " if entry["own"] else "            "
            self._line(f"{indent}{self._say('command')} {caused['sender']} {caused['command']}{receipt}")
            for effect in entry["led_to"]:
                self._line(f"{indent}→ {self._say('leads_to')} #{effect['position']}: {effect['sentence']}")
        if not told["whole"]:
            self._line(self._say("cut", n=GENERATIONS))

    def chain(self, told: Told) -> None:
        """An event, and above it what led to it."""
        for step in told["steps"]:
            self._line(f"[{self._say('link_' + step['link'])}]")
            self._entry(step, "    ", named=True)
        command = told["command"]
        receipt = f", {self._say('receipt')} {command['receipt']}" if command["receipt"] else ""
        self._line(f"[{self._say('command')}] {command['sender']} {command['command']}{receipt}")
        if told["outside"] is not None:
            self._line(self._say("outside", id=told["outside"]))

    def tree(self, told: Told) -> None:
        """An event, and below it what it led to."""
        waiting = [(0, told)]
        while waiting:
            depth, node = waiting.pop()
            self._entry(node, "    " * depth, named=True)
            waiting += [(depth + 1, child) for child in reversed(node["effects"])]
        if not told["whole"]:
            self._line("…")

    def late(self, told: list[Told]) -> None:
        """Late entries with both clocks' verdicts."""
        for entry in told:
            self._line(f"[{self._say(entry['why'])}]")
            self._entry(entry, "    ", named=True)
            if entry["limit_at"] is not None:
                timeliness = self._labels.get("timeliness", {})
                verdicts = {name: timeliness.get(entry[name], entry[name]) for name in ("by_occurred", "by_recorded")}
                kind = self._labels["deadline_kind"].get(entry["limit_kind"], entry["limit_kind"])
                limit, counted = local_text(instant(entry["limit_at"])), self._say(entry["counted"])
                self._line("    " + self._say("verdicts", kind=kind, limit=limit, counted=counted, **verdicts))

    def accesses(self, told: list[Told]) -> None:
        """Who read what, newest first."""
        acts = self._labels["access_act"]
        for reading in told:
            reason = reading["reason"]
            why = ""
            if reason is not None:
                why = "; " + self._say(reason["state"], words=reason["words"], digest=reason["digest"][:12])
            reader = reading.get("reader") or self._say("unknown_reader")
            what = f"{acts.get(reading['act'], reading['act'])}: {reading['about']}"
            self._line(f"{local_text(instant(reading['at']))}  {reader}  {what}{why}")

    def reconciliation(self, told: Told) -> None:
        """What was on record, what was not due and why, and what is left over."""
        self._line(self._say("reconciled", at=self._moment(told["until"])))
        for title in ("on_record", "not_due"):
            for name, count in sorted(told[title].items(), key=lambda pair: (-pair[1], pair[0])):
                self._line(f"  {self._say(title)}: {count:>7}  {found_text(name, self._language)}")
        for finding in told["findings"]:
            recorded = f", {self._say('recorded')} {self._moment(at)}" if (at := finding["recorded_at"]) else ""
            what, rung = self._labels["finding"][finding["what"]], found_text(finding["rung"], self._language)
            self._line(f"{what}: {finding['stream']}: {rung}")
            self._line(f"    {self._say('due', at=self._moment(finding['due_at']))}{recorded}; {self._reason(finding)}")
        self._line(self._say("findings", n=len(told["findings"]), unexplained=told["unexplained"]))

    def _reason(self, finding: Told) -> str:
        if finding["reason"] is None:
            detail = f": {found_text(finding['detail'], self._language)}" if finding["detail"] else ""
            return self._say("UNEXPLAINED") + detail
        since, until = self._moment(finding["silent_from"]), self._moment(finding["silent_until"])
        return self._say(finding["reason"], service=finding["detail"], since=since, until=until)

    def _moment(self, at: datetime | None) -> str:
        return local_text(at) if at else self._say("the_beginning")

    def cards(self, told: Told, views: Iterable[View]) -> None:
        """Scorecards as of a moment, a row a paragraph; figures that are 0 are left out."""
        self._as_of(told)
        for view in views:
            self._line(self._of_view(view.name))
            for row in told["scorecards"][view.name]:
                self._line("  " + " / ".join(str(row[name]) for name in view.key))
                shown = [
                    f"{self._figure(name)} {_value(value)}"
                    for name, value in row.items()
                    if name not in view.key and value
                ]
                self._wrapped("; ".join(shown) or self._say("all_zero"), "      ")
            if not told["scorecards"][view.name]:
                self._line(f"  {self._say('no_rows')}")

    def task(self, told: Told) -> None:
        """One task as of a moment."""
        self._as_of(told)
        row = told["assignment"]
        self._line(f"{row['programme']}/{row['code']}")
        for name, group in _OF_A_TASK:
            value = row[name]
            shown = local_text(value) if isinstance(value, datetime) else _value(value)
            if group is not None and value is not None:
                shown = self._labels.get(group, {}).get(value, value)
            self._line(f"    {self._say('task_' + name)}: {shown}")

    def _as_of(self, told: Told) -> None:
        axis = self._labels["axis"][told["time"]]
        self._line(self._say("as_of", at=local_text(told["as_of"]), axis=axis, position=told["position"]))

    def difference(self, found: Difference, events: Mapping[int, Told]) -> None:
        """What changed, a figure a line, then what has moved since it was reported, then the events that these lines name."""
        start, end = local_text(found.first.at), local_text(found.last.at)
        self._line(self._say("changes", start=start, end=end, axis=self._labels["axis"][found.first.axis]))
        self._figures([(one, f"{_value(one.before)} → {_value(one.after)}") for one in found.changed])
        for at in dict.fromkeys((found.first.at, found.last.at)):
            self._line(self._say("moved", at=local_text(at)))
            moved = [one for one in found.moved if one.as_of == at]
            values = [(_value(one.reported), _value(one.now_known)) for one in moved]
            said = [self._say("moved_values", was=was, now=now) for was, now in values]
            self._figures(list(zip(moved, said, strict=True)))
        if events:
            self._line(self._say("events"))
        for position in sorted(events):
            self._entry(events[position], "  ", named=True)

    def _figures(self, told: Sequence[tuple[Changed | Moved, str]]) -> None:
        if not told:
            self._line(f"  {self._say('nothing')}")
        for (view, key), lines in groupby(told, key=lambda pair: (pair[0].view, pair[0].key)):
            self._line(f"  {self._of_view(view)}: {' / '.join(map(str, key.values()))}")
            for one, values in lines:
                named = ", ".join(f"#{position}" for position in one.events[:NAMED])
                if (more := len(one.events) - NAMED) > 0:
                    named += f", … {self._say('more_events', n=more)}"
                self._wrapped(f"{self._figure(one.figure)}: {values}" + (f"  ({named})" if named else ""), "      ")

    def _of_view(self, view: str) -> str:
        return self._labels["view"].get(view, view)

    def _figure(self, name: str) -> str:
        return self._labels.get("figure", {}).get(name, name.replace("_", " "))

    def _wrapped(self, text: str, indent: str) -> None:
        for line in wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False):
            self._line(line)

    def _entry(self, entry: Told, indent: str, *, named: bool) -> None:
        occurred, recorded = (local_text(instant(entry[name])) for name in ("occurred_at", "recorded_at"))
        stream = f" [{entry['stream']}]" if named else ""
        self._line(f"{indent}#{entry['position']}  {occurred}{stream}  {entry['sentence']}")
        late = f" ({entry['entered_late']})" if entry["entered_late"] else ""
        self._line(f"{indent}    {entry['who']}; {self._say('recorded')} {recorded}{late}")


def named_events(found: Difference) -> list[int]:
    """The events that the lines of a difference name."""
    told: tuple[Changed | Moved, ...] = (*found.changed, *found.moved)
    return sorted({position for one in told for position in one.events[:NAMED]})


def _value(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value * 100:.1f} %".replace(".", ",") if isinstance(value, float | Decimal) else str(value)
