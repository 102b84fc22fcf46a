"""Resume state of a fit: one safetensors file per fit, replaced atomically after every epoch. No pickle."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dataframely as dy
import polars as pl
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

_FILE = "fit.safetensors"
_LOG = logging.getLogger(__name__)


@dataclass
class Checkpoint:
    """Where a fit stands after ``epoch`` epochs."""

    epoch: int = 0
    stale: int = 0  # evaluations since the best one
    seconds: float = 0.0  # that the epochs took, in all runs together
    best_metric: float | None = None
    best: dict[str, Tensor] = field(default_factory=dict)  # weights of the best epoch
    rows: list[dict[str, Any]] = field(default_factory=list)  # the history so far

    def record(self, module: nn.Module, loss: float, rate: float, value: float | None, metric: str | None) -> None:
        """Adds an epoch and its value of the validation metric; keeps the weights if it is the best so far."""
        if value is not None:
            if self.best_metric is None or value > self.best_metric:
                self.best_metric, self.stale = value, 0
                self.best = {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
            else:
                self.stale += 1
        row = {"epoch": self.epoch, "loss": loss, "validation": value, "metric": metric, "learning_rate": rate}
        self.rows.append(row)

    def history(self, schema: type[dy.Schema]) -> pl.DataFrame:
        """The history as a table; ``best`` marks the epoch whose weights were kept."""
        best = next((row["epoch"] for row in self.rows if row["validation"] == self.best_metric), None)
        if self.best_metric is None:
            best = self.epoch
        rows = [{**row, "best": row["epoch"] == best} for row in self.rows]
        columns = list(schema.columns())
        return (
            schema.cast(pl.DataFrame(rows, infer_schema_length=None).select(columns)) if rows else schema.create_empty()
        )


def save_checkpoint(
    work: Path | None,
    state: Checkpoint,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: nn.Module | None = None,
) -> None:
    """Writes model, average, optimiser and standing of the fit; the old file stands until the new is whole."""
    if work is None:
        return
    tensors = {f"model.{name}": tensor for name, tensor in module.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best.items()}
    if average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in average.state_dict().items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
    standing = {name: getattr(state, name) for name in ("epoch", "stale", "seconds", "best_metric", "rows")}
    work.mkdir(parents=True, exist_ok=True)
    staged = work / f".{_FILE}.{os.getpid()}.tmp"
    # Cloned: safetensors refuses tensors that share memory, and a tied weight does.
    whole = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    save_file(whole, staged, metadata={"standing": json.dumps(standing)})
    staged.replace(work / _FILE)


def load_checkpoint(
    work: Path | None, module: nn.Module, optimiser: torch.optim.Optimizer, average: nn.Module | None = None
) -> Checkpoint | None:
    """Brings model, average and optimiser back to the last finished epoch; None where there is nothing to go on from.

    A file that cannot be read, or holds another network, counts as nothing: the fit starts over.
    """
    if work is None or not (work / _FILE).is_file():
        return None
    try:
        with safe_open(work / _FILE, framework="pt") as file:
            standing = json.loads(file.metadata()["standing"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        _LOG.warning("%s cannot be read (%s): starting over", work / _FILE, error)
        return None
    state, averaged = _below("model.", tensors), _below("average.", tensors)
    # Compared first: load_state_dict would bring in what does fit before it complains of the rest.
    wanted = {} if average is None else average.state_dict()
    if (_shapes(state), _shapes(averaged)) != (_shapes(module.state_dict()), _shapes(wanted)):
        _LOG.warning("%s holds another network: starting over", work / _FILE)
        return None
    module.load_state_dict(state)
    if average is not None:
        average.load_state_dict(averaged)
    packed: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, index, key = name.split(".", 2)
            packed.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": packed})
    return Checkpoint(best=_below("best.", tensors), **standing)


def seconds_before(work: Path | None) -> float:
    """What earlier runs of an interrupted fit have spent on it; 0 where there is nothing to go on from."""
    if work is None or not (work / _FILE).is_file():
        return 0.0
    try:
        with safe_open(work / _FILE, framework="pt") as file:
            return float(json.loads(file.metadata()["standing"])["seconds"])
    except (SafetensorError, OSError, KeyError, ValueError):
        return 0.0  # cannot be read: the fit starts over


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}
