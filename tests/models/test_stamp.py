"""STAMP against its equations, item by item in numpy, and what makes it STAMP."""

import numpy as np
import pytest
import torch

from weft.models.settings import STAMPSettings
from weft.models.stamp import STAMPNetwork

WIDTH = 4


def _module(**settings: object) -> STAMPNetwork:
    torch.manual_seed(0)
    module = STAMPNetwork(STAMPSettings(**{"width": WIDTH, "length": 6, "dropout": 0.0, **settings}), n_items=9)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)  # far from where sigmoids are lines
    return module.eval()


def _by_hand(module: STAMPNetwork, history: list[int]) -> np.ndarray:
    """h_s ∘ h_t of the paper."""
    w = {name: tensor.detach().numpy().astype(np.float64) for name, tensor in module.named_parameters()}
    x = w["items.weight"][history]
    m_s, x_t = x.mean(0), x[-1]
    m_a = m_s.copy()
    for x_i in x:
        inner = w["key.weight"] @ x_i + w["of_last.weight"] @ x_t + w["of_memory.weight"] @ m_s + w["of_last.bias"]
        m_a += w["attention.weigh.weight"][0] @ (1 / (1 + np.exp(-inner))) * x_i
    h_s = np.tanh(w["general.weight"] @ m_a + w["general.bias"])
    return h_s * np.tanh(w["current.weight"] @ x_t + w["current.bias"])


def test_the_state_after_every_position_is_that_of_the_equations() -> None:
    module = _module()
    history = [3, 1, 4, 1, 5]
    states = module.states(torch.tensor([history]), torch.tensor([5]))[0].detach().numpy()
    for position in range(5):
        np.testing.assert_allclose(states[position], _by_hand(module, history[: position + 1]), atol=1e-5)


def test_of_the_order_the_last_item_alone_counts() -> None:
    module = _module()
    inputs = torch.tensor([[3, 1, 4, 5], [4, 3, 1, 5], [5, 1, 4, 3]])
    states = module.encode(inputs, torch.tensor([4, 4, 4]))
    torch.testing.assert_close(states[0], states[1])
    assert (states[0] - states[2]).abs().max() > 0.01


@pytest.mark.parametrize("ask", ["states", "encode"])
def test_dropout_falls_on_the_items(ask: str) -> None:
    module = _module(width=64, dropout=0.5).train()
    seen: dict[str, torch.Tensor] = {}
    module.key.register_forward_hook(lambda _, given, __: seen.update(items=given[0]))
    getattr(module, ask)(torch.tensor([[3, 1, 4]]), torch.tensor([3]))
    assert 0.3 < float((seen["items"] == 0).float().mean()) < 0.7
