"""SASRec beyond the contract that every model passes (tests/models/test_contracts.py)."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from weft.data.sequences import Events, Queries
from weft.errors import RequestError
from weft.models.sasrec import SASRec, SASRecNetwork
from weft.models.settings import SASRecSettings
from weft.training.runtime import Runtime

SMALL = {"width": 8, "length": 4, "dropout": 0.0}


def _module(**settings) -> SASRecNetwork:
    torch.manual_seed(0)
    return SASRecNetwork(SASRecSettings(**{**SMALL, **settings}), n_items=9)


def test_the_state_after_a_history_does_not_depend_on_padding_or_on_the_other_rows() -> None:
    module = _module().eval()
    alone = module.encode(torch.tensor([[3, 5]]), torch.tensor([2]))
    padded = module.encode(torch.tensor([[3, 5, 0, 0], [1, 2, 3, 4]]), torch.tensor([2, 4]))
    torch.testing.assert_close(alone[0], padded[0])


def test_a_position_is_counted_back_from_the_newest_event() -> None:
    module = _module().eval()
    before = module.encode(torch.tensor([[3, 5]]), torch.tensor([2]))
    with torch.no_grad():
        module.positions.weight[:2].normal_()  # places of the two oldest of four
    torch.testing.assert_close(module.encode(torch.tensor([[3, 5]]), torch.tensor([2])), before)
    with torch.no_grad():
        module.positions.weight[2:].normal_()  # a constant would not do: the layer norm takes it out
    assert not torch.allclose(module.encode(torch.tensor([[3, 5]]), torch.tensor([2])), before)


def test_a_position_is_counted_from_the_oldest_event_that_is_read_where_asked_for() -> None:
    module, history = _module(places="from_start").eval(), (torch.tensor([[3, 5, 0]]), torch.tensor([2]))
    before = module.encode(*history)
    with torch.no_grad():
        module.positions.weight[2:].normal_()
    torch.testing.assert_close(module.encode(*history), before)
    for place in (0, 1):
        with torch.no_grad():
            module.positions.weight[place].normal_()
        after = module.encode(*history)
        assert not torch.allclose(after, before)
        before = after


def test_the_training_loss_is_the_cross_entropy_of_the_states_that_answer_queries() -> None:
    module = _module()
    loss = module(torch.tensor([[3, 0], [8, 0]]), torch.tensor([[5, 0], [7, 0]]))
    states = module.encode(torch.tensor([[3], [8]]), torch.tensor([1, 1]))
    expected = torch.nn.functional.cross_entropy(states @ module.items.weight[1:].t(), torch.tensor([4, 6]))
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("block", ["plain", "ligr"])
def test_an_answer_is_the_state_after_the_last_item(block: str) -> None:
    module = _module(block=block, heads=2).eval()
    inputs, lengths = torch.tensor([[3, 5, 0, 0], [1, 2, 3, 4]]), torch.tensor([2, 4])
    states = module.states(inputs, lengths)
    torch.testing.assert_close(module.encode(inputs, lengths), torch.stack([states[0, 1], states[1, 3]]))


def test_the_blocks_are_those_that_are_asked_for() -> None:
    names = {type(block).__name__ for block in [*_module(block="ligr").blocks, _module(block="ligr").last_block]}
    assert names == {"LiGRBlock"}


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "binary"},
        {"loss": "sampled_softmax", "negatives": 4},
        {"loss": "gbce", "negatives": 4},
        {"block": "ligr", "epochs": 20},
    ],
)
def test_every_loss_and_block_learns_a_cycle(settings: dict) -> None:
    users = np.repeat(np.arange(1, 61), 6).astype(np.int32)
    items = (np.arange(360) % 6 + np.repeat(np.arange(60), 6)) % 9 + 1
    train = Events(users, items.astype(np.int32), None, None, n_users=60, n_items=9)
    model = SASRec(SASRecSettings(**{**SMALL, "epochs": 60, "learning_rate": 0.02, "batch": 16, **settings}))
    model.fit(train, None, Runtime(device="cpu"))
    queries = Queries(np.arange(3), np.arange(3).astype(np.int32), None, np.array([1, 2, 4, 5, 8, 9], np.int32),
                      np.array([0, 2, 4, 6]))  # fmt: skip
    assert model.score(queries).argmax(1).tolist() == [3, 6, 1]


def test_scores_of_pairs_are_the_scores_of_the_catalogue_and_padding_is_never_recommended() -> None:
    model = SASRec(SASRecSettings(**SMALL))
    model.module = _module().eval()
    queries = Queries(np.arange(2), np.ones(2, np.int32), None, np.array([1, 2, 3], np.int32), np.array([0, 3, 3]))
    scores = model.score(queries)
    assert torch.isneginf(scores[:, 0]).all()
    pairs = model.score_pairs(queries, np.array([4, 9], np.int32))
    np.testing.assert_allclose(pairs, [scores[0, 4], scores[1, 9]], rtol=1e-5)


def test_labels_and_a_loss_that_cannot_use_them_are_refused_before_any_work() -> None:
    train = Events(*(np.ones(2, np.int32),) * 2, None, np.ones(2, np.float32), n_users=1, n_items=9)
    with pytest.raises(RequestError, match="loss=binary"):
        SASRec(SASRecSettings(**SMALL)).fit(train, None, Runtime(device="cpu"))


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValidationError, match="must divide"):
        SASRecSettings(width=10, heads=3)
    with pytest.raises(ValidationError, match="needs negatives of at least 1"):
        SASRecSettings(loss="sampled_softmax")
    with pytest.raises(ValidationError, match="needs negatives=0"):
        SASRecSettings(negatives=4)
