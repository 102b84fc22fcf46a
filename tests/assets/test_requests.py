"""What ``weft run`` asks for."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from rich.console import Console

from pipelines import runs

SERVED = dg.AssetKey(["serving", "recommendations"])


@pytest.mark.parametrize(("systems", "serves"), [(["oracle"], False), (["oracle", "itemknn"], True)])
def test_serving_is_asked_for_only_where_a_model_is_fitted(
    systems: list[str], serves: bool, tiny_storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dg.AssetKey] = []

    def remembered(*_: object, asset_selection: list[dg.AssetKey], **__: Any) -> SimpleNamespace:
        asked.extend(asset_selection)
        return SimpleNamespace(success=True)

    monkeypatch.setattr(dg, "execute_job", remembered)
    with dg.DagsterInstance.ephemeral() as instance:
        runs.execute(runs.Request("tiny", systems), instance, Console(quiet=True))
    assert dg.AssetKey(["baselines", "oracle_rankings"]) in asked
    assert (SERVED in asked) is serves
