"""What every aggregate's state is changed with."""

from dataclasses import replace
from datetime import date

import pytest

from contracts.assignment import TaskContent
from domain.assignment_state import Assignment
from domain.kernel import changed
from domain.organisation_state import Holding


def test_a_changed_state_is_what_replace_gives_and_leaves_the_old_one() -> None:
    before = Assignment("T-1", TaskContent(work="Rà soát"))
    after = changed(before, percent=40, reached=frozenset({"M-1"}))
    assert after == replace(before, percent=40, reached=frozenset({"M-1"}))
    assert (before.percent, before.reached) == (0, frozenset())


def test_a_state_with_slots_is_changed_too() -> None:
    holding = Holding("P-1", date(2026, 1, 1))
    assert changed(holding, valid_to=date(2026, 2, 1)) == replace(holding, valid_to=date(2026, 2, 1))


def test_a_name_that_is_no_field_is_refused() -> None:
    with pytest.raises(TypeError, match="Assignment has not all of the fields percentage"):
        changed(Assignment("T-1", TaskContent(work="Rà soát")), percentage=40)
