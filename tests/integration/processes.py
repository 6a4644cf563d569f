"""Services as processes of their own, to be killed and started again."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from services.engines import EmbeddedEngines

SERVICES = ("intake", "relay", "projector", "timekeeper", "warning")


@dataclass
class Installation:
    """Engines and one process a service."""

    engines: EmbeddedEngines
    dsn: str
    prefix: str
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, service: str) -> None:
        """Start a service as `sauro serve` does."""
        environment = os.environ | {
            "SAURO_POSTGRES": self.dsn,
            "SAURO_NATS": self.engines.addresses.nats,
            "SAURO_SUBJECT_PREFIX": self.prefix,
        }
        command = [sys.executable, "-m", "services.cli.main", "--log-level", "ERROR", "serve", service]
        self.running[service] = subprocess.Popen(command, env=environment, start_new_session=True)

    def kill(self, service: str) -> None:
        """kill -9, no chance to clean up."""
        process = self.running.pop(service)
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    def restart(self, service: str) -> None:
        """kill -9 and start anew."""
        self.kill(service)
        self.start(service)


@contextmanager
def installation(engines: EmbeddedEngines, dsn: str, prefix: str) -> Iterator[Installation]:
    """All services running, and ended at the end."""
    found = Installation(engines, dsn, prefix)
    for service in SERVICES:
        found.start(service)
    try:
        yield found
        ended = {
            service: process.returncode for service, process in found.running.items() if process.poll() is not None
        }
        assert not ended, f"services ended by themselves: {ended}"
    finally:
        for process in found.running.values():
            process.terminate()
        for process in found.running.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
