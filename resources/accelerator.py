"""The accelerator: device, precision and threads of every fit, and the pool that makes stages wait for it.

Not here: the pool's limit, which belongs to the instance (``dagster.yaml``).
"""

import multiprocessing
import os
import sys
import threading
from pathlib import Path
from typing import Literal

import dagster as dg
from pydantic import Field

from weft.progress import LogProgress, NoProgress
from weft.training.runtime import Runtime

GPU_POOL = "gpu"
"""Every fit, embedding, generation and LLM scoring takes a slot of it."""

GPU_TAGS = {"num_gpus": "1"}
"""Op tags of pooled stages, read by a Ray or Kubernetes executor."""


class Accelerator(dg.ConfigurableResource):
    """Where and how pooled stages compute."""

    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto takes a GPU if there is one.")
    precision: Literal["auto", "32-true", "bf16-mixed"] = Field(
        default="auto", description="auto is bfloat16 on a GPU that has it, float32 elsewhere."
    )
    threads: int = Field(
        default=0, ge=0, le=1024, description="CPU threads of torch; 0: half of the cores, since two steps run at once."
    )

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Sets torch's threads, and lets a stage end with its run: a killed run's step would compute on, unseen."""
        del context
        run = multiprocessing.parent_process()
        # Threads of two steps that wait for each other's cores are several times slower than one thread each.
        threads = self.threads or (max(_cores() // 2, 1) if run is not None and "torch" in sys.modules else 0)
        if threads:
            import torch  # noqa: PLC0415 - only inside asset bodies, and only where it has something to do

            torch.set_num_threads(threads)
        if run is not None:
            threading.Thread(target=_end_with, args=(run,), daemon=True, name="end-with-run").start()

    def runtime(self, seed: int, work: Path | None = None, log: dg.DagsterLogManager | None = None) -> Runtime:
        """What a fit is handed. ``log`` receives a progress line every few seconds."""
        return Runtime(
            device=self.device,
            precision=self.precision,
            threads=self.threads,
            seed=seed,
            work=work,
            progress=NoProgress() if log is None else LogProgress(log.info, interval=5.0),
        )

    def torch_device(self) -> str:
        """``cuda`` where it is wanted and there, else ``cpu``; imports torch."""
        import torch  # noqa: PLC0415 - only inside asset bodies

        return "cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu"

    def name(self, device: str = "") -> str:
        """``cpu``, or the GPU's name: of ``device`` (``cpu`` or ``cuda``), or of what ``torch_device`` finds."""
        import torch  # noqa: PLC0415 - only inside asset bodies

        return torch.cuda.get_device_name(0) if (device or self.torch_device()) == "cuda" else "cpu"


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _end_with(run: multiprocessing.process.BaseProcess) -> None:
    run.join()
    os._exit(1)
