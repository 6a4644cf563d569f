"""Whose responsibility is named when something was not done (R-063, R-160)."""

from contracts.phase import Responsibility
from domain.kernel import Refused


class HeadMissing(Refused):
    """The head's responsibility is named, or a reason why not (R-063, R-160)."""


def require_head(responsibility: Responsibility, field: str, about: str = "") -> None:
    """Refuse a responsibility that names no head and says nothing of why; `about` begins the message."""
    if not responsibility.head and not responsibility.head_missing_reason:
        message = "name the responsible head, or why none is named"
        raise HeadMissing(f"{about}: {message}" if about else message, field=f"{field}.head")
