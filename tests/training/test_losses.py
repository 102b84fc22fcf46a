"""The losses against torch's own, which hold all logits at once."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from weft.training.losses import binary, cross_entropy, gbce, info_nce, sampled_softmax


def _random(rows: int = 600, items: int = 37, width: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, width, generator=generator).requires_grad_()
    catalogue = torch.randn(items, width, generator=generator).requires_grad_()
    return hidden, catalogue, torch.randint(items, (rows,), generator=generator)


@pytest.mark.parametrize("size", [1.0, 10.0], ids=["logits of up to 30", "logits of over 1,000"])
def test_chunked_cross_entropy_and_its_gradients_equal_torchs_across_a_chunk_border(size: float) -> None:
    hidden, catalogue, target = _random(rows=600)  # 256 + 256 + 88
    hidden, catalogue = hidden * size, catalogue * size
    ours = cross_entropy(hidden, catalogue, target)
    ours_gradients = torch.autograd.grad(3 * ours, [hidden, catalogue])
    theirs = F.cross_entropy(hidden @ catalogue.t(), target)
    theirs_gradients = torch.autograd.grad(3 * theirs, [hidden, catalogue])
    torch.testing.assert_close(ours, theirs)
    for ours_one, theirs_one in zip(ours_gradients, theirs_gradients, strict=True):
        torch.testing.assert_close(ours_one, theirs_one)


def test_cross_entropy_survives_logits_that_overflow_an_exponential() -> None:
    hidden = torch.tensor([[200.0]], requires_grad=True)
    catalogue = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    loss = cross_entropy(hidden, catalogue, torch.tensor([1]))
    loss.backward()
    assert loss.item() == pytest.approx(400.0)
    assert torch.isfinite(hidden.grad).all()


def test_sampled_softmax_over_the_whole_catalogue_is_the_full_softmax() -> None:
    hidden, catalogue, target = _random()
    sampled = sampled_softmax(hidden, catalogue, target, negatives=len(catalogue))
    torch.testing.assert_close(sampled, F.cross_entropy(hidden @ catalogue.t(), target))


def test_sampled_softmax_of_fewer_negatives_is_smaller_and_never_counts_the_target_twice() -> None:
    hidden, catalogue, target = _random()
    torch.manual_seed(0)
    few = sampled_softmax(hidden, catalogue, target, negatives=5)
    assert few < F.cross_entropy(hidden @ catalogue.t(), target)
    one_item = sampled_softmax(hidden[:1], catalogue[:1], torch.tensor([0]), negatives=1)
    assert one_item.item() == 0.0  # its only negative is the target itself


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_binary_loss_of_one_item_against_drawn_others_is_worked_out_by_hand() -> None:
    """A thousand others are alike, so that it does not matter which are drawn; the target is not among them here."""
    torch.manual_seed(0)
    catalogue = torch.tensor([[0.3]] + [[-0.7]] * 1000)
    loss = binary(torch.tensor([[2.0]]), catalogue, torch.tensor([0]), negatives=2)
    assert loss.item() == pytest.approx(-math.log(_sigmoid(0.6)) - 2 * math.log(1 - _sigmoid(-1.4)))


@pytest.mark.parametrize(("calibration", "power"), [(0.0, 1.0), (0.75, 0.2515), (1.0, 0.002)])
def test_gbce_raises_the_probability_of_the_target_to_the_power_that_the_paper_gives(
    calibration: float, power: float
) -> None:
    """2 of 1,000 others are drawn: the power goes from 1 (nothing undone) to the share drawn (all undone)."""
    torch.manual_seed(0)
    catalogue = torch.tensor([[0.3]] + [[-0.7]] * 1000)
    loss = gbce(torch.tensor([[2.0]]), catalogue, torch.tensor([0]), negatives=2, calibration=calibration)
    expected = (-power * math.log(_sigmoid(0.6)) - 2 * math.log(1 - _sigmoid(-1.4))) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_share_that_gbce_draws_is_one_of_the_items_other_than_the_target() -> None:
    """2 of 4 others: at t = 0.75 the power is 0.5 (0.75 (1 - 2) + 2) = 0.625. All five items are alike."""
    loss = gbce(torch.tensor([[2.0]]), torch.full((5, 1), 0.3), torch.tensor([0]), negatives=2, calibration=0.75)
    expected = (-0.625 * math.log(_sigmoid(0.6)) - 2 * math.log(1 - _sigmoid(0.6))) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_info_nce_of_two_views_is_worked_out_by_hand() -> None:
    one, other = torch.tensor([[3.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.5, 0.0], [4.0, 3.0]])
    cosines = np.array([[1.0, 0.8], [0.0, 0.6]]) / 0.5
    expected = np.mean([np.log(np.exp(row).sum()) - row[own] for own, row in enumerate(cosines)])
    assert info_nce(one, other, temperature=0.5).item() == pytest.approx(expected, rel=1e-5)


def test_info_nce_is_no_coarser_in_mixed_precision() -> None:
    hidden, catalogue, _ = _random(rows=37)
    plain = info_nce(hidden, catalogue, temperature=0.05)
    with torch.autocast("cpu", torch.bfloat16):
        assert info_nce(hidden, catalogue, temperature=0.05).item() == plain.item()
