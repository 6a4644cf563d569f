"""`verify`: `sauro audit verify` over a log of 1,000,000 events: every row and column of both logs, held against checkpoints.

`sign`: the follower that builds the tree, catching up with both logs from nothing.
"""

import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from services.audit import verification
from services.audit.collecting import folder_tiles, from_folder, keys_from
from services.audit.follower import Follower
from services.audit.notes import Signer
from services.clock import SystemClock
from services.store import Store
from tests.benchmarks.bench import RUNS, Bench, Installation
from tests.benchmarks.figures import Figure, median_of
from tests.benchmarks.following import SCAN, big, scan
from tests.benchmarks.profiling import VERIFY, show_stages, watching
from tests.benchmarks.world import world


async def verify(bench: Bench) -> list[Figure]:
    """Events a second, though the receipts are checked in the same time; a scan of the same events after each run.

    Each run has a copy of the log that nobody has signed yet.
    """
    template = world(bench, big(bench), projected=True)
    signed, rates, scans = [], [], []
    for run in range(RUNS + 1):
        bench.says(f"run {run} of {RUNS}")
        with bench.installation(template) as place, TemporaryDirectory() as kept:
            seconds = await _sign(place, Path(kept))
            report = await asyncio.to_thread(_verify, place, Path(kept), bench.profile and run == RUNS)
            scanned = scan(place, 0)
        if run:
            signed.append(sum(report.rows.values()) / seconds)
            rates.append(report.rows["events"] / report.seconds)
            scans.append(scanned)
    return [
        Figure("verify", "events/s", True, tuple(rates), {SCAN: median_of(scans)}),
        Figure("sign", "rows/s", True, tuple(signed)),
    ]


async def _sign(place: Installation, folder: Path) -> float:
    """Seconds until the whole log was signed and lay in the folder."""
    store = Store.open(place.dsn, application="bench-audit")
    begun = time.perf_counter()
    await Follower(store, None, SystemClock(), Signer.generate("sauro.bench"), folder=folder).settle()
    seconds = time.perf_counter() - begun
    store.close()
    return seconds


def _verify(place: Installation, folder: Path, profile: bool) -> verification.Report:
    """One verification, in as many processes as it takes by itself; in one, to show its stages."""
    published, tiles = from_folder(folder), folder_tiles(folder)
    keys = keys_from((folder / "keys").read_text(encoding="utf-8"))
    with watching(VERIFY, on=profile) as watch:
        report = verification.verify(place.dsn, published, keys, tiles=tiles, workers=1 if profile else None)
    if profile:
        show_stages("verify, in one process", watch, sum(report.rows.values()), report.seconds, "row")
    assert report.clean, report.problems[0]
    return report
