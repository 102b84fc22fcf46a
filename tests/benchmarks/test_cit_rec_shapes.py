from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig

from benchmarks import cit_rec_shapes
from tests.benchmarks.test_gpu_language import ABSENT

ROOT = Path(__file__).parents[2]
TINY = LlamaConfig(vocab_size=500, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)

STEP = f"""
import json, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {(*ABSENT, "open_clip", "dagster")!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import torch
from transformers import LlamaConfig
torch.set_num_threads(1)
from benchmarks import cit_rec_shapes
_, settings = cit_rec_shapes.settings_of("cit_rec")
settings.micro_batch = 2
config = LlamaConfig(**json.loads(sys.argv[1]))
rows = cit_rec_shapes.rows_of(5, 30, config.vocab_size)
print(json.dumps(cit_rec_shapes.step(config, settings, torch.device("cpu"), rows, repeats=2)))
"""


@pytest.fixture(scope="module")
def told():
    return cit_rec_shapes.told(tokens=64)


def test_the_parts_have_the_papers_numbers_of_parameters(told):
    counts = {name.split(" (")[0]: (part["parameters"], part["trained"]) for name, part in told["parts"].items()}
    assert counts["language model"] == (6_738_415_616, 0)  # Llama-2-7B, embeddings and head of their own
    # Rank 8: four square projections, and three between 4096 and 11008, in 32 layers.
    assert counts["LoRA adapter"] == (32 * 8 * (4 * 2 * 4096 + 3 * (4096 + 11_008)),) * 2
    maps = sum(width * 4096 + 4096 + 4096 * 4096 + 4096 + 2 * 4096 for width in (64, 2 * 512))
    assert counts["maps of the soft tokens"] == (maps, maps)
    assert counts["image encoder"] == (149_620_737, 0)  # CLIP ViT-B/16, both towers
    heads = 512 * 512 + 512 + 4096 * 512 + 512
    assert counts["alignment heads"] == (heads, heads)
    # Items with padding, 50 positions, two blocks of attention and a feed-forward layer of equal width.
    assert counts["sequential recommender"][0] == pytest.approx(64 * (1_683 + 50) + 2 * 6 * 64**2, rel=0.02)


def test_bytes_are_two_a_frozen_number_and_sixteen_a_trained_one(told):
    for name, part in told["parts"].items():
        each = 16 if part["trained"] else 2 if "language" in name else 4
        assert part["bytes"] == each * part["parameters"], name


def test_recomputing_is_what_makes_a_step_fit(told):
    assert told["rows_at_once"] == 8
    assert told["row_recomputed_gib"] < told["row_gib"] / 10
    assert 12.5 < told["step_recomputed_gib"] < told["step_gib"] < 80
    # Between layers nothing but the stream of 64 tokens by 4096 in two bytes is kept.
    between = 32 * 64 * 4096 * 2 / 2**30
    assert told["row_recomputed_gib"] == pytest.approx(between + told["row_gib"] / 32, rel=0.05)


def test_what_a_row_keeps_grows_with_its_tokens():
    settings = SimpleNamespace(**{**vars(cit_rec_shapes.settings_of("cit_rec")[1]), "rank": 4})
    model = cit_rec_shapes.adapted(TINY, settings, torch.device("meta"), torch.float32)
    (short, _), (long, _) = (cit_rec_shapes.kept_bytes(model, settings, tokens) for tokens in (16, 32))
    assert 1.9 < long / short < 3


def test_a_step_learns_where_only_the_torch_side_is_installed():
    shape = {"vocab_size": 500, "hidden_size": 32, "intermediate_size": 64}
    shape |= {"num_hidden_layers": 2, "num_attention_heads": 2}
    done = subprocess.run(
        [sys.executable, "-c", STEP, json.dumps(shape)],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["rows"], result["tokens_of_a_row"], len(result["losses"])) == (5, 30, 3)
    assert result["losses"][2] < result["losses"][0]
    assert result["peak_gib"] is None
    assert result["trained_tokens_per_second"] == pytest.approx(150 / result["step_seconds"])
    assert result["scored_prompts_per_second"] > 0


def test_without_a_gpu_it_says_so_and_takes_no_step(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["cit_rec_shapes", "--gpu", "--out", str(tmp_path / "out.json")])
    cit_rec_shapes.main()
    assert "no GPU" in capsys.readouterr().out
    assert not (tmp_path / "out.json").exists()
