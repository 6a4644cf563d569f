"""What NATS sends is taken apart rightly however reads cut it; the rest of nats-py does not notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client
from nats.errors import (
    BadHeaderError,
    BadSubjectError,
    ConnectionClosedError,
    ConnectionDrainingError,
    ConnectionReconnectingError,
    MaxPayloadError,
    ProtocolError,
)

from services.bus import Bus
from services.puller import Puller
from services.wire import Wire
from tests.integration.support import until

HEADERS, ODD = b"NATS/1.0\r\nNats-Batch: 1\r\n\r\n", b"\r\nMSG a.b 1 5\r\n...."
SENT = (
    b"MSG a.b 1 5\r\nhello\r\n"
    b"PING\r\n"
    b"MSG a.b 1 reply.to 0\r\n\r\n"
    b"+OK\r\n"
    b"HMSG a.c 1 reply.to %d %d\r\n%b%b\r\n"
    % (len(HEADERS), len(HEADERS + ODD), HEADERS, ODD)
    + b"MSG a.d 1 r 2\r\n\r\n\r\n"
)
TAKEN = [
    ("a.b", "", b"hello", b""),
    ("a.b", "reply.to", b"", b""),
    ("a.c", "reply.to", ODD, HEADERS),
    ("a.d", "r", b"\r\n", b""),
]


def listening(bus: Bus, taken: list[tuple[str, str, bytes, bytes]]) -> Wire:
    """A wire of its own, for bytes of ours; the client answers them on its connection."""
    wire = Wire(bus.client)
    wire._receivers[b"1"] = lambda *message: taken.append(message)
    return wire


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, 1000])
async def test_however_reads_cut_it(bus: Bus, size: int) -> None:
    taken: list[tuple[str, str, bytes, bytes]] = []
    wire = listening(bus, taken)
    for start in range(0, len(SENT), size):
        await wire.parse(SENT[start : start + size])
    assert taken == TAKEN
    assert wire._held == 0


async def test_another_connection_begins_anew(bus: Bus) -> None:
    taken: list[tuple[str, str, bytes, bytes]] = []
    wire = listening(bus, taken)
    await wire.parse(b"MSG a.b 1 5\r\nhel")
    wire.reset()
    await wire.parse(SENT)
    assert taken == TAKEN


async def test_a_connection_lost_amid_a_read_leaves_nothing(bus: Bus) -> None:
    """nats-py resets its parser when a message of the server's ends a connection; what stood behind that is not for the next."""
    taken: list[bytes] = []
    wire = Wire(bus.client)

    def lose(_subject: str, _reply: str, payload: bytes, _headers: bytes) -> None:
        taken.append(payload)
        if len(taken) == 1:
            wire.reset()

    wire._receivers[b"1"] = lose
    await wire.parse(SENT + b"SOMETHING")
    assert taken == [b"hello"]
    await wire.parse(SENT)
    assert taken == [b"hello", *(payload for _, _, payload, _ in TAKEN)]


@pytest.mark.parametrize(
    "line",
    [
        b"MSG a\r\n",
        b"MSG a.b 1 x\r\n",
        b"MSG a.b 1 -20\r\n",
        b"MSG a.b x 1\r\n",
        b"HMSG a.b 1 9 5\r\n",
        b"SOMETHING else\r\n",
    ],
)
async def test_what_is_not_the_protocol_is_an_error(bus: Bus, line: bytes) -> None:
    with pytest.raises(ProtocolError):
        await listening(bus, []).parse(line)


@pytest.fixture
async def told(bus: Bus) -> AsyncIterator[list[Exception]]:
    """The errors the client tells of."""
    found: list[Exception] = []

    async def tell(error: Exception) -> None:
        found.append(error)

    before, bus.client._error_cb = bus.client._error_cb, tell
    yield found
    bus.client._error_cb = before


async def test_what_makes_a_receiver_fail_stops_no_reading(bus: Bus, told: list[Exception]) -> None:
    """Anybody may publish to an inbox: what has no place in a stream is told of, and what comes behind it is taken."""
    puller = Puller(bus, bus.names.stream("COMMANDS"), bus.names.stream("intake"))
    await puller.start()
    await bus.client.publish(puller._inbox, b"no place in any stream")
    await until(lambda: asyncio.sleep(0, result=bool(told)))
    await bus.publish_all([(bus.names.command("S", "P"), b"first", None)])
    (taken,) = await puller.take(10, 10)
    assert (taken.payload, taken.sequence) == (b"first", 1)
    await puller.stop()


