"""How long a service lets more gather after a batch."""

import pytest

from services.hosting import FEW, GATHERING, gathering

FULL = 1000


@pytest.mark.parametrize(
    ("few", "seconds"),
    [(0, 0.0), (1, 0.0), (FEW, 0.0), (FEW + 10, 0.010), (FEW + 100, GATHERING), (FULL - 1, GATHERING), (FULL, 0.0)],
)
def test_an_idle_service_waits_for_nothing_a_busy_one_for_a_moment_and_one_behind_not_at_all(
    few: int, seconds: float
) -> None:
    assert gathering(few, FULL) == pytest.approx(seconds)


@pytest.mark.parametrize("rate", [50, 500, 900])
def test_below_a_thousand_a_second_the_wait_shrinks_from_batch_to_batch(rate: int) -> None:
    """Whatever a burst left behind: the steps that follow, of 5 ms each, find fewer and fewer."""
    waits, gathered = [], FULL - 1
    for _ in range(60):
        waits.append(gathering(gathered, FULL))
        gathered = int(rate * (waits[-1] + 0.005))
    assert waits[0] == GATHERING
    assert waits[-1] == 0.0
    assert waits == sorted(waits, reverse=True)
