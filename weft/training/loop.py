"""The one fit loop: epochs, learning rate, early stopping, history, checkpoint and resume.

Everything random is drawn from (seed, epoch), so that an interrupted fit that goes on from its last finished epoch
ends with the same weights as an unbroken one (bit for bit on the CPU).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import polars as pl
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from weft.data.sequences import Events
from weft.errors import RequestError, WeftError
from weft.models.settings import FitSettings
from weft.schemas import TrainingHistory
from weft.training import memory
from weft.training.averaging import average_of, standing_in
from weft.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from weft.training.runtime import Runtime


@dataclass(frozen=True)
class Validation:
    """What picks the epoch: the name of a metric (higher is better), and how to take it of the module as it is.

    The fit ends at the first value of at least ``enough``.
    """

    metric: str
    measure: Callable[[], float]
    enough: float = math.inf


Batch: TypeAlias = tuple[tuple[Tensor, ...], int]
"""What the module's ``forward`` takes, and the number of its targets."""


class Batches(Protocol):
    """The data of a fit."""

    def __len__(self) -> int:
        """Batches per epoch."""

    def epoch(self, number: int) -> Iterator[Batch | list[Batch]]:
        """The batches of one epoch, equal for an equal number.

        A list is one batch in parts: one optimiser step along the gradient of the whole, in the memory of one part.
        """


def open_fabric(runtime: Runtime) -> Fabric:
    """Lightning Fabric for the runtime's device and precision: one device, float32 on a CPU."""
    gpu = torch.cuda.is_available() if runtime.device == "auto" else runtime.device.startswith("cuda")
    if gpu and not torch.cuda.is_available():
        raise WeftError(
            f"device {runtime.device!r} is asked for, but torch sees none", "use --set accelerator.device=cpu"
        )
    precision = runtime.precision
    if precision == "auto":
        # bfloat16 is 4.5 times slower than float32 on a CPU without AMX.
        precision = "bf16-mixed" if gpu and torch.cuda.is_bf16_supported() else "32-true"
    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    return Fabric(accelerator="cuda" if gpu else "cpu", devices=1, precision=precision)  # type: ignore[arg-type]


def begin(settings: FitSettings, train: Events, runtime: Runtime) -> Fabric:
    """Before a model is made: checks that its loss suits the events, opens the device, seeds the first weights.

    Raises:
        RequestError: If the events have labels and the loss cannot use them.
    """
    loss = getattr(settings, "loss", None)
    if train.label is not None and loss != "binary":
        raise RequestError(f"loss {loss!r} cannot use labels", "leave loss out, or --set …loss=binary")
    fabric = open_fabric(runtime)
    torch.manual_seed(runtime.seed)
    return fabric


def fit(
    module: nn.Module,
    batches: Batches,
    settings: FitSettings,
    runtime: Runtime,
    validation: Validation | None,
    fabric: Fabric,
    *,
    per_batch: float | None = None,
) -> pl.DataFrame:
    """Fits ``module`` in place and leaves the best epoch's weights in it.

    Args:
        module: ``module(*batch)`` is the mean loss of a batch.
        batches: Training data.
        settings: Epochs, batch, learning rate, patience.
        runtime: Seed, resume folder, progress.
        validation: Picks the epoch; None keeps the last one and never stops early.
        fabric: From ``open_fabric``.
        per_batch: Targets of the average batch. A batch then weighs as much as it has targets, so that every target
            of the data counts alike; None: batches weigh alike, which is the same where they have equally many.

    Returns:
        The history, schema ``TrainingHistory``.

    Raises:
        WeftError: If the loss stops being a number.
    """
    memory.keep_pages()
    module = module.to(fabric.device)
    optimiser = torch.optim.AdamW(
        module.parameters(),
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=settings.weight_decay,
        fused=True,
    )
    average = average_of(module, settings.average) if settings.average else None
    state = load_checkpoint(runtime.work, module, optimiser, average) or Checkpoint()
    for value in (row["validation"] for row in state.rows if row["validation"] is not None):
        runtime.measured(value)  # whoever listens was interrupted as well
    model, optimiser_ = fabric.setup(module, optimiser)
    started = time.monotonic() - state.seconds
    # The epochs of an interrupted fit are no part of this one's rate and time left.
    label = f"training on from epoch {state.epoch}" if state.epoch else "training"
    with runtime.progress.step(label, settings.epochs - state.epoch, "epochs") as step:
        while state.epoch < settings.epochs and not _finished(state, settings, validation):
            loss, rate = _train_epoch(
                model, optimiser_, average, batches, state.epoch, settings, runtime, fabric, per_batch, step.advance
            )
            state.epoch += 1
            value, shown = None, ""
            with standing_in(average, module):
                if validation and (state.epoch % settings.evaluate_every == 0 or state.epoch == settings.epochs):
                    module.eval()
                    value = validation.measure()
                    shown = f", validation {validation.metric.upper()} {value:.4f}"
                state.record(module, loss, rate, value, validation.metric if validation else None)
            state.seconds = time.monotonic() - started
            save_checkpoint(runtime.work, state, module, optimiser, average)
            step.advance(0, f"loss {loss:.4f}{shown}")
            if value is not None:
                runtime.measured(value)
    if state.best:
        module.load_state_dict(state.best)
    elif average is not None:
        module.load_state_dict(average.module.state_dict())
    module.eval()
    return state.history(TrainingHistory)


def _finished(state: Checkpoint, settings: FitSettings, validation: Validation | None) -> bool:
    reached = validation is not None and state.best_metric is not None and state.best_metric >= validation.enough
    return reached or (settings.patience > 0 and state.stale >= settings.patience)


def _train_epoch(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: AveragedModel | None,
    batches: Batches,
    epoch: int,
    settings: FitSettings,
    runtime: Runtime,
    fabric: Fabric,
    per_batch: float | None,
    advance: Callable[[float], None],
) -> tuple[float, float]:
    """One pass over the data. Returns the mean loss per target and the last learning rate."""
    torch.manual_seed(runtime.seed * 1_000_003 + epoch)
    model.train()
    steps = len(batches)
    total, targets, rate = torch.zeros((), dtype=torch.float64, device=fabric.device), 0, 0.0
    for number, batch in enumerate(batches.epoch(epoch)):
        rate = settings.learning_rate * _schedule(epoch * steps + number, settings.epochs * steps, settings)
        for group in optimiser.param_groups:
            group["lr"] = rate
        parts = batch if isinstance(batch, list) else [batch]
        count = sum(part_count for _, part_count in parts)
        for part, part_count in parts:
            loss = model(*(tensor.to(fabric.device, non_blocking=True) for tensor in part))
            fabric.backward(loss * (part_count / (per_batch or count)))
            total += loss.detach().double() * part_count
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if average is not None:
            average.update_parameters(model)
        targets += count
        advance(1 / steps)
    mean = (total / max(targets, 1)).item()
    if not math.isfinite(mean):
        raise WeftError(f"the loss became {mean} in epoch {epoch + 1}", "lower learning_rate or raise warmup")
    return mean, rate


def _schedule(step: int, steps: int, settings: FitSettings) -> float:
    """Share of the peak learning rate at ``step`` of ``steps``: linear warm-up, then the chosen decay."""
    warm = settings.warmup * steps
    if step < warm:
        return (step + 1) / (warm + 1)
    done = (step - warm) / max(steps - warm, 1)
    if settings.decay == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    return 1 - done if settings.decay == "linear" else 1.0
