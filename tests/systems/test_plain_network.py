"""The two-layer network: it learns what depends on both vectors, and comes back from its arrays."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weft.evaluation.metrics import auc
from weft.systems.plain_network import PlainNetwork, train
from weft.systems.settings import PlainNetworkSettings
from weft.training.runtime import Runtime

QUICK = PlainNetworkSettings(hidden=32, epochs=12, patience=0, batch=64, learning_rate=0.01)
Rows = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]


def rows(n: int, seed: int) -> Rows:
    """Liked is what lies on the user's side: neither vector alone tells."""
    rng = np.random.default_rng(seed)
    users, items = rng.normal(size=(n, 4)).astype(np.float32), rng.normal(size=(n, 6)).astype(np.float32)
    return users, items, users[:, 0] * items[:, 0] > 0


def fitted(held: Rows, work: Path | None = None) -> tuple[PlainNetwork, list[float | None]]:
    network, history = train(*rows(2_000, 0), held, QUICK, Runtime(device="cpu", seed=3, work=work))
    return network, history["validation"].to_list()


def test_it_learns_what_only_both_vectors_together_tell() -> None:
    network, values = fitted(rows(500, 1))
    users, items, labels = rows(500, 2)
    assert auc(labels, network.score(users, items).astype(float))[0] > 0.75
    assert len(values) == 12
    assert all(value is not None for value in values)


def test_it_comes_back_from_its_arrays_and_is_drawn_from_the_seed() -> None:
    held = rows(100, 1)
    network, _ = fitted(held)
    scores = network.score(*held[:2])
    back = PlainNetwork.load(4, 6, QUICK, network.tensors())
    np.testing.assert_array_equal(back.score(*held[:2]), scores)
    np.testing.assert_array_equal(fitted(held)[0].score(*held[:2]), scores)


def test_held_out_rows_of_one_class_pick_no_epoch() -> None:
    users, items, _ = rows(100, 1)
    _, values = fitted((users, items, np.ones(100, np.bool_)))
    assert set(values) == {None}
