"""The contrastive loss, by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from weft.alignment.heads import Heads
from weft.alignment.settings import AlignmentSettings

TEMPERATURE = 0.5
ALL_DIFFER = torch.arange(3)


def _plain(**settings) -> Heads:
    """Heads that change nothing but the length of a vector."""
    given = torch.eye(3)
    heads = Heads(given, given, AlignmentSettings(temperature=TEMPERATURE, **settings))
    with torch.no_grad():
        for head in (heads.image, heads.text):
            head[0].centre.zero_()
            head[0].spread.fill_(1)
            head[1].weight.copy_(torch.eye(3))
    return heads


def _loss(image: Tensor, text: Tensor, same_image: Tensor = ALL_DIFFER, same_text: Tensor = ALL_DIFFER) -> float:
    return _plain()(image, text, same_image, same_text).item()


def test_the_loss_of_three_items_is_that_of_equation_4() -> None:
    image = np.eye(3)
    text = np.array([[1, 0, 0], [0, 3, 4], [0, 0, 2]], np.float64)
    unit = text / np.linalg.norm(text, axis=1, keepdims=True)
    expected = 0.0
    for i in range(3):
        of_images = sum(math.exp(image[i] @ unit[j] / TEMPERATURE) for j in range(3))
        of_texts = sum(math.exp(unit[i] @ image[j] / TEMPERATURE) for j in range(3))
        own = math.exp(image[i] @ unit[i] / TEMPERATURE)
        expected -= (math.log(own / of_images) + math.log(own / of_texts)) / 6
    found = _loss(torch.from_numpy(image).float(), torch.from_numpy(text).float())
    assert found == pytest.approx(expected, rel=1e-5)


def test_unrelated_vectors_cost_the_logarithm_of_their_number_and_perfect_ones_next_to_nothing() -> None:
    same = torch.ones(3, 3)
    assert _loss(same, same) == pytest.approx(math.log(3))
    assert _loss(torch.eye(3), torch.eye(3)) == pytest.approx(math.log(1 + 2 * math.exp(-1 / TEMPERATURE)))


@pytest.mark.parametrize("shared", ["same_image", "same_text"])
def test_items_that_share_a_picture_or_a_text_are_no_negatives_of_each_other(shared: str) -> None:
    image, text = torch.eye(3), torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 0, 1.0]])
    near = math.log(1 + math.exp(-1 / TEMPERATURE))
    # Cosines: the first item's picture fits both first texts, the second's fits none, the third's its own.
    first = 2 * near  # against the third alone, from the picture and from the text
    second = 2 * math.log(2)
    third = 2 * math.log(1 + 2 * math.exp(-1 / TEMPERATURE))
    expected = (first + second + third) / 6
    assert _loss(image, text, **{shared: torch.tensor([0, 0, 1])}) == pytest.approx(expected, rel=1e-5)
    assert _loss(image, text) > expected


def test_what_all_vectors_share_is_taken_out_and_directions_stay() -> None:
    rng = torch.Generator().manual_seed(0)
    text = torch.randn(50, 6, generator=rng) + 100
    heads = Heads(torch.randn(50, 6, generator=rng), text, AlignmentSettings(width=8))
    centred = text - text.mean(0)
    cosines = torch.nn.functional.cosine_similarity(centred[:, None], centred[None], dim=2)
    mapped = heads.of_texts(text)
    torch.testing.assert_close(mapped @ mapped.t(), cosines, atol=1e-4, rtol=0)
    torch.testing.assert_close(mapped.norm(dim=1), torch.ones(50))


def test_a_head_is_as_wide_as_the_pictures_unless_told_otherwise() -> None:
    image, text = torch.randn(4, 5), torch.randn(4, 9)
    assert Heads(image, text, AlignmentSettings()).of_texts(text).shape == (4, 5)
    deep = Heads(image, text, AlignmentSettings(width=7, head="mlp"))
    assert deep.of_images(image).shape == (4, 7)
    assert sum(isinstance(layer, torch.nn.Linear) for layer in deep.image) == 2
