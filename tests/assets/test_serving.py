"""What must not be served is refused before it replaces what is served."""

from pathlib import Path

import pytest
import torch

from resources.artifacts import ArtifactStore
from tests.assets.shop import USERS, open_shop
from tests.pipelines.running import make
from weft.cells import Cell
from weft.data.sequences import Queries
from weft.errors import WeftError
from weft.models.itemknn import ItemKNN
from weft.recommend import recommend

SHOP = Cell("shop")


def _nothing(_: object, queries: Queries) -> torch.Tensor:
    return torch.full((len(queries), 16), -torch.inf)


def test_a_model_that_recommends_nothing_leaves_what_is_served_as_it_was(
    tiny_storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtifactStore(tiny_storage)
    open_shop(tiny_storage)
    assert make(tiny_storage, "itemknn", dataset="shop").success
    served = store.digest("serving.recommendations", SHOP)

    monkeypatch.setattr(ItemKNN, "score", _nothing)
    tables = (store.read(f"interactions.{name}", SHOP) for name in ("interactions", "users", "items"))
    with pytest.raises(WeftError, match=f"{USERS} users would get no recommendations"):
        recommend(lambda queries: _nothing(None, queries), "itemknn", *tables, 5)
    assert not make(tiny_storage, "itemknn", dataset="shop", ingest=False).success
    assert store.digest("serving.recommendations", SHOP) == served
