from __future__ import annotations

import numpy as np
import pytest
import torch

from weft.language.engine import Sampling
from weft.language.generate import _Draw, cut, uniforms


def drawn(probabilities, count, **settings):
    """How often each token is drawn over many prompts that differ."""
    prompts = [[7, number] for number in range(count)]
    draw = _Draw(prompts, Sampling(max_tokens=1, **settings), begin=2)
    scores = torch.log(torch.tensor(probabilities)).expand(count, -1)
    out = draw(torch.zeros(count, 2, dtype=torch.long), scores)
    assert ((out == 0).sum(1) == 1).all()
    assert (torch.isinf(out).sum(1) == len(probabilities) - 1).all()
    return np.bincount(out.argmax(1).numpy(), minlength=len(probabilities)) / count


def test_tokens_are_drawn_as_often_as_they_are_likely():
    np.testing.assert_allclose(drawn([0.1, 0.6, 0.3], 20_000, temperature=1), [0.1, 0.6, 0.3], atol=0.015)


def test_the_temperature_sharpens_and_flattens():
    # p^(1/T) normalised: at 0.5 the squares.
    squares = np.array([0.01, 0.36, 0.09]) / 0.46
    np.testing.assert_allclose(drawn([0.1, 0.6, 0.3], 20_000, temperature=0.5), squares, atol=0.015)


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [
        (0.5, [0, 1, 0]),
        (0.61, [0, 2 / 3, 1 / 3]),
        (0.95, [0.1, 0.6, 0.3]),
    ],
)
def test_nothing_outside_the_nucleus_is_drawn(top_p, expected):
    got = drawn([0.1, 0.6, 0.3], 20_000, temperature=1, top_p=top_p)
    np.testing.assert_allclose(got, expected, atol=0.015)
    assert (got[np.array(expected) == 0] == 0).all()


def test_a_token_that_is_impossible_is_never_drawn():
    got = drawn([0.0, 0.5, 0.5, 0.0], 20_000, temperature=2)
    assert got[0] == got[3] == 0


def test_uniform_numbers_come_from_seed_and_prompt():
    assert (uniforms([1, 2], 3, 5) == uniforms([1, 2], 3, 5)).all()
    assert (uniforms([1, 2], 3, 9)[:5] == uniforms([1, 2], 3, 5)).all()
    for other in (uniforms([1, 3], 3, 5), uniforms([1, 2], 4, 5), uniforms([2, 1], 3, 5), uniforms([3, 1, 2], 0, 5)):
        assert (other != uniforms([1, 2], 3, 5)).all()


def test_each_step_has_a_number_of_its_own():
    draw = _Draw([[1]], Sampling(max_tokens=200, temperature=1), begin=1)
    scores = torch.zeros(1, 1000)
    places = [int(draw(torch.zeros(1, 1 + step, dtype=torch.long), scores).argmax()) for step in range(200)]
    assert len(set(places)) > 150


def test_text_is_cut_at_the_first_of_the_stop_texts():
    assert cut("one two three", ("three", "two")) == "one "
    assert cut("one", ("two",)) == "one"
    assert cut("one", ()) == "one"
