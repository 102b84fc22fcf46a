"""Labelled pairs in a fit: which rows, after which histories, judged by which computation."""

from dataclasses import replace

import numpy as np
import torch

from weft.data.sequences import Events, Queries
from weft.models.sasrec import SASRec, SASRecNetwork
from weft.models.settings import SASRecSettings
from weft.training.pairs import PairBatches, PairLoss

N_ITEMS = 9


def _events() -> Events:
    """User 1 likes 1, not 2, likes 3, 4 and 5, not 6; user 2 does not exist; user 3 dislikes 7 alone; 4 likes 8."""
    user = np.array([1, 1, 1, 1, 1, 1, 3, 4], np.int32)
    item = np.array([1, 2, 3, 4, 5, 6, 7, 8], np.int32)
    label = np.array([1, 0, 1, 1, 1, 0, 0, 1], np.float32)
    return Events(user, item, np.arange(8), label, n_users=4, n_items=N_ITEMS)


HISTORIES = {1: (), 2: (1,), 3: (1,), 4: (1, 3), 5: (3, 4), 6: (4, 5), 7: (), 8: ()}
"""The last two positives before each judged item."""


def _rows(batches: PairBatches, epoch: int = 0) -> list[tuple[int, tuple[int, ...], float]]:
    rows = []
    for (inputs, lengths, history, item, label), _ in batches.epoch(epoch):
        for index, judged, liked in zip(history.tolist(), item.tolist(), label.tolist(), strict=True):
            read = inputs[index, : lengths[index]].tolist()
            assert not inputs[index, lengths[index] :].any(), "padding stands on the right"
            rows.append((judged, tuple(read), liked))
    return sorted(rows)


def test_every_labelled_row_is_judged_once_per_epoch_after_its_own_last_positives() -> None:
    train = _events()
    expected = [(item, HISTORIES[item], float(label)) for item, label in zip(train.item, train.label, strict=True)]
    for batch in (1, 3, 100):
        batches = PairBatches(train, length=2, batch=batch, seed=0)
        assert _rows(batches) == _rows(batches, 1) == expected
        assert sum(count for _, count in batches.epoch(0)) == len(train)
        assert len(list(batches.epoch(0))) == len(batches)


def test_the_history_that_the_protocol_gives_a_row_is_the_one_that_is_read() -> None:
    # Positives are 1, 3, 4, 5 of user 1 and 8 of user 4; the protocol shows item 5 what stands at 1 and 2 of them.
    ranges = [(0, 0), (0, 0), (1, 1), (1, 2), (1, 3), (3, 4), (4, 4), (4, 4)]
    train = replace(_events(), history=np.array(ranges, np.int64))
    read = {item: history for item, history, _ in _rows(PairBatches(train, length=50, batch=100, seed=0))}
    assert read == {1: (), 2: (), 3: (), 4: (3,), 5: (3, 4), 6: (5,), 7: (), 8: ()}


def test_each_history_comes_with_its_user_where_that_is_asked_for() -> None:
    asked = PairBatches(_events(), length=2, batch=3, seed=0, users=True).epoch(0)
    users = [user[history] for (_, _, history, _, _, user), _ in asked]
    items = [item for (_, _, _, item, _), _ in PairBatches(_events(), length=2, batch=3, seed=0).epoch(0)]
    found = sorted(zip(torch.cat(items).tolist(), torch.cat(users).tolist(), strict=True))
    assert found == [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 3), (8, 4)]


def test_a_fit_on_nothing_but_dislikes_has_empty_histories_and_does_not_fail() -> None:
    train = replace(_events(), label=np.zeros(8, np.float32))
    assert {history for _, history, _ in _rows(PairBatches(train, length=2, batch=3, seed=0))} == {()}


def test_rows_with_the_same_history_share_one_encoding() -> None:
    (inputs, _, history, _, _), _ = next(PairBatches(_events(), length=50, batch=100, seed=0).epoch(0))
    assert len(inputs) == 7  # eight rows; items 2 and 3 are judged after the same history
    assert len(set(history.tolist())) == 7


def test_an_epoch_is_equal_for_an_equal_number_and_another_for_another() -> None:
    def order(number: int) -> list[int]:
        batches = PairBatches(_events(), length=2, batch=1, seed=0)
        return [int(item) for batch, _ in batches.epoch(number) for item in batch[3]]

    assert order(4) == order(4)
    assert len({tuple(order(number)) for number in range(5)}) > 1


def test_drawn_negatives_stand_beside_positives_and_are_never_labelled_by_their_user() -> None:
    train = _events()
    own = _rows(PairBatches(train, length=2, batch=100, seed=0))
    drawn = _rows(PairBatches(train, length=2, batch=100, seed=0, negatives=200))
    for row in own:
        drawn.remove(row)
    assert {liked for _, _, liked in drawn} == {0}
    assert {item for item, history, _ in drawn if history} == {7, 8}  # of user 1, who labelled 1 to 6
    assert {item for item, history, _ in drawn if not history} == set(range(1, 9))  # of users 1 and 4; 9 is unseen


def test_a_row_is_judged_in_training_as_it_is_scored_later() -> None:
    torch.manual_seed(0)
    settings = SASRecSettings(width=8, length=2, dropout=0.3, loss="binary")
    model = SASRec(settings)
    model.module = SASRecNetwork(settings, N_ITEMS).eval()
    judge = PairLoss(model.module)
    seen = 0
    for (inputs, lengths, history, item, label), _ in PairBatches(_events(), 2, 3, seed=0).epoch(0):
        logits = model.module.pair_scores(inputs, lengths, history, item).detach().numpy()
        whole = [inputs[index, : lengths[index]].numpy() for index in history]
        offsets = np.concatenate([[0], np.cumsum([len(each) for each in whole])]).astype(np.int64)
        past = np.concatenate(whole).astype(np.int32)
        asked = Queries(np.arange(len(whole)), np.ones(len(whole), np.int32), None, past, offsets)
        np.testing.assert_allclose(model.score_pairs(asked, item.numpy().astype(np.int32)), logits, atol=1e-6)
        expected = np.where(label.numpy() == 1, np.log1p(np.exp(-logits)), np.log1p(np.exp(logits))).mean()
        loss = judge(inputs, lengths, history, item, label).item()
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        seen += len(item)
    assert seen == len(_events())
