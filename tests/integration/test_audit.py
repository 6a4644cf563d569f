"""The audit follower on real engines: trees, checkpoints, tiles, copies, proofs, exports, restarts."""

from __future__ import annotations

import ast
import asyncio
import base64
import json
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Callable
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeGuard

import orjson
import psycopg
import pytest
from eventsourcing.persistence import IntegrityError
from nats.js.errors import APIError
from typer.testing import CliRunner

from contracts.assignment import (
    AcknowledgeAssignment,
    AssignTask,
    Due,
    Evidence,
    SignOffCompletion,
    StartWork,
    SubmitResult,
)
from contracts.obligation import (
    AcceptObligation,
    DeclareObligation,
    Duty,
    ObligationKind,
    ReturnObligation,
    SubmitObligation,
    WaiveObligation,
)
from contracts.organisation import RevokeAuthority
from contracts.phase import PlanPhase
from domain import kernel
from domain.kernel import SYSTEM_SOURCES
from projections.queries import begin_snapshot
from projections.scope import EVERYTHING
from services.api.app import create_app
from services.audit import access, merkle, publishing, sauro_verify
from services.audit.app import begin
from services.audit.chronicle import chronicle
from services.audit.export import Exported, NothingToExport, Request, Scope, TooLarge, export
from services.audit.follower import Follower
from services.audit.leaves import LEAVES
from services.audit.merkle import CompactRange, leaf_hash
from services.audit.notes import EXPORT, SIGNED, Checkpoint, NoteInvalid, Signer, Verifier, opened, opened_checkpoint
from services.audit.settings import AuditKeyMissing, prepare
from services.audit.tiles import Tile, bundle, hashes_of, tiles_between
from services.bus import Bus
from services.cli.commands import app as cli
from services.cli.common import CommandFailed
from services.engines import EmbeddedEngines
from services.eventlog import trees
from services.eventlog.reading import EVENTS, LOGS, RECEIPTS
from services.hosting import Runtime
from services.labels import LABELS
from services.outgoing import BESIDE
from services.registry import REGISTRY
from services.settings import Settings
from services.store import Store
from tests.integration.conftest import Databases
from tests.integration.reviewing import Case
from tests.integration.support import AUTHORITY, Desk, another, client_of, clock_at, project, rows, stream, task
from tests.unit.spec import ORG

KEY = Signer.generate("sauro.test")
VKEYS = [KEY.for_log(name).verifier() for name in SIGNED]


def follower(store: Store, bus: Bus | None = None, folder: Path | None = None, key: Signer = KEY) -> Follower:
    return Follower(store, bus, clock_at(), key, folder=folder)


def leaves(store: Store, log: str) -> list[bytes]:
    with store.recorder.reading() as cursor:
        return [leaf for _, leaf in LEAVES[log](cursor, 1, 1_000_000)]


def checkpoint(store: Store, log: str) -> Checkpoint:
    with store.recorder.reading() as cursor:
        found = trees.last_checkpoint(cursor, log)
    assert found is not None
    return opened_checkpoint(found.note, VKEYS)


def root_of(entries: list[bytes]) -> bytes:
    tree = CompactRange()
    for entry in entries:
        tree.append(leaf_hash(entry))
    return tree.root()


def filled(store: Store, tasks: int = 150) -> Desk:
    """Assigned tasks (more than a tile of events), one finished, and a refusal."""
    desk = Desk.founded(store)
    desk.assign(*(f"T-{number}" for number in range(tasks)))
    desk.do(StartWork(), stream("T-1"), "PBCXB-TP")
    desk.do(SubmitResult(evidence=(Evidence(system="QLVB", number="1"),)), stream("T-1"), "PBCXB-TP")
    desk.do(SignOffCompletion(), stream("T-1"), authority=AUTHORITY)
    desk.refused(AcknowledgeAssignment(), stream("NOBODY"), "PBCXB-TP")
    return desk


# ---- formats ------------------------------------------------------------------------------------


def test_the_note_of_the_specification() -> None:
    """The example of C2SP signed-note, with its key."""
    note = (
        "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOB"
        "H3mFXmRKuwHjG1Yu72IneyaQM=\n"
    )
    key = Verifier.parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    assert opened(note, [key]) == ("This is an example message.\n", [key])
    for wrong in (note.replace("example message", "other message"), note.replace("\n\n", "\n"), note[:-1], ""):
        with pytest.raises(NoteInvalid):
            opened(wrong, [key])
    with pytest.raises(NoteInvalid, match="no known key"):
        opened(note, VKEYS)


def test_the_checkpoint_of_the_specification() -> None:
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    found = Checkpoint.parse(text)
    assert (found.origin, found.size, found.text()) == ("example.com/behind-the-sofa", 20852163, text)
    for wrong in (text.replace("20852163", "020852163"), text.replace("I=", "=="), "a\n1\n"):
        with pytest.raises(NoteInvalid):
            Checkpoint.parse(wrong)


def test_the_tiles_of_the_specification() -> None:
    assert Tile(0, 1234067).path == "tile/0/x001/x234/067"
    found = list(tiles_between(0, 70_000))
    widths = {(level, index): width for level, index, width in ((t.level, t.index, t.width) for t in found)}
    assert sum(width == 256 for (level, _), width in widths.items() if level == 0) == 273
    assert (widths[0, 273], widths[1, 0], widths[1, 1], widths[2, 0]) == (112, 256, 17, 1)
    assert {(t.level, t.index, t.width) for t in tiles_between(0, 256)} == {(0, 0, 256), (1, 0, 1)}
    for tile in (*found, Tile(None, 5), Tile(None, 1000, 3)):
        assert Tile.parse(tile.path.removeprefix("tile/")) == tile
    for path in (
        "0/1",
        "0/0000",
        "0/000.p/0",
        "0/000.p/256",
        "0/000.p/300",
        "0/000.p/07",
        "64/000",
        "00/000",
        "0/x000/001",
        "../0/000",
    ):
        assert Tile.parse(path) is None
    assert bundle([b"ab", b""]) == b"\x00\x02ab\x00\x00"
    assert bundle([b"x" * 65_536]) is None


