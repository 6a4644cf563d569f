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
    from services.cli.sending import Message, receipts_table, send_and_wait

    text = sys.stdin.read() if file == "-" else _read(Path(file))
    messages: list[Message] = []
    for number, command in enumerate(_commands(text), 1):
        source, programme, id_ = _address(number, command)
        messages.append((source, programme, id_, json.dumps(command, ensure_ascii=False).encode()))
    if not messages:
        raise CommandFailed("nothing to send: the input holds no command")
    receipts = asyncio.run(send_and_wait(located(data), messages, timeout))
    if as_json:
        typer.echo(json.dumps(list(receipts.values())))
    else:
        receipts_table(receipts)
    if any(receipt["outcome"] != "accepted" for receipt in receipts.values()):
        raise typer.Exit(1)


def _address(number: int, command: Any) -> tuple[str, str, str]:
    """Where a command goes; refused when it cannot be addressed, or speaks under a name that is Sauro's own."""
    from services.addressing import broken_address, is_reserved

    if not isinstance(command, dict):
        raise CommandFailed(f"command {number} is no JSON object; a command is a CloudEvent")
    if broken := broken_address(command):
        raise CommandFailed(f"command {number}: " + "; ".join(f"'{name}': {why}" for name, _, why in broken))
    if is_reserved(command["source"]):
        raise CommandFailed(f"command {number}: source '{command['source']}' is reserved for Sauro; use upper case")
    return command["source"], command["programme"], command["id"]


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CommandFailed(f"{file} is not UTF-8: byte {error.start}") from None
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
