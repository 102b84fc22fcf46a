"""What RecBole answers with weights made by a formula: the other side of ``tests/models/test_agreement.py``.

    python -m benchmarks.agreement

sets every tensor of each of RecBole's models by the formula, in RecBole's own environment, and keeps names, shapes and
scores as ``tests/models/recbole/<model>.json``. No weights are kept: the test makes the same.
"""

from __future__ import annotations

import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import peer_python

ROOT = Path(__file__).parent.parent
ANSWERS = ROOT / "tests" / "models" / "recbole"

HISTORIES = [[1, 2, 3, 1, 4], [2, 4, 5], [6], [3, 5, 7, 5, 6, 3], [8, 9, 8, 9], [10, 2, 9, 10, 1]]
"""Of users 1, 2, …; repeats, a circle, a single item. Items are numbered by first appearance, as RecBole does."""

_SOFTMAX = {"embedding_size": 8, "train_neg_sample_args": None}

MODELS: dict[str, dict[str, Any]] = {
    "NARM": {**_SOFTMAX, "hidden_size": 8, "n_layers": 1},
    "STAMP": _SOFTMAX,
    "SRGNN": {**_SOFTMAX, "step": 1},
    "LightGCN": {"embedding_size": 8, "n_layers": 2},
}
"""RecBole's name of each model, and its settings."""


def weights(name: str, shape: list[int]) -> NDArray[np.float32]:
    """The formula: float32 of ``shape``, sin(k² / 10 + a phase of the name) / 2, with 0 for padding.

    The square keeps a matrix from having rank 2, which a transposed or permuted one could get past.

    Args:
        name: RecBole's name of the tensor.
        shape: Its shape.
    """
    count = np.arange(int(np.prod(shape)), dtype=np.float64)
    made = np.sin(count**2 / 10 + zlib.crc32(name.encode()) % 1000).reshape(shape) / 2
    if name == "item_embedding.weight":
        made[0] = 0
    return made.astype(np.float32)


def main() -> None:
    """Records every model."""
    subprocess.run(
        [str(peer_python("recbole")), "-W", "ignore", "-m", "benchmarks.agreement_recbole"], cwd=ROOT, check=True
    )


if __name__ == "__main__":
    main()
