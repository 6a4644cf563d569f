"""Rows of many columns: what `_replace` gives is what NamedTuple's own would give."""

from typing import Any, NamedTuple

import pytest

from projections.assignments import AssignmentRow
from projections.deadlines import DeadlineRow
from projections.model import wide
from projections.obligations import ObligationRow
from projections.warnings import WarningRow


@wide
class Row(NamedTuple):
    """Three columns, one of them with a default."""

    name: str
    number: int
    unit: str | None = None


def test_replaced_columns_are_new_and_the_others_and_the_row_stay() -> None:
    row = Row("a", 1)
    after = row._replace(number=2, unit="u")
    assert after == Row("a", 2, "u")
    assert isinstance(after, Row)
    assert row == Row("a", 1)


def test_a_name_that_is_no_column_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="Row has no column 'numbers'"):
        Row("a", 1)._replace(numbers=2)  # type: ignore[call-arg]


@pytest.mark.parametrize("wide_row", [AssignmentRow, DeadlineRow, ObligationRow, WarningRow])
def test_every_column_of_a_wide_row_is_replaced_where_it_stands(wide_row: Any) -> None:
    names = wide_row._fields
    row = wide_row._make(names)
    for at, name in enumerate(names):
        assert row._replace(**{name: None}) == (*names[:at], None, *names[at + 1 :])
