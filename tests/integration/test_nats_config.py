"""deploy/nats/nats.conf on a real server: a sender publishes under its own name only, a witness reads checkpoints only."""

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nats
import nats.errors
import pytest

from services.bus import Bus
from services.engines.nats import nats_server

CONFIG = Path(__file__).parents[2] / "deploy" / "nats" / "nats.conf"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The shipped configuration on a free port of loopback, with its store in the test's folder."""
    text = CONFIG.read_text(encoding="utf-8")
    text = text.replace("0.0.0.0:4222", "127.0.0.1:-1").replace("/var/lib/nats", str(tmp_path / "store"))
    file = tmp_path / "nats.conf"
    file.write_text(text, encoding="utf-8")
    environment = os.environ | {
        "SAURO_NATS_PASSWORD": "ours",
        "DMS_NATS_PASSWORD": "theirs",
        "WITNESS_NATS_PASSWORD": "outside",
    }
    process = subprocess.Popen(
        [str(nats_server()), "-c", str(file)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        address = ""
        for line in process.stderr:
            if found := re.search(r"Listening for client connections on (\S+)", line):
                address = found[1]
            if "Server is ready" in line:
                break
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=10)


async def test_a_sender_speaks_under_its_own_name_only(server: str) -> None:
    ours = await Bus.connect(f"nats://sauro:ours@{server}")
    await ours.ensure_streams()
    refused: asyncio.Queue[str] = asyncio.Queue()

    async def on_error(error: Exception) -> None:
        await refused.put(str(error))

    sender = await nats.connect(f"nats://DMS-1:theirs@{server}", error_cb=on_error)
    ack = await sender.jetstream().publish("sauro.command.DMS-1.SKHCN-TD500", b"{}")
    assert ack.stream == "COMMANDS"
    for subject in ("sauro.command.timekeeper.SKHCN-TD500", "sauro.command.DMS-2.SKHCN-TD500", "sauro.receipt.DMS-1"):
        await sender.publish(subject, b"{}")
        assert "permissions violation" in (await asyncio.wait_for(refused.get(), 5)).lower()
    await sender.subscribe("sauro.receipt.DMS-2")
    assert "permissions violation" in (await asyncio.wait_for(refused.get(), 5)).lower()
    assert (await ours.js.stream_info("COMMANDS")).state.messages == 1
    await sender.close()
    await ours.close()


async def test_a_witness_reads_checkpoints_and_nothing_else(server: str) -> None:
    ours = await Bus.connect(f"nats://sauro:ours@{server}")
    await ours.ensure_streams()
    before, after = await ours.publish_all(
        [("sauro.checkpoint.events", note, None) for note in (b"before it came", b"while it hears")]
    )
    refused: asyncio.Queue[str] = asyncio.Queue()

    async def on_error(error: Exception) -> None:
        await refused.put(str(error))

    witness = await nats.connect(f"nats://WITNESS-1:outside@{server}", error_cb=on_error)
    heard = await witness.subscribe("sauro.checkpoint.*")
    await witness.flush()
    stream = witness.jetstream()
    assert (await stream.stream_info("CHECKPOINTS")).state.last_seq == after
    assert (await stream.get_msg("CHECKPOINTS", before, direct=True)).data == b"before it came"
    await ours.js.publish("sauro.checkpoint.receipts", b"new")
    assert (await heard.next_msg(timeout=5)).data == b"new"
    for subject in ("sauro.checkpoint.events", "sauro.command.DMS-1.SKHCN-TD500", "$JS.API.STREAM.DELETE.CHECKPOINTS"):
        await witness.publish(subject, b"{}")
        assert "permissions violation" in (await asyncio.wait_for(refused.get(), 5)).lower()
    await witness.subscribe("sauro.receipt.DMS-1")
    assert "permissions violation" in (await asyncio.wait_for(refused.get(), 5)).lower()
    await witness.close()
    await ours.close()
