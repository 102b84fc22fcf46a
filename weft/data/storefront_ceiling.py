"""The attainable ceiling of the storefront: a plain model that knows what each item is made of, and no user.

The oracle knows every taste; nobody can learn that much from some forty events of a user. The ceiling shows what can
be learnt by whoever reads image, text, knowledge and communities without an error, with linear means. A model between
popularity and the ceiling uses what it was given; what stands between ceiling and oracle is hidden by luck and by
short histories.

Two linear models, one per kind of protocol. Rankings: a conditional logit (McFadden 1974) of the next item,
log count · a + Σ over signals of (profile of the history) W (attributes of the item), with a slow profile for lasting
tastes and a fast one for what a visit is for. Labelled pairs: a ridge regression per user whose prior covariance is
shared and found by expectation maximisation (random coefficients, Laird and Ware 1982), so that taste types are shared.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from weft.data.sequences import Events, Queries
from weft.data.storefront_truth import SIGNALS, VISIT, cells, planted_items
from weft.errors import RequestError

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]

SLOW, FAST = (0.97, 5.0), (0.6, 0.5)
"""Weight of an event against the next, and events' worth of nothing that a profile begins with."""

STEPS, BATCH, RATE = 450, 1024, 0.015
ROUNDS = 6


class Ceiling:
    """What a plain model reaches that knows the true attributes of items.

    Args:
        truth: Schema ``Truth``.
        items: Schema ``Items``.
        train: The training events of one protocol; with labels the model scores pairs, without it ranks.
        without: Signals of ``SIGNALS`` that it must do without: what they are worth to whoever learns.
        carries_over: Whether a taste that shows in one domain counts in the other.

    Raises:
        RequestError: If an item has no planted vector, or there is no such signal.
    """

    def __init__(
        self,
        truth: pl.DataFrame,
        items: pl.DataFrame,
        train: Events,
        without: Collection[str] = (),
        *,
        carries_over: bool = True,
    ) -> None:
        planted, _ = planted_items(truth, items)
        for signal in without:
            cells(signal)
        lasting = [signal for signal in SIGNALS if signal not in (*VISIT, *without)]
        passing = [signal for signal in VISIT if signal not in without]
        self._slow, slow_parts = _attributes(planted, lasting, carries_over=carries_over)
        self._fast, fast_parts = _attributes(planted, passing, carries_over=carries_over)
        self._labelled = train.label is not None
        if self._labelled:
            self._weights = _per_user(train, self._slow)
        else:
            self._by_slow, self._by_fast, self._popular = _next_item(
                train, (self._slow, slow_parts), (self._fast, fast_parts)
            )

    def score(self, queries: Queries) -> torch.Tensor:
        """float32 [q, n_items + 1]: logits of the next item; -inf in column 0. By history alone, whoever asks.

        Raises:
            RequestError: If it was fitted on labels.
        """
        import torch  # noqa: PLC0415 - the figures themselves need no torch

        if self._labelled:
            raise RequestError("this ceiling scores pairs", "fit it on the training split of a ranking protocol")
        slow, fast = (_after(queries, table, *how) for table, how in ((self._slow, SLOW), (self._fast, FAST)))
        scores = slow @ self._by_slow @ self._slow.T + fast @ self._by_fast @ self._fast.T + self._popular
        scores[:, 0] = -np.inf
        return torch.from_numpy(scores)

    def liking(self, queries: Queries, item: NDArray[np.int32]) -> Floats:
        """float32 [q]: how far each user is expected to like one given item.

        Raises:
            RequestError: If it was not fitted on labels.
        """
        if not self._labelled:
            raise RequestError("this ceiling ranks", "fit it on the training split of a pointwise protocol")
        return np.einsum("qd,qd->q", self._weights[queries.user], _with_one(self._slow)[item])


def _attributes(planted: Floats, signals: Collection[str], *, carries_over: bool) -> tuple[Floats, NDArray[np.int64]]:
    """float32 [n + 1, d], centred over the catalogue, and int64 [d]: the number of the part that a column is of.

    A taste that carries over has one set of columns for both domains.
    """
    parts: list[Floats] = []
    for signal in signals:
        own = [planted[:, cell] for cell in cells(signal)]
        parts += [sum(own[1:], own[0])] if carries_over else own
    table = np.concatenate([np.zeros((len(planted), 0), np.float32), *parts], axis=1)
    table[1:] -= table[1:].mean(0)
    return table, np.repeat(np.arange(len(parts)), [part.shape[1] for part in parts])


