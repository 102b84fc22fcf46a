"""The worked example of docs/extending.md, as it stands on the page: its model keeps the contract and runs."""

import importlib.util
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

import dagster as dg
import numpy as np
import pytest

from assets import baselines, interactions
from assets.partitions import DATASETS
from resources.accelerator import Accelerator
from resources.artifacts import ArtifactStore
from resources.cells import Cells
from resources.data_source import DataSource
from resources.storage import ParquetStorage
from tests.assets.shop import open_shop
from tests.models import contracts as c
from tests.models import test_contracts
from weft.cells import Cell
from weft.models import settings
from weft.models.registry import MODELS, Entry
from weft.models.settings import counting
from weft.models.settings.search import Between, space_of

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
NAME = "successors"


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """What the page adds, put where the page says."""
    told = dict(re.findall(r"<!-- (settings|model|line): .*? -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    names = dict(vars(counting))
    exec(told["settings"], names)  # noqa: S102 - the page is ours
    monkeypatch.setattr(settings, "SuccessorsSettings", names["SuccessorsSettings"], raising=False)
    file = tmp_path / "successors.py"
    file.write_text(told["model"])
    monkeypatch.setitem(sys.modules, "weft.models.successors", _loaded("weft.models.successors", file))
    made = eval(told["line"].strip().rstrip(","), {"Entry": Entry, "s": settings})  # noqa: S307 - the page is ours
    monkeypatch.setitem(MODELS, made.name, made)
    return made


def _loaded(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONTRACT = {name: test for name, test in vars(test_contracts).items() if name.startswith("test_")}


def test_there_is_a_contract_to_keep() -> None:
    assert len(CONTRACT) > 10


@pytest.mark.parametrize("promise", CONTRACT)
def test_the_model_on_the_page_keeps_the_contract(promise: str, entry: Entry, tmp_path: Path) -> None:
    given = {"name": entry.name, "fitted": test_contracts.Fitted(), "tmp_path": tmp_path / "contract"}
    test = CONTRACT[promise]
    test(**{name: given[name] for name in inspect.signature(test).parameters})


def test_the_model_on_the_page_does_what_its_docstring_says(entry: Entry) -> None:
    model = entry.build(entry.settings(popularity=0.5))
    model.fit(c.events([[1, 2, 3], [1, 2, 1, 3], [4]], n_items=5), None, c.runtime())
    # Moves: 1→2 twice, 2→3, 2→1, 1→3; events: three of 1, two of 2, two of 3, one of 4.
    share = np.array([3, 2, 2, 1, 0]) / 3
    expected = {1: [0, 2, 1, 0, 0], 2: [1, 0, 1, 0, 0], 4: [0] * 5, 5: [0] * 5}
    for last, moves in expected.items():
        np.testing.assert_allclose(model.score(c.queries([[3, last]]))[0, 1:], np.array(moves) + 0.5 * share, rtol=1e-6)
    np.testing.assert_allclose(model.score(c.queries([[]]))[0, 1:], 0.5 * share, rtol=1e-6)


def test_the_model_on_the_page_is_fitted_and_ranked_by_the_factory(entry: Entry, tiny_storage: Path) -> None:
    open_shop(tiny_storage)
    source = DataSource(base=str(tiny_storage))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(DATASETS.name, ["shop"])
        made = [baselines._fit(entry), *(baselines._outcome(entry, what) for what in baselines.OUTCOMES)]
        result = dg.materialize(
            [*dg.load_assets_from_modules([interactions]), *made],
            partition_key="shop",
            instance=instance,
            resources={
                "io_manager": ParquetStorage(base=str(tiny_storage)),
                "data_source": source,
                "cells": Cells(data_source=source),
                "accelerator": Accelerator(device="cpu"),
            },
            run_config={"ops": {f"{entry.group}__{NAME}": {"config": {"popularity": 0.3}}}},
        )
    assert result.success
    store, cell = ArtifactStore(tiny_storage), Cell("shop", "leave_one_out", "offline", "full", 0)
    rankings = store.read(f"{entry.group}.{NAME}_rankings", cell)
    assert set(rankings["system"]) == {NAME}
    assert '"popularity":0.3' in store.footer(f"{entry.group}.{NAME}", cell)["settings"]
    assert space_of(entry.settings) == {"popularity": Between(0.01, 10.0, log=True)}
