"""Speed of exact choice scoring beside one prompt at a time with logits of every position.

    python -m benchmarks.choice_scoring --repeats 3

A Llama of 13 M parameters with random weights, prompts of 300 tokens in groups of 8 that share the first 200, Yes and
No as single tokens. Both ways take turns within a repeat, so that a slow minute of the machine hits both; the ratio is
the median over the repeats.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LlamaConfig, PreTrainedModel

from weft.language import choices, loading

NAME = "choice_scoring"
BOUND, TARGET = 3.5, 4.5
ANSWERS = (10, 11)
_VOCABULARY = 32_000


def small_llama() -> PreTrainedModel:
    """About 13 M parameters, most of them in the vocabulary, as Llama-2's has it."""
    torch.manual_seed(0)
    return loading.build(
        LlamaConfig(
            vocab_size=_VOCABULARY,
            hidden_size=256,
            intermediate_size=688,
            num_hidden_layers=6,
            num_attention_heads=4,
            tie_word_embeddings=True,
        ),
        device="cpu",
    )


def prompts_of(groups: int, members: int, shared: int, tokens: int, vocabulary: int) -> list[list[int]]:
    """Random prompts; those of a group begin with the same ``shared`` tokens."""
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(groups):
        head = rng.integers(20, vocabulary, shared)
        drawn += [[*head, *rng.integers(20, vocabulary, tokens - shared)] for _ in range(members)]
    return [[int(token) for token in drawn[place]] for place in rng.permutation(len(drawn))]


@torch.inference_mode()
def one_by_one(model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """The plain loop: every prompt by itself, logits of every position, softmax over the two answers."""
    scores = []
    for prompt in prompts:
        logits = model(input_ids=torch.tensor([prompt], device=model.device)).logits
        scores.append(logits[0, -1, list(ANSWERS)].float().softmax(-1).tolist())
    return np.array(scores)


def together(model: PreTrainedModel, prompts: Sequence[Sequence[int]], batch_tokens: int) -> NDArray[np.float64]:
    """Ours."""
    wordings = [[[answer]] for answer in ANSWERS]
    return choices.normalised(choices.log_probabilities(model, prompts, wordings, batch_tokens=batch_tokens))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result."""
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def compare(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], repeats: int, batch_tokens: int
) -> dict[str, Any]:
    """Both ways in turn; figures must agree before a speed counts."""
    one_by_one(model, prompts[:2])
    together(model, prompts, batch_tokens)
    runs = []
    for _ in range(repeats):
        plain, expected = timed(lambda: one_by_one(model, prompts))
        ours, got = timed(lambda: together(model, prompts, batch_tokens))
        runs.append({"plain_seconds": plain, "ours_seconds": ours, "ratio": plain / ours})
    return {
        "prompts": len(prompts),
        "runs": runs,
        "ratio": median(run["ratio"] for run in runs),
        "prompts_per_second": len(prompts) / median(run["ours_seconds"] for run in runs),
        "largest_difference": float(np.abs(expected - got).max()),
    }


def main() -> None:
    """Measures, prints, keeps the result; exit status 1 if the bound does not hold."""
    from benchmarks.machine import save  # noqa: PLC0415 - the GPU's page uses this one without the house's libraries

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--groups", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--name", default=NAME, help="name of the result file; another one for a trial run")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = small_llama()
    prompts = prompts_of(options.groups, members=8, shared=200, tokens=300, vocabulary=_VOCABULARY)
    measured = compare(model, prompts, options.repeats, options.batch_tokens)
    result = {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "threads": options.threads,
        "batch_tokens": options.batch_tokens,
        "bound": BOUND,
        "target": TARGET,
        **measured,
        "passed": measured["ratio"] >= BOUND and measured["largest_difference"] < 1e-5,
    }
    save(options.name, result)
    print(
        f"{result['ratio']:.2f} times as fast as one by one (bound {BOUND}, target {TARGET}), "
        f"{result['prompts_per_second']:.0f} prompts/s, largest difference {result['largest_difference']:.1e}"
    )
    if not result["passed"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
