"""`sauro projections`: where the read models stand, and building them anew."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a build that was stopped.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build read models a second time beside the live ones and compare all rows. Exits with 1 when they differ.

    The service may run and be read meanwhile. Ctrl-C stops it and leaves the live read models as they are.
    """
    from rich.console import Console
    from rich.table import Table

    from services.projector.rebuild import ReadModelsApart, RebuildRunning, UnknownReadModel
    from services.projector.rebuild import rebuild as build
    from services.projector.switching import SwitchBlocked

    with opened_store(data) as store, _shown() as progress:
        try:
            found = build(store, names or None, progress, switch=switch, resume=resume)
        except (UnknownReadModel, ReadModelsApart, RebuildRunning, SwitchBlocked) as error:
            raise CommandFailed(str(error)) from None
        except KeyboardInterrupt:
            options = (("--data", str(data)) if data else ()) + (("--switch",) if switch else ())
            again = ("sauro projections rebuild", *(names or ()), *options, "--resume")
            raise CommandFailed(
                f"stopped; the live read models are as they were, go on with: {' '.join(again)}"
            ) from None
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


@contextmanager
def _shown() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error with events a second and the time left, as `progress(position, target)`.

    A line for each tenth where standard error is no terminal.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f} events/s" if task.speed else "")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, transient=True, console=console) as progress:
        bar, tenths = progress.add_task("building", total=None), -1

        def show(position: int, target: int) -> None:
            nonlocal tenths
            step = "building" if position < target else "comparing"
            progress.update(bar, completed=position, total=target, description=step)
            if not console.is_terminal and (now := 10 * position // max(target, 1)) > tenths:
                tenths = now
                typer.echo(f"{step}: {position:,} of {target:,} events", err=True)

        yield show
