"""CORE beyond the contract that every model passes (tests/models/test_contracts.py)."""

import numpy as np
import torch

from tests.models import by_hand
from weft.models.core import CORENetwork
from weft.models.settings import CORESettings


def _module(**settings: object) -> CORENetwork:
    torch.manual_seed(0)
    small = {"width": 8, "length": 4, "heads": 2, "blocks": 2, "feedforward": 2, "dropout": 0.0, "item_dropout": 0.0}
    return CORENetwork(CORESettings(**{**small, **settings}), n_items=9)


def test_a_score_is_the_cosine_of_an_item_and_the_weighted_mean_of_the_items_read_worked_out_by_hand() -> None:
    module, history = _module(temperature=0.5).eval(), [3, 5, 9]
    of = by_hand.values(module)
    x = [np.sqrt(8) * of["items.weight"][item] + of["positions.weight"][1 + i] for i, item in enumerate(history)]
    for name in ("blocks.0.", "last_block."):
        x = by_hand.block(by_hand.part(of, name), x, heads=2, seen=by_hand.causal(3))
    logits = np.array([of["weight.weight"][0] @ by_hand.norm(of, "norm", one) for one in x])
    expected = []
    for end in (1, 2, 3):
        state = by_hand.softmax(logits[:end]) @ of["items.weight"][history[:end]]
        cosines = [state @ v / np.linalg.norm(state) / np.linalg.norm(v) for v in of["items.weight"][1:]]
        expected.append(np.array(cosines) / 0.5)
    with torch.no_grad():
        scores = module.states(torch.tensor([[3, 5, 9, 0]]), torch.tensor([3]))[0, :3] @ module.catalogue().t()
        answer = module.scores(torch.tensor([[3, 5, 9, 0]]), torch.tensor([3]))
    np.testing.assert_allclose(scores[:, 1:], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(answer[0, 1:], expected[2], rtol=1e-4, atol=1e-5)


def test_after_one_item_the_state_is_that_item_whatever_the_network_makes_of_it() -> None:
    module = _module(temperature=0.1).eval()
    scores = module.scores(torch.tensor([[4]]), torch.tensor([1]))
    assert scores.argmax() == 4
    torch.testing.assert_close(scores[0, 4], torch.tensor(10.0))


def test_the_items_recommended_are_dropped_out_in_training_alone() -> None:
    module = _module(item_dropout=0.5)
    with torch.no_grad():
        assert (module.catalogue()[1:] == 0).any()
        assert not (module.eval().catalogue()[1:] == 0).any()
        torch.testing.assert_close(module.catalogue()[1:].norm(dim=1), torch.ones(9))
