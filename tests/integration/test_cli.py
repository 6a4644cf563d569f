"""What the command line says to input that cannot work: one line naming the thing, the rule and the way out."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from services.cli.common import CommandFailed
from services.cli.main import app

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
