"""The convolution over the hypergraph of sessions, against its matrices."""

import numpy as np
import torch

from tests.models import contracts as c
from weft.models.hypergraph import Hypergraph

# 2 is taken twice in one session; user 4 took nothing; item 5 is nobody's
TRAIN = c.events([[1, 2, 3, 2], [2, 1], [3, 4]], n_items=5)
HOLDS = np.array([[0, 0, 0], [1, 1, 0], [1, 1, 0], [1, 0, 1], [0, 0, 1], [0, 0, 0]], np.float64)  # H: items x sessions


def _matrix() -> np.ndarray:
    degree = np.maximum(HOLDS.sum(1), 1)
    return np.diag(1 / degree) @ HOLDS @ np.diag(1 / HOLDS.sum(0)) @ HOLDS.T


def test_the_convolution_is_that_of_the_matrices_and_so_is_its_gradient() -> None:
    torch.manual_seed(0)
    x, given = torch.randn(6, 3, requires_grad=True), torch.randn(6, 3)
    smoothed = Hypergraph.of(TRAIN)(x)
    smoothed.backward(given)
    np.testing.assert_allclose(smoothed.detach(), _matrix() @ x.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert x.grad is not None
    np.testing.assert_allclose(x.grad, _matrix().T @ given.numpy(), rtol=1e-5, atol=1e-6)


def test_by_hand_one_item_of_two_sessions() -> None:
    x = torch.tensor([0.0, 10.0, 20.0, 60.0, 0.0, 1.0])[:, None]
    # Item 1: its sessions have the means (10 + 20 + 60) / 3 = 30 and (20 + 10) / 2 = 15.
    torch.testing.assert_close(Hypergraph.of(TRAIN)(x)[[1, 5]], torch.tensor([[22.5], [0.0]]))
