"""Shared layers."""

import torch

from weft.models.layers import CausalBlock, Dropout


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


def test_a_position_of_a_causal_block_does_not_see_what_comes_after_it() -> None:
    torch.manual_seed(0)
    block, x = CausalBlock(8, 2, 16, 0.0), torch.randn(2, 5, 8)
    changed = x.clone()
    changed[:, 3:] += 1
    torch.testing.assert_close(block(x)[:, :3], block(changed)[:, :3])
    assert not torch.allclose(block(x)[:, 3:], block(changed)[:, 3:])


def test_the_last_position_alone_is_what_the_whole_block_gives_there() -> None:
    torch.manual_seed(0)
    block, x = CausalBlock(8, 2, 16, 0.0), torch.randn(3, 5, 8)
    position = torch.tensor([0, 2, 4])
    torch.testing.assert_close(block.last(x, position), block(x)[torch.arange(3), position])
