"""`sauro events` and `sauro send`: reading the log, sending commands."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli.common import CommandFailed, DataOption, JsonOption, located, opened_store


def events(
    after: Annotated[int, typer.Option(help="Only events after this position.", min=0)] = 0,
    stream: Annotated[str | None, typer.Option(help="Only this stream, such as assignment/SVHTTDL-TD500/T-01.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 1000,
    data: DataOption = None,
) -> None:
    """Print stored events, one JSON object a line, exactly as stored."""
    with opened_store(data) as store:
        if stream is not None:
            states = [stored.state for stored in store.recorder.select_events(stream)]
            found = [state for state in states if json.loads(state)["position"] > after][:limit]
        else:
            found = [n.state for n in store.recorder.select_notifications(after, limit, inclusive_of_start=False)]
    for state in found:
        sys.stdout.write(state.decode() + "\n")


def send(
    file: Annotated[
        str,
        typer.Argument(help="A file with one command, a JSON array of commands, or one a line; - for standard input."),
    ],
    data: DataOption = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the receipts.", min=0.1)] = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Publish commands and print their receipts. Exits with 1 when one is not accepted."""
    from services.cli.sending import Message, outcomes_table, send_and_wait

    text = sys.stdin.read() if file == "-" else _read(Path(file))
    messages: list[Message] = []
    for number, command in enumerate(_commands(text), 1):
        try:
            source, programme, id_ = command["source"], command["programme"], command["id"]
        except (KeyError, TypeError):
            raise CommandFailed(f"command {number} has no source, programme or id; it cannot be addressed") from None
        messages.append((source, programme, id_, json.dumps(command, ensure_ascii=False).encode()))
    receipts = asyncio.run(send_and_wait(located(data), messages, timeout))
    if as_json:
        typer.echo(json.dumps(list(receipts.values())))
    else:
        outcomes_table(receipts)
    if any(receipt["outcome"] != "accepted" for receipt in receipts.values()):
        raise typer.Exit(1)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"cannot read {file}: {error.strerror}") from None


def _commands(text: str) -> list[Any]:
    try:
        whole = json.loads(text)
    except ValueError:
        try:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise CommandFailed(f"not JSON: {error}") from None
    return whole if isinstance(whole, list) else [whole]
