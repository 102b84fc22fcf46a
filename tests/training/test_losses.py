"""The losses against torch's own, which hold all logits at once."""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from weft.training.losses import cross_entropy, sampled_softmax


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
