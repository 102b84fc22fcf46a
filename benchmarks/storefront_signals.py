"""What each planted signal of the storefront is worth: to an oracle of it alone, and to a plain model without it.

NDCG@10 on the test split of ``leave_one_out``, AUC on that of ``pointwise_time``, default preset.

    python -m benchmarks.storefront_signals --seeds 0 1 2
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from benchmarks.machine import save
from weft.data.cleaning import Cleaned, clean
from weft.data.rules import CleaningRules
from weft.data.sequences import Events, Task
from weft.data.storefront import Oracle, StorefrontSettings, simulate
from weft.data.storefront_ceiling import Ceiling
from weft.data.storefront_truth import SIGNALS
from weft.evaluation.metrics import auc
from weft.evaluation.pairs import scores_of
from weft.evaluation.protocols import protocol
from weft.evaluation.ranking import ndcg_at_10


def measure(seed: int) -> dict[str, Any]:
    """All rows of one seed (of the world and of the shop)."""
    front = simulate(StorefrontSettings(seed=seed, world=seed))
    shop = clean(front.raw_interactions.lazy(), front.raw_items.lazy(), CleaningRules(rating_min=1, rating_max=5))
    ranking, pairs = _asked(shop, "leave_one_out"), _asked(shop, "pointwise_time")

    def oracle(*signals: str, whole: bool = False) -> dict[str, float]:
        made = Oracle(front.truth, shop.users, shop.items, None if whole else signals)
        return {"ndcg@10": ndcg_at_10(made.score, ranking[1]), "auc": _auc(made.liking, pairs[1])}

    def ceiling(**less: Any) -> dict[str, float]:
        by_rank, by_pair = (Ceiling(front.truth, shop.items, events, **less) for events, _ in (ranking, pairs))
        return {"ndcg@10": ndcg_at_10(by_rank.score, ranking[1]), "auc": _auc(by_pair.liking, pairs[1])}

    rows = {"oracle": oracle(whole=True), "oracle of popularity alone": oracle()}
    rows |= {f"oracle of {signal}": oracle(signal) for signal in SIGNALS}
    rows["ceiling"] = ceiling()
    rows |= {f"ceiling without {signal}": ceiling(without=[signal]) for signal in SIGNALS}
    rows["ceiling without what carries over"] = ceiling(carries_over=False)
    return {name: {metric: round(value, 4) for metric, value in row.items()} for name, row in rows.items()}


def _asked(shop: Cleaned, name: str) -> tuple[Events, Task]:
    rule = protocol(name)
    splits = rule.split(shop.interactions.lazy()).collect()
    users, items = len(shop.users), len(shop.items)
    return rule.events(splits, users, items), rule.task(splits, "test", items)


def _auc(liking: Callable, task: Task) -> float:
    return float(auc(task.label, scores_of(liking, task))[0])


def main() -> None:
    """Measures, prints and keeps."""
    parser = argparse.ArgumentParser(description="Worth of the storefront's signals")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds = {seed: measure(seed) for seed in parser.parse_args().seeds}
    for name in next(iter(seeds.values())):
        shown = "   ".join(f"{rows[name]['ndcg@10']:.3f} / {rows[name]['auc']:.3f}" for rows in seeds.values())
        print(f"{name:36s} {shown}")
    print(f"kept in {save('storefront_signals', {'seeds': seeds})}")


if __name__ == "__main__":
    main()
