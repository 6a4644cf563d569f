"""A limit as a person writes it becomes one instant, or is refused (R-163, R-164)."""

from typing import overload

from contracts.assignment import Due
from contracts.limits import Limit
from domain.kernel import Refused
from domain.limits import limit_of


class HourNeedsBefore(Refused):
    """Saying "by 15:00" does not tell whether that minute counts; an hour is written with 'before' (R-163)."""


@overload
def limit_from(due: Due, field: str = ...) -> Limit: ...
@overload
def limit_from(due: Due | None, field: str = ...) -> Limit | None: ...
def limit_from(due: Due | None, field: str = "data.due") -> Limit | None:
    """The instant of a limit as a person wrote it; refused when it is none."""
    if due is None:
        return None
    if due.hour is not None and due.boundary != "before":
        raise HourNeedsBefore(
            f"{due.day} {due.hour}: write boundary 'before' or leave the hour out", field=f"{field}.hour"
        )
    return limit_of(due.day, due.boundary, due.hour)
