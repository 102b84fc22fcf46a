"""Additive attention against a loop over pairs of positions."""

import numpy as np
import pytest
import torch

from weft.models import additive
from weft.models.additive import AdditiveAttention

BATCH, TIME, WIDTH = 2, 5, 3


def _inputs() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    return tuple(torch.randn(BATCH, TIME, WIDTH, requires_grad=True) for _ in range(3))


def _by_hand(attention: AdditiveAttention, batch: int, query: np.ndarray, seen: int, *of: torch.Tensor) -> np.ndarray:
    """The sum for one query that sees the first ``seen`` items."""
    key, value = (tensor.detach().numpy()[batch] for tensor in of)
    v = attention.weigh.weight.detach().numpy()[0]
    total = np.zeros(WIDTH)
    for j in range(seen):
        total += v @ (1 / (1 + np.exp(-(query + key[j])))) * value[j]
    return total


def test_a_position_sees_itself_and_what_came_before() -> None:
    attention = AdditiveAttention(WIDTH)
    query, key, value = _inputs()
    seen = attention(query, key, value).detach().numpy()
    for b in range(BATCH):
        for t in range(TIME):
            expected = _by_hand(attention, b, query.detach().numpy()[b, t], t + 1, key, value)
            np.testing.assert_allclose(seen[b, t], expected, rtol=1e-5)


def test_one_query_sees_the_first_items_of_its_history() -> None:
    attention = AdditiveAttention(WIDTH)
    query, key, value = _inputs()
    lengths = torch.tensor([2, 5])
    seen = attention.last(query[:, 0], key, value, lengths).detach().numpy()
    for b in range(BATCH):
        expected = _by_hand(attention, b, query.detach().numpy()[b, 0], int(lengths[b]), key, value)
        np.testing.assert_allclose(seen[b], expected, rtol=1e-5)


@pytest.mark.parametrize("positions", [1, 2, 4])
def test_blocks_change_neither_sums_nor_gradients(monkeypatch: pytest.MonkeyPatch, positions: int) -> None:
    attention = AdditiveAttention(WIDTH)
    inputs = _inputs()
    found = []
    for held in (BATCH * TIME * WIDTH * TIME, BATCH * TIME * WIDTH * positions):
        monkeypatch.setattr(additive, "_HELD", held)
        seen = attention(*inputs)
        found.append((seen, *torch.autograd.grad((seen * seen).sum(), (*inputs, attention.weigh.weight))))
    for whole, in_blocks in zip(*found, strict=True):
        torch.testing.assert_close(in_blocks, whole)
