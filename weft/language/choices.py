"""Exact probabilities of given answers, without generating.

p(answer | prompt) is the product of its tokens' probabilities; of a choice with several wordings, the sum over them.
Three things make it fast and none changes a figure: logits are computed at the last position only, a prefix that
several prompts share is computed once and its keys and values are handed to each, and prompts of like length go
together. CIT-Rec (eq. 7) and SCoRe (eq. 14) read Yes and No this way.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from weft.errors import RequestError
from weft.language.sharing import Group, batches, group
from weft.language.tokens import SLOT_ID


def wordings(choices: Sequence[Sequence[Sequence[int]]]) -> list[list[tuple[int, ...]]]:
    """The wordings of each choice that count.

    One that is tokenised like another, or goes on after another, is no event of its own: whatever begins with
    ``Yes, indeed`` has begun with ``Yes``.

    Raises:
        RequestError: If a choice has no wording or an empty one, or two choices share one.
    """
    kept = []
    for choice in choices:
        distinct = sorted({tuple(wording) for wording in choice}, key=len)
        if not distinct or not distinct[0]:
            raise RequestError("a choice without a token cannot be scored", "give every choice a text")
        kept.append(
            [
                wording
                for place, wording in enumerate(distinct)
                if not any(wording[: len(shorter)] == shorter for shorter in distinct[:place])
            ]
        )
    everything = [wording for choice in kept for wording in choice]
    if len(set(everything)) < len(everything):
        raise RequestError("two choices are the same tokens", "give choices that differ, in more than spaces")
    return kept


@torch.inference_mode()
def log_probabilities(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    choices: Sequence[Sequence[Sequence[int]]],
    *,
    vectors: Sequence[NDArray[np.float32] | None] | None = None,
    batch_tokens: int = 16_384,
    share: bool = True,
    advance: Callable[[int], object] = lambda _: None,
) -> NDArray[np.float64]:
    """Log-probability of each choice as the beginning of the answer to each prompt.

    Args:
        model: A causal model with a cache of keys and values.
        prompts: Token ids, each at least one; ``SLOT_ID`` where a vector stands in.
        choices: Of each choice its wordings, as token ids.
        vectors: For each prompt float32 [slots, d], input embeddings of its slots in order (soft tokens).
        batch_tokens: Most tokens, padding included, whose keys and values are held at once.
        share: Whether common prefixes are computed once.
        advance: Hears how many prompts are done, batch by batch.

    Returns:
        float64 [n, k]. The probabilities of a row add up to less than 1: other answers are possible.

    Raises:
        RequestError: If a prompt is empty, or has more or fewer slots than vectors.
    """
    kept = wordings(choices)
    flat = [wording for choice in kept for wording in choice]
    embed = _Embedding(model, prompts, vectors)
    scores = np.empty((len(prompts), len(flat)))
    groups = group(embed.prompts) if share else [Group([row], 0) for row in range(len(prompts))]
    longest = max(map(len, flat))
    for batch in batches(groups, [len(prompt) + longest for prompt in embed.prompts], batch_tokens):
        rows = [row for part in batch for row in part.rows]
        scores[rows] = _score(model, embed, batch, flat).double().cpu().numpy()
        advance(len(rows))
    cuts = np.cumsum([0, *map(len, kept)])
    return np.stack([np.logaddexp.reduce(scores[:, a:b], axis=1) for a, b in pairwise(cuts)], axis=1)


def normalised(log_probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities among the choices: float64 [n, k] whose rows add up to 1."""
    return np.exp(log_probabilities - np.logaddexp.reduce(log_probabilities, axis=1, keepdims=True))


