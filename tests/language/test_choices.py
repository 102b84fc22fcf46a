from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.language.conftest import prompts_with_prefixes, tiny_model, tiny_tokenizer
from weft.errors import RequestError
from weft.language import choices, sharing
from weft.language.tokens import SLOT_ID


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def model(request):
    torch.set_num_threads(1)
    return tiny_model(request.param, tiny_tokenizer(request.param))


def slow(model, prompt, wording, vectors=None):
    """One prompt at a time, logits of every position, no cache, no padding: nothing to get wrong."""
    ids = torch.tensor([[max(token, 0) for token in prompt] + list(wording)])
    embedded = model.get_input_embeddings()(ids).detach()
    slots = [place for place, token in enumerate(prompt) if token == SLOT_ID]
    for place, vector in zip(slots, vectors if vectors is not None else [], strict=True):
        embedded[0, place] = torch.from_numpy(vector)
    with torch.no_grad():
        logs = torch.log_softmax(model(inputs_embeds=embedded).logits[0].double(), -1)
    return sum(float(logs[len(prompt) - 1 + step, token]) for step, token in enumerate(wording))


def slow_table(model, prompts, wordings, vectors=None):
    return np.array(
        [
            [
                np.log(sum(np.exp(slow(model, prompt, one, vectors[row] if vectors else None)) for one in choice))
                for choice in wordings
            ]
            for row, prompt in enumerate(prompts)
        ]
    )


SINGLE = [[[3], [4]], [[7]]]
SEVERAL = [[[3], [4, 5, 6]], [[7, 8]], [[9, 9, 9, 9]]]


@pytest.mark.parametrize("wordings", [SINGLE, SEVERAL], ids=["single tokens", "several tokens"])
@pytest.mark.parametrize("share", [True, False], ids=["shared prefixes", "no sharing"])
@pytest.mark.parametrize("budget", [16_384, 130], ids=["one batch", "many batches"])
def test_figures_equal_those_of_one_prompt_at_a_time(model, wordings, share, budget):
    prompts = prompts_with_prefixes()
    ours = choices.log_probabilities(model, prompts, wordings, share=share, batch_tokens=budget)
    np.testing.assert_allclose(ours, slow_table(model, prompts, wordings), atol=1e-5)


def test_right_padding_by_the_library_gives_the_same_figures(model):
    prompts = prompts_with_prefixes(1)
    longest = max(map(len, prompts))
    ids = torch.tensor([prompt + [0] * (longest - len(prompt)) for prompt in prompts])
    mask = torch.tensor([[1] * len(prompt) + [0] * (longest - len(prompt)) for prompt in prompts])
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask).logits
    last = torch.stack([row[len(prompt) - 1] for row, prompt in zip(logits, prompts, strict=True)]).log_softmax(-1)
    ours = choices.log_probabilities(model, prompts, [[[3]], [[7]]])
    np.testing.assert_allclose(ours, last[:, [3, 7]].numpy(), atol=1e-5)


def test_equal_prompts_and_a_prompt_that_begins_another(model):
    head = list(range(20, 40))
    prompts = [head, head, [*head, 5], [*head, 5, 6], head]
    ours = choices.log_probabilities(model, prompts, SEVERAL)
    np.testing.assert_allclose(ours, slow_table(model, prompts, SEVERAL), atol=1e-5)


def test_vectors_in_slots_are_read_in_place_of_tokens(model):
    rng = np.random.default_rng(3)
    head = rng.integers(0, 300, 12).tolist()
    user = rng.normal(size=(1, 32)).astype(np.float32)
    prompts, vectors = [], []
    for row in range(6):
        prompts.append([*head, SLOT_ID, *head[:9], SLOT_ID, 8, row])
        item = rng.normal(size=(1, 32)).astype(np.float32)
        vectors.append(np.concatenate([user if row < 4 else -user, item]))
    prompts.append(head)
    vectors.append(None)
    ours = choices.log_probabilities(model, prompts, SEVERAL, vectors=vectors)
    np.testing.assert_allclose(ours, slow_table(model, prompts, SEVERAL, [*vectors[:6], []]), atol=1e-5)
    # The vectors matter: with other items the figures are others.
    other = [None if one is None else one[:, ::-1].copy() for one in vectors]
    assert np.abs(choices.log_probabilities(model, prompts, SEVERAL, vectors=other) - ours)[:6].max() > 0.01


def test_prompts_share_up_to_the_first_vector_that_differs():
    model = tiny_model("llama", tiny_tokenizer("llama"))
    same, other = np.ones((1, 32), np.float32), np.zeros((1, 32), np.float32)
    prompts = [[*range(10), SLOT_ID, 50, 51, last] for last in (60, 61, 62)]
    embed = choices._Embedding(model, prompts, [same, same, other])
    shared = sorted((len(group.rows), group.shared) for group in sharing.group(embed.prompts))
    assert shared == [(3, 10)]
    assert embed.prompts[0][:13] == embed.prompts[1][:13]
    assert embed.prompts[0][10] != embed.prompts[2][10]


@pytest.mark.parametrize("given", [None, np.zeros((2, 32), np.float32)])
def test_a_slot_without_its_vector_is_refused(model, given):
    with pytest.raises(RequestError, match=r"prompt 0 has 1 slots and \d vectors"):
        choices.log_probabilities(model, [[1, SLOT_ID, 2]], SINGLE, vectors=[given])


def test_an_empty_prompt_is_refused(model):
    with pytest.raises(RequestError, match="prompt 1 is empty"):
        choices.log_probabilities(model, [[1], []], SINGLE)


def test_no_prompts_give_no_rows(model):
    assert choices.log_probabilities(model, [], SINGLE).shape == (0, 2)


def test_wordings_with_equal_tokens_count_once_and_longer_ones_are_part_of_shorter_ones():
    assert choices.wordings([[[5], [5], [5, 6], [7, 5]], [[8]]]) == [[(5,), (7, 5)], [(8,)]]


@pytest.mark.parametrize(
    ("wordings", "said"),
    [
        ([[[5]], [[6], [5]]], "two choices are the same tokens"),
        ([[[5]], []], "without a token"),
        ([[[5]], [[]]], "without a token"),
    ],
)
def test_choices_that_cannot_be_told_apart_are_refused(wordings, said):
    with pytest.raises(RequestError, match=said):
        choices.wordings(wordings)


def test_normalised_probabilities_are_shares_of_the_choices():
    shares = choices.normalised(np.log([[0.2, 0.05], [1e-300, 3e-300]]))
    np.testing.assert_allclose(shares, [[0.8, 0.2], [0.25, 0.75]])
    far = choices.normalised(np.array([[-2000.0, -2001.0]]))
    np.testing.assert_allclose(far, [[1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))]])


def test_a_shared_prefix_is_read_once(model):
    """Counts the tokens that the model is given: 200 shared ones once, then 100 for each of eight prompts."""
    rng = np.random.default_rng(0)
    head = rng.integers(0, 300, 200).tolist()
    prompts = [head + rng.integers(0, 300, 100).tolist() for _ in range(8)]
    read = []
    handle = model.model.register_forward_pre_hook(
        lambda _, args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    choices.log_probabilities(model, prompts, SINGLE)
    handle.remove()
    assert sum(read) == 200 + 8 * 100
