"""The lock and what it is made from: every declared dependency stands in it, in a version its specifier admits."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
DECLARED = [
    *PROJECT["project"]["dependencies"],
    *(each for extra in EXTRAS.values() for each in extra),
    *PROJECT["build-system"]["requires"],  # the project itself is built without isolation, with what is locked
]


def locked() -> dict[str, set[str]]:
    """The locked versions by normalised name; one that depends on the platform may have several."""
    found: dict[str, set[str]] = {}
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.MULTILINE):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


LOCKED = locked()


@pytest.mark.parametrize("declared", DECLARED)
def test_a_declared_dependency_is_locked_in_a_version_it_admits(declared: str) -> None:
    requirement = Requirement(declared)
    versions = LOCKED.get(canonicalize_name(requirement.name), set())
    assert versions, f"{requirement.name} is not in requirements.lock; run `make lock`"
    assert all(requirement.specifier.contains(version, prereleases=True) for version in versions), versions


def test_the_lock_is_made_from_every_group() -> None:
    recipe = re.search(r"^lock:.*?\n\n", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert recipe is not None
    assert set(re.findall(r"--extra (\S+)", recipe.group())) == EXTRAS.keys()
