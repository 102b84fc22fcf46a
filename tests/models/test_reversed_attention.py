"""Attention that knows how long ago a click was."""

import numpy as np
import pytest
import torch

from tests.models.by_hand import values
from tests.models.test_gcegnn import reversed_by_hand
from weft.models import reversed_attention
from weft.models.reversed_attention import ReversedAttention


@pytest.mark.parametrize("held", [reversed_attention._HELD, 1])
def test_the_state_after_every_click_is_that_of_the_clicks_until_then(
    held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reversed_attention, "_HELD", held)
    torch.manual_seed(0)
    attention = ReversedAttention(width=5, length=8)
    x = torch.randn(3, 7, 5)
    states = attention(x).detach().numpy()
    for row in range(3):
        for end in range(1, 8):
            expected = reversed_by_hand(values(attention), x[row, :end].double().numpy())
            np.testing.assert_allclose(states[row, end - 1], expected, rtol=1e-4, atol=1e-5)


def test_the_last_state_is_that_after_the_last_click_whatever_the_padding() -> None:
    torch.manual_seed(0)
    attention = ReversedAttention(width=5, length=8)
    x, lengths = torch.randn(3, 7, 5), torch.tensor([1, 4, 7])
    torch.testing.assert_close(attention.last(x, lengths), attention(x)[torch.arange(3), lengths - 1])
