"""Where published checkpoints, keys and tiles are found outside the database: the audit folder, stream CHECKPOINTS, files."""

from collections.abc import Sequence
from pathlib import Path

from services.audit import publishing
from services.audit.folder import Folder
from services.audit.notes import NoteInvalid, Verifier
from services.audit.tiles import HASH, WIDTH, Tile
from services.audit.verification import LeafTiles, Published
from services.bus import Bus
from services.eventlog.reading import LOGS


def from_folder(root: Path) -> list[Published]:
    """Every checkpoint an audit folder (or somebody's copy of one) holds."""
    found = []
    for log in LOGS:
        folder = Folder(root, log)
        notes = list(folder.history())
        last = folder.checkpoint()
        if last is not None and last not in notes[-1:]:
            notes.append(last)
        found += [Published(log, f"folder {root}", note) for note in notes]
    return found


async def from_stream(bus: Bus) -> list[Published]:
    """Every checkpoint stream CHECKPOINTS holds; of very many the newest."""
    return [Published(log, "stream CHECKPOINTS", note) for log, note in await publishing.published(bus, LOGS)]


def from_file(file: Path) -> list[Published]:
    """A checkpoint somebody kept; raises NoteInvalid when its origin names neither log."""
    note = file.read_text(encoding="utf-8", errors="replace")
    log = note.split("\n", 1)[0].rpartition("/")[2]
    if log not in LOGS:
        raise NoteInvalid(f"{file} is no checkpoint of one of Sauro's logs")
    return [Published(log, f"file {file}", note, kept=True)]


def keys_from(text: str) -> list[Verifier]:
    """Public keys, one C2SP verifier key a line; raises NoteInvalid."""
    return [Verifier.parse(line) for line in text.splitlines() if line.strip()]


def folder_tiles(root: Path) -> LeafTiles:
    """The leaf hashes an audit folder holds of a log's first leaves."""

    def read(log: str, size: int) -> bytes | None:
        parts: list[bytes] = []
        for index in range(-(-size // WIDTH)):
            width = min(WIDTH, size - index * WIDTH)
            content = _first_of(
                root / log, (Tile(0, index), Tile(0, index, width)) if width < WIDTH else (Tile(0, index),)
            )
            if content is None or len(content) < width * HASH:
                return None
            parts.append(content[: width * HASH])
        return b"".join(parts)

    return read


def _first_of(folder: Path, tiles: Sequence[Tile]) -> bytes | None:
    return next((file.read_bytes() for tile in tiles if (file := folder / tile.path).exists()), None)
