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
    from services.cli.running import run
    from services.engines import EmbeddedEngines
    from services.settings import Settings
    from services.simulation.demo import DemoOptions, run_demo

    options = DemoOptions(seed=seed, until=until.date(), scale=scale, headless=headless, json=json_file, data=data)
    with EmbeddedEngines(data, relaxed=True) as engines:
        asyncio.run(run_demo(options, engines.addresses))
        if headless:
            return
        settings = Settings().model_copy(
            update={"postgres": engines.addresses.postgres, "nats": engines.addresses.nats}
        )
        asyncio.run(run(settings, ("api",), []))