def _before(train: Events, table: Floats, decay: float, start: float) -> Floats:
    """float32 [n, d]: the profile of the user before each event; all users' k-th events at once."""
    state, weight = np.zeros((train.n_users + 1, table.shape[1]), np.float32), np.full(train.n_users + 1, start)
    profile = np.zeros((len(train), table.shape[1]), np.float32)
    nth = np.arange(len(train)) - train.offsets[train.user]
    order = np.argsort(nth, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(nth[order])) + 1):
        user = train.user[rows]
        profile[rows] = state[user] / weight[user, None]
        state[user] = decay * state[user] + table[train.item[rows]]
        weight[user] = decay * (weight[user] - start) + 1 + start
    return profile


def _after(queries: Queries, table: Floats, decay: float, start: float) -> Floats:
    """float32 [q, d]: the profile at the end of each history, the same as ``_before`` has it for a next event."""
    age = np.repeat(queries.offsets[1:], queries.lengths) - 1 - np.arange(len(queries.items))
    weight = (decay**age).astype(np.float32)
    row = np.repeat(np.arange(len(queries)), queries.lengths)
    state = np.zeros((len(queries), table.shape[1]), np.float32)
    np.add.at(state, row, weight[:, None] * table[queries.items])
    return state / (np.bincount(row, weight, len(queries)) + start).astype(np.float32)[:, None]


def _next_item(
    train: Events, slow: tuple[Floats, NDArray[np.int64]], fast: tuple[Floats, NDArray[np.int64]]
) -> tuple[Floats, Floats, Floats]:
    """Fits the conditional logit by Adam: weights of both profiles, block-diagonal by part, and float32 [n + 1]."""
    import torch  # noqa: PLC0415

    def tensor(values: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(values)

    counts = np.bincount(train.item, minlength=train.n_items + 1).astype(np.float32)
    # An item that nobody has taken yet is as popular as the mean.
    usual = np.log(np.where(counts > 0, counts, counts[counts > 0].mean()), dtype=np.float32)
    usual -= usual[1:].mean()
    profiles = [tensor(_before(train, slow[0], *SLOW)), tensor(_before(train, fast[0], *FAST))]
    tables = [tensor(slow[0]), tensor(fast[0])]
    same = [tensor((part[:, None] == part[None, :]).astype(np.float32)) for _, part in (slow, fast)]
    weights = [torch.zeros_like(mask, requires_grad=True) for mask in same]
    popularity = torch.ones((), requires_grad=True)
    target, order = tensor(train.item.astype(np.int64)), np.random.default_rng(0)
    optimiser = torch.optim.Adam([*weights, popularity], lr=RATE)
    falling = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.05, STEPS)
    for _ in range(STEPS):
        rows = tensor(order.integers(0, len(train), BATCH))
        logits = popularity * tensor(usual)
        for profile, weight, mask, table in zip(profiles, weights, same, tables, strict=True):
            logits = logits + profile[rows] @ (weight * mask) @ table.T
        loss = torch.nn.functional.cross_entropy(logits[:, 1:], target[rows] - 1)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        falling.step()
    by_slow, by_fast = ((weight * mask).detach().numpy() for weight, mask in zip(weights, same, strict=True))
    return by_slow, by_fast, (usual * float(popularity.detach())).astype(np.float32)


def _per_user(train: Events, table: Floats) -> Floats:
    """float32 [n_users + 1, d + 1]: weights of each user, a constant last; a user without labels has everybody's.

    Label = x·(g + w_u) + noise with w_u ~ N(0, S): g by ridge regression, then S and the noise by EM.
    """
    x, label = _with_one(table)[train.item].astype(np.float64), np.asarray(train.label, np.float64)
    width = x.shape[1]
    everybody = np.linalg.solve(x.T @ x + np.eye(width), x.T @ label)
    rest = label - x @ everybody
    offsets, own = train.offsets, np.zeros((train.n_users + 1, width))
    spans = [(u, slice(offsets[u], offsets[u + 1])) for u in range(1, train.n_users + 1) if offsets[u] < offsets[u + 1]]
    grams = [(u, x[span].T @ x[span], x[span].T @ rest[span]) for u, span in spans]
    prior, noise = 0.05 * np.eye(width), 0.2
    for _ in range(ROUNDS):
        precision = np.linalg.inv(prior + 1e-6 * np.eye(width))
        second, unexplained = np.zeros_like(prior), float(rest @ rest)
        for u, gram, moment in grams:
            spread = np.linalg.inv(precision + gram / noise)
            own[u] = spread @ moment / noise
            square = spread + np.outer(own[u], own[u])
            second += square
            unexplained += float((gram * square).sum() - 2 * own[u] @ moment)
        prior, noise = second / len(grams), unexplained / len(train)
    return (everybody + own).astype(np.float32)


def _with_one(table: Floats) -> Floats:
    return np.concatenate([table, np.ones((len(table), 1), np.float32)], axis=1)