class _Embedding:
    """Input embeddings of prompts, some of whose tokens are given as vectors.

    Vectors get numbers beyond the vocabulary, equal ones the same, so that prompts with equal vectors share a prefix.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        vectors: Sequence[NDArray[np.float32] | None] | None,
    ) -> None:
        self._table = cast("nn.Embedding", model.get_input_embeddings())
        size = self._table.num_embeddings
        numbers: dict[bytes, int] = {}
        self.prompts: list[list[int]] = []
        for place, prompt in enumerate(prompts):
            given = vectors[place] if vectors is not None else None
            given = np.zeros((0, 0), np.float32) if given is None else np.ascontiguousarray(given, np.float32)
            slots = sum(token == SLOT_ID for token in prompt)
            if not len(prompt):
                raise RequestError(f"prompt {place} is empty", "give every prompt at least one token")
            if slots != len(given):
                raise RequestError(
                    f"prompt {place} has {slots} slots and {len(given)} vectors",
                    "put one vector in for each slot, and take the slot's character out of other text",
                )
            fresh = iter([size + numbers.setdefault(vector.tobytes(), len(numbers)) for vector in given])
            self.prompts.append([next(fresh) if token == SLOT_ID else token for token in prompt])
        stacked = np.stack([np.frombuffer(key, np.float32) for key in numbers]) if numbers else np.zeros((0, 0))
        self._vectors = torch.tensor(stacked, dtype=self._table.weight.dtype, device=self._table.weight.device)
        self._size = size

    def __call__(self, ids: Tensor) -> dict[str, Tensor]:
        """What the model is given for ``ids``: the ids themselves, or embeddings where vectors stand in."""
        soft = ids >= self._size
        if not soft.any():
            return {"input_ids": ids}
        embedded = self._table(ids.masked_fill(soft, 0))
        embedded[soft] = self._vectors[ids[soft] - self._size]
        return {"inputs_embeds": embedded}


def _score(
    model: PreTrainedModel, embed: _Embedding, batch: Sequence[Group], flat: Sequence[tuple[int, ...]]
) -> Tensor:
    """Log-probabilities float32 [rows, wordings] of one batch, in the order of its rows."""
    several = [place for place, wording in enumerate(flat) if len(wording) > 1]
    first = torch.tensor([wording[0] for wording in flat], device=model.device)
    logits, cache, mask = _read_prompts(model, embed, batch, keep=bool(several))
    scores = logits.float().log_softmax(-1)[:, first]
    for place in several:
        scores[:, place] += _continue(model, cache, mask, flat[place])
    return scores


def _read_prompts(
    model: PreTrainedModel, embed: _Embedding, batch: Sequence[Group], *, keep: bool
) -> tuple[Tensor, Any, Tensor]:
    """Logits [rows, vocabulary] after each prompt, the cache (None unless wanted) and the mask of what was read."""
    heads = [embed.prompts[part.rows[0]][: part.shared] for part in batch]
    tails = [embed.prompts[row][part.shared :] for part in batch for row in part.rows]
    ids, mask = left_padded(tails, model.device)
    cache: Any = None
    if batch[0].shared:
        head_ids, head_mask = left_padded(heads, model.device)
        read = model(**embed(head_ids), **where(head_mask), use_cache=True, logits_to_keep=1)
        owners = torch.tensor(
            [place for place, part in enumerate(batch) for _ in part.rows], device=model.device, dtype=torch.long
        )
        cache = _rows_of(read.past_key_values, owners)
        mask = torch.cat([head_mask[owners], mask], dim=1)
    read = model(
        **embed(ids),
        **where(mask, last=ids.shape[1]),
        past_key_values=cache,
        use_cache=keep or cache is not None,
        logits_to_keep=1,
    )
    return read.logits[:, -1], read.past_key_values, mask


def _continue(model: PreTrainedModel, cache: Any, mask: Tensor, wording: tuple[int, ...]) -> Tensor:
    """Log-probability float32 [rows] of the second and later tokens of a wording, after prompt and first token."""
    said = torch.tensor(wording, device=model.device).expand(len(mask), -1)
    mask = torch.cat([mask, mask.new_ones(len(mask), len(wording) - 1)], dim=1)
    read = model(
        input_ids=said[:, :-1],
        **where(mask, last=len(wording) - 1),
        past_key_values=_rows_of(cache, torch.arange(len(mask), device=model.device)),
        use_cache=True,
    )
    each = read.logits.float().log_softmax(-1).gather(2, said[:, 1:, None])
    return each.sum((1, 2))


def _rows_of(cache: Any, rows: Tensor) -> Any:
    """A cache of its own with the given rows; the one it comes from stays as it is."""
    chosen = copy.copy(cache)
    chosen.layers = [copy.copy(layer) for layer in cache.layers]
    chosen.batch_select_indices(rows)
    return chosen


def left_padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and mask, int64 [rows, longest], with padding before the text, so that all end at the last position."""
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    return ids.to(device), mask.to(device)


def where(mask: Tensor, last: int | None = None) -> dict[str, Tensor]:
    """Attention mask over all that was read, and the positions of its ``last`` tokens, which padding does not move."""
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return {"attention_mask": mask, "position_ids": positions if last is None else positions[:, -last:]}
