"""Choice scoring and generation of a 7 B shape on a GPU, beside a plain Hugging Face loop.

    python -m benchmarks.gpu_language --shape meta-llama/Llama-2-7b-hf --out gpu_language.json
    python -m benchmarks.gpu_language --shape tiny --device cpu

Weights are random, so nothing is downloaded; the speed is that of the shape. Rates stand beside what the card reaches
in a large matrix product, measured in the same run: 2 operations per parameter and token that was computed. Needs
torch, transformers, peft and pydantic, and none of the house's other libraries.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from benchmarks.choice_scoring import compare, prompts_of, timed
from weft.language import loading, memory, sharing
from weft.language.engine import Identity, Sampling
from weft.language.local import LocalModel

_TINY = LlamaConfig(vocab_size=500, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)


def matmul_rate(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """Operations per second of square matrix products, the median of 10 rounds after a warm-up."""
    a = torch.randn(size, size, device=device, dtype=dtype)
    b = torch.randn(size, size, device=device, dtype=dtype)
    seconds = []
    for _ in range(13):
        _wait(device)
        seconds.append(timed(lambda: (a @ b, _wait(device)))[0])
    return 2 * size**3 / median(seconds[3:])


def words(vocabulary: int) -> PreTrainedTokenizerFast:
    """A tokenizer whose words are the numbers of its tokens: random weights need no language."""
    tokenizer = Tokenizer(models.WordLevel({str(number): number for number in range(vocabulary)}, unk_token="0"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="0")  # noqa: S106


@torch.inference_mode()
def write_one_by_one(model: PreTrainedModel, prompts: Sequence[Sequence[int]], tokens: int) -> None:
    """The plain loop: ``generate`` of one prompt after the other."""
    for prompt in prompts:
        ids = torch.tensor([prompt], device=model.device)
        settings = GenerationConfig(max_new_tokens=tokens, do_sample=False, pad_token_id=0)
        model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)


def compare_writing(model: LocalModel, prompts: Sequence[Sequence[int]], tokens: int, repeats: int) -> dict[str, Any]:
    """Greedy answers of ``tokens`` tokens, all prompts in our batches and each by itself, in turn."""
    messages = [[{"role": "user", "content": " ".join(map(str, prompt))}] for prompt in prompts]
    sampling = Sampling(max_tokens=tokens)
    list(model.generate(messages, Sampling(max_tokens=2)))  # type: ignore[arg-type]
    runs = []
    for _ in range(repeats):
        plain, _nothing = timed(lambda: write_one_by_one(model.model, prompts, tokens))
        ours, answers = timed(lambda: list(model.generate(messages, sampling)))  # type: ignore[arg-type]
        written = sum(answer.tokens_out for _, answer in answers)
        if written != len(prompts) * tokens:
            raise SystemExit(f"{written} tokens were written instead of {len(prompts) * tokens}")
        runs.append({"plain_seconds": plain, "ours_seconds": ours, "ratio": plain / ours})
    return {
        "prompts": len(prompts),
        "tokens": tokens,
        "runs": runs,
        "ratio": median(run["ratio"] for run in runs),
        "tokens_per_second": len(prompts) * tokens / median(run["ours_seconds"] for run in runs),
        "plain_tokens_per_second": len(prompts) * tokens / median(run["plain_seconds"] for run in runs),
    }


def measure(config: PretrainedConfig, options: argparse.Namespace) -> dict[str, Any]:
    """Builds the model on the device and measures all three."""
    device = loading.pick_device(options.device)
    dtype = loading.pick_dtype("auto", device)
    needed = memory.estimate(config, dtype, batch=1, tokens=options.batch_tokens)
    memory.refuse_unless_fits(options.shape, needed, memory.free(device))
    torch.manual_seed(0)
    config.eos_token_id = None  # nothing ends an answer early: both ways write equally much
    model = loading.build(config, dtype, device)
    table = model.get_input_embeddings().weight.numel()
    body = needed.parameters - table  # a look-up is no product
    rate = matmul_rate(device, dtype, 8192 if device.type == "cuda" else 256)

    prompts = prompts_of(options.groups, members=8, shared=200, tokens=300, vocabulary=config.vocab_size)
    scoring = compare(model, prompts, options.repeats, options.batch_tokens)
    groups = sharing.group(prompts)
    read = sum(map(len, prompts)) - sum((len(one.rows) - 1) * one.shared for one in groups)
    seconds = median(run["ours_seconds"] for run in scoring["runs"])
    # The head is applied once per prompt and once per prefix, not to every token.
    scoring |= {
        "tokens_read": read,
        "share_of_matmul_rate": 2 * (body - table) * read / seconds / rate,
    }

    local = LocalModel(model, words(config.vocab_size), Identity(options.shape), options.batch_tokens)
    short = [prompt[:100] for prompt in prompts[: options.answers]]
    writing = compare_writing(local, short, options.tokens, options.repeats)
    writing["share_of_matmul_rate"] = 2 * body * writing["tokens_per_second"] / rate
    return {
        "shape": options.shape,
        "parameters": needed.parameters,
        "dtype": str(dtype).removeprefix("torch."),
        "batch_tokens": options.batch_tokens,
        "estimated_gib": needed.total / memory.GIB,
        "peak_gib": torch.cuda.max_memory_allocated() / memory.GIB if device.type == "cuda" else None,
        "matmul_tflops": rate / 1e12,
        "choice_scoring": scoring,
        "generation": writing,
    }


def main() -> None:
    """Measures, prints one JSON object, keeps it where ``--out`` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="meta-llama/Llama-2-7b-hf", choices=["tiny", *memory.SHAPES])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--groups", type=int, default=16, help="groups of 8 prompts that are scored")
    parser.add_argument("--answers", type=int, default=64, help="prompts of 100 tokens that are answered")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of each answer")
    parser.add_argument("--batch-tokens", type=int, default=32_768)
    parser.add_argument("--out", type=Path, help="file for the result")
    options = parser.parse_args()
    config = _TINY if options.shape == "tiny" else memory.shape(options.shape)
    cuda = torch.cuda.is_available()
    result = {
        "machine": {
            "device": torch.cuda.get_device_name() if cuda and options.device != "cpu" else platform.processor(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "date": time.strftime("%Y-%m-%d"),
        },
        **measure(config, options),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
