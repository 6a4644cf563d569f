"""Services as processes of their own, to be killed, stopped and started again."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from services.engines import EmbeddedEngines

SERVICES = ("intake", "relay", "projector", "timekeeper", "warning")


@dataclass
class Installation:
    """Engines and processes that each run a service, by name. With `logs`, what they log from INFO up is kept there."""

    engines: EmbeddedEngines
    dsn: str
    prefix: str
    logs: Path | None = None
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    options: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def start(self, service: str, *options: str, name: str | None = None) -> None:
        """Start a service as `sauro serve` does, under a name of its own if it is one of several."""
        name = name or service
        self.options[name] = options
        environment = os.environ | {
            "SAURO_POSTGRES": self.dsn,
            "SAURO_NATS": self.engines.addresses.nats,
            "SAURO_SUBJECT_PREFIX": self.prefix,
        }
        level = "INFO" if self.logs else "ERROR"
        command = [sys.executable, "-m", "services.cli.main", "--log-level", level, "serve", service, *options]
        with self._log(name).open("ab") if self.logs else nullcontext() as log:
            self.running[name] = subprocess.Popen(command, env=environment, start_new_session=True, stderr=log)

    def kill(self, name: str) -> None:
        """kill -9, no chance to clean up."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    def restart(self, service: str) -> None:
        """kill -9 and start anew, with the options it had."""
        self.kill(service)
        self.start(service, *self.options[service])

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP."""
        self.running[name].send_signal(number)

    def end(self, name: str) -> None:
        """SIGTERM, and wait for the process to end."""
        process = self.running.pop(name)
        process.terminate()
        process.wait(15)

    def said(self, name: str, event: str) -> list[datetime]:
        """When a process logged an event."""
        lines = self._log(name).read_bytes().splitlines()
        found = [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]
        return [datetime.fromisoformat(line["timestamp"]) for line in found if line["event"] == event]

    def _log(self, name: str) -> Path:
        assert self.logs is not None
        return self.logs / f"{name.replace('/', '-of-')}.log"

    def memory(self, name: str) -> int:
        """The resident memory of a process, in bytes."""
        pages = Path(f"/proc/{self.running[name].pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * resource.getpagesize()


@contextmanager
def installation(
    engines: EmbeddedEngines, dsn: str, prefix: str, services: Sequence[str] = SERVICES, logs: Path | None = None
) -> Iterator[Installation]:
    """These services running, and all that was started ended at the end."""
    found = Installation(engines, dsn, prefix, logs)
    for service in services:
        found.start(service)
    try:
        yield found
        ended = {name: process.returncode for name, process in found.running.items() if process.poll() is not None}
        assert not ended, f"services ended by themselves: {ended}"
    finally:
        for process in found.running.values():
            process.terminate()
            process.send_signal(signal.SIGCONT)
        for process in found.running.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
