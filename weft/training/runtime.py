"""Where and how a fit runs: device, precision, threads, seed, resume folder, and who watches.

Torch-free, so that resources can describe it while definitions load.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from weft.progress import NoProgress, Progress


@dataclass(frozen=True)
class Runtime:
    """What a model is handed besides data and settings.

    Attributes:
        device: ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.
        precision: ``auto`` (bfloat16 on a GPU that has it, float32 elsewhere), ``32-true`` or ``bf16-mixed``.
        threads: CPU threads of torch; 0 leaves its default.
        seed: Seed of weights, data order and dropout.
        work: Folder for resume state. None: an interrupted fit starts over.
        progress: Receives progress with rate and time left.
        measured: Hears the value of the validation metric after each epoch that was evaluated; what it raises ends the
            fit.
    """

    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    seed: int = 0
    work: Path | None = None
    progress: Progress = field(default_factory=NoProgress)
    measured: Callable[[float], object] = lambda _: None
