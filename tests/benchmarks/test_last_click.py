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
