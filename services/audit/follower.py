"""Follows both logs, grows their trees, signs checkpoints; never signs one that contradicts another it signed.

State lives with the checkpoint: full tiles are kept in its transaction, so what PostgreSQL holds of a tree is always the tree
of the last checkpoint, and a restart continues from there. The copies in the folder and on JetStream come after; what is
missing there after a crash is made up for at the next start, when both are also asked whether they know of a checkpoint
this log contradicts (a database set back to an older state, or another one in its place).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from services.audit import publishing
from services.audit.folder import Folder
from services.audit.growing import Growing
from services.audit.leaves import LEAVES
from services.audit.merkle import leaf_hash, root_at
from services.audit.notes import SIGNED, Checkpoint, NoteInvalid, Signer, Verifier, opened_checkpoint
from services.audit.reading import entries_of, read_tile
from services.audit.tiles import WIDTH, Tile, TileNodes, bundle, tiles_between
from services.bus import Bus
from services.clock import Clock
from services.eventlog import trees
from services.eventlog.reading import LOGS
from services.eventlog.trees import FullTile, SignedCheckpoint
from services.store import Store

BATCH = 2048
MOST_UNSIGNED = 1 << 15
"""So many leaves are never held back for the second to pass: a follower that catches up signs as it goes, and holds no more."""
log = structlog.get_logger("sauro.audit")


class LogContradicted(Exception):
    """The log is not the one that was signed: rows changed, deleted, or a database set back. No further checkpoint is signed."""


@dataclass
class Tree:
    """One log's tree and the last checkpoint signed of it."""

    log: str
    signer: Signer
    growing: Growing = field(default_factory=Growing)
    last_leaf: bytes | None = None
    signed: SignedCheckpoint | None = None
    signed_at: datetime | None = None

    @property
    def signed_size(self) -> int:
        """How many leaves the last checkpoint covers."""
        return self.signed.size if self.signed else 0


@dataclass(frozen=True, slots=True)
class _Made:
    """What a checkpoint consists of, before it is kept."""

    checkpoint: SignedCheckpoint
    full: list[FullTile]
    bundles: list[tuple[int, list[bytes]]]
    before: int


