"""Batches of single interactions: every one once, drawn items that were not taken, equal for an equal epoch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.models import contracts as c
from weft.training.interactions import InteractionBatches

TRAIN = c.events([[1, 2, 3], [2, 4], [5, 1, 6, 7]])


def _epoch(batches: InteractionBatches, number: int = 0) -> list[torch.Tensor]:
    parts = [batch for batch, _ in batches.epoch(number)]
    return [torch.cat(column) for column in zip(*parts, strict=True)]


def test_every_interaction_comes_once_first_in_its_row_and_the_drawn_ones_were_not_taken_by_that_user() -> None:
    batches = InteractionBatches(TRAIN, batch=4, seed=0, negatives=3)
    taken = set(zip(TRAIN.user.tolist(), TRAIN.item.tolist(), strict=True))
    user, item, label = _epoch(batches)
    assert sorted(zip(user.tolist(), item[:, 0].tolist(), strict=True)) == sorted(taken)
    drawn = {(u, i) for u, row in zip(user.tolist(), item[:, 1:].tolist(), strict=True) for i in row}
    assert not drawn & taken
    assert {i for _, i in drawn} <= set(TRAIN.item.tolist()), "drawn are items of the training split"
    assert (label == torch.tensor([1.0, 0.0, 0.0, 0.0])).all()
    assert [count for _, count in batches.epoch(0)] == [4, 4, 1]
    assert len(batches) == 3


def test_every_item_that_was_not_taken_is_drawn_as_often() -> None:
    batches = InteractionBatches(c.events([[1, 2], [3, 4, 5, 6]]), batch=64, seed=0, negatives=3000)
    user, item, _ = _epoch(batches)
    values, counts = item[user == 1, 1:].unique(return_counts=True)
    assert values.tolist() == [3, 4, 5, 6]
    assert counts.min() > 0.9 * 6000 / 4


def test_an_epoch_is_equal_for_an_equal_number_and_another_for_another() -> None:
    first, again, second, other = (
        _epoch(InteractionBatches(TRAIN, 4, seed, 1), number) for seed, number in ((0, 0), (0, 0), (0, 1), (1, 0))
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], second[0])
    assert not torch.equal(first[0], other[0])


def test_labelled_rows_stand_for_themselves_and_nothing_is_drawn() -> None:
    train = replace(TRAIN, label=(TRAIN.item % 2).astype(np.float32))
    user, item, label = _epoch(InteractionBatches(train, 4, seed=0, negatives=3))
    assert item.shape == label.shape == (9, 1)
    assert torch.equal(label, (item % 2).float())
    assert sorted(zip(user.tolist(), item[:, 0].tolist(), strict=True)) == sorted(
        zip(train.user.tolist(), train.item.tolist(), strict=True)
    )


@pytest.mark.parametrize("negatives", [1, 4])
def test_who_took_everything_ends_no_epoch(negatives: int) -> None:
    user, item, _ = _epoch(InteractionBatches(c.events([[1, 2, 3], [2]]), 8, 0, negatives))
    assert len(user) == 4
    assert item.shape == (4, 1 + negatives)
