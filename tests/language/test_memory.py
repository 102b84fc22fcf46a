from __future__ import annotations

import psutil
import pytest
import torch

from tests.language.conftest import tiny_model, tiny_tokenizer
from weft.errors import RequestError, WeftError
from weft.language import memory

GIB = 2**30


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        # From the model cards. The original Qwen-7B has 7.72: biases and an untied head as here.
        ("meta-llama/Llama-2-7b-hf", 6.738),
        ("mistralai/Mistral-7B-Instruct-v0.3", 7.248),
        ("meta-llama/Llama-3.1-8B-Instruct", 8.030),
        ("Qwen/Qwen-7B-Chat", 7.721),
    ],
)
def test_the_papers_models_have_as_many_parameters_as_published(name, billions):
    needed = memory.estimate(memory.shape(name), torch.bfloat16, batch=1, tokens=1)
    assert needed.parameters / 1e9 == pytest.approx(billions, abs=0.001)
    assert needed.weights == 2 * needed.parameters


def test_no_weight_is_held_while_seven_billion_are_counted():
    before = psutil.Process().memory_info().rss
    memory.estimate(memory.shape("meta-llama/Llama-2-7b-hf"), torch.float32, batch=1, tokens=1)
    assert psutil.Process().memory_info().rss - before < GIB / 4


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_weights_and_cache_are_those_of_the_real_model(kind):
    model = tiny_model(kind, tiny_tokenizer(kind))
    needed = memory.estimate(model.config, torch.float32, batch=3, tokens=17)
    assert needed.weights == sum(weight.nbytes for weight in model.parameters())
    with torch.no_grad():
        cache = model(torch.zeros(3, 17, dtype=torch.long), use_cache=True).past_key_values
    assert needed.cache == sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)


def test_the_estimate_of_llama_2_by_hand():
    needed = memory.estimate(memory.shape("meta-llama/Llama-2-7b-hf"), torch.bfloat16, batch=4, tokens=1000)
    # 2 (keys, values) × 32 layers × 4096 × 4000 tokens × 2 bytes
    assert needed.cache == 2 * 32 * 4096 * 4000 * 2
    # stream and normed copy, queries and attention, keys and values: 6 × 4096; twice the inner 11,008; logits of 4 rows
    assert needed.activations == (6 * 4096 + 2 * 11_008) * 4000 * 2 + 4 * 32_000 * 4
    assert needed.total == needed.weights + needed.cache + needed.activations


def test_what_does_not_fit_is_refused_with_figures_and_remedies():
    needed = memory.estimate(memory.shape("meta-llama/Llama-2-7b-hf"), torch.float32, batch=1, tokens=4096)
    with pytest.raises(WeftError) as caught:
        memory.refuse_unless_fits("Llama-2-7B", needed, 24 * GIB)
    said = str(caught.value)
    assert "Llama-2-7B needs 29.8 GiB (weights 25.1, cache 4.0, activations 0.7) and 24.0 GiB are free" in said
    for remedy in ("smaller batch", "bfloat16", "smaller models", "endpoint"):
        assert remedy in said


def test_what_fits_is_not_refused_and_five_per_cent_stay_free():
    needed = memory.Estimate(parameters=1, weights=90, cache=3, activations=2)
    memory.refuse_unless_fits("small", needed, 100)
    with pytest.raises(WeftError):
        memory.refuse_unless_fits("small", needed, 99)


def test_an_unknown_shape_is_a_clear_error():
    with pytest.raises(RequestError, match="known shapes: meta-llama"):
        memory.shape("nobody/nothing")


def test_free_memory_of_this_machine_is_what_psutil_says():
    assert memory.free(torch.device("cpu")) == pytest.approx(psutil.virtual_memory().available, rel=0.5)
