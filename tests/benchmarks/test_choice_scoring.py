from __future__ import annotations

import torch

from benchmarks import choice_scoring
from weft.language import sharing


def test_the_model_has_thirteen_million_parameters():
    count = sum(weight.numel() for weight in choice_scoring.small_llama().parameters())
    assert 12.5e6 < count < 13.5e6


def test_prompts_share_200_of_300_tokens_in_groups_of_8():
    prompts = choice_scoring.prompts_of(3, members=8, shared=200, tokens=300, vocabulary=1000)
    assert {len(prompt) for prompt in prompts} == {300}
    assert sorted((len(one.rows), one.shared) for one in sharing.group(prompts)) == [(8, 200)] * 3


def test_both_ways_agree_and_the_ratio_is_the_median():
    torch.set_num_threads(1)
    prompts = choice_scoring.prompts_of(1, members=3, shared=20, tokens=30, vocabulary=1000)
    result = choice_scoring.compare(choice_scoring.small_llama(), prompts, 3, 4096)
    assert result["largest_difference"] < 1e-5
    assert result["ratio"] == sorted(run["ratio"] for run in result["runs"])[1]