class Follower:
    """One active instance an installation. `interval`: at most one checkpoint of a log in that time."""

    def __init__(
        self,
        opened: Store,
        bus: Bus | None,
        clock: Clock,
        signer: Signer,
        *,
        folder: Path | None = None,
        interval: timedelta = timedelta(seconds=1),
    ) -> None:
        self._store, self._bus, self._clock, self._interval = opened, bus, clock, interval
        self._keys = {name: signer.for_log(name).verifier().vkey for name in SIGNED}
        self._trees = [Tree(name, signer.for_log(name)) for name in LOGS]
        self._folders = {name: Folder(folder, name) for name in LOGS} if folder else {}
        self._begun = False

    @property
    def position(self) -> int | None:
        """The log position the last checkpoint of the events covers; None before the first look."""
        return self._trees[0].signed_size if self._begun else None

    async def step(self) -> int:
        """Read a batch of each log and sign where it is time; returns how many leaves were read or signed.

        Raises LogContradicted, at every further step again, when the log is not the one that was signed.
        """
        if not self._begun:
            await self._begin()
        done = 0
        try:
            for tree in self._trees:
                read = await asyncio.to_thread(self._read, tree)
                done += read
                if self._due(tree, read):
                    done += await self._sign(tree)
        except BaseException:
            self._begun = False  # what was read and not kept is read again
            raise
        return done

    async def settle(self) -> None:
        """Step until all is read and signed, whatever the interval."""
        interval, self._interval = self._interval, timedelta(0)
        try:
            while await self.step():
                pass
        finally:
            self._interval = interval

    def _due(self, tree: Tree, read: int) -> bool:
        waiting = tree.growing.size - tree.signed_size
        if waiting == 0 or waiting >= MOST_UNSIGNED:
            return waiting > 0
        if tree.signed_at is None or not self._interval:
            return read < BATCH
        return self._clock.now() - tree.signed_at >= self._interval

    def _read(self, tree: Tree) -> int:
        """Read on from the last leaf, which must still be what it was."""
        growing = tree.growing
        first = max(growing.size, 1)
        with self._store.recorder.reading() as cursor:
            found = LEAVES[tree.log](cursor, first, growing.size + BATCH)
        if growing.size:
            if not found or found[0][0] != growing.size or leaf_hash(found[0][1]) != tree.last_leaf:
                raise LogContradicted(
                    f"log.{tree.log}: row {growing.size} is gone or changed since it was read; the log was set back or "
                    "written over: run sauro audit verify, and restore the database"
                )
            found = found[1:]
        if [position for position, _ in found] != list(range(growing.size + 1, growing.size + 1 + len(found))):
            raise LogContradicted(f"log.{tree.log}: positions after {growing.size} have a gap; run sauro audit verify")
        if found:
            growing.extend([entry for _, entry in found])
            tree.last_leaf = leaf_hash(found[-1][1])
            if tree.log not in self._folders:
                growing.bundles.clear()  # only the folder has them
        return len(found)

    async def _sign(self, tree: Tree) -> int:
        made = await asyncio.to_thread(self._keep, tree)
        await self._hand_out(tree, made.checkpoint)
        return made.checkpoint.size - made.before

    def _keep(self, tree: Tree) -> _Made:
        before, now = tree.signed_size, self._clock.now()
        root = tree.growing.root()
        note = tree.signer.sign(Checkpoint(tree.signer.name, tree.growing.size, root).text())
        full, bundles = tree.growing.taken()
        made = _Made(SignedCheckpoint(tree.growing.size, root, note, now), full, bundles, before)
        with self._store.recorder.transaction() as cursor:
            trees.insert_tiles(cursor, tree.log, made.full)
            trees.insert_checkpoint(cursor, tree.log, made.checkpoint)
        tree.signed, tree.signed_at = made.checkpoint, now
        if folder := self._folders.get(tree.log):
            self._copy(folder, tree, made)
        return made

    def _copy(self, folder: Folder, tree: Tree, made: _Made) -> None:
        """Tiles and bundles first, the checkpoint that needs them last."""
        for tile in made.full:
            folder.write_tile(Tile(tile.level, tile.index), tile.hashes)
        for index, entries in made.bundles:
            _write_bundle(folder, tree.log, Tile(None, index), entries)
        for partial in tiles_between(made.before, made.checkpoint.size):
            if partial.width < WIDTH and partial.level is not None:
                folder.write_tile(partial, tree.growing.partial(partial.level))
        if entries := tree.growing.entries:
            _write_bundle(folder, tree.log, Tile(None, tree.growing.size // WIDTH, len(entries)), entries)
        folder.write_checkpoint(made.checkpoint.size, made.checkpoint.note)

    async def _hand_out(self, tree: Tree, *checkpoints: SignedCheckpoint) -> None:
        if self._bus is not None:
            await publishing.publish(self._bus, tree.log, tree.signer.name, checkpoints)

    async def _begin(self) -> None:
        """Take up both trees where they were signed last, and compare them with every copy that is at hand."""
        for tree in self._trees:
            verifiers = await asyncio.to_thread(self._resume, tree)
            heard = await publishing.last_published(self._bus, tree.log) if self._bus else None
            copies = {"stream CHECKPOINTS": heard, "the audit folder": None}
            if folder := self._folders.get(tree.log):
                copies["the audit folder"] = folder.checkpoint()
            known = await asyncio.to_thread(self._agree, tree, copies, verifiers)
            if folder:
                await asyncio.to_thread(self._repair, folder, tree, known["the audit folder"])
            with self._store.recorder.reading() as cursor:
                missed = trees.checkpoints(cursor, tree.log, after=known["stream CHECKPOINTS"])
            await self._hand_out(tree, *missed[-1000:])
        await asyncio.to_thread(self._keep_keys)
        self._begun = True

    def _resume(self, tree: Tree) -> list[Verifier]:
        with self._store.recorder.reading() as cursor:
            tree.signed = trees.last_checkpoint(cursor, tree.log)
            verifiers = [Verifier.parse(vkey) for vkey, name, _ in trees.keys(cursor) if name == tree.log]
            tree.growing = Growing()
            if tree.signed is None:
                return [*verifiers, tree.signer.verifier()]
            tree.signed_at = tree.signed.signed_at
            size = tree.signed.size
            roots, level = [], 1
            while size >> (8 * level):
                below = size >> (8 * level)
                roots.append(trees.tile_roots(cursor, tree.log, level - 1, below - below % WIDTH, below))
                level += 1
            tail = LEAVES[tree.log](cursor, size - size % WIDTH + 1, size)
            last = LEAVES[tree.log](cursor, size, size)
        try:
            tree.growing = Growing.resumed(size, roots, [entry for _, entry in tail])
        except LookupError as error:
            raise self._contradicted(tree.log, size, str(error)) from None
        if tree.growing.root() != tree.signed.root or not last:
            raise self._contradicted(tree.log, size, "its end leads to another root")
        tree.last_leaf = leaf_hash(last[0][1])
        if all(key.public != tree.signer.verifier().public for key in verifiers):
            log.warning("another key signs from now on", log=tree.log, key=tree.signer.verifier().vkey)
        return [*verifiers, tree.signer.verifier()]

    @staticmethod
    def _contradicted(name: str, size: int, why: str) -> LogContradicted:
        return LogContradicted(
            f"log.{name} is not the one signed at {size}: {why}; nothing more is signed. Run sauro audit verify"
        )

    def _agree(self, tree: Tree, copies: dict[str, str | None], verifiers: Sequence[Verifier]) -> dict[str, int]:
        """Raise LogContradicted when a copy knows of a checkpoint this log contradicts; returns the copies' sizes."""
        sizes = dict.fromkeys(copies, 0)
        for where, note in copies.items():
            if note is None:
                continue
            try:
                known = opened_checkpoint(note, verifiers)
            except NoteInvalid as error:
                raise LogContradicted(
                    f"{where} holds a checkpoint of log.{tree.log} that none of this database's keys signed ({error}): "
                    "it belongs to another log, or this database was put in its place"
                ) from None
            sizes[where] = known.size
            if known.size > tree.signed_size:
                self._compare_ahead(tree, where, known)
            elif self._root_at(tree, known.size) != known.root:
                raise self._contradicted(tree.log, known.size, f"{where} knows another root of that size")
        return sizes

    def _compare_ahead(self, tree: Tree, where: str, known: Checkpoint) -> None:
        """A copy is ahead of the database: its audit tables were set back. What the log holds must still lead there."""
        ahead = Growing(tree.growing.size, [list(row) for row in tree.growing.rows], list(tree.growing.entries))
        while ahead.size < known.size:
            with self._store.recorder.reading() as cursor:
                found = LEAVES[tree.log](cursor, ahead.size + 1, min(ahead.size + BATCH, known.size))
            if not found:
                raise self._contradicted(tree.log, known.size, f"{where} has seen it longer than it is ({ahead.size})")
            ahead.extend([entry for _, entry in found])
            ahead.taken()
        if ahead.root() != known.root:
            raise self._contradicted(tree.log, known.size, f"{where} knows another root of that size")

    def _root_at(self, tree: Tree, size: int) -> bytes:
        with self._store.recorder.reading() as cursor:
            nodes = TileNodes(lambda tile: read_tile(cursor, tree.log, tile), size)
            return root_at(nodes, size)

    def _repair(self, folder: Folder, tree: Tree, known: int) -> None:
        size = tree.signed_size
        if tree.signed is None:
            return
        with self._store.recorder.reading() as cursor:

            def content(tile: Tile) -> bytes | None:
                if tile.level is not None:
                    return read_tile(cursor, tree.log, tile)
                return bundle(entries_of(cursor, tree.log, tile))

            if written := folder.repair(size, content):
                log.info("audit folder made whole", log=tree.log, files=written)
            for missed in trees.checkpoints(cursor, tree.log, after=known):
                folder.write_checkpoint(missed.size, missed.note)

    def _keep_keys(self) -> None:
        """Say which public keys sign from now on, in the database and in the folder."""
        with self._store.recorder.transaction() as cursor:
            for name, vkey in self._keys.items():
                trees.insert_key(cursor, name, vkey, self._clock.now())
            known = [vkey for vkey, _, _ in trees.keys(cursor)]
        for folder in list(self._folders.values())[:1]:
            folder.write_keys(known)


def _write_bundle(folder: Folder, name: str, tile: Tile, entries: Sequence[bytes]) -> None:
    content = bundle(entries)
    if content is None:
        log.warning("an entry is too long for a bundle of tlog-tiles; its tile is kept", log=name, bundle=tile.path)
        return
    folder.write_tile(tile, content)
