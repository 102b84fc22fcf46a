"""SR-GNN against its paper's equations, written out for one prefix at a time."""

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from weft.models.settings import SRGNNSettings
from weft.models.srgnn import SRGNNNetwork

WIDTH = 6
SESSIONS = [[3, 1, 2, 3, 1, 3, 3, 2, 1, 3], [4], [1, 2, 1, 2], [5, 4, 3, 2, 1]]
Array = NDArray[np.float64]


def _network() -> SRGNNNetwork:
    torch.manual_seed(0)
    network = SRGNNNetwork(SRGNNSettings(width=WIDTH), n_items=6).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)  # away from where every function is a line
    return network


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def nodes_of_prefix(network: SRGNNNetwork, prefix: list[int]) -> tuple[list[int], Array]:
    """The distinct items of one prefix and their vectors after eq. 1-5, with a matrix of edges."""
    p = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    items = sorted(set(prefix))
    edges = np.zeros((len(items), len(items)))
    for one, other in pairwise(prefix):
        edges[items.index(one), items.index(other)] = 1
    out = edges / np.maximum(edges.sum(1, keepdims=True), 1)
    into = edges.T / np.maximum(edges.T.sum(1, keepdims=True), 1)
    v = p["items.weight"][items]
    sent = v @ p["propagate.edges.weight"].T + p["propagate.edges.bias"]
    a = np.concatenate([into @ sent[:, :WIDTH], out @ sent[:, WIDTH:]], 1)
    found = np.split(a @ p["propagate.gates.weight"].T + p["propagate.gates.bias"], 3, axis=1)
    held = np.split(v @ p["propagate.held.weight"].T + p["propagate.held.bias"], 3, axis=1)
    reset, update = sigmoid(found[0] + held[0]), sigmoid(found[1] + held[1])
    return items, (1 - update) * v + update * np.tanh(found[2] + reset * held[2])


def soft_attention(network: SRGNNNetwork, prefix: list[int], items: list[int], nodes: Array) -> tuple[Array, Array]:
    """s_g of eq. 6, summed click by click, and s_l."""
    p = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    last = nodes[items.index(prefix[-1])]
    overall = np.zeros(WIDTH)
    for item in prefix:
        vector = nodes[items.index(item)]
        inner = p["query.weight"] @ last + p["query.bias"] + p["key.weight"] @ vector
        overall += (p["attention.weigh.weight"] @ sigmoid(inner)) * vector
    return overall, last


def _by_hand(network: SRGNNNetwork, prefix: list[int]) -> Array:
    overall, last = soft_attention(network, prefix, *nodes_of_prefix(network, prefix))
    state = network.state
    return state.weight.detach().numpy() @ np.concatenate([overall, last]) + state.bias.detach().numpy()


def padded() -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(map(len, SESSIONS))
    inputs = torch.tensor([session + [0] * (longest - len(session)) for session in SESSIONS])
    return inputs, torch.tensor([len(session) for session in SESSIONS])


def test_the_state_after_every_click_is_that_of_the_prefix_as_a_graph_of_its_own() -> None:
    network = _network()
    inputs, lengths = padded()
    states = network.states(inputs, lengths).detach().numpy()
    for row, session in enumerate(SESSIONS):
        for end in range(len(session)):
            np.testing.assert_allclose(states[row, end], _by_hand(network, session[: end + 1]), rtol=1e-5, atol=1e-5)


def test_the_state_of_a_query_is_that_of_its_whole_history() -> None:
    network = _network()
    states = network.encode(*padded()).detach().numpy()
    for row, session in enumerate(SESSIONS):
        np.testing.assert_allclose(states[row], _by_hand(network, session), rtol=1e-5, atol=1e-5)


def test_the_order_of_clicks_counts_beyond_the_last_two() -> None:
    """The graph is what holds it: without edges the state would be that of a set with a last click."""
    network = _network()
    states = network.encode(torch.tensor([[1, 2, 3, 4, 5], [2, 1, 3, 4, 5]]), torch.tensor([5, 5]))
    assert (states[0] - states[1]).abs().max() > 1e-3
    with torch.no_grad():
        network.propagate.edges.weight.zero_()
        network.propagate.edges.bias.zero_()
    states = network.encode(torch.tensor([[1, 2, 3, 4, 5], [2, 1, 3, 4, 5]]), torch.tensor([5, 5]))
    torch.testing.assert_close(states[0], states[1])
