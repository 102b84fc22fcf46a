"""S²-DHCN on LLM4SBR's sessions as its published code learns, beside weft's settings: why the table's MRR is higher.

python -m benchmarks.published_dhcn --source ml-1m.zip

Published (the code of Xia et al. 2021 under the text and counts of arXiv:2402.13840, section 5.1.3 and table 2): a
session teaches its last click alone, the hypergraph holds what came before it, there are three layers of width 100,
films of fewer than five ratings are not there, and Adam's rate falls to a tenth every three epochs (1e-3 and an L2 of
1e-5 as in LLM4SBR's code; the paper's numbers are lost). All of the first nine tenths is learnt from, since there is no
validation split: the best epoch of each metric is looked up on the test. The figures of every epoch on the test are
told for that reason; nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from torch import Tensor

from benchmarks.last_click import RULES, LastClicks
from benchmarks.machine import save
from benchmarks.own_items import measure
from benchmarks.speed.data import Split, split
from weft.data.sequences import Events
from weft.evaluation.metrics import mid_ranks, ndcg
from weft.evaluation.protocols import protocol
from weft.evaluation.ranking import rank
from weft.models.dhcn import DHCN, DHCNNetwork, contrast
from weft.models.hypergraph import Hypergraph
from weft.models.settings import DHCNSettings, resolve
from weft.progress import LogProgress
from weft.training import loop
from weft.training.batches import HistoryBatches
from weft.training.losses import next_item
from weft.training.runtime import Runtime

SPLITS: tuple[Literal["validation", "test"], ...] = ("validation", "test")
# The contrast's weight is 0.01 in the code, over the sum of a batch of 100: 1 over its mean.
PUBLISHED = DHCNSettings(
    width=100, layers=3, dropout=0, contrast=1.0, batch=100, learning_rate=1e-3, length=400, epochs=6, patience=0
)
_L2, _EPOCHS_OF_A_RATE = 1e-5, 3


class LastClickNetwork(DHCNNetwork):
    """The network, of which only the state after the last click is computed."""

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of what ended each session, and the contrast; ``targets`` holds nothing else."""
        items = self.catalogue()
        states = self._at_end(inputs, (inputs > 0).sum(1), items)
        loss = next_item(self.settings, states, items[1:], targets.sum(1) - 1)
        with torch.no_grad():  # the code copies these vectors out of the graph; by the paper both channels would learn
            lines = self.line_states(inputs)
        return loss + self.settings.contrast * contrast(states, lines)


class LastClickDHCN(DHCN):
    """Learns what ended each session, and smooths over what came before it."""

    network = LastClickNetwork

    def made_for(self, train: Events) -> DHCNNetwork:
        """With the hypergraph of sessions that lack their last click."""
        return LastClickNetwork(self.settings, train.n_items, Hypergraph.of(without_last(train)))

    def batches(self, train: Events, seed: int) -> LastClicks:
        """A target per session."""
        return LastClicks(train.item, train.offsets, self.settings.length, self.settings.batch, seed)


def without_last(train: Events) -> Events:
    """The events but for the last of each session."""
    kept = np.append(train.user[:-1] == train.user[1:], False)
    return replace(train, user=train.user[kept], item=train.item[kept], timestamp=None)


def figures(model: DHCN, made: Split, part: Literal["validation", "test"]) -> dict[str, float]:
    """P@20, MRR@20 and NDCG@10, and what the session's own items take of them."""
    task = protocol(RULES).task(made.table.filter(split=part), part, made.n_items)
    # Marks for slices that are not told here.
    seen_in_training, tied_time = np.zeros(made.n_items + 1, bool), np.zeros(len(task.queries), bool)
    table = rank(model.score, task, system="dhcn", seen_in_training=seen_in_training, tied_time=tied_time)
    return {**measure(table, task.queries), "ndcg10": float(ndcg(mid_ranks(table), 10).mean())}


