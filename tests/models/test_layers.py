"""Shared layers."""

import numpy as np
import pytest
import torch

from tests.models import by_hand
from weft.models.layers import Dropout, LiGRBlock, TransformerBlock


def test_dropout_zeroes_its_share_keeps_the_mean_and_is_the_identity_when_not_training() -> None:
    torch.manual_seed(0)
    dropout, ones = Dropout(0.25), torch.ones(400, 500)
    dropped = dropout(ones)
    assert abs((dropped == 0).float().mean().item() - 0.25) < 0.01
    assert abs(dropped.mean().item() - 1) < 0.01
    assert dropout.eval()(ones) is ones


def test_the_gradient_of_dropout_passes_where_the_value_passed() -> None:
    torch.manual_seed(0)
    x = torch.ones(7, 3, requires_grad=True)
    y = Dropout(0.5)(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_adding_a_dropped_branch_is_adding_its_dropout_and_its_gradients_follow() -> None:
    dropout, x, y = Dropout(0.5), torch.randn(7, 3, requires_grad=True), torch.randn(7, 3, requires_grad=True)
    torch.manual_seed(0)
    added = dropout.add(x, y)
    torch.manual_seed(0)
    torch.testing.assert_close(added, x + dropout(y))
    kept = (added != x).float() * 2
    gradients = torch.autograd.grad(added.sum(), [x, y])
    torch.testing.assert_close(gradients, (torch.ones(7, 3), kept))
    assert torch.equal(dropout.eval().add(x, y), x + y)


def test_a_position_does_not_see_what_comes_after_it() -> None:
    torch.manual_seed(0)
    block, x = TransformerBlock(8, 2, 16, 0.0), torch.randn(2, 5, 8)
    changed = torch.cat([x[:, :3], torch.randn(2, 2, 8)], 1)  # a constant would not do: the layer norm takes it out
    torch.testing.assert_close(block(x)[:, :3], block(changed)[:, :3])
    assert not torch.allclose(block(x)[:, 3:], block(changed)[:, 3:])


def test_the_last_position_alone_is_what_the_whole_block_gives_there() -> None:
    torch.manual_seed(0)
    block, x = TransformerBlock(8, 2, 16, 0.0), torch.randn(3, 5, 8)
    position = torch.tensor([0, 2, 4])
    torch.testing.assert_close(block.last(x, position), block(x)[torch.arange(3), position])


def test_a_block_that_is_told_what_is_visible_sees_that_on_both_sides_and_nothing_else() -> None:
    torch.manual_seed(0)
    block, x = TransformerBlock(8, 2, 16, 0.0), torch.randn(1, 4, 8)
    visible = torch.tensor([[True, True, True, False]])
    later, hidden = x.clone(), x.clone()
    later[:, 2], hidden[:, 3] = torch.randn(2, 8)
    assert not torch.allclose(block(x, visible)[:, 0], block(later, visible)[:, 0])
    torch.testing.assert_close(block(x, visible)[:, :3], block(hidden, visible)[:, :3])


@pytest.mark.parametrize("heads", [1, 2])
def test_a_block_is_what_its_equations_say(heads: int) -> None:
    torch.manual_seed(0)
    block, x = TransformerBlock(8, heads, 16, 0.0), torch.randn(3, 8)
    expected = by_hand.block(by_hand.values(block), list(x.double().numpy()), heads, by_hand.causal(3))
    np.testing.assert_allclose(block(x[None])[0].detach(), expected, rtol=1e-4, atol=1e-5)


def test_a_gated_block_is_what_its_equations_say() -> None:
    """Each branch times σ(W x) of the x that goes into the branch, which is not normed; SwiGLU instead of ReLU."""
    torch.manual_seed(0)
    block, x = LiGRBlock(8, 2, 16, 0.0), torch.randn(3, 8)
    of, rows = by_hand.values(block), list(x.double().numpy())
    expected = []
    for one, branch in zip(rows, by_hand.attended(of, rows, 2, by_hand.causal(3)), strict=True):
        y = one + branch / (1 + np.exp(-by_hand.linear(of, "attention_gate", one)))
        gate, value = np.split(by_hand.linear(of, "feedforward.inner", by_hand.norm(of, "feedforward_norm", y)), 2)
        inner = by_hand.linear(of, "feedforward.out", gate / (1 + np.exp(-gate)) * value)
        expected.append(y + inner / (1 + np.exp(-by_hand.linear(of, "feedforward_gate", y))))
    np.testing.assert_allclose(block(x[None])[0].detach(), expected, rtol=1e-4, atol=1e-5)
    position = torch.tensor([2])
    torch.testing.assert_close(block.last(x[None], position)[0], block(x[None])[0, 2])
