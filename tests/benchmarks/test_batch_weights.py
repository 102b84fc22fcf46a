"""What the fits without weights are given."""

import torch

from benchmarks.batch_weights import evenly, text
from tests.models import contracts as c
from weft.models.history import HistoryModel
from weft.training.batches import HistoryBatches


def test_batches_that_weigh_alike_are_the_same_and_do_not_tell_how_many_targets_they_have() -> None:
    model, other = c.build("gru4rec"), c.build("gru4rec")
    assert isinstance(model, HistoryModel)
    assert isinstance(other, HistoryModel)
    told = other.batches(c.cycle(), 0)
    evenly(model)
    batches = model.batches(c.cycle(), 0)
    assert isinstance(told, HistoryBatches)
    assert not isinstance(batches, HistoryBatches)
    assert len(batches) == len(told)
    for ((inputs, targets), count), ((inputs_, targets_), count_) in zip(batches.epoch(1), told.epoch(1), strict=True):
        assert count == count_
        assert torch.equal(inputs, inputs_)
        assert torch.equal(targets, targets_)


def test_the_page_tells_both_ways_side_by_side() -> None:
    by = {"batches": {"ndcg10": 0.1, "epoch": 3}, "targets": {"ndcg10": 0.12345, "epoch": 10}}
    assert text({"shop, `rules`": {"machine": {}, "systems": {"narm": by}}}).splitlines()[2:] == [
        "| shop, `rules`: narm | 0.1000 (3) | 0.1235 (10) |"
    ]
