"""Soft tokens: what a slot becomes, on which scale, and what of it is kept."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from tests.tuning.conftest import soft_tokens, tables, tiny
from weft.errors import RequestError
from weft.tuning.soft_tokens import SoftTokens, scale_of

SLOTS = np.array([[1, 8], [0, 2], [1, 0], [0, 2], [1, 8]], np.int64)


def by_hand(tokens: SoftTokens, kind: str, row: int) -> torch.Tensor:
    """Linear, GELU, Linear, layer norm, times the scale, of one row."""
    weights = {name.removeprefix(f"maps.{kind}."): tensor for name, tensor in tokens.state_dict().items()}
    x = torch.from_numpy(tables()[kind][row])
    x = weights["0.weight"] @ x + weights["0.bias"]
    x = 0.5 * x * (1 + torch.erf(x / 2**0.5))
    x = weights["2.weight"] @ x + weights["2.bias"]
    x = (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt()
    return (x * weights["3.weight"] + weights["3.bias"]) * 0.25


def test_each_slot_is_the_map_of_its_kind_of_its_row_in_order():
    tokens = SoftTokens(tables(), 32, 0.25, seed=3)
    assert tokens.kinds == ("user", "item")
    expected = [by_hand(tokens, tokens.kinds[kind], row) for kind, row in SLOTS.tolist()]
    got = tokens(torch.from_numpy(SLOTS))
    torch.testing.assert_close(got, torch.stack(expected), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(tokens.vectors(SLOTS), got.detach().numpy())
    assert tokens.vectors(SLOTS).dtype == np.float32
    assert tokens.vectors(SLOTS[:0]).shape == (0, 32)


def test_vectors_lie_on_the_scale_of_the_models_embeddings():
    model = tiny()
    scale = scale_of(model.input_embeddings())
    assert scale == pytest.approx(model.input_embeddings().weight.detach().numpy().std(), rel=1e-3)
    assert soft_tokens(model).vectors(SLOTS).std(axis=1) == pytest.approx([scale] * 5, rel=1e-2)


def test_only_the_maps_and_the_scale_are_kept_and_they_bring_the_tokens_back():
    tokens = SoftTokens(tables(), 16, 0.25, seed=3)
    kept = tokens.tensors()
    assert sum(array.size for name, array in kept.items() if name != "scale") == sum(
        weight.numel() for weight in tokens.parameters()
    )
    assert not [name for name in kept if "table" in name]
    back = SoftTokens.load(tables(), 16, kept)
    np.testing.assert_array_equal(back.vectors(SLOTS), tokens.vectors(SLOTS))
    assert not back.training
    swapped = tables()
    swapped["item"][[0, 8]] = swapped["item"][[8, 0]]
    # A row's last bits may depend on its place in a product.
    np.testing.assert_allclose(
        SoftTokens.load(swapped, 16, kept).vectors(SLOTS)[[0, 1, 2]], tokens.vectors(SLOTS)[[2, 1, 0]], atol=1e-6
    )


def test_maps_are_drawn_from_the_seed_alone():
    state = torch.get_rng_state()
    first, again, other = (SoftTokens(tables(), 16, 1.0, seed).vectors(SLOTS) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(first, again)
    assert not np.isclose(first, other).any(axis=1).all()


def test_a_kind_alone_is_kind_zero():
    alone = SoftTokens({"item": tables()["item"]}, 16, 1.0)
    assert alone.kinds == ("item",)
    assert alone.vectors(np.array([[0, 8]], np.int64)).shape == (1, 16)


@pytest.mark.parametrize("slot", [[2, 0], [-1, 0], [0, 6], [1, 9], [0, -1]])
def test_a_slot_that_no_table_has_is_an_error_and_not_another_vector(slot):
    with pytest.raises(RequestError, match=f"no table has row {slot[1]} of kind {slot[0]}"):
        SoftTokens(tables(), 16, 1.0).vectors(np.array([[0, 0], slot], np.int64))


def test_what_a_caller_does_to_its_table_afterwards_changes_nothing():
    given = tables()
    tokens = SoftTokens(given, 16, 1.0)
    before = tokens.vectors(SLOTS)
    given["item"][:] = 0
    np.testing.assert_array_equal(tokens.vectors(SLOTS), before)


def test_gradients_go_to_the_maps_of_the_slots_kinds():
    tokens = SoftTokens(tables(), 16, 1.0)
    F.mse_loss(tokens(torch.tensor([[1, 3]])), torch.ones(1, 16)).backward()
    assert all(weight.grad.abs().sum() > 0 for weight in tokens.maps["item"].parameters())
    assert all(weight.grad.abs().sum() == 0 for weight in tokens.maps["user"].parameters())
