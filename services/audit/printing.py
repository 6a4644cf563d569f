"""The history on a terminal, in plain lines that can be piped, searched and mailed."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from services.audit.narrative import Language, instant, local_text
from services.audit.sentences import labels, phrase

Told = Mapping[str, Any]


class Printer:
    """Prints what `services.audit.telling` tells."""

    def __init__(self, language: Language, line: Callable[[str], None]) -> None:
        self._language = 0 if language == "vi" else 1
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
                words = labels(self._language)
                timeliness = words.get("timeliness", {})
                verdicts = {name: timeliness.get(entry[name], entry[name]) for name in ("by_occurred", "by_recorded")}
                kind = words["deadline_kind"].get(entry["limit_kind"], entry["limit_kind"])
                limit, counted = local_text(instant(entry["limit_at"])), self._say(entry["counted"])
                self._line("    " + self._say("verdicts", kind=kind, limit=limit, counted=counted, **verdicts))

    def accesses(self, told: list[Told]) -> None:
        """Who read what, newest first."""
        acts = labels(self._language)["access_act"]
        for reading in told:
            reason = reading["reason"]
            why = ""
            if reason is not None:
                name = "erased" if reason["words"] is None else "kept"
                why = "; " + self._say(name, words=reason["words"], digest=reason["digest"][:12])
            reader = reading.get("reader") or self._say("unknown_reader")
            what = f"{acts.get(reading['act'], reading['act'])}: {reading['about']}"
            self._line(f"{local_text(instant(reading['at']))}  {reader}  {what}{why}")

    def reconciliation(self, told: Told) -> None:
        """What was on record, what was not due and why, and what is left over."""
        self._line(f"reconciled up to {_moment(told['until'])}")
        for title, counts in (("on record", told["on_record"]), ("not due", told["not_due"])):
            for name, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
                self._line(f"  {title}: {count:>7}  {name}")
        for finding in told["findings"]:
            recorded = f", recorded {_moment(finding['recorded_at'])}" if finding["recorded_at"] else ""
            self._line(f"{finding['what']}: {finding['stream']}: {finding['rung']}")
            self._line(f"    due {_moment(finding['due_at'])}{recorded}; {_reason(finding)}")
        self._line(f"{len(told['findings'])} findings, {told['unexplained']} unexplained")

    def _entry(self, entry: Told, indent: str, *, named: bool) -> None:
        occurred, recorded = (local_text(instant(entry[name])) for name in ("occurred_at", "recorded_at"))
        stream = f" [{entry['stream']}]" if named else ""
        self._line(f"{indent}#{entry['position']}  {occurred}{stream}  {entry['sentence']}")
        late = f" ({entry['entered_late']})" if entry["entered_late"] else ""
        self._line(f"{indent}    {entry['who']}; {self._say('recorded')} {recorded}{late}")


def _moment(at: datetime | None) -> str:
    return local_text(at) if at else "the beginning"


def _reason(finding: Told) -> str:
    if finding["reason"] is None:
        return f"UNEXPLAINED{': ' + finding['detail'] if finding['detail'] else ''}"
    what = {"service_down": f"{finding['detail']} was silent", "installation_down": "nothing was recorded"}
    since, until = _moment(finding["silent_from"]), _moment(finding["silent_until"])
    return f"{what[finding['reason']]} from {since} to {until}"
