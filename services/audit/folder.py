"""The folder an outside body copies: per log its checkpoint, its history of checkpoints, tiles and entry bundles.

    <log>/checkpoint            the last checkpoint, replaced whole
    <log>/checkpoints.jsonl     every checkpoint, one JSON line each: {"size": …, "note": …}
    <log>/tile/…                as C2SP tlog-tiles
    keys                        public keys, one C2SP verifier key a line

Every file appears whole or not at all. A tile is written before the checkpoint that needs it.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from services.audit.tiles import HASH, Tile, tiles_between

HISTORY = "checkpoints.jsonl"


class Folder:
    """Writes one log's part of the folder."""

    def __init__(self, root: Path, log: str) -> None:
        self.root, self.path = root, root / log

    def checkpoint(self) -> str | None:
        """The last checkpoint written, None before the first."""
        file = self.path / "checkpoint"
        return file.read_text(encoding="utf-8") if file.exists() else None

    def history(self) -> Iterator[str]:
        """Every checkpoint written, oldest first; a last line that is torn is left out."""
        yield from notes_in(self.path / HISTORY)

    def write_tile(self, tile: Tile, content: bytes) -> None:
        """Keep a tile or a bundle; a full one replaces its partial ones."""
        file = self.path / tile.path
        write_whole(file, content)
        if file.parent.name.endswith(".p"):
            return
        partial = file.with_name(f"{file.name}.p")
        if partial.exists():
            shutil.rmtree(partial)

    def write_checkpoint(self, size: int, note: str) -> None:
        """Add a checkpoint to the history, then make it the present one."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / HISTORY).open("a", encoding="utf-8") as history:
            history.write(json.dumps({"size": size, "note": note}, ensure_ascii=False) + "\n")
            history.flush()
            os.fsync(history.fileno())
        write_whole(self.path / "checkpoint", note.encode(), sync=True)

    def write_keys(self, vkeys: Sequence[str]) -> None:
        """Keep the public keys."""
        write_whole(self.root / "keys", "".join(f"{vkey}\n" for vkey in vkeys).encode(), sync=True)

    def repair(self, size: int, content: Callable[[Tile], bytes | None]) -> int:
        """Write what a tree of `size` needs and the folder lacks, after a crash or a lost folder; returns how many."""
        written = 0
        for tile in tiles_between(0, size):
            wanted = [tile] if tile.level else [tile, Tile(None, tile.index, tile.width)]
            for one in wanted:
                file = self.path / one.path
                least = HASH * one.width if one.level is not None else 1
                if file.exists() and file.stat().st_size >= least:
                    continue
                found = content(one)
                if found is not None:
                    self.write_tile(one, found)
                    written += 1
        return written


def notes_in(history: Path) -> Iterator[str]:
    """The notes of a history file, oldest first; lines that are torn are left out."""
    if not history.exists():
        return
    for line in history.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            yield json.loads(line)["note"]
        except (ValueError, KeyError, TypeError):
            continue


def write_whole(file: Path, content: bytes, *, sync: bool = False) -> None:
    """Put a file in its place at once; `sync` waits for the disk, tiles do without: a lost one is written again."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        handle = temporary.open("wb")
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = temporary.open("wb")
    with handle:
        handle.write(content)
        if sync:
            handle.flush()
            os.fsync(handle.fileno())
    temporary.replace(file)
