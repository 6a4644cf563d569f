"""`sauro demo`: four real programmes, played over 489 days."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer


def demo(
    seed: Annotated[int, typer.Option(help="The same seed gives the same log.")] = 7,
    until: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Last simulated day.")] = datetime(2027, 9, 30),  # noqa: DTZ001 - a day, not an instant
    scale: Annotated[int, typer.Option(min=1, max=100, help="Multiplies the sample tasks.")] = 1,
    headless: Annotated[bool, typer.Option("--headless", help="Exit at the end instead of serving the API.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures of the run to this file.")] = None,
    data: Annotated[Path | None, typer.Option(help="Keep the data; 'sauro up --data DIR' serves it again.")] = None,
) -> None:
    """Start engines and services with a simulated clock, import four programmes and play them."""
    from rich.console import Console

    from domain.calendar import local_date
    from services.cli.common import ADDRESSES, CommandFailed
    from services.cli.running import run
    from services.engines import EmbeddedEngines
    from services.settings import Settings
    from services.simulation.demo import START, DemoOptions, NotPlayable, run_demo
    from services.simulation.tables import WIDTH, ProgressBar, show

    options = DemoOptions(seed=seed, until=until.date(), scale=scale, headless=headless, json=json_file, data=data)
    if options.until < local_date(START):
        raise CommandFailed(f"the play begins on {local_date(START)}; --until {options.until} lies before it")
    if json_file is not None and not json_file.parent.is_dir():
        raise CommandFailed(f"--json {json_file}: the folder {json_file.parent} does not exist")
    if data is not None and data.exists() and any(data.iterdir()):
        raise CommandFailed(
            f"--data {data} is not empty; the demo needs a folder of its own ('sauro up' serves an old one)"
        )
    console = Console(width=WIDTH)
    with EmbeddedEngines(data, relaxed=True) as engines:
        try:
            with ProgressBar(console, local_date(START)) as bar:
                result = asyncio.run(run_demo(options, engines.addresses, progress=bar))
        except NotPlayable as reason:
            raise CommandFailed(str(reason)) from None
        show(result, console, data=data if headless else engines.data)
        if headless:
            return
        found = {"postgres": engines.addresses.postgres, "nats": engines.addresses.nats}
        # Intake among them, so that who reads the history is on record; not the timekeeper: the play's clock stands still.
        services = ("intake", "relay", "projector", "api")
        file = engines.data / ADDRESSES
        try:
            asyncio.run(run(Settings().model_copy(update=found), services, [file]))
        finally:
            file.unlink(missing_ok=True)
