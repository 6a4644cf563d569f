"""What the command line says of receipts, and to input that cannot work: one line naming the thing, the rule, the way out."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner

from contracts.assignment import AcknowledgeAssignment, AssignTask
from services.bus import Bus
from services.cli import projections
from services.cli.commands import app
from services.cli.common import CommandFailed
from services.clock import SimulatedClock
from services.engines import EmbeddedEngines
from services.store import Store
from tests.integration.processes import Installation, installation
from tests.integration.support import Desk, Sender, founding, project, receipts, stream, task

Said = subprocess.CompletedProcess[str]
RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """The command line configures the log for its process; here that must not outlive the test."""
    yield
    structlog.reset_defaults()


ADDRESSED = '{"source": "DMS-1", "programme": "SKHCN-TD500", "id": "1"'


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "nothing to send"),
        ("[]", "nothing to send"),
        ("{", "not JSON"),
        ("[1]", "no JSON object"),
        ('{"id": "1"}', "'source': missing"),
        (ADDRESSED.replace("DMS-1", "a.b") + "}", "'source': 1 to 40 letters"),
        (ADDRESSED.replace("SKHCN-TD500", "NO SUCH") + "}", "'programme': 1 to 40 upper-case"),
        (ADDRESSED.replace('"1"', '["a"]') + "}", "'id': 1 to 100 printable"),
        (ADDRESSED.replace("DMS-1", "timekeeper") + "}", "reserved"),
    ],
)
def test_send_refuses_what_it_cannot_address(command: str, said: str) -> None:
    result = RUNNER.invoke(app, ["send", "-"], input=command)
    assert isinstance(result.exception, CommandFailed)
    assert said in str(result.exception)


def test_send_names_a_file_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xe9")
    for name, said in (("none", "No such file"), ("latin", "not UTF-8")):
        result = RUNNER.invoke(app, ["send", str(tmp_path / name)])
        assert isinstance(result.exception, CommandFailed)
        assert said in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["demo", "--headless", "--until", "2020-01-01"], "the play begins on 2026-05-30"),
        (["demo", "--headless", "--json", "/nonexistent/x.json"], "does not exist"),
        (["up", "--data", "/dev/null"], "cannot be a data folder"),
        (["projections", "status", "--data", "/nonexistent"], "nothing runs on"),
    ],
)
def test_commands_say_what_is_wrong_before_they_begin(arguments: list[str], said: str) -> None:
    result = RUNNER.invoke(app, arguments)
    assert isinstance(result.exception, CommandFailed)
    assert said in str(result.exception)


def test_the_demo_takes_no_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    result = RUNNER.invoke(app, ["demo", "--headless", "--data", str(tmp_path)])
    assert isinstance(result.exception, CommandFailed)
    assert "is not empty" in str(result.exception)


def test_a_programme_elsewhere_is_checked_with_the_shipped_roster_and_policy(tmp_path: Path) -> None:
    source = Path("deploy/programmes/skhcn-td500.yaml").read_text(encoding="utf-8")
    file = tmp_path / "mine.yaml"
    file.write_text(source, encoding="utf-8")
    assert RUNNER.invoke(app, ["programme", "check", str(file)]).exit_code == 0
    file.write_text(source.replace("format: 1", "format: 1\nunknown: 1", 1), encoding="utf-8")
    result = RUNNER.invoke(app, ["programme", "check", str(file)])
    assert result.exit_code == 1
    assert "mine.yaml:" in result.output


@pytest.fixture
def running(engines: EmbeddedEngines, dsn: str, bus: Bus) -> Iterator[Installation]:
    """Intake as a process of its own."""
    with installation(engines, dsn, bus.names.prefix, ("intake",)) as found:
        yield found


@pytest.fixture
def sauro(engines: EmbeddedEngines, dsn: str, bus: Bus) -> Callable[..., Said]:
    """The command as a person runs it on the test's engines."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SAURO_")}
    own |= {
        "SAURO_POSTGRES": dsn,
        "SAURO_NATS": engines.addresses.nats,
        "SAURO_SUBJECT_PREFIX": bus.names.prefix,
    }

    def run(*arguments: str, text: str = "") -> Said:
        command = [sys.executable, "-m", "services.cli.main", *arguments]
        return subprocess.run(command, env=own, input=text, capture_output=True, text=True, timeout=90, check=False)

    return run


def listed(positions: list[int]) -> str:
    return ", ".join(map(str, positions))


