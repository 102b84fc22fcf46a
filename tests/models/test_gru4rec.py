"""GRU4Rec beyond the contract that every model passes (tests/models/test_contracts.py)."""

import numpy as np
import torch

from weft.models.gru4rec import GRU4RecNetwork
from weft.models.settings import GRU4RecSettings


def _module(**settings: object) -> GRU4RecNetwork:
    torch.manual_seed(0)
    return GRU4RecNetwork(GRU4RecSettings(**{"width": 4, "hidden": 6, "length": 4, **settings}), n_items=9)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_the_scores_are_those_of_gated_units_worked_out_one_item_after_the_other() -> None:
    module = _module().eval()
    values = {name: tensor.double().numpy() for name, tensor in module.state_dict().items()}
    h = np.zeros(6)
    for item in (3, 5, 3):
        x = values["items.weight"][item] * 2  # the root of the width
        reset, update, new = np.split(values["units.weight_ih_l0"] @ x + values["units.bias_ih_l0"], 3)
        u_reset, u_update, u_new = np.split(values["units.weight_hh_l0"] @ h + values["units.bias_hh_l0"], 3)
        z = _sigmoid(update + u_update)
        h = z * h + (1 - z) * np.tanh(new + _sigmoid(reset + u_reset) * u_new)
    expected = values["items.weight"] @ (values["out.weight"] @ h + values["out.bias"])
    with torch.no_grad():
        scores = module.scores(torch.tensor([[3, 5, 3, 0]]), torch.tensor([3]))
    np.testing.assert_allclose(scores[0], expected, rtol=1e-5, atol=1e-6)


def test_it_learns_from_every_position_of_a_history_at_once() -> None:
    module = _module(dropout=0.0)
    loss = module(torch.tensor([[3, 5, 7], [8, 0, 0]]), torch.tensor([[5, 7, 1], [2, 0, 0]]))
    prefixes, lengths = torch.tensor([[3, 0, 0], [3, 5, 0], [3, 5, 7], [8, 0, 0]]), torch.tensor([1, 2, 3, 1])
    logits = module.scores(prefixes, lengths)[:, 1:]
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, torch.tensor([4, 6, 0, 1])))


def test_the_order_of_the_history_matters() -> None:
    module = _module().eval()
    forwards, backwards = module.encode(torch.tensor([[3, 5, 7], [7, 5, 3]]), torch.tensor([3, 3]))
    assert not torch.allclose(forwards, backwards)
