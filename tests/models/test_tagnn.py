"""TAGNN against its paper's equations, written out for one prefix and one candidate at a time."""

import numpy as np
import pytest
import torch

from tests.models import contracts as c
from tests.models.test_srgnn import SESSIONS, nodes_of_prefix, padded, soft_attention
from weft.errors import RequestError
from weft.models import tagnn
from weft.models.settings import TAGNNSettings

WIDTH, N_ITEMS = 6, 6


def _network() -> tagnn.TAGNNNetwork:
    torch.manual_seed(0)
    network = tagnn.TAGNNNetwork(TAGNNSettings(width=WIDTH), N_ITEMS).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    return network


def _by_hand(network: tagnn.TAGNNNetwork, prefix: list[int], candidate: int) -> float:
    p = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    items, nodes = nodes_of_prefix(network, prefix)
    overall, last = soft_attention(network, prefix, items, nodes)
    v = p["items.weight"][candidate]
    clicked = nodes[[items.index(item) for item in prefix]]
    weight = np.exp(clicked @ p["pull.weight"].T @ v)
    held = (weight / weight.sum()) @ clicked
    together = np.concatenate([p["aimed.weight"], p["state.weight"]], 1)  # W3
    return float(v @ (together @ np.concatenate([held, overall, last]) + p["state.bias"]))


def test_the_scores_are_those_of_the_equations() -> None:
    network = _network()
    scores = network.scores(*padded()).detach().numpy()
    for row, session in enumerate(SESSIONS):
        expected = [_by_hand(network, session, candidate) for candidate in range(1, N_ITEMS + 1)]
        np.testing.assert_allclose(scores[row, 1:], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("held", [tagnn._CPU_HELD, 1])
@pytest.mark.parametrize("kept", [tagnn._KEPT, 0])
def test_the_loss_is_the_cross_entropy_of_the_scores_of_every_prefix(
    held: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tagnn, "_CPU_HELD", held)
    monkeypatch.setattr(tagnn, "_KEPT", kept)
    network = _network()
    inputs, _ = padded()
    targets = torch.cat([inputs[:, 1:], torch.zeros(len(inputs), 1, dtype=torch.int64)], 1)
    losses = []
    for session in SESSIONS:
        for end in range(1, len(session)):
            scores = torch.tensor([_by_hand(network, session[:end], item) for item in range(1, N_ITEMS + 1)])
            losses.append(torch.nn.functional.cross_entropy(scores, torch.tensor(session[end] - 1)))
    torch.testing.assert_close(network(inputs, targets), torch.stack(losses).mean(), rtol=1e-5, atol=1e-5)


def test_parts_of_a_batch_have_the_gradient_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, _ = padded()
    targets = torch.cat([inputs[:, 1:], torch.zeros(len(inputs), 1, dtype=torch.int64)], 1)
    gradients = []
    for held, kept in ((tagnn._CPU_HELD, tagnn._KEPT), (1, tagnn._KEPT), (1, 0)):
        monkeypatch.setattr(tagnn, "_CPU_HELD", held)
        monkeypatch.setattr(tagnn, "_KEPT", kept)
        network = _network()
        network(inputs, targets).backward()
        gradients.append({name: parameter.grad for name, parameter in network.named_parameters()})
    torch.testing.assert_close(gradients[1], gradients[0])
    torch.testing.assert_close(gradients[2], gradients[0])
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients[0].values())


def test_very_large_logits_leave_finite_scores() -> None:
    network = _network()
    with torch.no_grad():
        network.pull.weight.mul_(1000)
    assert torch.isfinite(network.scores(*padded())).all()


def test_a_loss_that_draws_negatives_is_refused_before_any_work() -> None:
    with pytest.raises(ValueError, match="cross_entropy"):
        TAGNNSettings(loss="sampled_softmax", negatives=4)
    with pytest.raises(RequestError, match="all candidates"):
        tagnn.TAGNN(TAGNNSettings(loss="binary")).fit(c.cycle(), None, c.runtime())
