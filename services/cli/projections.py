"""`sauro projections`: where the read models stand, and building them anew."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from services.cli.common import CommandFailed, DataOption, JsonOption, opened_store

app = typer.Typer(help="Read models: status, rebuild.", no_args_is_help=True)


@app.command()
def status(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Position, lag and quarantine of every read model, and what each service last said of itself."""
    from rich.console import Console
    from rich.table import Table

    from projections import status as kept
    from services.projector.core import tracked_name

    with opened_store(data) as store:
        head = store.recorder.max_notification_id() or 0
        with store.recorder.transaction() as cursor:
            positions, stuck, services = kept.positions(cursor), kept.quarantined(cursor), kept.followers(cursor)
        models = [
            {"name": model.name, "position": (at := positions.get(tracked_name(model), 0)), "lag": head - at}
            for model in store.registry.read_models
        ]
    if as_json:
        found = {"position": head, "models": models, "quarantine": stuck, "services": services}
        typer.echo(json.dumps(found, default=str))
        return
    table = Table("read model", "position", "lag", "quarantined", title=f"log position {head}")
    for model in models:
        errors = [f"{row['position']}: {row['error']}" for row in stuck if row["model"] == model["name"]]
        table.add_row(str(model["name"]), str(model["position"]), str(model["lag"]), "\n".join(errors) or "-")
    seen = Table("service", "last seen", "position", "last error")
    for row in services:
        seen.add_row(row["name"], str(row["beat_at"]), str(row["position"] or "-"), row["last_error"] or "-")
    console = Console()
    console.print(table)
    console.print(seen)


@app.command()
def rebuild(
    names: Annotated[list[str] | None, typer.Argument(help="Read models; all when none is named.")] = None,
    data: DataOption = None,
    switch: Annotated[bool, typer.Option("--switch", help="Put the new build in the live one's place.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build read models a second time beside the live ones and compare all rows. Exits with 1 when they differ."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Table

    from services.projector.rebuild import ReadModelsApart, UnknownReadModel
    from services.projector.rebuild import rebuild as build

    columns = (TextColumn("building"), BarColumn(), MofNCompleteColumn(), TextColumn("events"), TimeRemainingColumn())
    with opened_store(data) as store, Progress(*columns, transient=True, console=Console(stderr=True)) as progress:
        bar = progress.add_task("building", total=None)
        try:
            found = build(
                store, names or None, lambda at, head: progress.update(bar, completed=at, total=head), switch=switch
            )
        except (UnknownReadModel, ReadModelsApart) as error:
            raise CommandFailed(str(error)) from None
    if as_json:
        typer.echo(json.dumps([asdict(model) for model in found], default=str))
    else:
        table = Table("relation", "rows", "checksum", "rebuilt", "same")
        for model in found:
            same = "[green]yes[/]" if model.equal else "[red]NO[/]"
            table.add_row(model.name, str(model.rows), model.checksum[-12:], model.rebuilt_checksum[-12:], same)
        Console().print(table)
        for model in found:
            for row in model.differences:
                typer.secho(f"{model.name}: {json.dumps(row, default=str, ensure_ascii=False)}", fg="red")
    if not all(model.equal for model in found):
        raise typer.Exit(1)
