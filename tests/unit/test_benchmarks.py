"""What `make bench` rests on: functions that profiles name exist."""

import functools
from importlib import import_module

import pytest

from tests.benchmarks.profiling import INGEST, PROJECTOR, REBUILD, Stages


@pytest.mark.parametrize("stages", [INGEST, PROJECTOR, REBUILD], ids=["ingest", "projector", "rebuild"])
def test_every_stage_of_a_profile_is_a_function_that_is_called(stages: Stages) -> None:
    """A renamed one would only be said to be gone, and its time would count elsewhere."""
    for _, places in stages:
        for place in places:
            module, path = place.split(":")
            assert callable(functools.reduce(getattr, path.split("."), import_module(module))), place