def fitted(model: DHCN, made: Split, learnt: tuple[str, ...], seed: int) -> list[dict[str, Any]]:
    """The figures after every epoch of a fit on the sessions of the splits ``learnt``.

    Validation is told where it is held out.
    """
    seen = made.table.filter(pl.col("split").is_in(learnt)).with_columns(split=pl.lit("train"))
    train = protocol(RULES).events(seen, made.n_users, made.n_items)
    epochs: list[dict[str, Any]] = []

    def tell() -> float:
        found = {part: figures(model, made, part) for part in SPLITS if part not in learnt}
        epochs.append(found)
        return found["test"]["ndcg10"]  # picks the weights that are left behind, which nobody reads

    runtime = Runtime(device="cpu", seed=seed, progress=LogProgress(print))
    fabric = loop.begin(model.settings, train, runtime)
    model.module = model.made_for(train)
    if isinstance(model, LastClickDHCN):
        as_published(model, model.batches(train, seed), runtime, tell)
        return epochs
    batches, picks = model.batches(train, seed), loop.Validation("ndcg@10", tell)
    assert isinstance(batches, HistoryBatches)  # noqa: S101 - narrows the type
    loop.fit(model.module, batches, model.settings, runtime, picks, fabric, per_batch=batches.per_batch)
    return epochs


def as_published(model: LastClickDHCN, batches: LastClicks, runtime: Runtime, tell: Callable[[], float]) -> None:
    """A fit as LLM4SBR's text has it, which weft's own loop does not offer; ``tell`` is called after every epoch."""
    module, settings = model.module, model.settings
    optimiser = torch.optim.Adam(module.parameters(), lr=settings.learning_rate, weight_decay=_L2)
    rate = torch.optim.lr_scheduler.StepLR(optimiser, _EPOCHS_OF_A_RATE)
    with runtime.progress.step("training", settings.epochs, "epochs") as step:
        for epoch in range(settings.epochs):
            module.train()
            for (inputs, targets), _ in batches.epoch(epoch):
                optimiser.zero_grad()
                module(inputs, targets).backward()
                optimiser.step()
                step.advance(1 / len(batches))
            rate.step()
            module.eval()
            step.advance(0, f"test NDCG@10 {tell():.4f}")


def told(epochs: list[dict[str, Any]]) -> Mapping[str, Any]:
    """What a paper would print, the best epoch of each metric on the test; and the epoch that validation chooses."""
    best = {metric: max(epoch["test"][metric] for epoch in epochs) for metric in ("p", "mrr")}
    found: dict[str, Any] = {"best_on_test": best, "epochs": epochs}
    if "validation" in epochs[0]:
        found["chosen"] = max(epochs, key=lambda epoch: epoch["validation"]["ndcg10"])["test"]
    return found


def main() -> None:
    """Four fits, one after the other; the first once more with another seed."""
    parser = argparse.ArgumentParser(description="S²-DHCN on LLM4SBR's sessions, as its published code learns")
    parser.add_argument("--source", type=Path, required=True, help="ml-1m.zip")
    source = parser.parse_args().source
    theirs, ours = (split(source, min_item_events=least, rules=RULES) for least in (5, 0))
    shipped = resolve(DHCNSettings, "dhcn", "ml-1m", {"patience": 0}, RULES)
    everything, held_out = ("train", "validation"), ("train",)
    found = {}
    for name, model, made, learnt, seed in (
        ("published, nothing held out", LastClickDHCN(PUBLISHED), theirs, everything, 0),
        ("published, a tenth held out", LastClickDHCN(PUBLISHED), theirs, held_out, 0),
        ("as shipped, nothing held out", DHCN(shipped), ours, everything, 0),
        ("published, nothing held out, seed 1", LastClickDHCN(PUBLISHED), theirs, everything, 1),
    ):
        found[name] = told(fitted(model, made, learnt, seed))
        print(name, json.dumps({key: found[name][key] for key in found[name] if key != "epochs"}, indent=1))
        save("published_dhcn", {"protocol": RULES, "found": found})


if __name__ == "__main__":
    main()
