"""What a reader may see. Every query takes a scope, although the first API issues only "all"."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReadScope:
    """Everything (`all`), or the rows of some programmes and of some units; a row in either is visible."""

    all: bool = False
    programmes: frozenset[str] = frozenset()
    units: frozenset[str] = frozenset()

    @property
    def programme_list(self) -> list[str]:
        """The programmes, as a query parameter."""
        return sorted(self.programmes)

    @property
    def unit_list(self) -> list[str]:
        """The units, as a query parameter."""
        return sorted(self.units)


EVERYTHING = ReadScope(all=True)
"""No limit."""
