"""`sauro up` as its own process, from the first command to Ctrl-C and back: on engines of its own, and on given ones."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from services.engines import EmbeddedEngines
from services.engines.process import private_folder, service_account

ROOT = Path(__file__).parents[2]
SAURO = (sys.executable, "-m", "services.cli.main")
PROGRAMME, SOURCE = "SKHCN-TD500", "DMS-1"
PATIENCE, A_LOOK = 60.0, 0.02
SYSTEM = {"timekeeper", "warning"}


def environment(**more: str) -> dict[str, str]:
    """This process's environment without any setting of Sauro's, and with these."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SAURO_")} | more


def sauro(*arguments: str, text: str | None = None, **settings: str) -> str:
    """What a command that succeeds prints."""
    done = subprocess.run(
        [*SAURO, *arguments],
        cwd=ROOT,
        env=environment(**settings),
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout


def state_of(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third on, None once the process has ended; a zombie has."""
    with suppress(OSError):
        found = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
        return found if found[0] not in "ZX" else None
    return None


def below(pid: int) -> dict[int, str]:
    """Every process that descends from this one, with the moment it began, which tells it from a later one of its number."""
    states = {int(entry.name): state_of(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    parents = {other: (int(state[1]), state[19]) for other, state in states.items() if state is not None}
    found: dict[int, str] = {}
    while new := {o: b for o, (parent, b) in parents.items() if parent in (pid, *found) and o not in found}:
        found |= new
    return found


@dataclass
class Up:
    """A running `sauro up`: the addresses it wrote, and where to."""

    process: subprocess.Popen[bytes]
    addresses: dict[str, Any]
    files: tuple[Path, ...]
    errors: Path
    children: dict[int, str] = field(default_factory=dict)

    def interrupt(self) -> None:
        """Ctrl-C: it ends with 0, its addresses are gone, and none of its processes is left."""
        self.children = below(self.process.pid)
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(PATIENCE) == 0, self.said()
        assert [file for file in self.files if file.exists()] == []
        self.ended()

    def ended(self) -> None:
        """None of its processes is left, or soon none: the one that the others were forked from ends by itself."""
        for pid in self._left():
            with suppress(ProcessLookupError):
                ending = os.pidfd_open(pid)
                select.select([ending], [], [], PATIENCE)
                os.close(ending)
        assert self._left() == []

    def _left(self) -> list[int]:
        states = {pid: state_of(pid) for pid in self.children}
        return [pid for pid, state in states.items() if state is not None and state[19] == self.children[pid]]

    def served(self, position: int) -> dict[str, Any]:
        """What GET /v1/programmes answers once the read models stand at a position."""
        with httpx.Client(base_url=self.addresses["api"]) as client:
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                answer = client.get("/v1/programmes")
                if answer.status_code == 200 and answer.json()["position"] >= position:
                    return dict(answer.json())
                with suppress(subprocess.TimeoutExpired):
                    pytest.fail(f"sauro up ended with code {self.process.wait(A_LOOK)}: {self.said()}")
        pytest.fail(f"position {position} is not served: {answer.text[:300]}")

    def log(self) -> list[dict[str, Any]]:
        """Every stored event, as GET /v1/events serves them."""
        found: list[dict[str, Any]] = []
        after: int | None = 0
        with httpx.Client(base_url=self.addresses["api"]) as client:
            while after is not None:
                page = client.get("/v1/events", params={"after": after, "limit": 1000}).raise_for_status().json()
                found += page["data"]
                after = page["next"]
        return found

    def said(self) -> str:
        """What it wrote to standard error."""
        return self.errors.read_text(encoding="utf-8")


@contextmanager
def up(
    folder: Path,
    *options: str,
    data: Path | None = None,
    command: tuple[str, ...] = SAURO,
    cwd: Path = ROOT,
    **settings: str,
) -> Iterator[Up]:
    """`sauro up` with its addresses written; killed at the end if a test did not end it."""
    file, errors = folder / "up.json", folder / "up.err"
    named = () if data is None else ("--data", str(data))
    with errors.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "up", "--addresses", str(file), *named, *options],
            cwd=cwd,
            env=environment(**settings),
            stdout=subprocess.DEVNULL,
            stderr=stream,
            start_new_session=True,
        )
    files = (file,) if data is None else (file, data / "addresses.json")
    try:
        until = time.monotonic() + PATIENCE
        while not all(one.exists() for one in files):
            with suppress(subprocess.TimeoutExpired):
                pytest.fail(f"sauro up ended with code {process.wait(A_LOOK)}: {errors.read_text()}")
            assert time.monotonic() < until, errors.read_text()
        yield Up(process, json.loads(file.read_text(encoding="utf-8")), files, errors)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A private folder that the user who runs PostgreSQL for root can reach."""
    path = private_folder(service_account())
    yield path
    shutil.rmtree(path)


def acknowledgement() -> dict[str, Any]:
    """The README's command, now."""
    return {
        "specversion": "1.0",
        "id": "0198c0de-0001",
        "source": SOURCE,
        "type": "sauro.assignment.AcknowledgeAssignment.v1",
        "subject": f"assignment/{PROGRAMME}/T-01",
        "time": datetime.now(UTC).isoformat(),
        "organisation": "SKHCN",
        "programme": PROGRAMME,
        "actorpost": "TP-VP",
        "actorunit": "VP",
        "data": {},
    }


@pytest.mark.slow
def test_up_from_the_first_command_to_the_same_log(folder: Path, tmp_path: Path) -> None:
    """Import, send, look, Ctrl-C; started again, it serves what was stored, and nothing else of ours."""
    data = folder / "data"
    with up(tmp_path, data=data) as first:
        engines = {"SAURO_POSTGRES": first.addresses["postgres"], "SAURO_NATS": first.addresses["nats"]}
        imported = sauro("programme", "import", "deploy/programmes/skhcn-td500.yaml", **engines)
        assert imported.split(maxsplit=1)[1] == "accepted\n"
        counts, heading, row = sauro("send", "-", "--data", str(data), text=json.dumps(acknowledgement())).splitlines()
        assert counts == "1 accepted"
        assert heading.split() == ["command", "outcome", "receipt", "positions", "version"]
        command, outcome, _, position, _ = row.split()
        assert (command, outcome) == ("0198c0de-0001", "accepted")

        assert PROGRAMME in json.dumps(first.served(int(position)))
        with ThreadPoolExecutor() as side_by_side:
            asked = side_by_side.submit(sauro, "projections", "status", "--json", "--data", str(data))
            printed = side_by_side.submit(sauro, "events", "--after", "0", "--limit", "100000", "--data", str(data))
        stand, stored = json.loads(asked.result()), [json.loads(line) for line in printed.result().splitlines()]
        assert all(model["position"] >= int(position) for model in stand["models"])
        assert stand["quarantine"] == []
        assert [event["position"] for event in stored] == list(range(1, len(stored) + 1))
        assert stored[int(position) - 1]["sender"] == SOURCE
        assert stored[int(position) - 1]["type"] == "sauro.assignment.AssignmentAcknowledged.v1"
        first.interrupt()
        assert '"level": "error"' not in first.said()

    with up(tmp_path, data=data) as second:
        answer = second.served(len(stored))
        assert PROGRAMME in json.dumps(answer)
        again = second.log()
        assert again[: len(stored)] == stored
        assert {event["sender"] for event in again[len(stored) :]} <= SYSTEM  # limits fall meanwhile
        services = {name.removeprefix("pid_"): int(pid) for name, pid in second.addresses.items() if "pid_" in name}
        assert len(services) == 7
        assert services["relay"] == services["warning"]
        assert len(set(services.values())) == 6
        second.interrupt()
        assert set(services.values()) < second.children.keys()


def test_what_up_started_ends_with_it_even_if_it_is_killed(tmp_path: Path) -> None:
    with EmbeddedEngines(relaxed=True) as engines:
        dsn = engines.addresses.postgres
        with up(tmp_path, SAURO_POSTGRES=dsn, SAURO_NATS=engines.addresses.nats) as running:
            running.children = below(running.process.pid)
            assert len(running.children) > 6
            running.process.kill()
            running.process.wait()
            running.ended()


def test_up_finds_its_own_modules_whatever_lies_in_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "__init__.py").write_text("raise SystemExit('not ours')", encoding="utf-8")
    command = Path(sys.executable).with_name("sauro")
    with EmbeddedEngines(relaxed=True) as engines:
        dsn, nats = engines.addresses.postgres, engines.addresses.nats
        with up(
            tmp_path, command=(str(command), "--log-level", "INFO"), cwd=tmp_path, SAURO_POSTGRES=dsn, SAURO_NATS=nats
        ) as running:
            assert running.served(0)["lag"] == 0
            running.interrupt()
            assert '"event": "working"' in running.said()  # the processes log at the level that was asked for


def test_up_ends_when_a_service_does_and_names_it(tmp_path: Path) -> None:
    with EmbeddedEngines(relaxed=True) as engines:
        dsn = engines.addresses.postgres
        with up(tmp_path, SAURO_POSTGRES=dsn, SAURO_NATS=engines.addresses.nats) as running:
            running.children = below(running.process.pid)
            os.kill(int(running.addresses["pid_relay"]), signal.SIGKILL)
            assert running.process.wait(PATIENCE) == 1
            running.ended()
            assert "sauro: services relay, warning ended with code -9; the others are stopped" in running.said()


def test_the_process_that_all_are_forked_from_has_what_they_need() -> None:
    """`multiprocessing` would pass over a module it cannot import, and every process would import it by itself."""
    needed = {"services.app", "services.api.app", "services.cli.processes"}
    found = f"import services.cli.warm, sys; sys.exit(not {needed} <= sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", found], cwd=ROOT, check=False, timeout=PATIENCE)
    assert done.returncode == 0


def test_a_service_of_its_own_does_not_bring_what_only_the_api_needs() -> None:
    """FastAPI would take a third of the time that each process needs to start, and a ninth of its memory."""
    found = "import services.app, sys; sys.exit('fastapi' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", found], cwd=ROOT, check=False, timeout=PATIENCE)
    assert done.returncode == 0


def test_up_on_given_engines_without_a_key_leaves_the_audit_out_and_says_so_once(tmp_path: Path) -> None:
    with EmbeddedEngines(relaxed=True) as engines:
        dsn = engines.addresses.postgres
        with up(tmp_path, SAURO_POSTGRES=dsn, SAURO_NATS=engines.addresses.nats) as running:
            running.served(0)
            with psycopg.connect(dsn) as connection:
                seen = {name for (name,) in connection.execute("SELECT name FROM read.followers")}
            running.interrupt()
            said = running.said()
    assert "api" in seen
    assert "audit" not in seen
    assert '"level": "error"' not in said
    (line,) = [line for line in said.splitlines() if "audit" in line]
    assert "without the service 'audit'" in line
    assert "set SAURO_AUDIT_KEY=FILE" in line
    assert "sauro audit key new" in line
