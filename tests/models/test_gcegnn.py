"""GCE-GNN against its paper's equations, written out for one session and one node at a time."""

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from tests.models import contracts as c
from tests.models.by_hand import values
from tests.models.test_srgnn import SESSIONS, padded, sigmoid
from weft.models.gcegnn import GCEGNN, GCEGNNNetwork, global_graph
from weft.models.settings import GCEGNNSettings

WIDTH, N_ITEMS = 6, 7
TRAIN = [[1, 2, 3], [2, 1], [3, 4, 3, 5], [6]]
Array = NDArray[np.float64]


def test_the_global_graph_counts_who_stood_near_in_either_direction() -> None:
    neighbours, weights = global_graph(c.events(TRAIN, N_ITEMS), window=2, kept=2)
    expected = {1: [2, 3], 2: [1, 3], 3: [4, 1], 4: [3, 5], 5: [3, 4], 6: [0, 0], 7: [0, 0], 0: [0, 0]}
    assert neighbours.tolist() == [expected[item] for item in range(N_ITEMS + 1)]
    counts = [[0, 0], [2, 1], [2, 1], [2, 1], [2, 1], [1, 1], [0, 0], [0, 0]]
    np.testing.assert_allclose(weights, np.log1p(counts), rtol=1e-6)


def test_the_window_says_how_far_near_is() -> None:
    neighbours, _ = global_graph(c.events([[1, 2, 3, 4]], N_ITEMS), window=1, kept=3)
    assert neighbours[2].tolist() == [1, 3, 0]
    assert global_graph(c.events([[1, 2, 3, 4]], N_ITEMS), window=9, kept=3)[0][1].tolist() == [2, 3, 4]


def test_disliked_events_are_no_edges() -> None:
    labelled = c.labelled()
    network = GCEGNN(GCEGNNSettings(width=4)).made_for(labelled)
    assert not network.neighbours[1::2].any()  # odd items are disliked by all who saw them
    assert network.neighbours[2::2][:-1].any()


def _leaky(x: float | Array) -> float | Array:
    return np.where(x > 0, x, 0.2 * x)


def _softmax(x: list[float]) -> Array:
    weight = np.exp(np.array(x))
    return weight / weight.sum()


def _in_session(p: dict[str, Array], session: list[int]) -> dict[int, Array]:
    v, edges = p["items.weight"], set(pairwise(session))
    found = {}
    for item in set(session):
        logits, near = [], []
        for other in set(session):
            before, after = (item, other) in edges, (other, item) in edges
            kind = 0 if item == other else 3 if before and after else 1 if before else 2 if after else None
            if kind is not None:
                logits.append(float(_leaky(p["relation"][kind] @ (v[item] * v[other]))))
                near.append(v[other])
        found[item] = _softmax(logits) @ np.array(near)
    return found


def _in_all(p: dict[str, Array], session: list[int]) -> dict[int, Array]:
    v = p["items.weight"]
    mean = v[session].mean(0)
    found = {}
    for item in set(session):
        around = np.zeros(WIDTH)
        near = [int(other) for other in p["neighbours"][item] if other]
        if near:
            told = [np.append(mean * v[other], p["weights"][item, place]) for place, other in enumerate(near)]
            logits = [float((p["near_query.weight"] @ _leaky(p["near.weight"] @ each))[0]) for each in told]
            around = _softmax(logits) @ v[near]
        found[item] = np.maximum(p["joined.weight"] @ np.append(v[item], around) + p["joined.bias"], 0)
    return found


def reversed_by_hand(p: dict[str, Array], h: Array) -> Array:
    """The state of one session from the vectors of its clicks, [clicks, width]; ``p`` is the attention's."""
    state = np.zeros(h.shape[1])
    w1 = np.concatenate([p["click.weight"], p["place.weight"]], 1)
    for place, vector in enumerate(h):
        z = np.tanh(w1 @ np.append(vector, p["positions.weight"][len(h) - 1 - place]) + p["place.bias"])
        inner = p["weigh.weight"] @ z + p["weigh.bias"] + p["mean.weight"] @ h.mean(0)
        state += (p["query.weight"] @ sigmoid(inner)) * vector
    return state


def test_the_states_are_those_of_the_equations() -> None:
    torch.manual_seed(0)
    network = GCEGNN(GCEGNNSettings(width=WIDTH, neighbours=3, window=2)).made_for(c.events(TRAIN, N_ITEMS)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    p = values(network)
    states = network.encode(*padded()).detach().numpy()
    for row, session in enumerate(SESSIONS):
        near, far = _in_session(p, session), _in_all(p, session)
        h = np.array([near[item] + far[item] for item in session])
        attention = {name.removeprefix("attention."): value for name, value in p.items()}
        np.testing.assert_allclose(states[row], reversed_by_hand(attention, h), rtol=1e-4, atol=1e-5)


def test_the_graph_comes_back_with_the_model() -> None:
    model = c.build("gcegnn", epochs=1)
    model.fit(c.cycle(), None, c.runtime())
    loaded = GCEGNN.load(model.settings, model.tensors())
    assert isinstance(loaded.module, GCEGNNNetwork)
    assert loaded.module.neighbours.any()
    assert loaded.module.neighbours.dtype == torch.int64
