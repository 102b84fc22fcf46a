from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import lora_step
from weft.tuning import adapter
from weft.tuning.settings import TuningSettings


def test_prompts_have_20_to_120_tokens_and_one_of_answer():
    rows = lora_step.rows_of(500, 20, 120, 1000)
    lengths = [len(prompt) for prompt in rows.prompts]
    assert (min(lengths), max(lengths)) == (20, 120)
    assert {len(answer) for answer in rows.answers} == {1}
    assert {answer[0] for answer in rows.answers} == set(lora_step.ANSWERS)


def test_a_plain_batch_is_padded_to_its_longest_and_learns_the_answers_alone():
    rows = lora_step.rows_of(3, 2, 6, 1000)
    batch = lora_step.padded(rows, [2, 0])
    sizes = [len(rows.prompts[row]) + 1 for row in (2, 0)]
    assert batch["attention_mask"].sum(1).tolist() == sizes
    for place, row in enumerate((2, 0)):
        assert batch["input_ids"][place, : sizes[place]].tolist() == [*rows.prompts[row], *rows.answers[row]]
        learnt = (batch["labels"][place] != -100).nonzero().flatten().tolist()
        assert learnt == [sizes[place] - 1]


def test_both_learn_the_same_and_real_tokens_are_counted():
    torch.set_num_threads(1)
    rows = lora_step.rows_of(6, 4, 9, 1000)
    settings = TuningSettings(epochs=1, patience=0, batch=3)
    result = lora_step.compare(rows, settings, 1)
    assert result["difference_of_losses"] < 1e-5
    assert result["tokens"] == sum(len(prompt) + 1 for prompt in rows.prompts)
    assert result["ratio"] == result["runs"][0]["ratio"] > 0
    assert result["tokens_per_second"] == pytest.approx(result["plain_tokens_per_second"] * result["ratio"])


@pytest.mark.parametrize("epoch", [lora_step.plain_epoch, lora_step.our_epoch])
def test_either_way_trains_every_matrix_of_the_adapter(epoch):
    torch.set_num_threads(1)
    settings = TuningSettings(epochs=1, patience=0, batch=4)
    model = lora_step.adapted(settings)
    before = {name: weight.detach().clone() for name, weight in adapter.parameters(model).items()}
    epoch(model, lora_step.rows_of(8, 4, 9, 1000), settings, 0)
    moved = [not np.array_equal(weight.detach(), before[name]) for name, weight in adapter.parameters(model).items()]
    assert len(moved) == 6 * 7 * 2
    assert all(moved)
