"""What an event of the log calls for: commands for the warning it concerns. Pure.

The escalation policy itself is applied where all rules are, in the domain; here stands only which event concerns which
warning. Ids derive from the event, so a redelivered event sends the same command.
"""

from dataclasses import replace
from typing import Any, Literal

from contracts.base import Command
from contracts.deadlines import (
    DeadlineApproached,
    DeadlineCancelled,
    DeadlineKey,
    DeadlineMet,
    DeadlinePassed,
    DeadlineRescheduled,
)
from contracts.obligation import DemandExplanation
from contracts.warning import EscalateWarning, RaiseWarning, RecordResponse, ResolveWarning, SupersedeWarning
from domain.deadlines import SILENT
from domain.kernel import Recorded
from domain.obligation_opening import explanation_stream
from domain.warning_state import stream_of
from services.outgoing import Outgoing
from services.senders import derived_id, system_command

HEARD = ("DeadlineApproached", "DeadlinePassed", "DeadlineRescheduled", "DeadlineMet", "DeadlineCancelled")
EXPLAINED = ("DeadlinePassed",)
NOTICED = ("WarningRaised", "WarningEscalated")
Part = Literal["all", "urgent", "later"]
"""Warnings at once; demands for explanation, and what else can wait, when no warning waits."""
_EXPLAINED = frozenset({"assignment_due", "obligation_due"})
_DONE = frozenset({"completed", "late_completion"})


def reactions(event: Recorded[Any], part: Part = "all") -> list[Outgoing]:
    """The commands an event calls for, or one part of them, in order; none for most."""
    data = event.data
    if data.key.kind == "warning_response_due":
        climb = EscalateWarning(key=data.key)
        found: list[tuple[str, Command]] = [(event.stream, climb)] if isinstance(data, DeadlinePassed) else []
    elif data.key.kind in SILENT:
        return []
    else:
        found = _about_subject(event, data)
    return [
        _command(event, subject, command, number)
        for number, (subject, command) in enumerate(found)
        if part == "all" or (part == "later") == isinstance(command, DemandExplanation)
    ]


def _about_subject(event: Recorded[Any], data: Any) -> list[tuple[str, Command]]:
    match data:
        case DeadlineApproached():
            raised = RaiseWarning(about=event.stream, key=data.key, rung=data.rung)
            return [(_warning(event, data.key, early=True), raised)]
        case DeadlinePassed():
            found: list[tuple[str, Command]] = [
                (_warning(event, data.key, early=False), RaiseWarning(about=event.stream, key=data.key))
            ]
            if data.key.kind in _EXPLAINED:
                demand = DemandExplanation(about=event.stream, key=data.key, reason="the limit passed")
                found.append((explanation_stream(event.programme, event.stream), demand))
            return found
        case DeadlineRescheduled(warned=True):
            old = replace(data.key, due_version=data.replaces)
            return [
                (_warning(event, old, early=early), SupersedeWarning(reason="limit_moved")) for early in (True, False)
            ]
        case DeadlineMet(warned=True):
            both = (True, False) if data.after_passing else (True,)
            met = SupersedeWarning(reason="met_in_time")
            return [(_warning(event, data.key, early=early), met) for early in both]
        case DeadlineCancelled(warned=True) if data.reason in _DONE:
            standing = _warning(event, data.key, early=False)
            return [
                (standing, RecordResponse(response="completion")),
                (standing, ResolveWarning()),
                (_warning(event, data.key, early=True), SupersedeWarning(reason="limit_cancelled")),
            ]
        case DeadlineCancelled(warned=True):
            gone = SupersedeWarning(reason="limit_cancelled")
            return [(_warning(event, data.key, early=early), gone) for early in (True, False)]
        case _:
            return []


def _warning(event: Recorded[Any], key: DeadlineKey, *, early: bool) -> str:
    return stream_of(event.programme, event.stream, key, early=early)


def _command(event: Recorded[Any], subject: str, command: Command, number: int) -> Outgoing:
    return system_command(
        command,
        subject,
        event.organisation,
        # A rung or limit: its own instant, so that downtime changes nothing. An end: when it was on record.
        event.occurred_at if isinstance(event.data, DeadlineApproached | DeadlinePassed) else event.recorded_at,
        derived_id("warning", event.id, number),
        correlation_id=event.correlation_id,
        causation_id=event.id,
    )
