"""Which share of the commands an intake instance takes."""

from dataclasses import dataclass

SLOTS = 12
"""Into so many slots NATS maps programme codes (`services.bus`), for ever: another number would move programmes while their
commands wait. Twelve divides evenly among 1, 2, 3, 4, 6 or 12 instances."""


@dataclass(frozen=True, slots=True)
class Partition:
    """Instance `number` of `of` (1 ≤ number ≤ of ≤ 12): it takes the slots whose remainder by `of` is `number` − 1."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: object) -> "Partition":
        """From `k/n`; raises ValueError naming what is wrong."""
        if isinstance(text, Partition):
            return text
        number, slash, of = str(text).partition("/")
        if not (slash and number.isascii() and number.isdigit() and of.isascii() and of.isdigit()):
            raise ValueError(f"'{text}' is no partition; write k/n, the k-th of n intake instances, such as 1/2")
        if not 1 <= int(number) <= int(of) <= SLOTS:
            raise ValueError(f"'{text}' is no partition; k/n needs 1 <= k <= n <= {SLOTS}")
        return cls(int(number), int(of))

    @property
    def slots(self) -> tuple[int, ...]:
        """The slots of this instance."""
        return tuple(range(self.number - 1, SLOTS, self.of))

    @property
    def whole(self) -> bool:
        """Whether one instance takes everything."""
        return self.of == 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"
