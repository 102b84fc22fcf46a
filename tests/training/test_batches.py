"""Length buckets: every target once, nothing else, and the same order for the same epoch."""

import numpy as np

from weft.training.batches import HistoryBatches

ITEMS = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9], dtype=np.int32)
OFFSETS = np.array([0, 4, 5, 9])  # histories 1-4, 5, 6-9


def _batches(batch: int = 2, length: int = 3) -> HistoryBatches:
    return HistoryBatches(ITEMS, OFFSETS, length=length, batch=batch, seed=0)


def test_each_position_has_its_next_item_as_target_and_a_lonely_event_is_left_out() -> None:
    (((inputs, targets), _),) = _batches().epoch(0)
    rows = sorted(zip(inputs.tolist(), targets.tolist(), strict=True))
    assert rows == [([1, 2, 3], [2, 3, 4]), ([6, 7, 8], [7, 8, 9])]


def test_only_the_last_events_of_a_long_history_are_used() -> None:
    (((inputs, targets), _),) = _batches(length=2).epoch(0)
    rows = sorted(zip(inputs.tolist(), targets.tolist(), strict=True))
    assert rows == [([2, 3], [3, 4]), ([7, 8], [8, 9])]
    assert _batches(length=2).targets == 4


def test_the_average_batch_is_told_even_where_no_history_has_a_target() -> None:
    assert _batches(batch=1).per_batch == 3  # three targets of each of two histories
    assert _batches(batch=2).per_batch == 6
    assert HistoryBatches(ITEMS[:2], np.array([0, 1, 2]), length=3, batch=2, seed=0).per_batch == 0


def test_a_shorter_history_is_padded_on_the_right() -> None:
    batches = HistoryBatches(ITEMS, np.array([0, 2, 6]), length=10, batch=2, seed=0)
    (((inputs, targets), _),) = batches.epoch(0)
    short = int(np.argmin((targets > 0).sum(1)))
    assert inputs[short].tolist() == [1, 0, 0]
    assert targets[short].tolist() == [2, 0, 0]


def test_an_epoch_covers_every_target_once_and_repeats_for_its_number_alone() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 30, size=200)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    items = np.arange(1, offsets[-1] + 1, dtype=np.int32)  # every event is its own item
    batches = HistoryBatches(items, offsets, length=50, batch=16, seed=3)
    seen = np.concatenate([targets[targets > 0] for (_, targets), _ in batches.epoch(4)])
    firsts = items[offsets[:-1][lengths > 0]]
    assert sorted(seen) == sorted(set(items.tolist()) - set(firsts.tolist()))
    assert len(seen) == batches.targets
    again = np.concatenate([targets[targets > 0] for (_, targets), _ in batches.epoch(4)])
    other = np.concatenate([targets[targets > 0] for (_, targets), _ in batches.epoch(5)])
    assert (seen == again).all()
    assert (seen != other).any()
