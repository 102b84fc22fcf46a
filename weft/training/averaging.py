"""An average of a network's weights over the steps of its fit, which generalises better than where the last step ended.

Polyak & Juditsky (1992) for the idea; exponential, so that early weights are forgotten. It takes the place of a falling
learning rate: the steps stay large, and the average lies in the middle of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]


def average_of(module: nn.Module, decay: float) -> AveragedModel:
    """The average, which begins as a copy of ``module``; ``update_parameters(module)`` adds its weights.

    Step n is mixed in with at least 9 / (10 + n), so that a short fit does not drag its beginning along.

    Args:
        module: What is fitted.
        decay: What one step leaves of the average in the long run, in (0, 1).
    """

    def mix(averages: Tensors, weights: Tensors, steps: Tensor | int) -> None:
        kept = min(decay, (1 + int(steps)) / (10 + int(steps)))
        torch._foreach_lerp_(averages, weights, 1 - kept)

    return AveragedModel(module, multi_avg_fn=mix)


@contextmanager
def standing_in(average: AveragedModel | None, module: nn.Module) -> Iterator[None]:
    """``module`` with the averaged weights for as long as this is open; without an average, as it is."""
    if average is None:
        yield
        return
    own = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    module.load_state_dict(average.module.state_dict())
    try:
        yield
    finally:
        module.load_state_dict(own)
