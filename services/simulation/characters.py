"""How a unit works: drawn once for each executing unit, kept for the whole run."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Character:
    """Habits of a unit.

    `finish` is the share of the time given after which a task is handed in, from and to; `pace` multiplies every
    reaction time; the others are probabilities.
    """

    name: str
    pace: float
    finish: tuple[float, float]
    report_late: float
    report_never: float
    progress_skipped: float
    abandons: float
    answers: float
    entered_late: float


DILIGENT = Character("diligent", 0.6, (0.50, 0.85), 0.02, 0.00, 0.03, 0.00, 0.95, 0.02)
AVERAGE = Character("average", 1.0, (0.65, 1.02), 0.08, 0.01, 0.10, 0.02, 0.80, 0.06)
SLOW = Character("slow", 1.7, (0.90, 1.35), 0.25, 0.04, 0.22, 0.08, 0.50, 0.10)
SILENT = Character("silent", 2.2, (1.00, 1.60), 0.25, 0.30, 0.50, 0.40, 0.10, 0.05)

_WEIGHTS = ((DILIGENT, 0.34), (AVERAGE, 0.40), (SLOW, 0.19), (SILENT, 0.07))


def draw(rng: Random) -> Character:
    """A character by its frequency."""
    return rng.choices([c for c, _ in _WEIGHTS], [w for _, w in _WEIGHTS])[0]
