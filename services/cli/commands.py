"""`sauro`: every command, grouped. Heavy imports happen inside the commands, so that `--help` is quick."""

import logging

import typer

from services.cli import audit, contracts, demo, events, history, programme, projections, replay, running
from services.cli.logs import configure_logging

app = typer.Typer(
    name="sauro",
    help="Event-sourced workflow backend for resolutions, plans and six-clear assignments (giao việc '6 rõ').",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(running.up)
app.command()(running.serve)
app.command()(running.migrate)
app.command()(demo.demo)
app.command()(events.events)
app.command()(events.send)
app.command()(replay.replay)
app.command()(replay.diff)
app.command()(history.history)
audit.app.command()(history.reconcile)
app.add_typer(programme.app, name="programme")
app.add_typer(projections.app, name="projections")
app.add_typer(audit.app, name="audit")
app.add_typer(contracts.app, name="contracts")


@app.callback()
def options(
    log_level: str = typer.Option("WARNING", envvar="SAURO_LOG_LEVEL", help="DEBUG, INFO, WARNING or ERROR."),
) -> None:
    """Settings come from the environment (SAURO_POSTGRES, SAURO_NATS, SAURO_DATA, SAURO_API_PORT …)."""
    if log_level.upper() not in logging.getLevelNamesMapping():
        raise typer.BadParameter(
            f"'{log_level}' is not a level; use DEBUG, INFO, WARNING or ERROR", param_hint="--log-level"
        )
    configure_logging(log_level)


def run() -> None:
    """Run the command that the command line names; what it could not do is said in a line, and its exit code is 1."""
    from services.cli.common import CommandFailed
    from services.engines import EngineError
    from services.settings import MissingEngines

    try:
        app()
    except (CommandFailed, EngineError, MissingEngines) as failed:
        typer.secho(f"sauro: {failed}", fg="red", err=True)
        raise SystemExit(1) from None
