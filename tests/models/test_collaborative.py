"""What models of users and items share: losses by hand, who stands for a stranger, what is saved."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.models import contracts as c
from weft.data.sequences import Events
from weft.errors import RequestError
from weft.models.collaborative import CollaborativeNetwork, Head
from weft.models.mf_bpr import MFBPR
from weft.models.settings import MFBPRSettings

# Users 1 and 2 have events, user 3 has none; items 1 to 3 were taken, item 4 never.
TRAIN = c.events([[1, 2], [2, 3]], n_items=4)
USERS = torch.tensor([[9.0, 9.0], [1.0, 0.0], [0.0, 2.0], [7.0, 7.0]])
ITEMS = torch.tensor([[9.0, 9.0], [1.0, 1.0], [2.0, 0.0], [0.0, 5.0], [8.0, 8.0]])


def _network(train: Events = TRAIN, **settings: object) -> CollaborativeNetwork:
    network = CollaborativeNetwork(MFBPRSettings(width=2, **settings), train, Head())
    network.load_state_dict({"users.weight": USERS, "items.weight": ITEMS})
    return network


def _finished(train: Events = TRAIN) -> MFBPR:
    return MFBPR(MFBPRSettings(width=2)).finish(_network(train), train)


def _sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x))


def test_bpr_is_the_mean_of_minus_log_sigmoid_of_every_difference_to_what_was_drawn() -> None:
    loss = _network()(torch.tensor([1, 2]), torch.tensor([[1, 3, 2], [3, 1, 2]]), torch.tensor([[1.0, 0, 0]] * 2))
    # Scores: of user 1 1, 0, 2; of user 2 10, 2, 0.
    expected = -np.mean([np.log(_sigmoid(d)) for d in (1, -1, 8, 10)])
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_binary_loss_is_the_cross_entropy_of_every_label() -> None:
    network = _network(loss="binary")
    loss = network(torch.tensor([1, 2]), torch.tensor([[1], [2]]), torch.tensor([[1.0], [0.0]]))
    assert loss.item() == pytest.approx(-(np.log(_sigmoid(1)) + np.log(1 - _sigmoid(0))) / 2, rel=1e-5)


def test_a_known_user_is_asked_by_their_own_vector_whatever_the_history() -> None:
    model = _finished()
    scores = model.score(c.queries([[1], [3, 3], []], users=[1, 1, 2]))
    torch.testing.assert_close(scores[:, 1:4], torch.tensor([[1.0, 2, 0], [1, 2, 0], [2, 0, 10]]))


def test_a_stranger_is_the_mean_of_those_who_took_what_they_took() -> None:
    """Takers: of item 1 (1, 0), of item 2 the mean (.5, 1), of item 3 (0, 2); of the untaken item 4 the mean user."""
    model = _finished()
    asked = c.queries([[1, 2], [3], [1, 1, 3], [4], []], users=[0, 3, 99, 0, 0])
    states = model.query_vectors(asked)
    expected = [[0.75, 0.5], [0, 2], [2 / 3, 2 / 3], [0.5, 1], [0.5, 1]]
    np.testing.assert_allclose(states, expected, rtol=1e-6)


def test_an_item_that_nobody_took_has_the_mean_vector_of_those_that_were_taken() -> None:
    np.testing.assert_allclose(_finished().item_vectors(), [[0, 0], [1, 1], [2, 0], [0, 5], [1, 2]], rtol=1e-6)


def test_of_labelled_events_those_who_liked_an_item_stand_for_it_and_a_dislike_makes_a_user_known() -> None:
    train = replace(TRAIN, label=np.array([1, 1, 0, 1], np.float32))
    model = _finished(train)
    np.testing.assert_allclose(model.query_vectors(c.queries([[2]], users=[0])), [[1, 0]])
    assert model.known.tolist() == [False, True, True, False]


def test_a_batch_of_known_users_and_strangers_is_answered_row_by_row() -> None:
    model = _finished()
    asked = c.queries([[3], [], [1], [2, 3]], users=[0, 1, 0, 2])
    alone = np.concatenate([model.query_vectors(asked.take(np.array([row]))) for row in range(4)])
    np.testing.assert_array_equal(model.query_vectors(asked), alone)


def test_validation_sees_the_vectors_of_the_epoch_it_judges_and_the_best_epoch_stays() -> None:
    train, asked, missing = c.camps()
    task = replace(c.validation(missing), queries=asked)
    model = c.build("mf_bpr", epochs=6, patience=0)
    history = model.fit(train, task, c.runtime())
    assert history["validation"].n_unique() > 2, "figures of stale vectors are all equal"
    again = c.build("mf_bpr", epochs=int(history.filter("best")["epoch"][0]), patience=0)
    again.fit(train, None, c.runtime())
    c.assert_same_tensors(model, again)


def test_what_is_saved_are_finished_vectors_and_no_graph() -> None:
    model = c.build("lightgcn", epochs=1)
    model.fit(TRAIN, None, c.runtime())
    assert set(model.tensors()) == {"users", "items", "takers", "known"}


def test_labels_and_a_loss_that_cannot_use_them_are_refused_before_any_work() -> None:
    train = replace(TRAIN, label=np.ones(4, np.float32))
    with pytest.raises(RequestError, match="loss=binary"):
        MFBPR(MFBPRSettings()).fit(train, None, c.runtime())
