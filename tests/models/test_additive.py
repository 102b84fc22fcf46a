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


def test_a_count_says_how_often_a_position_is_seen() -> None:
    attention = AdditiveAttention(WIDTH)
    query, key, value = _inputs()
    counts = torch.zeros(BATCH, TIME, TIME)
    counts[0, 4, 2], counts[1, 3, 3], counts[1, 3, 4] = 2.0, 1.0, 7.0  # the last one lies ahead
    seen = attention(query, key, value, counts)
    weight = (torch.sigmoid(query[:, :, None] + key[:, None]) @ attention.weigh.weight[0]).detach()
    expected = torch.zeros(BATCH, TIME, WIDTH)
    expected[0, 4] = 2 * weight[0, 4, 2] * value[0, 2]
    expected[1, 3] = weight[1, 3, 3] * value[1, 3]
    torch.testing.assert_close(seen, expected)
    last = attention.last(query[:, 4], key, value, torch.tensor([5, 5]), counts[:, 4])
    torch.testing.assert_close(last, expected[:, 4])


@pytest.mark.parametrize(("held", "queries"), [(2**17, 8), (1, 1), (2 * TIME * WIDTH, 2), (1, 3)])
def test_parts_change_neither_sums_nor_gradients(monkeypatch: pytest.MonkeyPatch, held: int, queries: int) -> None:
    monkeypatch.setattr(additive, "_CPU_HELD", held)
    monkeypatch.setattr(additive, "_QUERIES", queries)
    attention, counts = AdditiveAttention(WIDTH), torch.rand(BATCH, TIME, TIME)
    inputs = (*_inputs(), attention.weigh.weight)
    weight = (torch.sigmoid(inputs[0][:, :, None] + inputs[1][:, None]) @ inputs[3][0]).tril() * counts
    plain, seen = weight @ inputs[2], attention(*inputs[:3], counts)
    torch.testing.assert_close(seen, plain)
    gradients = [torch.autograd.grad((each * each).sum(), inputs) for each in (seen, plain)]
    torch.testing.assert_close(*gradients)
