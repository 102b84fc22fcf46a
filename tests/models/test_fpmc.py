"""FPMC beyond the contract that every model passes (tests/models/test_contracts.py)."""

import numpy as np
import torch

from tests.models import contracts as c
from weft.models.fpmc import FPMC, FPMCNetwork
from weft.models.settings import FPMCSettings

FAST = {"width": 8, "dropout": 0.0, "epochs": 30, "batch": 32, "learning_rate": 0.05, "weight_decay": 0.1}


def _model(**settings: object) -> FPMC:
    return FPMC(FPMCSettings(**{**FAST, **settings}))


def test_the_score_is_that_of_the_user_plus_that_of_the_last_item_worked_out_by_hand() -> None:
    model = _model()
    torch.manual_seed(0)
    model.module = FPMCNetwork(model.settings, n_items=9, n_users=3).eval()
    users, items, previous = (
        table.weight.detach().double().numpy()
        for table in (model.module.users, model.module.items, model.module.previous)
    )
    scores = model.score(c.queries([[4, 2], [2], [], [5]], users=[1, 3, 2, 99]))
    for row, (user, last) in enumerate([(1, 2), (3, 2), (2, 0), (0, 5)]):
        expected = [users[user] @ item[:4] + previous[last] @ item[4:] for item in items[1:]]
        np.testing.assert_allclose(scores[row, 1:], expected, rtol=1e-4, atol=1e-5)
    assert not users[0].any()


def test_every_step_is_learnt_once_by_its_user_and_the_first_comes_from_nothing() -> None:
    train = c.events([[3, 5, 3], [7], [2, 4]])
    (((inputs, lengths, user, target), count),) = _model().batches(train, seed=0).epoch(0)
    steps = sorted(zip(user.tolist(), inputs[:, 0].tolist(), target.tolist(), lengths.tolist(), strict=True))
    assert steps == [(1, 0, 3, 0), (1, 3, 5, 1), (1, 5, 3, 1), (2, 0, 7, 0), (3, 0, 2, 0), (3, 2, 4, 1)]
    assert count == 6


def test_two_people_after_the_same_item_are_recommended_what_each_of_them_takes() -> None:
    """Odd users go from 1 to 2, even ones from 1 to 3; a stranger could do either."""
    train = c.events([[1, 2 + user % 2] * 4 for user in range(40)])
    model = _model()
    model.fit(train, None, c.runtime())
    scores = model.score(c.queries([[1], [1], [1]], users=[1, 2, 0]))
    assert scores[:2].argmax(1).tolist() == [2, 3]
    assert set(scores[2].topk(2).indices.tolist()) == {2, 3}


def test_users_without_an_event_are_strangers_whatever_their_number() -> None:
    model = _model(epochs=3)
    model.fit(c.events([[1, 2, 3]] * 6), None, c.runtime())  # user 7 exists, without an event
    known, silent, beyond, nobody = model.score(c.queries([[1]] * 4, users=[6, 7, 500, 0]))
    # To the last bits, which may depend on a row's place in a product.
    torch.testing.assert_close(silent, nobody, rtol=0, atol=1e-6)
    torch.testing.assert_close(beyond, nobody, rtol=0, atol=1e-6)
    assert not torch.allclose(known, nobody)


def test_people_are_told_apart_by_labels_after_the_same_history() -> None:
    """Odd users like item 2 and not 3, even ones the other way round."""
    train = c.events([[1, 2, 3]] * 20)
    likes = np.array([[1, 1, 0], [1, 0, 1]] * 10, np.float32).ravel()
    train = type(train)(train.user, train.item, train.timestamp, likes, train.n_users, train.n_items)
    model = _model(loss="binary", epochs=60)
    model.fit(train, None, c.runtime())
    pairs = model.score_pairs(c.queries([[1]] * 4, users=[1, 1, 2, 2]), np.array([2, 3, 2, 3], np.int32))
    assert ((pairs > 0) == [True, False, False, True]).all()
