"""NARM against its equations, step by step in numpy, and what makes it NARM."""

import numpy as np
import pytest
import torch

from weft.models.narm import NARMNetwork
from weft.models.settings import NARMSettings

WIDTH = 4


def _module(**settings: object) -> NARMNetwork:
    torch.manual_seed(0)
    module = NARMNetwork(NARMSettings(**{"width": WIDTH, "length": 6, "dropout": 0.0, **settings}), n_items=9)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)  # far from where sigmoids are lines
    return module.eval()


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _by_hand(module: NARMNetwork, history: list[int]) -> np.ndarray:
    """c_t of the paper, decoded: a GRU of explicit gates, and a weight for each of its states."""
    w = {name: tensor.detach().numpy().astype(np.float64) for name, tensor in module.named_parameters()}
    h, states = np.zeros(WIDTH), []
    for item in history:
        into = w["gru.weight_ih_l0"] @ w["items.weight"][item] + w["gru.bias_ih_l0"]
        back = w["gru.weight_hh_l0"] @ h + w["gru.bias_hh_l0"]
        r, z = (_sigmoid(into[part] + back[part]) for part in (slice(0, WIDTH), slice(WIDTH, 2 * WIDTH)))
        new = np.tanh(into[2 * WIDTH :] + r * back[2 * WIDTH :])
        h = (1 - z) * new + z * h
        states.append(h)
    local = np.zeros(WIDTH)
    for state in states:
        alpha = w["attention.weigh.weight"][0] @ _sigmoid(w["query.weight"] @ h + w["key.weight"] @ state)
        local += alpha * state
    return w["decoder.weight"] @ np.concatenate([h, local])


def test_the_state_after_every_position_is_that_of_the_equations() -> None:
    module = _module()
    history = [3, 1, 4, 1, 5]
    states = module.states(torch.tensor([history]), torch.tensor([5]))[0].detach().numpy()
    for position in range(5):
        np.testing.assert_allclose(states[position], _by_hand(module, history[: position + 1]), atol=1e-5)


def test_an_item_long_ago_counts_through_the_local_view_as_well() -> None:
    """With the attention off, what is left is the GRU's last state, decoded by half of the decoder."""
    module = _module()
    inputs, lengths = torch.tensor([[3, 1, 4]]), torch.tensor([3])
    whole = module.encode(inputs, lengths)
    with torch.no_grad():
        module.attention.weigh.weight.zero_()
    last = module.gru(module.items(inputs))[0][0, 2]
    overall = last @ module.decoder.weight[:, :WIDTH].t()
    torch.testing.assert_close(module.encode(inputs, lengths)[0], overall)
    assert (whole[0] - overall).abs().max() > 0.1


@pytest.mark.parametrize("ask", ["states", "encode"])
def test_dropout_falls_on_the_items_and_on_both_views(ask: str) -> None:
    module = _module(width=64, dropout=0.5).train()
    seen: dict[str, torch.Tensor] = {}
    module.gru.register_forward_hook(lambda _, given, __: seen.update(items=given[0]))
    module.decoder.register_forward_hook(lambda _, given, __: seen.update(views=given[0]))
    getattr(module, ask)(torch.tensor([[3, 1, 4]]), torch.tensor([3]))
    for name in ("items", "views"):
        assert 0.3 < float((seen[name] == 0).float().mean()) < 0.7
