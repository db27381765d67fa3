"""A set of numbers that takes 8 bytes for each."""

from __future__ import annotations

import random
import tracemalloc

from tutor_transform_logs.lms_job.util.number_set import NumberSet


def test_it_has_what_it_was_made_of_and_nothing_else() -> None:
    dice = random.Random(1)
    numbers = {dice.getrandbits(64) for _ in range(5000)} | {0, 2**64 - 1}
    made = NumberSet([*numbers, *numbers])
    assert len(made) == 2 * len(numbers)
    assert all(number in made for number in numbers)
    assert not any(number in made for number in (dice.getrandbits(64) for _ in range(5000)))
    assert not NumberSet(())
    assert 5 not in NumberSet(())


def test_it_takes_little_more_than_the_numbers() -> None:
    """Also while it is made: a list of them takes 40 bytes for each."""
    dice = random.Random(1)
    tracemalloc.start()
    try:
        made = NumberSet(dice.getrandbits(64) for _ in range(200_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 * len(made)
