"""Speed of tuning an adapter beside a plain loop: random batches padded to the longest, logits of every position.

    python -m benchmarks.lora_step --repeats 3

A Llama of 13 M parameters with random weights and a vocabulary of 32,000, prompts of 20 to 120 tokens answered with
one; the same adapter, batch size, optimiser and rows for both. Counted are tokens of prompts and answers, without
padding. Both ways take turns within a repeat, so that a slow minute of the machine hits both; the ratio is the median
over the repeats.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.choice_scoring import ANSWERS, small_llama, timed
from benchmarks.gpu_language import words
from benchmarks.machine import save
from weft.language.engine import Identity
from weft.language.local import LocalModel
from weft.training import loop
from weft.training.runtime import Runtime
from weft.tuning import adapter
from weft.tuning.answers import AnswerBatches, AnswerLoss, Rows
from weft.tuning.settings import TuningSettings

NAME = "lora_step"
BOUND = 1.5
_VOCABULARY = 32_000
_UNLABELLED = -100


def rows_of(count: int, shortest: int, longest: int, vocabulary: int) -> Rows:
    """Random prompts of ``shortest`` to ``longest`` tokens, each answered with one of two tokens."""
    rng = np.random.default_rng(0)
    prompts = [rng.integers(20, vocabulary, length).tolist() for length in rng.integers(shortest, longest + 1, count)]
    answers = [(int(rng.choice(ANSWERS)),) for _ in prompts]
    return Rows(prompts, [np.zeros((0, 2), np.int64)] * count, answers)


def adapted(settings: TuningSettings) -> LocalModel:
    """The model with an untrained adapter."""
    model = LocalModel(small_llama(), words(_VOCABULARY), Identity("small-llama"))
    adapter.add(model, settings, seed=0)
    return model


def padded(rows: Rows, chosen: Sequence[int]) -> dict[str, Tensor]:
    """A batch as it is usually made: padded on the right, with a mask, and labels that leave the prompt out."""
    whole = [[*rows.prompts[row], *rows.answers[row]] for row in chosen]
    longest = max(map(len, whole))
    labels = [
        [_UNLABELLED] * len(rows.prompts[row]) + list(rows.answers[row]) + [_UNLABELLED] * (longest - len(ids))
        for row, ids in zip(chosen, whole, strict=True)
    ]
    return {
        "input_ids": torch.tensor([ids + [0] * (longest - len(ids)) for ids in whole]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in whole]),
        "labels": torch.tensor(labels),
    }


def plain_epoch(model: LocalModel, rows: Rows, settings: TuningSettings, seed: int) -> None:
    """The plain loop: one pass in random order."""
    module = model.model.train()
    trained = adapter.parameters(model).values()
    optimiser = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()
    for start in range(0, len(order), settings.batch):
        loss = module(**padded(rows, order[start : start + settings.batch]), use_cache=False).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


def our_epoch(model: LocalModel, rows: Rows, settings: TuningSettings, seed: int) -> None:
    """Ours, through the one fit loop."""
    batches = AnswerBatches(rows, settings.batch, seed)
    runtime = Runtime(device="cpu", seed=seed)
    loop.fit(AnswerLoss(model, None), batches, settings, runtime, None, loop.open_fabric(runtime))


def difference(model: LocalModel, rows: Rows) -> float:
    """Between the two losses of one batch: both must learn the same before a speed counts."""
    model.model.eval()
    chosen = range(min(8, len(rows)))
    with torch.inference_mode():
        expected = model.model(**padded(rows, chosen)).loss
        got = AnswerLoss(model, None)(*AnswerBatches(rows, len(rows), 0).of(np.array(chosen))[0])
    return abs(float(expected - got))


def compare(rows: Rows, settings: TuningSettings, repeats: int) -> dict[str, Any]:
    """Both ways in turn, each on a model of its own."""
    plain, ours = adapted(settings), adapted(settings)
    apart = difference(ours, rows)
    few = Rows(rows.prompts[:8], rows.slots[:8], rows.answers[:8])
    plain_epoch(plain, few, settings, 0)
    our_epoch(ours, few, settings, 0)
    runs = []
    for seed in range(repeats):
        plainly, _ = timed(partial(plain_epoch, plain, rows, settings, seed))
        ourly, _ = timed(partial(our_epoch, ours, rows, settings, seed))
        runs.append({"plain_seconds": plainly, "ours_seconds": ourly, "ratio": plainly / ourly})
    tokens = sum(len(prompt) + len(answer) for prompt, answer in zip(rows.prompts, rows.answers, strict=True))
    return {
        "rows": len(rows),
        "tokens": tokens,
        "runs": runs,
        "ratio": median(run["ratio"] for run in runs),
        "tokens_per_second": tokens / median(run["ours_seconds"] for run in runs),
        "plain_tokens_per_second": tokens / median(run["plain_seconds"] for run in runs),
        "difference_of_losses": apart,
    }


def main() -> None:
    """Measures, prints, keeps the result; exit status 1 if the bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--name", default=NAME, help="name of the result file; another one for a trial run")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = TuningSettings(epochs=1, patience=0, batch=options.batch)
    measured = compare(rows_of(options.rows, 20, 120, _VOCABULARY), settings, options.repeats)
    result = {
        "threads": options.threads,
        "batch": options.batch,
        "rank": settings.rank,
        "dropout": settings.dropout,
        "bound": BOUND,
        **measured,
        "passed": measured["ratio"] >= BOUND and measured["difference_of_losses"] < 1e-4,
    }
    save(options.name, result)
    print(
        f"{result['ratio']:.2f} times as fast as the plain loop (bound {BOUND}), {result['tokens_per_second']:,.0f} "
        f"tokens/s beside {result['plain_tokens_per_second']:,.0f}, losses {result['difference_of_losses']:.1e} apart"
    )
    if not result["passed"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
