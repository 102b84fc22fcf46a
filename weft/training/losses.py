"""Losses of next-item models over a shared item matrix, without ever holding all logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from weft.models.settings import HistorySettings

# Rows of logits held at a time. On a CPU the chunk should stay in the cache: with 3,700 items and width 64 the three
# matrix products run at about 205 GFLOP/s from 256 to 512 rows, at 160 to 185 with 768. A GPU wants fewer, larger
# launches; its number has not been measured.
_CPU_ROWS = 256
_GPU_ROWS = 8192


# Logits that cannot exceed this go into the exponential as they are: exp(±40) times any catalogue is a float32.
_TAME = 40.0


class _CrossEntropy(torch.autograd.Function):
    """Mean of -log softmax(hidden @ items.T)[target], with the gradient made in the forward pass.

    The logits of a chunk are turned in place into exponentials and used for both matrix products while they are still
    in the cache; nothing of size [rows, items] outlives its chunk. Passes over the chunk are what is saved: dividing by
    the sum of a row is left to the narrow side of each product, and on a CPU the largest logit is looked for only
    where the norms say that an exponential could overflow.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, items: Tensor, target: Tensor) -> Tensor:  # type: ignore[override]
        kind = torch.get_autocast_dtype(hidden.device.type) if torch.is_autocast_enabled(hidden.device.type) else None
        work = (kind or hidden.dtype) if hidden.is_cuda else hidden.dtype
        h, w = hidden.detach().to(work), items.detach().to(work)
        on_cpu = h.device.type == "cpu"
        # By Cauchy and Schwarz |h · w| <= |h| |w|. Elsewhere the answer would have to be waited for.
        tame = on_cpu and len(h) > 0 and float(h.norm(dim=1).max() * w.norm(dim=1).max()) <= _TAME
        rows = _CPU_ROWS if on_cpu else _GPU_ROWS
        grad_h, grad_w = torch.empty_like(h), torch.zeros_like(w, dtype=torch.float32)
        total = torch.zeros((), dtype=torch.float64, device=h.device)
        transposed = w.t()
        buffer = torch.empty((min(rows, len(h)), len(w)), dtype=work, device=h.device)
        for start in range(0, len(h), rows):
            part, want = h[start : start + rows], target[start : start + rows, None]
            logits = torch.mm(part, transposed, out=buffer[: len(part)])
            if not tame:
                logits.sub_(logits.amax(1, keepdim=True))
            total -= logits.gather(1, want).sum(dtype=torch.float64)
            weights = logits.exp_()
            mass = weights.sum(1, keepdim=True, dtype=torch.float32)
            total += mass.log().sum(dtype=torch.float64)
            weights.scatter_add_(1, want, -mass.to(work))  # times 1 / mass: probabilities, less 1 at the target
            scale = (1.0 / (mass * len(h))).to(work)
            torch.mm(weights, w, out=grad_h[start : start + len(part)]).mul_(scale)
            scaled = part * scale
            grad_w.addmm_(weights.t(), scaled) if work == torch.float32 else grad_w.add_(weights.t() @ scaled)
        ctx.save_for_backward(grad_h.to(hidden.dtype), grad_w.to(items.dtype))
        return (total / len(h)).to(hidden.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_h, grad_w = ctx.saved_tensors
        return grad_h * grads[0], grad_w * grads[0], None


def cross_entropy(hidden: Tensor, items: Tensor, target: Tensor) -> Tensor:
    """Full softmax cross-entropy over the catalogue: -log softmax(h · E^T)[target], mean over rows.

    Args:
        hidden: float [rows, width].
        items: float [n_items, width].
        target: int64 [rows], row of ``items``.
    """
    return _CrossEntropy.apply(hidden, items, target)


def sampled_softmax(hidden: Tensor, items: Tensor, target: Tensor, negatives: int) -> Tensor:
    """Softmax cross-entropy of each target against one shared uniform sample of items.

    The sample is without replacement and shared by all rows of the step, so that the logits are one matrix product;
    a target that occurs in its own sample is masked there. No log-q correction, as in the published settings
    (Klenitskiy & Vasilev 2023): under uniform sampling it is one constant between the target and all negatives.

    Args:
        hidden: float [rows, width].
        items: float [n_items, width].
        target: int64 [rows], row of ``items``.
        negatives: Size of the sample, at most n_items.
    """
    sample = torch.randperm(len(items), device=items.device)[: min(negatives, len(items))]
    positive = (hidden * items[target]).sum(1, keepdim=True)
    logits = hidden @ items[sample].t()
    logits = logits.masked_fill(sample[None, :] == target[:, None], float("-inf"))
    return F.cross_entropy(torch.cat([positive, logits], 1).float(), torch.zeros_like(target))


def binary(hidden: Tensor, items: Tensor, target: Tensor, negatives: int) -> Tensor:
    """Binary cross-entropy of each target against uniform negatives (Kang & McAuley 2018, eq. 7: against one).

    Args:
        hidden: float [rows, width].
        items: float [n_items, width].
        target: int64 [rows], row of ``items``.
        negatives: Drawn per row, with replacement; a target that is drawn against itself stays.
    """
    positive, against = _against(hidden, items, target, negatives)
    return -(F.logsigmoid(positive) + F.logsigmoid(-against).sum(0)).mean()


def gbce(hidden: Tensor, items: Tensor, target: Tensor, negatives: int, calibration: float) -> Tensor:
    """Generalised binary cross-entropy of gSASRec (Petrov & Macdonald, RecSys 2023, eq. 12 and 19).

    Few negatives make a model over-confident; raising the probability of the positive to the power β undoes that:
    with α = negatives / (n_items - 1), β = α (t (1 - 1/α) + 1/α), the loss is
    -(β log σ(s⁺) + Σ log(1 - σ(s⁻))) / (negatives + 1).

    Args:
        hidden: float [rows, width].
        items: float [n_items, width].
        target: int64 [rows], row of ``items``.
        negatives: Drawn per row.
        calibration: t; 0 is plain binary cross-entropy, 1 undoes the sampling entirely.
    """
    positive, against = _against(hidden, items, target, negatives)
    rate = negatives / max(len(items) - 1, 1)
    beta = rate * (calibration * (1 - 1 / rate) + 1 / rate)
    return -(beta * F.logsigmoid(positive) + F.logsigmoid(-against).sum(0)).mean() / (negatives + 1)


def _against(hidden: Tensor, items: Tensor, target: Tensor, negatives: int) -> tuple[Tensor, Tensor]:
    """[rows], the logits of the targets, and [negatives, rows], those of items drawn for each row."""
    drawn = torch.randint(len(items), (negatives, *target.shape), device=target.device)
    return (hidden * items[target]).sum(1), (hidden * items[drawn]).sum(2)


def info_nce(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Mean InfoNCE of two views: each row of ``one`` shall be nearest to the same row of ``other`` by cosine.

    -log exp(cos(a_i, b_i) / τ) / Σ_j exp(cos(a_i, b_j) / τ) (van den Oord et al. 2018, eq. 4), in this direction only.

    Args:
        one: float [rows, width].
        other: float [rows, width].
        temperature: τ.
    """
    with torch.autocast(one.device.type, enabled=False):  # divided by τ, what bfloat16 rounds off a cosine is a lot
        logits = F.normalize(one.float(), dim=1) @ F.normalize(other.float(), dim=1).t() / temperature
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def next_item(settings: HistorySettings, hidden: Tensor, items: Tensor, target: Tensor) -> Tensor:
    """The mean loss that the settings name, of states whose next items are known.

    Args:
        settings: ``loss`` and what belongs to it.
        hidden: float [rows, width].
        items: float [n_items, width].
        target: int64 [rows], row of ``items``.
    """
    if settings.loss == "binary":
        return binary(hidden, items, target, max(settings.negatives, 1))
    if settings.loss == "gbce":
        return gbce(hidden, items, target, settings.negatives, settings.calibration)
    if settings.loss == "sampled_softmax":
        return sampled_softmax(hidden, items, target, settings.negatives)
    return cross_entropy(hidden, items, target)
