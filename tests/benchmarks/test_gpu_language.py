from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# A machine with torch, transformers and peft has none of these.
ABSENT = ("polars", "dagster", "dataframely", "duckdb", "lightning_fabric", "openai", "tenacity")
WITHOUT = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
sys.argv = ["gpu_language", *sys.argv[1:]]
import torch
torch.set_num_threads(1)
from benchmarks.gpu_language import main
main()
"""


def test_it_runs_where_only_the_torch_side_is_installed(tmp_path):
    out = tmp_path / "result.json"
    options = [
        "--shape",
        "tiny",
        "--device",
        "cpu",
        "--repeats",
        "1",
        "--groups",
        "2",
        "--answers",
        "3",
        "--tokens",
        "4",
    ]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *options, "--out", str(out)],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(out.read_text())
    scoring, writing = result["choice_scoring"], result["generation"]
    assert scoring["prompts"] == 16
    assert scoring["tokens_read"] == 2 * 200 + 16 * 100
    assert scoring["largest_difference"] < 1e-5
    assert writing["tokens"] == 4
    for part in (scoring, writing):
        assert part["ratio"] > 0
        assert 0 < part["share_of_matmul_rate"] < 1
