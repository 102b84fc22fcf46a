"""What is left of a batch of histories when each teaches its last click alone."""

import numpy as np

from benchmarks.last_click import LastClicks


def test_every_history_keeps_its_inputs_and_loses_all_targets_but_the_last() -> None:
    items, offsets = np.array([4, 2, 3, 9, 8], np.int32), np.array([0, 3, 5])
    batches = LastClicks(items, offsets, length=10, batch=2, seed=0)
    assert batches.targets == 2
    ((inputs, targets), count), *more = batches.epoch(0)
    assert not more
    assert count == 2
    found = {tuple(row): tuple(taught) for row, taught in zip(inputs.tolist(), targets.tolist(), strict=True)}
    assert found == {(4, 2): (0, 3), (9, 0): (8, 0)}


def test_histories_are_drawn_at_random_whatever_their_length() -> None:
    lengths = np.tile([2, 3], 40)
    items, offsets = np.arange(1, 201, dtype=np.int32), np.concatenate([[0], lengths.cumsum()])
    batches = LastClicks(items, offsets, length=10, batch=8, seed=0)
    first, again, other = ([inputs for (inputs, _), _ in batches.epoch(number)] for number in (0, 0, 1))
    assert sum(len({int((row > 0).sum()) for row in inputs}) == 2 for inputs in first) >= 9  # of ten batches
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert [row[0].item() for inputs in first for row in inputs] != [
        row[0].item() for inputs in other for row in inputs
    ]
