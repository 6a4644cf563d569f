"""`sauro programme`: checking and importing programmes."""

import asyncio
import json
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated

import typer

from services.cli.common import CommandFailed, DataOption, JsonOption, located

app = typer.Typer(help="Programmes as data: check a file, import it.", no_args_is_help=True)
SOURCE = "PROGRAMME-IMPORT"
CALENDAR_YEARS = range(2025, 2031)

FileArgument = Annotated[Path, typer.Argument(help="The programme's YAML file.", exists=True, dir_okay=False)]
RosterOption = Annotated[Path | None, typer.Option(help="Sample roster; roster.yaml beside the file by default.")]


@app.command()
def check(file: FileArgument, roster: RosterOption = None, as_json: JsonOption = False) -> None:
    """Check a programme's file; errors come with file and line. Exits with 1 when there are any."""
    from services.programmes.check import check as checked

    found = checked(file, roster)
    if as_json:
        rows = [{"file": str(p.file), "line": p.line, "path": p.path, "message": p.message} for p in found.problems]
        typer.echo(json.dumps({"clean": found.clean, "problems": rows, "open": [str(i) for i in found.information]}))
    else:
        for problem in found.problems:
            typer.secho(str(problem), fg="red")
        for information in found.information:
            typer.secho(f"open  {information}", fg="yellow")
        typer.echo(f"{file.name}: {len(found.problems)} problems, {len(found.information)} open points")
    if not found.clean:
        raise typer.Exit(1)


@app.command(name="import")
def import_(
    file: FileArgument,
    data: DataOption = None,
    roster: RosterOption = None,
    at: Annotated[
        datetime | None, typer.Option(help="When its commands happen; 08:00 on the programme's issue date by default.")
    ] = None,
) -> None:
    """Import a programme into a running instance: as commands, through intake, with receipts. Repeating it adds nothing."""
    from domain.calendar import at_local
    from services.calendar_source import proposed_calendar
    from services.cli.sending import outcomes_table, send_and_wait
    from services.outgoing import to_json
    from services.programmes.check import check as checked
    from services.programmes.importer import import_commands

    found = checked(file, roster)
    if found.programme is None or found.roster is None or found.policy is None or not found.clean:
        raise CommandFailed(f"{file} has {len(found.problems)} problems; see: sauro programme check {file}")
    issued_on = found.programme.document.issued_on
    if at is None and issued_on is None:
        raise CommandFailed(f"{file} has no issue date; say when its commands happen with --at")
    moment = (at or at_local(issued_on or date.min, time(8))).astimezone(UTC)
    commands = import_commands(found.programme, found.roster, found.policy, proposed_calendar(CALENDAR_YEARS), moment)
    settings = located(data)
    messages = [(SOURCE, command.programme, command.id, to_json(command, SOURCE)) for command in commands]
    receipts = asyncio.run(send_and_wait(settings, messages))
    outcomes_table(receipts)
    if any(receipt["outcome"] != "accepted" for receipt in receipts.values()):
        raise typer.Exit(1)
