"""All definitions in one place, made fresh by ``build_defs``. Not here: what any of them does.

Nothing in here imports torch: the web server loads this module, and so does every process of a run.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from assets import (
    alignment,
    baselines,
    bounds,
    card,
    cit_rec,
    embeddings,
    generations,
    house,
    interactions,
    prompts,
    readings,
    reports,
    serving,
    trials,
    user_states,
)
from pipelines.checks import CHECKS
from pipelines.instance import storage_base
from pipelines.jobs import JOBS
from pipelines.schedules import SCHEDULES
from pipelines.sensors import SENSORS
from resources.accelerator import Accelerator
from resources.cells import Cells
from resources.data_source import DataSource
from resources.encoders import ImageTextEncoder, Reranker, SentenceEncoder
from resources.language_model import LanguageModel
from resources.storage import ParquetStorage

ASSETS = dg.load_assets_from_modules(
    [
        interactions, card, house, prompts, generations, readings, embeddings, alignment, baselines, bounds,
        user_states, cit_rec, reports, serving, trials,
    ]
)  # fmt: skip

EXECUTOR = dg.multiprocess_executor.configured(
    {
        "max_concurrent": 2,
        "start_method": {"forkserver": {"preload_modules": ["pipelines.preload"]}},
    }
)


def default_resources(base: str | None = None) -> dict[str, Any]:
    """What assets are handed, on storage ``base`` (that of ``WEFT_STORAGE`` by default)."""
    base = base or storage_base()
    source = DataSource(base=base)
    return {
        "io_manager": ParquetStorage(base=base),
        "data_source": source,
        "cells": Cells(data_source=source),
        "accelerator": Accelerator(),
        "language_model": LanguageModel(),
        "image_text_encoder": ImageTextEncoder(),
        "sentence_encoder": SentenceEncoder(),
        "reranker": Reranker(),
    }


def build_defs(
    *,
    base: str | None = None,
    resources: Mapping[str, Any] | None = None,
    assets: Sequence[Any] = (),
    executor: dg.ExecutorDefinition = EXECUTOR,
) -> dg.Definitions:
    """Fresh definitions; tests pass overrides, nothing is patched.

    Args:
        base: Storage; that of ``WEFT_STORAGE`` by default.
        resources: Replace or add to the default resources, by key.
        assets: Further assets.
        executor: How the steps of a run are run.
    """
    return dg.Definitions(
        assets=[*ASSETS, *assets],
        asset_checks=CHECKS,
        jobs=JOBS,
        schedules=SCHEDULES,
        sensors=SENSORS,
        resources={**default_resources(base), **(resources or {})},
        executor=executor,
    )


defs = build_defs()
