"""Batches of tensors: every row once, together with what belongs to it, in an order of seed and epoch."""

from itertools import chain

import torch

from weft.training.tensor_batches import TensorBatches

ROWS, LABELS = torch.arange(10), torch.arange(10) * 10


def drawn(seed: int, epoch: int, *, whole: bool = False) -> list[list[int]]:
    batches = TensorBatches([ROWS, LABELS], 4, seed, whole=whole)
    made = list(batches.epoch(epoch))
    assert len(made) == len(batches)
    assert all(torch.equal(rows * 10, labels) and len(rows) == count for (rows, labels), count in made)
    return [rows.tolist() for (rows, _), _ in made]


def test_an_epoch_holds_every_row_once_and_the_last_batch_what_is_left() -> None:
    made = drawn(0, 0)
    assert [len(rows) for rows in made] == [4, 4, 2]
    assert sorted(chain.from_iterable(made)) == ROWS.tolist()


def test_whole_batches_leave_out_what_does_not_fill_one_and_one_batch_holds_at_most_all_rows() -> None:
    made = drawn(0, 0, whole=True)
    assert [len(rows) for rows in made] == [4, 4]
    assert len(set(chain.from_iterable(made))) == 8
    assert [count for _, count in TensorBatches([ROWS], 64, 0, whole=True).epoch(0)] == [10]


def test_seed_and_epoch_decide_the_order_and_nothing_else_does() -> None:
    assert drawn(0, 0) == drawn(0, 0)
    assert drawn(0, 0) != drawn(0, 1)
    assert drawn(0, 0) != drawn(1, 0)
