"""`sauro up` as a department runs it, in processes of its own, and a small HTTP client that costs next to nothing."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from services.audit.notes import Signer
from services.bus import Bus
from tests.benchmarks.bench import Installation

ROOT = Path(__file__).parents[2]
SAURO = (sys.executable, "-m", "services.cli.main")


class Ended(Exception):
    """A process ended by itself."""


@asynccontextmanager
async def sauro(place: Installation | None, *arguments: str) -> AsyncIterator[dict[str, Any]]:
    """`sauro …` on an installation (on engines of its own without one); yields its addresses, process id and seconds to start."""
    with tempfile.TemporaryDirectory(prefix="sauro-bench-") as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SAURO_")}
        if place is not None:
            key = Path(folder) / "audit.key"
            Signer.generate("bench.sauro").write(key)
            environment |= {
                "SAURO_AUDIT_KEY": str(key),
                "SAURO_POSTGRES": place.dsn,
                "SAURO_NATS": place.nats,
                "SAURO_SUBJECT_PREFIX": place.names.prefix,
            }
        async with started((*SAURO, *arguments), environment) as running:
            yield running


@asynccontextmanager
async def started(command: Sequence[str], environment: dict[str, str] | None = None) -> AsyncIterator[dict[str, Any]]:
    """A process that was told `--addresses FILE` and has written it: what stands there, its id, and seconds until then."""
    with tempfile.TemporaryDirectory(prefix="sauro-bench-") as folder:
        addresses = Path(folder) / "addresses"
        begun = time.perf_counter()
        process = subprocess.Popen(  # noqa: ASYNC220 - it is to outlive this function's waits
            [*command, "--addresses", str(addresses)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            while not addresses.exists():
                if process.poll() is not None:
                    raise Ended(f"{' '.join(command)} ended with code {process.returncode}")
                await asyncio.sleep(0.005)
            ready = time.perf_counter() - begun
            yield json.loads(addresses.read_text()) | {"pid": process.pid, "seconds": ready}
        finally:
            process.send_signal(signal.SIGINT)
            try:
                await asyncio.to_thread(process.wait, 40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def events_begin_at(bus: Bus, position: int) -> None:
    """Make stream EVENTS look as if everything up to a position had been published and had aged away."""
    request = json.dumps({"seq": position + 1}).encode()
    stream = bus.names.stream("EVENTS")
    await bus.client.request(f"$JS.API.STREAM.PURGE.{stream}", request, timeout=10)
    info = await bus.js.stream_info(stream)
    assert info.state.last_seq == position, info.state


class Http:
    """One kept connection; GET only."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)

    async def __aenter__(self) -> Self:
        await self._connect()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._writer.close()

    async def _connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)

    async def get(self, path: str, headers: str = "") -> tuple[int, dict[str, str], bytes]:
        """Status, headers with lower-case names, body."""
        try:
            head = await self._asked(path, headers)
        except (asyncio.IncompleteReadError, ConnectionError):  # the server closes what rested for some seconds
            self._writer.close()
            await self._connect()
            head = await self._asked(path, headers)
        found = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:]) if name}
        body = await self._reader.readexactly(int(found.get("content-length", "0")))
        return int(head[0].split(" ", 2)[1]), found, body

    async def _asked(self, path: str, headers: str) -> list[str]:
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n{headers}\r\n".encode())
        return (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")

    async def json(self, path: str) -> Any:
        """The parsed body of a 200."""
        status, _, body = await self.get(path)
        assert status == 200, (path, status, body[:300])
        return json.loads(body)


async def settled(http: Http, position: int, patience: float = 300) -> None:
    """Until the read models stand at a log position."""
    async with asyncio.timeout(patience):
        while True:
            status, _, body = await http.get("/v1/programmes")
            if status == 200 and (answer := json.loads(body))["position"] >= position and answer["lag"] == 0:
                return
            assert status in (200, 503), (status, body[:300])  # 503: no read models yet
            await asyncio.sleep(0.02)


class NotQuiet(Exception):
    """Services did not come to rest in time; says where they stand."""


async def quiet(bus: Bus, http: Http, patience: float = 120) -> None:
    """Until no command waits, every event is published and projected, and the warning service has been sent all of them.

    Both its parts, and the later one has answered them.

    Raises NotQuiet.
    """
    names, times, until = bus.names, 0, time.monotonic() + patience
    while times < 2:  # twice in a row: what was heard last may have led to a command
        sent = (await bus.js.stream_info(names.stream("COMMANDS"))).state.last_seq
        published = (await bus.js.stream_info(names.stream("EVENTS"))).state.last_seq
        intake = await bus.js.consumer_info(names.stream("COMMANDS"), names.stream("intake"))
        warning = await bus.js.consumer_info(names.stream("EVENTS"), names.stream("warning"))
        later = await bus.js.consumer_info(names.stream("EVENTS"), names.stream("warning-later"))
        answered = intake.ack_floor.stream_seq if intake.ack_floor else 0
        status, _, body = await http.get("/v1/programmes")
        answer = json.loads(body) if status == 200 else {"lag": -1, "position": -1}
        stand = (
            f"{sent} commands sent, {answered} answered; {published} events published, {answer['position']} projected,"
            f" lag {answer['lag']}; warning: {warning.num_pending} pending, {warning.num_ack_pending} unacknowledged,"
            f" later: {later.num_pending} pending, {later.num_ack_pending} unacknowledged"
        )
        still = answered >= sent and not (warning.num_pending or later.num_pending or later.num_ack_pending)
        times = times + 1 if still and answer["lag"] == 0 and answer["position"] == published else 0
        if time.monotonic() > until:
            raise NotQuiet(stand)
        await asyncio.sleep(0.1)


async def at_rest(bus: Bus, http: Http, head: int) -> None:
    """Until services that have just started have done what the imported programme's own limits call for."""
    await settled(http, head)
    await asyncio.sleep(2)  # the timekeeper has looked by then
    await quiet(bus, http)
