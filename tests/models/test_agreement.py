"""Scores equal RecBole's, given the same weights: ``benchmarks/agreement.py`` records its side.

Each function here takes RecBole's tensors by name and returns our model with them: what is called differently, joined
differently or missing on either side stands there, and nowhere else.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.agreement import HISTORIES, weights
from tests.models import contracts as c
from weft.models.base import Model
from weft.models.collaborative import Head
from weft.models.lightgcn import LightGCN, LightGCNNetwork
from weft.models.narm import NARM
from weft.models.settings import LightGCNSettings, NARMSettings, SRGNNSettings, STAMPSettings
from weft.models.srgnn import SRGNN
from weft.models.stamp import STAMP

LENGTH = max(map(len, HISTORIES))
WIDTH = 8
Theirs = dict[str, np.ndarray]


def _narm(theirs: Theirs) -> Model:
    """RecBole's GRU has no biases; its a_1 is for the earlier states, its c_t has the local view first."""
    decoder = theirs["b.weight"]
    none = np.zeros(3 * WIDTH, np.float32)
    tensors = {
        "items.weight": theirs["item_embedding.weight"],
        "gru.weight_ih_l0": theirs["gru.weight_ih_l0"],
        "gru.weight_hh_l0": theirs["gru.weight_hh_l0"],
        "gru.bias_ih_l0": none,
        "gru.bias_hh_l0": none,
        "query.weight": theirs["a_2.weight"],
        "key.weight": theirs["a_1.weight"],
        "attention.weigh.weight": theirs["v_t.weight"],
        "decoder.weight": np.concatenate([decoder[:, WIDTH:], decoder[:, :WIDTH]], 1),
    }
    return NARM.load(NARMSettings(width=WIDTH, length=LENGTH), tensors)


def _stamp(theirs: Theirs) -> Model:
    """Like ours, RecBole's adds the mean to the attended memory and leaves the sigmoid of the scores out."""
    tensors = {
        "items.weight": theirs["item_embedding.weight"],
        "key.weight": theirs["w1.weight"],
        "of_last.weight": theirs["w2.weight"],
        "of_last.bias": theirs["b_a"],
        "of_memory.weight": theirs["w3.weight"],
        "attention.weigh.weight": theirs["w0.weight"],
        "general.weight": theirs["mlp_a.weight"],
        "general.bias": theirs["mlp_a.bias"],
        "current.weight": theirs["mlp_b.weight"],
        "current.bias": theirs["mlp_b.bias"],
    }
    return STAMP.load(STAMPSettings(width=WIDTH, length=LENGTH), tensors)


def _srgnn(theirs: Theirs) -> Model:
    """RecBole adds two more biases to what a node receives, before the gates: to the gates they are one bias more."""
    received = np.concatenate([theirs["gnn.b_iah"], theirs["gnn.b_ioh"]])
    tensors = {
        "items.weight": theirs["item_embedding.weight"],
        "propagate.edges.weight": np.concatenate(
            [theirs["gnn.linear_edge_in.weight"], theirs["gnn.linear_edge_out.weight"]]
        ),
        "propagate.edges.bias": np.concatenate([theirs["gnn.linear_edge_in.bias"], theirs["gnn.linear_edge_out.bias"]]),
        "propagate.gates.weight": theirs["gnn.w_ih"],
        "propagate.gates.bias": theirs["gnn.b_ih"] + theirs["gnn.w_ih"] @ received,
        "propagate.held.weight": theirs["gnn.w_hh"],
        "propagate.held.bias": theirs["gnn.b_hh"],
        "query.weight": theirs["linear_one.weight"],
        "query.bias": theirs["linear_one.bias"] + theirs["linear_two.bias"],
        "key.weight": theirs["linear_two.weight"],
        "attention.weigh.weight": theirs["linear_three.weight"],
        "state.weight": theirs["linear_transform.weight"],
        "state.bias": theirs["linear_transform.bias"],
    }
    return SRGNN.load(SRGNNSettings(width=WIDTH, length=LENGTH), tensors)


def _lightgcn(theirs: Theirs) -> Model:
    """RecBole's graph has one edge for a pair however often it occurs, as ours; it adds 1e-7 to every degree."""
    train = replace(c.events(HISTORIES, n_items=10), n_users=len(HISTORIES))
    model = LightGCN(LightGCNSettings(width=WIDTH, layers=2))
    network = LightGCNNetwork(model.settings, train, Head())
    names = {"users.weight": "user_embedding.weight", "items.weight": "item_embedding.weight"}
    network.load_state_dict({ours: torch.from_numpy(theirs[name]) for ours, name in names.items()})
    return model.finish(network, train)


OURS: dict[str, Callable[[Theirs], Model]] = {"lightgcn": _lightgcn, "narm": _narm, "srgnn": _srgnn, "stamp": _stamp}


def _recorded(name: str) -> tuple[dict[str, Any], Theirs]:
    recorded = json.loads((Path(__file__).parent / "recbole" / f"{name}.json").read_text())
    return recorded, {tensor: weights(tensor, shape) for tensor, shape in recorded["tensors"].items()}


def _scores(model: Model, histories: list[list[int]]) -> np.ndarray:
    asked = c.queries(histories, users=list(range(1, len(histories) + 1)))
    return model.score(asked)[:, 1:].numpy()


@pytest.mark.parametrize("name", OURS)
def test_scores_are_those_of_recbole_given_its_weights(name: str) -> None:
    recorded, theirs = _recorded(name)
    assert recorded["histories"] == HISTORIES, "recorded with other histories: run python -m benchmarks.agreement"
    expected = np.array(recorded["scores"])
    assert np.ptp(expected) > 0.1, "scores so close together would agree by chance"
    np.testing.assert_allclose(_scores(OURS[name](theirs), HISTORIES), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", OURS)
def test_every_tensor_of_recboles_is_used(name: str) -> None:
    """Else two models could agree where one of them lacks a part that the weights switch off."""
    _, theirs = _recorded(name)
    plain = _scores(OURS[name](theirs), HISTORIES)
    for tensor in theirs:
        changed = {**theirs, tensor: theirs[tensor] * np.float32(1.1)}
        assert np.abs(_scores(OURS[name](changed), HISTORIES) - plain).max() > 1e-3, tensor
