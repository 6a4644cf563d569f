"""Sending commands and waiting for their receipts, as an integrating system would."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from nats.aio.msg import Msg
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from services.bus import Bus, Names
from services.cli.common import CommandFailed
from services.settings import Settings

Message = tuple[str, str, str, bytes]
"""source, programme, command id, the command's bytes."""
Key = tuple[str, str]
MOST_ROWS = 50
BOUNDLESS = 10_000
"""The width, in characters, of what does not go to a terminal: a receipt is one line there, as who searches it expects."""


async def send_and_wait(
    settings: Settings, messages: Sequence[Message], patience: float = 60.0
) -> dict[Key, dict[str, Any]]:
    """Publish commands and collect their receipts by (source, id), in the order of the commands.

    Raises CommandFailed when receipts stay out.

    Commands of one programme keep their order by themselves. Those of another may go to another intake instance, so what
    follows on another programme waits for the receipts of what went before.
    """
    assert settings.nats is not None
    bus = await Bus.connect(settings.nats, Names(settings.subject_prefix), name="sauro-send")
    receipts: dict[Key, dict[str, Any]] = {}
    wanted = {(source, id_) for source, _, id_, _ in messages}
    answered = asyncio.Condition()

    async def on_receipts(message: Msg) -> None:
        for event in json.loads(message.data):
            receipt = event["data"]
            if (key := (receipt["source"], receipt["id"])) in wanted:
                receipts[key] = receipt
        async with answered:
            answered.notify_all()

    with Progress(transient=True, console=Console(stderr=True)) as progress:
        bar = progress.add_task("waiting for receipts", total=len(wanted))
        try:
            for source in sorted({source for source, _, _, _ in messages}):
                await bus.client.subscribe(bus.names.receipt(source), cb=on_receipts)
            await bus.client.flush()
            for _, run in groupby(messages, key=lambda message: message[1]):
                run_of = list(run)
                await bus.publish_batch(
                    [(bus.names.command(source, programme), data, None) for source, programme, _, data in run_of]
                )
                async with asyncio.timeout(patience), answered:
                    while any((source, id_) not in receipts for source, _, id_, _ in run_of):
                        await answered.wait()
                        progress.update(bar, completed=len(receipts))
        except TimeoutError:
            missing = len(wanted) - len(receipts)
            raise CommandFailed(
                f"{missing} of {len(wanted)} receipts did not come within {patience:.0f} s; the commands are kept in COMMANDS, "
                "is intake running?"
            ) from None
        finally:
            await bus.close()
    return {(source, id_): receipts[source, id_] for source, _, id_, _ in messages}


def receipts_table(receipts: dict[Key, dict[str, Any]]) -> None:
    """How many of each outcome, and the first receipts, one a row: `sauro send`."""
    console = Console()
    if not console.is_terminal:
        console.width = BOUNDLESS
    console.print(_counts(receipts.values()))
    shown = list(receipts.values())[:MOST_ROWS]
    refused = any(receipt.get("refusal") for receipt in shown)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("command", overflow="fold")
    for name in ("outcome", "receipt", "positions", "version"):
        table.add_column(name, no_wrap=name != "positions")
    if refused:
        table.add_column("rule, field: message", overflow="fold")
    for receipt in shown:
        cells = [
            receipt["id"],
            _outcome(receipt),
            str(receipt["receipt"]),
            ", ".join(map(str, receipt.get("positions", ()))) or "-",
            str(receipt.get("version") or "-"),
        ]
        if refused:
            why = receipt.get("refusal")
            cells.append(f"{why['rule']}, {why['field']}: {why['message']}" if why else "")
        table.add_row(*map(Text, cells))  # not text with markup: ids and messages may hold square brackets
    console.print(table)
    if more := len(receipts) - len(shown):
        console.print(f"and {more} more; --json prints all {len(receipts)}")


def outcomes_table(receipts: dict[Key, dict[str, Any]]) -> None:
    """How many of each outcome, and each refusal with its rule: imports."""
    console = Console()
    console.print(_counts(receipts.values()))
    refused = [receipt for receipt in receipts.values() if receipt["outcome"] != "accepted"]
    if not refused:
        return
    table = Table("command", "rule", "field", "message")
    for receipt in refused[:MOST_ROWS]:
        why = receipt["refusal"]
        table.add_row(receipt["id"], why["rule"], why["field"], why["message"])
    console.print(table)


def _outcome(receipt: dict[str, Any]) -> str:
    return "duplicate" if receipt.get("duplicate") else str(receipt["outcome"])


def _counts(receipts: Iterable[dict[str, Any]]) -> str:
    counted = Counter(map(_outcome, receipts))
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(counted.items()))