@pytest.mark.parametrize("subject", [b"S.P", b"S.a\x0bb", b"S.\x0c", b"S.\xff", "S.chương-trình".encode()], ids=repr)
async def test_whatever_a_sender_writes_is_taken(bus: Bus, subject: bytes) -> None:
    """Odd subjects, and headers that look like a word of the server's: the next message comes as ever."""
    puller = Puller(bus, bus.names.stream("COMMANDS"), bus.names.stream("intake"))
    await puller.start()
    headers, whole = b"NATS/1.0 409 Consumer Deleted\r\n\r\n", bus.names.subject("command").encode() + b"." + subject
    await bus.client._send_command(b"HPUB %b %d %d\r\n%bodd\r\n" % (whole, len(headers), len(headers) + 3, headers))
    await bus.publish_all([(bus.names.command("S", "P"), b"next", None)])
    taken: list[bytes] = []
    while len(taken) < 2:
        got = await puller.take(10, 10)
        taken += [item.payload for item in got]
        await puller.acknowledge(got)
    assert taken == [b"odd", b"next"]
    await puller.stop()


async def test_large_messages_come_whole_beside_others(bus: Bus) -> None:
    payloads = [b"%d" % number + b"x" * (number * 40_000 % bus.room) for number in range(60)]
    puller = Puller(bus, bus.names.stream("COMMANDS"), bus.names.stream("intake"))
    await puller.start()
    await bus.publish_all([(bus.names.command("S", "P"), payload, None) for payload in payloads])
    found: list[bytes] = []
    while len(found) < len(payloads):
        found += [item.payload for item in await puller.take(10, 10)]
    assert found == payloads
    await puller.stop()


async def test_many_messages_in_one_write_come_in_order_each_whole(bus: Bus) -> None:
    """What a payload holds, headers or none, and another connection's messages beside: each comes as nats-py would send it."""
    subject = bus.names.subject("event", "Chương-trình", "a")
    sent: list[tuple[str, bytes, dict[str, str] | None]] = [
        (subject, ODD * number, {"Nats-Msg-Id": f"số {number}", "X": ""} if number % 3 else None)
        for number in range(50)
    ]
    subscription = await bus.client.subscribe(bus.names.subject("event", ">"))
    await bus.client.flush()
    await bus.wire.publish(sent)
    taken = [await subscription.next_msg(10) for _ in sent]
    assert [(message.subject, message.data, message.headers) for message in taken] == sent


@pytest.mark.parametrize(
    ("subject", "payload", "headers", "error"),
    [
        ("a b", b"", None, BadSubjectError),
        ("a\r\nPUB b 0\r\n", b"", None, BadSubjectError),
        ("", b"", None, BadSubjectError),
        ("a", b"", {"X": "1\r\nY: 2"}, BadHeaderError),
        ("a", b"", {"X\n": "1"}, BadHeaderError),
        ("a", b"x" * (1024 * 1024 + 1), None, MaxPayloadError),
    ],
    ids=["space", "command", "empty", "value", "name", "payload"],
)
async def test_what_cannot_be_sent_is_refused_and_nothing_with_it(
    bus: Bus, subject: str, payload: bytes, headers: dict[str, str] | None, error: type[Exception]
) -> None:
    subscription = await bus.client.subscribe(good := bus.names.subject("x"))
    await bus.client.flush()
    with pytest.raises(error):
        await bus.wire.publish([(good, b"before", None), (subject, payload, headers)])
    await bus.wire.publish([(good, b"alone", None)])
    assert (await subscription.next_msg(10)).data == b"alone"


async def test_nothing_is_kept_for_later(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of what belongs together is no use once NATS is back."""
    with monkeypatch.context() as patch:
        patch.setattr(bus.client, "_status", Client.RECONNECTING)
        with pytest.raises(ConnectionReconnectingError):
            await bus.wire.publish([(bus.names.subject("x"), b"", None)])
    with monkeypatch.context() as patch:
        patch.setattr(bus.client, "_status", Client.DRAINING_PUBS)
        with pytest.raises(ConnectionDrainingError):
            await bus.wire.publish([(bus.names.subject("x"), b"", None)])
    await bus.close()
    with pytest.raises(ConnectionClosedError):
        await bus.wire.publish([(bus.names.subject("x"), b"", None)])
