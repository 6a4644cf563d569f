"""Checks a programme's file with the roster and the policy beside it: what `sauro programme check` shows."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from contracts.programme import EscalationPolicy
from services.programmes import checks
from services.programmes.directory import directory
from services.programmes.model import ProgrammeFile
from services.programmes.reader import Problem, read
from services.programmes.roster import Roster

ROSTER = "roster.yaml"
POLICY = "default-policy.yaml"


@dataclass(frozen=True)
class Checked:
    """The files as read, None where unreadable, every problem, and what is open without being wrong."""

    programme: ProgrammeFile | None
    roster: Roster | None
    policy: EscalationPolicy | None
    problems: tuple[Problem, ...]
    information: tuple[Problem, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether the programme can be imported."""
        return not self.problems


def _beside(file: Path, name: str) -> Path:
    """The file of that name beside the programme's, or the one that ships with Sauro."""
    own = file.parent / name
    return own if own.exists() else Path(str(files("deploy") / "programmes" / name))


def check(file: Path, roster: Path | None = None, policy: Path | None = None) -> Checked:
    """Read and check a programme; roster and policy are those beside it, or ours, unless named. Cross checks need all three."""
    programme = read(file, ProgrammeFile)
    samples = read(roster or _beside(file, ROSTER), Roster)
    rungs = read(policy or _beside(file, POLICY), EscalationPolicy)
    problems = [*programme.problems, *samples.problems, *rungs.problems]
    if programme.model is None or samples.model is None or rungs.model is None:
        return Checked(programme.model, samples.model, rungs.model, tuple(problems))
    known = directory(programme.model, samples.model)
    problems += checks.roster_problems(programme.model, samples.model, known, samples.source)
    problems += checks.programme_problems(programme.model, rungs.model, known, programme.source)
    open_points: tuple[Problem, ...] = ()
    if not problems:
        # Tasks and obligations can be planned only where every code resolves.
        problems += checks.long_codes(programme.model, samples.model, known, programme.source)
        open_points = tuple(sorted(checks.information(programme.model, samples.model, known, programme.source)))
    return Checked(programme.model, samples.model, rungs.model, tuple(sorted(problems)), open_points)
