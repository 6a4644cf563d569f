"""The API's HTTP server inside an event loop that is already running."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from services.api.app import leave, settle

GRACE_SECONDS = 5


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs the loop, and tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals stay with the process."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self.listening.set()


class _Protocol(H11Protocol):
    """Lets a response drop its connection (`state["abort"]`): closing one would wait for a reader who takes nothing."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put it where the requests of this connection find it."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "abort": transport.abort}


class RunningServer:
    """A server that listens; `port` is the bound one."""

    def __init__(self, server: _Server, task: asyncio.Task[None], host: str, port: int, app: FastAPI) -> None:
        self._server, self._task, self._app = server, task, app
        self.host, self.port = host, port

    @property
    def url(self) -> str:
        """The address to call."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    async def wait(self) -> None:
        """Until the server ends; raises what ended it."""
        await asyncio.shield(self._task)

    async def stop(self) -> None:
        """End streams and waiting, answer what is under way, for a few seconds, then close."""
        leave(self._app)
        self._server.should_exit = True
        try:
            await self._task
        finally:
            await settle(self._app)


async def serve(app: FastAPI, host: str, port: int) -> RunningServer:
    """Listen on an address and return once requests are answered; port 0 takes a free one.

    Raises OSError when the address cannot be taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=2048)
    # Inherited by connections; asyncio sets it only for sockets that name their protocol, and create_server names none.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)
    bound: int = listener.getsockname()[1]
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, lifespan="off", http=_Protocol)
    config.timeout_graceful_shutdown = GRACE_SECONDS
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="sauro-api")
    started = asyncio.create_task(server.listening.wait())
    await asyncio.wait((task, started), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        started.cancel()
        listener.close()
        await task
        raise RuntimeError(f"the HTTP server on {host}:{bound} ended at its start")
    return RunningServer(server, task, host, bound, app)