async def test_r356_send_prints_every_receipt(running: Installation, sauro: Callable[..., Said], bus: Bus) -> None:
    """Accepted, rejected, repeated; as JSON the same and all of them."""
    clock = SimulatedClock(datetime.now(UTC))
    sender = Sender(clock)
    content = task(due=(clock.now() + timedelta(days=60)).date())
    documents = [
        *founding(sender),
        *(sender.document(AssignTask(content=content), stream(f"T-{number:02}")) for number in range(60)),
    ]
    said = await asyncio.to_thread(sauro, "send", "-", text=json.dumps(documents))
    lines = said.stdout.splitlines()
    assert (said.returncode, lines[0]) == (0, f"{len(documents)} accepted")
    assert lines[1].split() == ["command", "outcome", "receipt", "positions", "version"]
    assert [line.split()[0] for line in lines[2:52]] == [document["id"] for document in documents[:50]]
    assert lines[52:] == [f"and {len(documents) - 50} more; --json prints all {len(documents)}"]

    accepted = sender.document(AcknowledgeAssignment(), stream("T-01"), "PBCXB-TP")
    rejected = sender.document(AcknowledgeAssignment(), stream("T-02"), "QLVH-TP")
    some = "\n".join(map(json.dumps, (accepted, rejected, documents[-1])))
    said = await asyncio.to_thread(sauro, "send", "-", text=some)
    answered: dict[str, Any] = {one["id"]: one for _, batch in await receipts(bus) for one in batch}
    first, second, third = (answered[document["id"]] for document in (accepted, rejected, documents[-1]))
    why = second["refusal"]
    refused = f"{why['rule']}, {why['field']}: {why['message']}"
    counts, _, *table = said.stdout.splitlines()
    assert (said.returncode, counts) == (1, "1 accepted, 1 duplicate, 1 rejected")
    assert [re.split(" {2,}", row.strip()) for row in table] == [
        [first["id"], "accepted", str(first["receipt"]), listed(first["positions"]), str(first["version"])],
        [second["id"], "rejected", str(second["receipt"]), "-", "-", refused],
        [third["id"], "duplicate", str(third["receipt"]), listed(third["positions"]), str(third["version"])],
    ]

    said = await asyncio.to_thread(sauro, "send", "-", "--json", text=json.dumps(documents))
    assert said.returncode == 0
    assert [(one["id"], one["duplicate"]) for one in json.loads(said.stdout)] == [(d["id"], True) for d in documents]


def test_a_rebuild_that_was_stopped_says_how_to_go_on(
    store: Store, engines: EmbeddedEngines, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the read models and the options it was begun with; off a terminal it tells in lines how far it is."""
    desk = Desk.founded(store)
    desk.assign("T-1")
    project(store, desk.clock)

    @contextmanager
    def stopping() -> Iterator[Callable[[int, int], None]]:
        def stop(position: int, target: int) -> None:
            raise KeyboardInterrupt

        yield stop

    env = {"SAURO_POSTGRES": dsn, "SAURO_NATS": engines.addresses.nats}
    with monkeypatch.context() as patched:
        patched.setattr(projections, "_shown", stopping)
        stopped = RUNNER.invoke(app, ["projections", "rebuild", "assignments", "--switch"], env=env)
    assert isinstance(stopped.exception, CommandFailed)
    _, _, said = str(stopped.exception).partition("go on with: sauro ")
    assert said == "projections rebuild assignments --switch --resume"
    head = store.recorder.head().position
    again = RUNNER.invoke(app, said.split(), env=env)
    assert again.exit_code == 0, again.output
    assert f"{head:,} of {head:,} events" in again.stderr


async def test_serve_audit_without_a_key_ends_and_says_how_to_make_one(sauro: Callable[..., Said]) -> None:
    said = await asyncio.to_thread(sauro, "serve", "audit")
    (line,) = said.stderr.splitlines()
    assert said.returncode == 1
    assert "sauro audit key new" in line
    assert "SAURO_AUDIT_KEY" in line


def test_serve_audit_ends_when_its_key_cannot_be_used(tmp_path: Path) -> None:
    for name, said in (("none", "cannot be read"), ("open", "chmod 600")):
        (tmp_path / "open").touch(mode=0o644)
        result = RUNNER.invoke(app, ["serve", "audit"], env={"SAURO_AUDIT_KEY": str(tmp_path / name)})
        assert isinstance(result.exception, CommandFailed)
        assert said in str(result.exception)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_waits_for_nats_can_be_ended(dsn: str, number: signal.Signals) -> None:
    environment = os.environ | {"SAURO_POSTGRES": dsn, "SAURO_NATS": "nats://127.0.0.1:1"}
    command = (sys.executable, "-m", "services.cli.main", "serve", "relay")
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        try:
            assert b"nats" in process.stderr.readline()  # it says that NATS does not answer, and tries again
            process.send_signal(number)
            assert process.wait(20) == 0
        finally:
            process.kill()
