"""S²-DHCN against its paper's equations, written out for one session at a time."""

import numpy as np
import pytest
import torch

from tests.models import contracts as c
from tests.models.by_hand import Array, values
from tests.models.test_gcegnn import reversed_by_hand
from tests.models.test_hypergraph import HOLDS, TRAIN
from tests.models.test_srgnn import sigmoid
from weft.models import dhcn
from weft.models.settings import DHCNSettings

WIDTH = 6
SESSIONS = [[1, 2, 1, 3], [4], [2, 3]]
INPUTS = torch.tensor([[1, 2, 1, 3], [4, 0, 0, 0], [2, 3, 0, 0]])
LENGTHS = torch.tensor([4, 1, 2])


def _network(**settings: float) -> dhcn.DHCNNetwork:
    torch.manual_seed(0)
    made = DHCNSettings(width=WIDTH, length=8, dropout=0, layers=2, **settings)
    network = dhcn.DHCN(made).made_for(TRAIN)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    return network


def _smoothed(network: dhcn.DHCNNetwork) -> Array:
    once = np.diag(1 / np.maximum(HOLDS.sum(1), 1)) @ HOLDS @ np.diag(1 / HOLDS.sum(0)) @ HOLDS.T
    x = values(network)["items.weight"]
    return (x + once @ x + once @ once @ x) / 3


def _state(network: dhcn.DHCNNetwork, session: list[int]) -> Array:
    attention = {n.removeprefix("attention."): v for n, v in values(network).items() if n.startswith("attention.")}
    return reversed_by_hand(attention, _smoothed(network)[session])


def _lines(network: dhcn.DHCNNetwork) -> Array:
    sets = [set(session) for session in SESSIONS]
    tied = np.array([[len(a & b) / len(a | b) for b in sets] for a in sets])  # 1 with itself: A + I
    tied /= tied.sum(1, keepdims=True)
    x = values(network)["items.weight"]
    own = np.array([x[session].mean(0) for session in SESSIONS])
    return (own + tied @ own + tied @ tied @ own) / 3


def test_the_scores_are_those_of_the_equations() -> None:
    network = _network().eval()
    with torch.no_grad():
        scores, states = network.scores(INPUTS, LENGTHS), network.states(INPUTS, LENGTHS)
    for row, session in enumerate(SESSIONS):
        expected = _smoothed(network) @ _state(network, session)
        np.testing.assert_allclose(scores[row], expected, rtol=1e-4, atol=1e-5)
        for end in range(1, len(session) + 1):
            np.testing.assert_allclose(states[row, end - 1], _state(network, session[:end]), rtol=1e-4, atol=1e-5)


def test_the_second_channel_ties_sessions_by_the_items_they_share() -> None:
    network = _network()
    np.testing.assert_allclose(network.line_states(INPUTS).detach(), _lines(network), rtol=1e-5, atol=1e-6)


def test_the_loss_is_cross_entropy_and_contrast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randperm", lambda n, device=None: torch.arange(n - 1, -1, -1, device=device))
    network = _network(contrast=0.5)
    targets = torch.tensor([[2, 1, 3, 4], [1, 0, 0, 0], [3, 5, 0, 0]])
    loss = network(INPUTS, targets).item()
    items, entropies, contrasts = _smoothed(network), [], []
    for row, session in enumerate(SESSIONS):
        for end in range(1, len(session) + 1):
            scores = items[1:] @ _state(network, session[:end])
            entropies.append(np.log(np.exp(scores).sum()) - scores[targets[row, end - 1] - 1])
    for row, line in enumerate(_lines(network)):
        other = _state(network, SESSIONS[len(SESSIONS) - 1 - row])[::-1]
        contrasts.append(-np.log(sigmoid(_state(network, SESSIONS[row]) @ line)) - np.log(1 - sigmoid(other @ line)))
    np.testing.assert_allclose(loss, np.mean(entropies) + 0.5 * np.mean(contrasts), rtol=1e-5)


def test_smoothed_vectors_are_those_of_the_weights_at_any_time() -> None:
    """They are kept between answers, and forgotten when training goes on or other weights are loaded."""
    network = _network().eval()
    with torch.no_grad():
        before = network.catalogue()
        assert network.catalogue() is before
        network.train()
        network.items.weight.mul_(2)
        torch.testing.assert_close(network.catalogue(), 2 * before)
        torch.testing.assert_close(network.eval().catalogue(), 2 * before)


def test_the_sessions_come_back_with_the_model() -> None:
    model = c.build("dhcn", epochs=1)
    model.fit(c.cycle(), None, c.runtime())
    loaded = dhcn.DHCN.load(model.settings, model.tensors())
    assert "smoothed" not in model.tensors()
    assert torch.equal(loaded.module.catalogue(), model.module.catalogue())  # type: ignore[attr-defined]