def test_a_key_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "key"
    KEY.write(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert Signer.read(file) == KEY
    with pytest.raises(FileExistsError):
        KEY.write(file)
    file.chmod(0o640)
    with pytest.raises(NoteInvalid, match="others may read"):
        Signer.read(file)
    made = CliRunner().invoke(cli, ["audit", "key", "new", str(tmp_path / "other"), "--name", "sauro.example.vn"])
    assert made.exit_code == 0
    signer = Signer.read(tmp_path / "other")
    assert made.stdout.split() == [signer.for_log(name).verifier().vkey for name in SIGNED]


# ---- the follower -------------------------------------------------------------------------------


async def test_a_checkpoint_is_the_root_over_the_stored_bytes(store: Store, bus: Bus, tmp_path: Path) -> None:
    filled(store, 3)
    audits = follower(store, bus, tmp_path)
    await audits.settle()
    for log in LOGS:
        entries = leaves(store, log)
        assert checkpoint(store, log) == Checkpoint(f"sauro.test/{log}", len(entries), root_of(entries))
        assert (tmp_path / log / "checkpoint").read_text() == await publishing.last_published(bus, log)
    assert audits.position == len(leaves(store, EVENTS))
    refused = orjson.loads(leaves(store, RECEIPTS)[-1])
    assert (refused["outcome"], refused["refusal"]["rule"]) == ("rejected", "NoSuchStream")


async def test_nobody_takes_a_published_checkpoint_back(store: Store, bus: Bus) -> None:
    """Stream CHECKPOINTS is one of the installation's streams, kept for good."""
    filled(store, 3)
    await follower(store, bus).settle()
    await bus.ensure_streams()
    name = bus.names.stream(publishing.CHECKPOINTS)
    with pytest.raises(APIError):
        await bus.js.purge_stream(name)
    with pytest.raises(APIError):
        await bus.js.delete_msg(name, 1)
    assert len(await publishing.published(bus, LOGS)) == len(LOGS)


async def test_who_copies_the_folder_needs_nothing_else(store: Store, tmp_path: Path) -> None:
    """As a monitor of tlog-tiles would: checkpoint, tiles, entries, all from files."""
    desk = filled(store)
    await follower(store, folder=tmp_path).settle()
    desk.assign("T-LATER")
    await follower(store, folder=tmp_path).settle()
    for log in LOGS:
        head = opened_checkpoint((tmp_path / log / "checkpoint").read_text(encoding="utf-8"), VKEYS)
        hashes: list[bytes] = []
        for tile in tiles_between(0, head.size):
            content = (tmp_path / log / tile.path).read_bytes()
            assert len(content) == 32 * tile.width
            if tile.level:
                continue
            hashes += hashes_of(content)
            rest = (tmp_path / log / Tile(None, tile.index, tile.width).path).read_bytes()
            for hash_ in hashes_of(content):
                length = int.from_bytes(rest[:2], "big")
                assert leaf_hash(rest[2 : 2 + length]) == hash_
                rest = rest[2 + length :]
            assert rest == b""
        tree = CompactRange()
        for hash_ in hashes:
            tree.append(hash_)
        assert (tree.size, tree.root()) == (head.size, head.root)
        assert len((tmp_path / log / "checkpoints.jsonl").read_text().splitlines()) == 2
    assert sorted((tmp_path / "keys").read_text().split()) == sorted(key.vkey for key in VKEYS)


async def test_it_signs_once_in_an_interval_and_at_the_end(store: Store) -> None:
    desk = Desk.founded(store)
    clock = clock_at()
    audits = Follower(store, None, clock, KEY, interval=timedelta(seconds=1))
    while await audits.step():
        pass
    first = audits.position
    desk.assign("T-1")
    while await audits.step():
        pass
    assert audits.position == first
    clock.move_to(clock.now() + timedelta(seconds=1))
    while await audits.step():
        pass
    assert audits.position == len(leaves(store, EVENTS))


async def test_a_restart_goes_on_and_makes_the_copies_whole(store: Store, bus: Bus, tmp_path: Path) -> None:
    desk = filled(store)
    await follower(store).settle()  # neither folder nor stream: as if it had died before the copies
    before = {log: checkpoint(store, log) for log in LOGS}
    desk.assign(*(f"R-{number}" for number in range(200)))
    await follower(store, bus, tmp_path).settle()
    for log in LOGS:
        with store.recorder.reading() as cursor:
            nodes_size = checkpoint(store, log).size
            found = trees.checkpoints(cursor, log)
        assert [one.size for one in found] == [before[log].size, nodes_size]
        assert [note for name, note in await publishing.published(bus, LOGS) if name == log] == [o.note for o in found]
        assert checkpoint(store, log).root == root_of(leaves(store, log))
    lost = tmp_path / EVENTS / Tile(0, 0).path
    lost.unlink()
    shutil.rmtree(tmp_path / RECEIPTS / "tile")
    await follower(store, bus, tmp_path).settle()
    assert hashes_of(lost.read_bytes()) == [leaf_hash(entry) for entry in leaves(store, EVENTS)[:256]]
    assert (tmp_path / RECEIPTS / Tile(0, 0).path).exists()


async def test_what_the_database_refuses_is_read_again(store: Store) -> None:
    """Another instance kept the same checkpoint first: nothing of this one's is remembered, and it goes on behind."""
    desk = filled(store)
    audits = Follower(store, None, clock_at(), KEY, interval=timedelta(hours=1))
    while await audits.step():
        pass
    desk.assign(*(f"U-{number}" for number in range(140)))
    while await audits.step():
        pass
    with another(store.dsn) as other:
        await follower(other).settle()
    with pytest.raises(IntegrityError, match="duplicate key"):
        await audits.settle()
    await audits.settle()
    assert audits.position == len(leaves(store, EVENTS))
    assert checkpoint(store, EVENTS).root == root_of(leaves(store, EVENTS))


async def test_the_application_may_add_and_nothing_else(store: Store) -> None:
    filled(store, 3)
    await follower(store).settle()
    for table in ("keys", "tiles", "checkpoints", "exports"):
        for what in (f"DELETE FROM audit.{table}", f"TRUNCATE audit.{table}"):
            with pytest.raises(Exception, match="permission denied"), store.recorder.transaction() as cursor:
                cursor.execute(what.encode())
        with psycopg.connect(store.dsn) as owner, pytest.raises(psycopg.errors.InsufficientPrivilege):
            owner.execute(f"TRUNCATE audit.{table}".encode())


async def test_a_key_may_be_replaced_and_both_stay_known(store: Store, tmp_path: Path) -> None:
    desk = filled(store, 3)
    await follower(store, folder=tmp_path).settle()
    desk.assign("T-LATER")
    other = Signer.generate("sauro.test")
    await follower(store, folder=tmp_path, key=other).settle()
    with store.recorder.reading() as cursor:
        assert len(trees.keys(cursor)) == 6
        note = trees.checkpoints(cursor, EVENTS, newest=1)[0].note
    opened_checkpoint(note, [other.for_log(EVENTS).verifier()])
    with pytest.raises(NoteInvalid):
        opened_checkpoint(note, VKEYS)


async def test_the_service_needs_a_key_and_sauro_up_makes_one(
    store: Store, bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SAURO_AUDIT_KEY", "SAURO_AUDIT_DIR"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    runtime = Runtime(Settings(), store, bus, clock_at())
    with pytest.raises(AuditKeyMissing, match="sauro audit key new"):
        await begin(runtime)
    prepare(tmp_path)
    prepare(tmp_path)
    filled(store, 2)
    work = await begin(runtime)
    while await work.step():
        pass
    assert work.position() == len(leaves(store, EVENTS))
    assert (tmp_path / "audit" / EVENTS / "checkpoint").exists()
    assert work.stop is not None
    await work.stop()


# ---- API ----------------------------------------------------------------------------------------


async def test_over_http(store: Store) -> None:
    desk = filled(store)
    await follower(store).settle()
    first = checkpoint(store, EVENTS)
    desk.assign("T-LATER")
    await follower(store).settle()
    app = create_app(store, None, clock_at(), Settings())
    async with client_of(app) as api:
        answer = await api.get("/v1/audit/events/checkpoint")
        head = opened_checkpoint(answer.text, VKEYS)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        known = (await api.get("/v1/audit/keys")).json()["data"]
        assert {key["log"]: key["vkey"] for key in known} == {k.name.rpartition("/")[2]: k.vkey for k in VKEYS}
        for tile in tiles_between(0, head.size):
            content = (await api.get(f"/v1/audit/events/{tile.path}")).content
            assert len(content) == 32 * tile.width
        entries = (await api.get("/v1/audit/events/tile/entries/000")).content
        assert entries == bundle(leaves(store, EVENTS)[:256])
        for path in ("tile/0/009", "tile/0/0", "tile/3/000", "tile/0/000.p/0"):
            assert (await api.get(f"/v1/audit/events/{path}")).status_code == 404

        def hashes(found: dict[str, Any], *names: str) -> list[bytes]:
            return [base64.b64decode(found[name]) for name in names]

        for position in (1, 256, 257, head.size):
            found = (await api.get("/v1/audit/events/proofs/inclusion", params={"position": position})).json()["data"]
            leaf, root = hashes(found, "leaf_hash", "root")
            assert root == head.root
            proof = [base64.b64decode(text) for text in found["proof"]]
            merkle.verify_inclusion(leaf, position - 1, head.size, proof, root)
        found = (await api.get("/v1/audit/events/proofs/consistency", params={"from": first.size})).json()["data"]
        old, new = hashes(found, "from_root", "to_root")
        assert (old, new) == (first.root, head.root)
        proof = [base64.b64decode(text) for text in found["proof"]]
        merkle.verify_consistency(first.size, head.size, old, new, proof)
        far = {"position": head.size + 1}
        assert (await api.get("/v1/audit/events/proofs/inclusion", params=far)).status_code == 404
        assert (await api.get("/v1/audit/nothing/checkpoint")).status_code == 422


# ---- exports ------------------------------------------------------------------------------------


def asked(kind: Any = "programme", code: str = "SVHTTDL-TD500") -> Request:
    return Request(Scope(kind, code), "TTRA-TP", "Kiểm tra việc giao nhiệm vụ", clock_at().now())


@pytest.fixture
async def exported(store: Store, tmp_path: Path) -> tuple[Desk, Path, Exported]:
    desk = filled(store)
    await follower(store).settle()
    desk.assign("T-LATER")
    await follower(store).settle()
    file = tmp_path / "bundle.zip"
    return desk, file, export(store, asked(), file, KEY)


@pytest.fixture(scope="module")
async def bundle_file(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """A bundle of a whole programme, for those who change a copy of it."""
    file = tmp_path_factory.mktemp("bundles") / "bundle.zip"
    with databases() as dsn:
        store = Store.open(dsn)
        desk = filled(store)
        await follower(store).settle()
        desk.assign("T-LATER")
        await follower(store).settle()
        export(store, asked(), file, KEY)
        store.close()
        yield file


def vkeys() -> list[sauro_verify.Key]:
    return [sauro_verify.Key.parse(key.vkey) for key in VKEYS]


def rules(found: sauro_verify.Findings) -> set[str]:
    return {problem["rule"] for problem in found.problems}


async def test_a_bundle_holds(exported: tuple[Desk, Path, Exported], store: Store) -> None:
    _, file, made = exported
    found = sauro_verify.verify(file, vkeys())
    assert found.problems == []
    assert (made.number, made.events) == (1, len(leaves(store, EVENTS)))
    stated = json.loads(zipfile.ZipFile(file).read("figures.json"))
    assert {k: v for k, v in stated["total"].items() if v} == {
        "assigned": 151, "open": 150, "done": 1, "done_on_time_original": 1, "done_on_time_current": 1,
    }  # fmt: skip
    assert export(store, asked(), file, KEY).number == 2


@pytest.mark.parametrize(("kind", "code", "assigned"), [("unit", "PBCXB", 151), ("assignment", "SVHTTDL-TD500/T-7", 1)])
async def test_of_a_part(
    exported: tuple[Desk, Path, Exported], store: Store, kind: str, code: str, assigned: int
) -> None:
    _, file, _ = exported
    made = export(store, asked(kind, code), file, KEY)
    found = sauro_verify.verify(file, vkeys())
    assert found.problems == []
    assert json.loads(zipfile.ZipFile(file).read("figures.json"))["total"]["assigned"] == assigned
    assert found.checked["streams"] == assigned + 2  # with organisation and programme
    assert made.number == 2


async def test_exports_at_once_get_numbers_of_their_own(store: Store, tmp_path: Path) -> None:
    filled(store, 3)
    await follower(store).settle()
    with another(store.dsn) as other:
        made = await asyncio.gather(
            asyncio.to_thread(export, store, asked(), tmp_path / "one.zip", KEY),
            asyncio.to_thread(export, other, asked("unit", "PBCXB"), tmp_path / "two.zip", KEY),
        )
    assert sorted(one.number for one in made) == [1, 2]
    with store.recorder.reading() as cursor:
        kept = cursor.execute("SELECT number, by_post, reason FROM audit.exports ORDER BY number").fetchall()
    assert [tuple(row.values()) for row in kept] == [(n, "TTRA-TP", "Kiểm tra việc giao nhiệm vụ") for n in (1, 2)]


async def test_events_whose_receipts_are_not_signed_yet_wait(store: Store, tmp_path: Path) -> None:
    """Both logs grow while they are signed one after the other; a bundle never holds an event without its receipt."""
    desk = filled(store, 3)
    audits = follower(store)
    await audits.settle()
    before = checkpoint(store, EVENTS).size
    desk.assign("T-LATER")
    await asyncio.to_thread(audits._read, audits._trees[0])
    await audits._sign(audits._trees[0])
    assert checkpoint(store, EVENTS).size == before + 2
    assert export(store, asked(), tmp_path / "b.zip", KEY).sizes[EVENTS] == before
    assert sauro_verify.verify(tmp_path / "b.zip", vkeys()).problems == []


async def test_nothing_to_export(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NothingToExport, match="nothing is signed"):
        export(store, asked(), tmp_path / "b.zip", KEY)
    filled(store, 2)
    await follower(store).settle()
    with pytest.raises(NothingToExport, match="no signed events"):
        export(store, asked("assignment", "SVHTTDL-TD500/NONE"), tmp_path / "b.zip", KEY)
    assert not (tmp_path / "b.zip").exists()
    assert export(store, asked(), tmp_path / "b.zip", KEY).number == 1  # a failed one takes no number


async def test_a_checkpoint_the_reviewer_kept(exported: tuple[Desk, Path, Exported], store: Store) -> None:
    desk, file, _ = exported
    kept = [(await _note(store, log)) for log in LOGS]
    assert sauro_verify.verify(file, vkeys(), kept).problems == []
    desk.assign("T-MORE")
    await follower(store).settle()
    export(store, asked(), file, KEY, kept)
    found = sauro_verify.verify(file, vkeys(), kept)
    assert found.problems == []
    assert len([note for note in found.notes if "part of this log" in note]) == 2
    size = checkpoint(store, EVENTS).size
    forged = KEY.for_log(EVENTS).sign(Checkpoint("sauro.test/events", size, sha256(b"fork").digest()).text())
    assert rules(sauro_verify.verify(file, vkeys(), [forged])) == {"fork"}
    newer = KEY.for_log(EVENTS).sign(Checkpoint("sauro.test/events", size + 1, sha256(b"new").digest()).text())
    assert rules(sauro_verify.verify(file, vkeys(), [newer])) == {"unlinked"}


async def _note(store: Store, log: str) -> str:
    with store.recorder.reading() as cursor:
        found = trees.last_checkpoint(cursor, log)
    assert found is not None
    return found.note


def rebuilt(
    file: Path, change: Callable[[dict[str, bytes]], None], *, manifest: bool = True, key: Signer | None = KEY
) -> Path:
    """The bundle with files changed, and the manifest made to fit and signed anew, as a forger with the key would."""
    with zipfile.ZipFile(file) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    if manifest:
        stated = json.loads(files["manifest.json"])
        named = files.keys() - {"manifest.json", "manifest.note"}
        stated["files"] = {name: sha256(files[name]).hexdigest() for name in named}
        files["manifest.json"] = json.dumps(stated).encode()
        if key is not None:
            files["manifest.note"] = signed_manifest(files["manifest.json"], key.for_log(EXPORT), stated["number"])
    changed = file.with_name("changed.zip")
    with zipfile.ZipFile(changed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return changed


def signed_manifest(manifest: bytes, key: Signer, number: int = 1) -> bytes:
    return key.sign(Checkpoint(key.name, number, sha256(manifest).digest()).text()).encode()


def replaced(name: str, old: bytes, new: bytes) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        assert old in files[name]
        files[name] = files[name].replace(old, new, 1)

    return change


def without_line(name: str, number: int) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        lines = files[name].splitlines(keepends=True)
        del lines[number]
        files[name] = b"".join(lines)

    return change


def swapped(files: dict[str, bytes]) -> None:
    lines = files["events.jsonl"].splitlines(keepends=True)
    lines[60], lines[61] = lines[61], lines[60]
    files["events.jsonl"] = b"".join(lines)


FORGERIES: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "an event reworded": (replaced("events.jsonl", "Rà soát".encode(), b"Ra soat"), "proof"),
    "an event left out": (without_line("events.jsonl", 80), "gap"),
    "an event left out, proven": (without_line("events.jsonl", 80), "proof"),
    "events exchanged": (swapped, "order"),
    "no JSON": (replaced("events.jsonl", b'{"position":9,', b'{"position":,'), "form"),
    "a receipt changed": (replaced("receipts.jsonl", b'"events":2', b'"events":3'), "proof"),
    "a receipt left out": (without_line("receipts.jsonl", 50), "receipt"),
    "a checkpoint of another size": (replaced("checkpoints/events", b"events\n", b"events\n1"), "signature"),
    "another's keys": (lambda files: files.__setitem__("keys", b""), "signature"),
    "a proof cut short": (lambda files: files.__setitem__("proofs/receipts", files["proofs/receipts"][32:]), "proof"),
    "a figure": (replaced("figures.json", b'"done": 1', b'"done": 2'), "figures"),
    "a figure of the dossier": (
        replaced("dossier.html", b'data-figure="done_late">0', b'data-figure="done_late">7'),
        "dossier",
    ),
    "a row of the dossier": (replaced("dossier.html", b' data-figure="done_late"', b""), "dossier"),
    "an event of the dossier": (
        replaced("dossier.html", b'<li data-position="40"', b'<li data-position="41"'),
        "dossier",
    ),
    "a page without its figures": (
        replaced("dossier.html", "<h2>Số liệu</h2>".encode(), "<h2>Số liệu</h2><div hidden>".encode()),
        "dossier",
    ),
    "a false page before the right one": (
        replaced("dossier.html", b"<body>", b"<body><table><tr><th>1</th><td>9</td></tr></table>"),
        "dossier",
    ),
    "labels exchanged": (
        replaced("dossier.html", "<th>Hoàn thành trễ</th>".encode(), "<th>Đúng hạn (hạn gốc)</th>".encode()),
        "dossier",
    ),
    "another heading": (replaced("dossier.html", b"TTRA-TP", b"GD"), "dossier"),
    "a style that hides": (replaced("dossier.html", b"</style>", b"li{display:none}</style>"), "dossier"),
    "bytes after the last event": (lambda files: files.update({"events.jsonl": files["events.jsonl"] + b"{}"}), "form"),
    "definitions": (replaced("definitions.json", b'"position": ', b'"position": 1'), "definitions"),
}


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_forged_bundle_is_found(bundle_file: Path, name: str) -> None:
    change, rule = FORGERIES[name]
    file = rebuilt(bundle_file, change)
    keys = None if name == "another's keys" else vkeys()
    assert rule in rules(sauro_verify.verify(file, keys))
    assert "file" in rules(sauro_verify.verify(rebuilt(bundle_file, change, manifest=False), vkeys()))


MALFORMED: dict[str, Any] = {
    "a number": 5,
    "notes of numbers": [{"note": 5, "proof": []}],
    "a list of lists": [[[]]],
    "proofs of numbers": [{"note": "", "proof": 7}],
    "a text": "x",
    "nothing": None,
}


@pytest.mark.parametrize("name", [name for name in sorted(sauro_verify.NAMES) if name.endswith(".json")])
@pytest.mark.parametrize("what", MALFORMED)
async def test_a_member_of_another_form_is_wrong_and_no_crash(bundle_file: Path, name: str, what: str) -> None:
    def change(files: dict[str, bytes]) -> None:
        files[name] = json.dumps(MALFORMED[what]).encode()

    try:
        found = sauro_verify.verify(rebuilt(bundle_file, change, manifest=name != "manifest.json"), vkeys())
    except sauro_verify.Unreadable:
        return
    assert name in {problem["where"].split(" ")[0] for problem in found.problems}


async def test_random_damage_is_said_and_never_a_crash(bundle_file: Path) -> None:
    """Values of any form in events, receipts and manifest, signed by who made the bundle."""
    rng = random.Random(7)
    values: tuple[Any, ...] = (
        None,
        5,
        -1,
        2**70,
        "x",
        "",
        [],
        {},
        [[]],
        True,
        1e300,
        "\ud800",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
    )

    def damaged(document: Any) -> Any:
        if isinstance(document, dict) and document and rng.random() < 0.8:
            key = rng.choice(sorted(document))
            return {**document, key: damaged(document[key])}
        return rng.choice([value for value in values if value != document])

    for _ in range(150):
        name = rng.choice(("events.jsonl", "receipts.jsonl", "figures.json", "manifest.json"))

        def change(files: dict[str, bytes], name: str = name) -> None:
            if name.endswith("l"):
                lines = files[name].split(b"\n")[:-1]
                place = rng.randrange(len(lines))
                lines[place] = json.dumps(damaged(json.loads(lines[place]))).encode()
                files[name] = b"\n".join([*lines, b""])
            else:
                files[name] = json.dumps(damaged(json.loads(files[name]))).encode()

        try:
            found = sauro_verify.verify(rebuilt(bundle_file, change, manifest=name != "manifest.json"), vkeys())
        except sauro_verify.Unreadable:
            continue
        assert found.problems


async def test_an_earlier_checkpoint_that_does_not_lead_here(bundle_file: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        earlier = json.loads(files["checkpoints/events.earlier.json"])
        head = opened_checkpoint(earlier[0]["note"], VKEYS)
        fork = Checkpoint(head.origin, head.size, sha256(b"another history").digest())
        earlier[0]["note"] = KEY.for_log(EVENTS).sign(fork.text())
        files["checkpoints/events.earlier.json"] = json.dumps(earlier).encode()

    assert rules(sauro_verify.verify(rebuilt(bundle_file, change), vkeys())) == {"consistency"}


def let_through(store: Store, topic: str, **said: Any) -> int:
    """Put an event into the log as if intake had let it through: one like it with other words; None takes a member away."""
    head = store.recorder.head()
    with psycopg.connect(store.dsn) as owner:
        row = owner.execute("SELECT state FROM log.events WHERE topic LIKE %s", (f"%.{topic}.%",)).fetchone()
        assert row is not None
        event = {**orjson.loads(row[0]), "position": head.position + 1, "subject": stream("T-2"), "streamversion": 3}
        event = {name: value for name, value in (event | {"commandid": "FORGED"} | said).items() if value is not None}
        owner.execute(
            "INSERT INTO log.events VALUES (%s, %s, 3, %s, %s, %s)",
            (head.position + 1, stream("T-2"), event["type"], head.recorded_at, orjson.dumps(event)),
        )
        owner.execute(
            "INSERT INTO log.receipts VALUES (%s, %s, 'FORGED', 1, '\\x00', %s, %s, 1, 3, NULL)",
            (head.receipt + 1, event["sender"], head.recorded_at, head.position + 1),
        )
    return head.position + 1


SAURO = {"actorpost": "SAURO", "actorunit": "SAURO"}
LET_THROUGH: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "authority revoked": ("CompletionSignedOff", {}, "authority", "'GD' claimed authority 'KY-KET-QUA'"),
    "no authority": (
        "CompletionSignedOff",
        {"actorauthority": None},
        "authority",
        "'GD' claimed no authority; CompletionSignedOff needs one",
    ),
    "a service signs off": (
        "CompletionSignedOff",
        {"sender": "timekeeper", **SAURO, "actorauthority": None},
        "actor",
        "the service 'timekeeper' cannot cause CompletionSignedOff",
    ),
    "a service as somebody": (
        "DeadlineScheduled",
        {"sender": "warning", "actorpost": "GHOST"},
        "actor",
        "the service 'warning' acts as 'GHOST', not as SAURO alone",
    ),
    "a service with an authority": (
        "DeadlineScheduled",
        {"sender": "warning", **SAURO, "actorauthority": "KY-KET-QUA"},
        "actor",
        "the service 'warning' acts as 'SAURO', not as SAURO alone",
    ),
}


@pytest.mark.parametrize("name", LET_THROUGH)
async def test_an_act_without_the_authority_it_needs(store: Store, tmp_path: Path, name: str) -> None:
    """A log whose intake let through what it should not have: the tree is right, the act is not."""
    topic, words, rule, message = LET_THROUGH[name]
    desk = filled(store, 3)
    desk.do(RevokeAuthority(grant="G-1", reason="hết nhiệm kỳ"), f"organisation/{ORG}", at="2026-05-30T07:00")
    position = let_through(store, topic, **words)
    await follower(store).settle()
    export(store, asked(), tmp_path / "b.zip", KEY)
    found = [
        one
        for one in sauro_verify.verify(tmp_path / "b.zip", vkeys()).problems
        if one["rule"] in ("actor", "authority")
    ]
    assert [(one["rule"], one["where"]) for one in found] == [(rule, f"position {position}")]
    assert message in found[0]["message"]


def test_the_verifier_agrees_with_the_domain_about_who_does_what() -> None:
    """It stands alone, so it has lists of its own."""
    assert sauro_verify.SYSTEM.keys() == SYSTEM_SOURCES
    names = {model.__name__ for contract in REGISTRY.contracts.contracts.values() for model in contract.events}
    assert sauro_verify.AUTHORISED.union(*sauro_verify.SYSTEM.values()) <= names
    assert LABELS["obligation_kind"] == sauro_verify.KINDS
    figures, own = LABELS["figure"], sauro_verify.LABELS
    assert {name: own[name] for name in own.keys() & figures.keys()} == {
        name: figures[name] for name in own.keys() & figures.keys()
    }
    demanding = {
        f"{file.stem}.{function.name}": [ast.unparse(node.args[2]) for node in ast.walk(function) if _demands(node)]
        for file in Path(kernel.__file__).parent.glob("*.py")
        for function in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(function, ast.FunctionDef)
    }
    # Signing off needs the authority the task names; who returns a result may act under it, or in a role.
    assert {name: found for name, found in demanding.items() if found} == {
        "assignment._sign_off": ["content.authority"],
        "assignment._return": ["request.actor.authority"],
    }


def _demands(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require_authority"


# ---- what belongs to a scope ----------------------------------------------------------------------


def relabelled(kind: str, code: str) -> Callable[[dict[str, bytes]], None]:
    """Say that the bundle is one of another scope, in manifest and dossier."""

    def change(files: dict[str, bytes]) -> None:
        restated(lambda manifest: manifest.update(scope={"kind": kind, "code": code}))(files)
        events = [json.loads(line) | {"_bytes": line} for line in files["events.jsonl"].split(b"\n")[:-1]]
        manifest, figures = json.loads(files["manifest.json"]), json.loads(files["figures.json"])
        files["dossier.html"] = sauro_verify.dossier(manifest, figures, events).encode()

    return change


async def test_a_bundle_holds_nothing_outside_its_scope(bundle_file: Path) -> None:
    file = rebuilt(bundle_file, relabelled("assignment", "SVHTTDL-TD500/T-7"))
    found = sauro_verify.verify(file, vkeys())
    assert rules(found) == {"scope"}
    assert len(found.problems) == 150
    assert "does not belong to assignment SVHTTDL-TD500/T-7" in found.problems[0]["message"]
    found = sauro_verify.verify(rebuilt(bundle_file, relabelled("unit", "NOBODY")), vkeys())
    assert "the bundle holds nothing of unit NOBODY" in [problem["message"] for problem in found.problems]


async def test_what_was_left_out_is_found_with_a_copy_of_the_folder(store: Store, tmp_path: Path) -> None:
    filled(store)
    await follower(store, folder=tmp_path / "audit").settle()
    file = tmp_path / "b.zip"
    for kind, code in (("programme", "SVHTTDL-TD500"), ("unit", "PBCXB"), ("assignment", "SVHTTDL-TD500/T-7")):
        export(store, asked(kind, code), file, KEY)
        found = sauro_verify.verify(file, vkeys(), entries=tmp_path / "audit")
        assert (found.problems, found.notes) == ([], [])
        assert found.checked["complete"] == checkpoint(store, EVENTS).size
    less = rebuilt(file, relabelled("programme", "SVHTTDL-TD500"))  # one task instead of all, with proofs that hold
    found = sauro_verify.verify(less, vkeys())
    assert (found.problems, found.notes) == ([], [sauro_verify.INCOMPLETE])
    found = sauro_verify.verify(less, vkeys(), entries=tmp_path / "audit")
    assert rules(found) == {"incomplete"}
    assert len(found.problems) == 149
    assert "2 events of assignment/SVHTTDL-TD500/T-0 belong to programme SVHTTDL-TD500 and were left out" in {
        problem["message"] for problem in found.problems
    }


async def test_a_folder_that_does_not_fit_is_wrong(
    exported: tuple[Desk, Path, Exported], store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "audit"
    await follower(store, folder=folder).settle()
    bundle_ = next((folder / EVENTS / "tile" / "entries").glob("*.p/*"))
    content = bundle_.read_bytes()
    for damaged, said_ in (
        (content.replace(b"T-LATER", b"T-EARLY"), "do not lead to the root"),
        (content[:-1], "lacks entries"),
    ):
        bundle_.write_bytes(damaged)
        (wrong,) = sauro_verify.verify(exported[1], vkeys(), entries=folder).problems
        assert wrong["rule"] == "entries"
        assert said_ in wrong["message"]
    assert rules(sauro_verify.verify(exported[1], vkeys(), entries=tmp_path / "nowhere")) == {"entries"}


async def test_the_export_of_a_task_holds_all_that_its_history_tells(store: Store, bus: Bus, tmp_path: Path) -> None:
    """Its warnings, the explanation that was demanded, the warnings about that one, and its phases; not another task."""
    case = await Case.opened(store, bus)
    first = PlanPhase(name_vi="P1", start=date(2026, 5, 30), end=date(2026, 6, 5))
    second = PlanPhase(name_vi="P2", start=date(2026, 6, 5), end=date(2026, 12, 31), takes_over_from="P1")
    await case.do(first, stream("P1", "phase"), "VPS-CVP")
    await case.do(second, stream("P2", "phase"), "VPS-CVP")
    for code in ("T-8", "T-9"):
        content = task(due=date(2026, 6, 8), phase="P1")
        await case.do(AssignTask(content=content), stream(code), "GD", authority=AUTHORITY)
    await case.play("2026-06-30T08:00")
    await follower(store, folder=tmp_path / "audit").settle()
    file = tmp_path / "b.zip"
    export(store, asked("assignment", "SVHTTDL-TD500/T-9"), file, KEY)
    assert sauro_verify.verify(file, vkeys(), entries=tmp_path / "audit").problems == []
    lines = zipfile.ZipFile(file).read("events.jsonl").splitlines()
    held = {json.loads(line)["subject"] for line in lines}
    with store.recorder.transaction() as cursor:
        begin_snapshot(cursor)
        told = {document["subject"] for document in chronicle(cursor, EVERYTHING, stream("T-9")).documents}
    assert told <= held
    assert {stream("EXA-T-9", "obligation"), stream("P1", "phase"), stream("P2", "phase")} <= held
    assert not any("T-8" in one or "T-1" in one for one in held)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("assignment", "SVHTTDL-TD500/%"),
        ("assignment", "SVHTTDL-TD500"),
        ("programme", "%"),
        ("unit", "PBC_B"),
        ("unit", ""),
    ],
)
def test_a_scope_is_a_code_and_no_pattern(kind: Any, code: str) -> None:
    with pytest.raises(ValueError, match="upper-case letters, digits and hyphens"):
        Scope(kind, code)


async def test_what_the_verifier_could_not_read_is_not_made(
    exported: tuple[Desk, Path, Exported], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = exported[1]
    before = file.read_bytes()
    monkeypatch.setattr(sauro_verify, "LARGEST", 10_000)
    with pytest.raises(TooLarge, match="export a unit or single tasks instead"):
        export(store, asked(), file, KEY)
    assert file.read_bytes() == before


@pytest.mark.parametrize("note", ["", "localhost\n", "sauro.test/other\n1\n\n", "elsewhere/events\n5\n\n"])
async def test_a_checkpoint_of_neither_log_does_not_hold(bundle_file: Path, note: str) -> None:
    (wrong,) = sauro_verify.verify(bundle_file, vkeys(), [note]).problems
    assert (wrong["rule"], wrong["where"]) == ("unlinked", "--checkpoint")
    assert "the bundle's are of sauro.test/events and sauro.test/receipts" in wrong["message"]


def test_a_consistency_proof_is_made_of_hashes() -> None:
    old, part = sha256(b"old").digest(), b"too short"
    assert sauro_verify.consistent(1, 2, old, sauro_verify.node_hash(old, old), [old])
    assert not sauro_verify.consistent(1, 2, old, sauro_verify.node_hash(old, part), [part])


# ---- the verifier as a program --------------------------------------------------------------------


def test_the_verifier_imports_nothing_of_sauro() -> None:
    tree = ast.parse(Path(sauro_verify.__file__).read_text(encoding="utf-8"))
    modules = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert modules - {"cryptography"} <= sys.stdlib_module_names


async def test_a_copy_of_the_file_runs_alone(bundle_file: Path, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere"
    alone.mkdir()
    shutil.copy(sauro_verify.__file__, alone)
    (alone / "keys").write_text("".join(f"{key.vkey}\n" for key in VKEYS))

    def run(file: Path, *more: str) -> tuple[int, str]:
        command = [sys.executable, "-E", "-s", "sauro_verify.py", str(file), *more]
        done = subprocess.run(command, cwd=alone, capture_output=True, text=True, check=False, timeout=60)
        assert done.stderr == ""
        return done.returncode, done.stdout

    assert run(bundle_file, "--key", "keys")[0] == 0
    code, said = run(rebuilt(bundle_file, FORGERIES["a figure"][0]), "--key", "keys")
    assert code == 1
    assert "WRONG  figures.json: figures.json says done = 2 for all; the events give 1" in said
    code, said = run(bundle_file, "--json")
    assert json.loads(said)["notes"] == [sauro_verify.OWN_KEYS, sauro_verify.INCOMPLETE]
    assert "all holds by keys the bundle brought itself" in run(bundle_file)[1].splitlines()[-1]
    assert "all holds: nothing here was changed" in run(bundle_file, "--key", "keys")[1].splitlines()[-1]
    assert run(alone / "keys")[0] == 2
    assert run(alone / "missing.zip")[0] == 2


@pytest.mark.parametrize("name", ["../events.jsonl", "/etc/passwd", "more.txt", "events.jsonl"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
async def test_a_zip_file_leads_nowhere(bundle_file: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy.zip"
    shutil.copy(bundle_file, copy)
    with zipfile.ZipFile(copy, "a") as archive:
        archive.writestr(name, b"x")
    (wrong,) = sauro_verify.verify(copy).problems
    assert (wrong["rule"], wrong["where"]) == ("member", name)
    assert ("twice" if name == "events.jsonl" else "does not belong") in wrong["message"]


@pytest.mark.parametrize("name", sorted(sauro_verify.NAMES))
async def test_a_bundle_without_one_of_its_members(bundle_file: Path, name: str) -> None:
    """Whether the manifest was made to fit or not, and whoever signed it."""
    whole = zipfile.ZipFile(bundle_file)
    copy = bundle_file.with_name("less.zip")
    with whole, zipfile.ZipFile(copy, "w") as archive:
        for member in whole.namelist():
            if member != name:
                archive.writestr(member, whole.read(member))
    (wrong,) = sauro_verify.verify(copy, vkeys()).problems
    assert (wrong["rule"], wrong["where"], wrong["message"]) == ("member", name, f"the bundle lacks {name}")


def restated(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, bytes]], None]:
    """A change of what the manifest states, signed or not."""

    def changed(files: dict[str, bytes]) -> None:
        manifest = json.loads(files["manifest.json"])
        change(manifest)
        files["manifest.json"] = json.dumps(manifest).encode()

    return changed


def noted(sign: Callable[[bytes], bytes]) -> Callable[[dict[str, bytes]], None]:
    """Another signature of the manifest as it stands."""
    return lambda files: files.__setitem__("manifest.note", sign(files["manifest.json"]))


OTHER = Signer.generate("sauro.test")
SIGNATURES: dict[str, tuple[Callable[[dict[str, bytes]], None], str, str]] = {
    "no signature": (noted(lambda manifest: b""), "manifest.note", "it is not signed"),
    "a signature cut off": (
        lambda files: files.__setitem__("manifest.note", files["manifest.note"].partition(b"\n\n")[0] + b"\n"),
        "manifest.note",
        "it is not signed",
    ),
    "another's signature": (
        noted(lambda manifest: signed_manifest(manifest, OTHER.for_log(EXPORT))),
        "manifest.note",
        "no trusted key signed it for 'sauro.test/export'; it is signed by sauro.test/export+",
    ),
    "a signature moved over": (
        noted(lambda manifest: signed_manifest(manifest, KEY.for_log(EXPORT)).replace(b"\n1\n", b"\n2\n", 1)),
        "manifest.note",
        "the signature of 'sauro.test/export' does not fit its text",
    ),
    "signed as a checkpoint": (
        noted(lambda manifest: signed_manifest(manifest, KEY.for_log(EVENTS))),
        "manifest.note",
        "'sauro.test/events' signed the manifest; that key is not one for exports",
    ),
    "another manifest": (restated(lambda m: m.update(reason="another")), "manifest.json", "its SHA-256 differs"),
    "another number": (
        noted(lambda manifest: signed_manifest(manifest, KEY.for_log(EXPORT), 2)),
        "manifest.json",
        "the manifest is that of export 1; the one signed was export 2",
    ),
}


@pytest.mark.parametrize("name", SIGNATURES)
async def test_a_manifest_nobody_signed_so(bundle_file: Path, name: str) -> None:
    change, where, said = SIGNATURES[name]
    (wrong, *_) = sauro_verify.verify(rebuilt(bundle_file, change, manifest=False), vkeys()).problems
    assert (wrong["rule"], wrong["where"]) == ("manifest", where)
    assert said in wrong["message"]


async def test_a_manifest_of_another_installation(bundle_file: Path) -> None:
    """A reviewer who trusts two installations is not shown the record of one under the other's signature."""
    near = Signer.generate("sauro.near")
    keys = [*vkeys(), sauro_verify.Key.parse(near.for_log(EXPORT).verifier().vkey)]
    (wrong,) = sauro_verify.verify(rebuilt(bundle_file, lambda files: None, key=near), keys).problems
    assert wrong["rule"] == "origin"
    assert wrong["message"].endswith("several installations: sauro.near, sauro.test")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda files: files.pop("receipts.jsonl"), "the manifest does not name receipts.jsonl"),
        (lambda files: files.update({"more.csv": "00"}), "the manifest names 'more.csv', which the bundle lacks"),
    ],
)
async def test_a_signed_manifest_that_names_other_files(
    bundle_file: Path, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    def changed(files: dict[str, bytes]) -> None:
        restated(lambda manifest: change(manifest["files"]))(files)
        files["manifest.note"] = signed_manifest(files["manifest.json"], KEY.for_log(EXPORT))

    (wrong,) = sauro_verify.verify(rebuilt(bundle_file, changed, manifest=False), vkeys()).problems
    assert (wrong["rule"], wrong["message"]) == ("file", said)


# ---- obligations in the figures -------------------------------------------------------------------


DUTIES: tuple[tuple[str, ObligationKind, date | None], ...] = (
    ("O-MET", "report", date(2026, 6, 5)),
    ("O-LATE", "report", date(2026, 6, 6)),
    ("O-MISSED", "report", date(2026, 6, 7)),
    ("O-WAIVED", "report", None),
    ("O-BACK", "unit_plan", date(2026, 6, 8)),
    ("O-SIGNED", "commitment", date(2026, 6, 9)),
)
OWED: dict[str, int] = {
    "obligations_owed": 10, "obligations_met": 2, "obligations_late": 1, "obligations_open": 6, "obligations_overdue": 2,
    "obligations_waived": 1, "reports_owed": 4, "reports_on_time": 1, "reports_late": 1, "reports_missing": 1,
    "reports_undated": 1, "products_owed": 1, "commitments_owed": 1, "commitments_signed": 1, "explanations_owed": 4,
    "explanations_open": 4,
}  # fmt: skip


@pytest.fixture
async def owing(store: Store, bus: Bus, tmp_path: Path) -> tuple[Case, Path]:
    """Obligations handed in, accepted, returned, late, overdue, waived; and a late task. What is late must be explained."""
    case = await Case.opened(store, bus)
    for code, kind, due in DUTIES:
        duty = Duty(kind=kind, title=code, unit="PBCXB", addressee="VPS")
        await case.do(
            DeclareObligation(duty=duty, due=Due(day=due) if due else None), stream(code, "obligation"), "VPS-CVP"
        )
    for code in ("O-MET", "O-BACK", "O-SIGNED"):
        await case.do(SubmitObligation(), stream(code, "obligation"), "PBCXB-TP")
    await case.do(AcceptObligation(), stream("O-MET", "obligation"), "VPS-CVP")
    await case.do(ReturnObligation(reason=BESIDE), stream("O-BACK", "obligation"), "VPS-CVP", texts={"reason": "thiếu"})
    await case.do(WaiveObligation(reason="không còn cần"), stream("O-WAIVED", "obligation"), "VPS-CVP")
    await case.play("2026-06-14T08:00")
    await case.do(SubmitObligation(), stream("O-LATE", "obligation"), "PBCXB-TP")
    await follower(store).settle()
    file = tmp_path / "bundle.zip"
    export(store, asked(), file, KEY)
    return case, file


async def test_figures_tell_of_obligations_as_the_scorecard_does(owing: tuple[Case, Path], store: Store) -> None:
    case, file = owing
    assert sauro_verify.verify(file, vkeys()).problems == []
    stated = json.loads(zipfile.ZipFile(file).read("figures.json"))
    assert {name: stated["total"][name] for name in OWED} == OWED
    assert {kind: row["obligations_overdue"] for kind, row in stated["kinds"].items() if row["obligations_overdue"]} == {
        "report": 1, "unit_plan": 1,
    }  # fmt: skip
    assert stated["kinds"]["explanation"]["obligations_open"] == 4
    project(store, case.clock)
    cards = {row["unit"]: row for row in rows(store, "SELECT * FROM read.department_scorecard")}
    for unit, figures in stated["units"].items():
        both = figures.keys() & cards[unit].keys()
        assert both > set(OWED) - set(sauro_verify.OF_A_KIND)
        assert {name: figures[name] for name in both} == {name: cards[unit][name] for name in both}
    page = zipfile.ZipFile(file).read("dossier.html").decode()
    assert '<td data-kind="explanation" data-figure="obligations_open">4</td>' in page


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        (
            "figures.json",
            b'"reports_late": 1',
            b'"reports_late": 0',
            "figures.json says reports_late = 0 for all; the events give 1",
        ),
        (
            "dossier.html",
            b'<td data-kind="report" data-figure="obligations_overdue">1',
            b'<td data-kind="report" data-figure="obligations_overdue">0',
            'data-kind="report" data-figure="obligations_overdue">0</td>',
        ),
    ],
)
async def test_a_forged_figure_of_obligations_is_found(
    owing: tuple[Case, Path], name: str, old: bytes, new: bytes, said: str
) -> None:
    (wrong, *_) = sauro_verify.verify(rebuilt(owing[1], replaced(name, old, new)), vkeys()).problems
    assert wrong["where"] == name
    assert said in wrong["message"]


async def test_the_export_of_a_task_holds_what_was_demanded_for_it(owing: tuple[Case, Path], store: Store) -> None:
    _, file = owing
    export(store, asked("assignment", "SVHTTDL-TD500/T-1"), file, KEY)
    assert sauro_verify.verify(file, vkeys()).problems == []
    stated = json.loads(zipfile.ZipFile(file).read("figures.json"))
    assert (stated["total"]["assigned"], stated["total"]["explanations_open"]) == (1, 1)
    assert stated["kinds"].keys() == {"explanation"}


async def test_a_zip_bomb_is_not_unpacked(bundle_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sauro_verify, "LARGEST", 10_000)
    with pytest.raises(sauro_verify.Unreadable, match="unpacks to more"):
        sauro_verify.verify(bundle_file)


# ---- the command line -----------------------------------------------------------------------------


@pytest.fixture
async def running(dsn: str, store: Store, bus: Bus, engines: EmbeddedEngines, tmp_path: Path) -> AsyncIterator[Path]:
    """A signed installation as the command line finds it: by its environment."""
    filled(store)
    await follower(store, bus, tmp_path / "audit").settle()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAURO_POSTGRES", dsn)
        patch.setenv("SAURO_NATS", engines.addresses.nats)
        patch.setenv("SAURO_SUBJECT_PREFIX", bus.names.prefix)
        patch.setenv("SAURO_AUDIT_DIR", str(tmp_path / "audit"))
        KEY.write(tmp_path / "audit.key")
        patch.setenv("SAURO_AUDIT_KEY", str(tmp_path / "audit.key"))
        yield tmp_path


async def said(*arguments: str) -> tuple[int, str]:
    """A command's exit status and what it printed; in a thread, as it has an event loop of its own."""
    done = await asyncio.to_thread(CliRunner().invoke, cli, ["audit", *arguments])
    return done.exit_code, done.stdout


async def test_on_the_command_line(running: Path, store: Store) -> None:
    code, note = await said("checkpoint")
    assert (code, opened_checkpoint(note, VKEYS)) == (0, checkpoint(store, EVENTS))
    assert sorted((await said("keys"))[1].split()) == sorted(key.vkey for key in VKEYS)
    proof = json.loads((await said("prove", "--position", "7"))[1])
    assert (proof["index"], base64.b64decode(proof["root"])) == (6, checkpoint(store, EVENTS).root)
    assert json.loads((await said("prove", "--from", "5"))[1])["to"] == checkpoint(store, EVENTS).size
    assert (await said("prove"))[0] == 1
    file = running / "bundle.zip"
    code, text = await said(
        "export", "--programme", "SVHTTDL-TD500", "-o", str(file), "--by", "TTRA-TP", "--reason", "x"
    )
    assert (code, text.split(":")[0]) == (0, "export 1")
    assert sauro_verify.verify(file, vkeys()).problems == []


async def test_an_export_needs_the_key(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not read the installation's key cannot make a bundle; of a data folder it is the folder's own."""
    monkeypatch.delenv("SAURO_AUDIT_KEY")
    file = running / "bundle.zip"
    words = ["export", "--programme", "SVHTTDL-TD500", "-o", str(file), "--by", "TTRA-TP", "--reason", "x"]
    done = await asyncio.to_thread(CliRunner().invoke, cli, ["audit", *words])
    assert isinstance(done.exception, CommandFailed)
    assert "the audit has no key" in str(done.exception)
    assert not file.exists()
    assert (await said(*words, "--data", str(running)))[0] == 0
    assert sauro_verify.verify(file, vkeys()).problems == []


async def test_the_live_check_on_the_command_line(running: Path, dsn: str) -> None:
    code, text = await said("verify", "--key", str(running / "audit" / "keys"))
    assert code == 0
    assert "all rows are as they were signed" in text
    assert "stream CHECKPOINTS" in text
    with psycopg.connect(dsn) as owner:
        owner.execute("SET session_replication_role = replica")
        owner.execute("UPDATE log.events SET topic = topic || 'x' WHERE notification_id = 42")
    code, text = await said("verify", "--json")
    assert code == 1
    first = json.loads(text)["problems"][0]
    assert (first["log"], first["position"]) == (EVENTS, 42)


async def test_the_live_check_goes_on_without_nats(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAURO_NATS", "nats://127.0.0.1:1")
    monkeypatch.setattr(access, "GRACE", 0.5)
    code, text = await asyncio.wait_for(said("verify"), 30)
    assert code == 0
    assert "stream CHECKPOINTS: not reached" in text
    text = (await said("verify", "--json"))[1]
    assert json.loads(text)["notes"][0].startswith("stream CHECKPOINTS: not reached")


async def test_the_live_check_refuses_a_folder_that_is_not_there(running: Path) -> None:
    assert "there is no audit folder" in await failed("verify", "--folder", str(running / "nowhere"))


async def test_keys_may_lie_in_a_folder_with_a_plus(running: Path) -> None:
    folder = running / "p+q"
    folder.mkdir()
    shutil.copy(running / "audit" / "keys", folder)
    assert (await said("verify", "--key", str(folder / "keys")))[0] == 0


async def failed(*arguments: str) -> str:
    """Why a command failed."""
    done = await asyncio.to_thread(CliRunner().invoke, cli, ["audit", *arguments])
    assert isinstance(done.exception, CommandFailed)
    return str(done.exception)


def words_of(file: Path, *named: str, by: str = "TTRA-TP", reason: str = "Kiểm tra") -> list[str]:
    named = named or ("--programme", "SVHTTDL-TD500")
    return ["export", *named, "-o", str(file), "--by", by, "--reason", reason]


async def test_a_failed_export_leaves_what_was_there_and_takes_no_number(
    running: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = running / "bundle.zip"
    file.write_bytes(b"an older bundle")
    assert "a reader is the code of a post" in await failed(*words_of(file, by="not a post"))
    assert "a reason is a text" in await failed(*words_of(file, reason="x" * 4001))
    assert "names no assignment" in await failed(*words_of(file, "--assignment", "SVHTTDL-TD500/%"))
    with pytest.MonkeyPatch.context() as away:
        away.setenv("SAURO_NATS", "nats://127.0.0.1:1")
        away.setattr(access, "GRACE", 0.5)
        assert "cannot be recorded" in await failed(*words_of(file))
    assert file.read_bytes() == b"an older bundle"
    assert rows(store, "SELECT number FROM audit.exports") == []
    assert (await said(*words_of(file)))[1].startswith("export 1:")
    assert not (running / ".bundle.zip.part").exists()


async def test_an_export_is_on_record_as_one_of_its_programme(running: Path, bus: Bus) -> None:
    assert (await said(*words_of(running / "b.zip", "--assignment", "SVHTTDL-TD500/T-7")))[0] == 0
    name = bus.names.stream("COMMANDS")
    message = await bus.js.get_msg(name, (await bus.js.stream_info(name)).state.last_seq)
    command = json.loads(message.data or b"")
    assert (command["organisation"], command["data"]["programme"]) == (ORG, "SVHTTDL-TD500")
    assert (command["data"]["about"], command["data"]["reader"]) == ("export 1: SVHTTDL-TD500/T-7", "TTRA-TP")
