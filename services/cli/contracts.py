"""`sauro contracts`: the published language as documents."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="JSON Schemas, AsyncAPI and OpenAPI documents.", no_args_is_help=True)


@app.command()
def export(folder: Annotated[Path, typer.Argument(help="Where to write the documents.")]) -> None:
    """Write JSON Schemas of all commands, events and receipts, the AsyncAPI and the OpenAPI document."""
    from services.contracts_export import main_export

    raise typer.Exit(main_export(folder))


@app.command()
def check() -> None:
    """Say whether contracts/schemas is what the contracts generate. Exits with 1 when not."""
    from services.contracts_export import main_check

    raise typer.Exit(main_check())
