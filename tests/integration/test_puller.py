"""A puller asks for so much and no more."""

from __future__ import annotations

import asyncio

from services.bus import Bus
from services.puller import Puller
from tests.integration.support import until

AHEAD = 8


async def test_a_request_that_is_fulfilled_ends_no_other(bus: Bus) -> None:
    """NATS says 409 when a request with a bound in bytes has brought all its messages: what else was asked for is still to come.

    Forgotten, it was asked for once more, and up to three times as much waited as there is room for.
    """
    names = bus.names.stream("COMMANDS"), bus.names.stream("intake")
    puller = Puller(bus, *names, ahead=AHEAD)
    await puller.start()

    async def send(number: int) -> None:
        await bus.publish_all([(bus.names.command("S", "P"), b"some", None)] * number)

    async def arrived(number: int) -> None:
        await until(lambda: asyncio.sleep(0, result=puller.arrived >= number))

    await send(5)
    await arrived(5)
    assert len(await puller.take_arrived(AHEAD)) == 5, "five more are asked for, beside three of the first request"
    await send(6)  # NATS takes turns: three for each request, and so all that the first one asked for
    await arrived(6)
    await bus.client.flush()  # what NATS says of the first request is here
    assert len(await puller.take_arrived(AHEAD)) == 6
    await send(20)
    await arrived(AHEAD)
    await bus.client.flush()
    info = await bus.js.consumer_info(*names)
    assert (puller.arrived, info.num_ack_pending, info.num_waiting) == (AHEAD, 5 + 6 + AHEAD, 0)
    await puller.stop()
