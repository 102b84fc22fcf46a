"""Models as they come: with default settings, not small ones for a test, they learn what is there to be learnt."""

import numpy as np
import pytest

from tests.models import contracts as c
from weft.data.sequences import Events, Queries
from weft.evaluation.ranking import top_k
from weft.models.registry import MODELS
from weft.models.settings import FitSettings

USERS, GROUPS, SIZE, TAKEN = 240, 6, 20, 15
FITTED = [name for name, entry in MODELS.items() if issubclass(entry.settings, FitSettings) and c.ranks(name)]


def _shop() -> tuple[Events, Queries, np.ndarray]:
    """Everybody walks along the ring of their group's items, and is asked what comes next."""
    rng = np.random.default_rng(0)
    start, group = rng.integers(0, SIZE, USERS), np.arange(USERS) % GROUPS
    walks = [[g * SIZE + (s + step) % SIZE + 1 for step in range(TAKEN + 1)] for g, s in zip(group, start, strict=True)]
    train = c.events([walk[:TAKEN] for walk in walks], n_items=GROUPS * SIZE)
    queries = c.queries([walk[:TAKEN] for walk in walks], list(range(1, USERS + 1)))
    return train, queries, np.array([walk[TAKEN] for walk in walks])


@pytest.mark.parametrize("name", FITTED)
def test_with_default_settings_it_knows_who_likes_what(name: str) -> None:
    train, queries, target = _shop()
    entry = MODELS[name]
    model = entry.build(entry.settings())
    model.fit(train, None, c.runtime())
    items, _ = top_k(model.score, queries, 10)
    assert (items == target[:, None]).any(1).mean() > 0.8
