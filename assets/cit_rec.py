"""The assets of CIT-Rec: prompts, the tuned adapter with its projections, scored pairs or rankings. All of it per cell.

What a cell is made from stands in ``cit_rec_material.py``, what is done with it in ``cit_rec_stages.py``; the system
itself is ``weft/systems``.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dagster as dg
import polars as pl

from assets import cit_rec_stages, fitting, shown
from assets.baselines import NEGATIVES, SYSTEM_TAG
from assets.cit_rec_material import (
    ADAPTER,
    PROMPTS,
    STATES,
    SYSTEM,
    current,
    given,
    need_rows,
    settings_of,
    states_of,
    variant_of,
)
from assets.content import HOUSE_LANGUAGE, ITEMS, SPLITS, made
from assets.model_config import config_of
from assets.partitions import DATASETS
from resources.accelerator import GPU_POOL, GPU_TAGS, Accelerator
from resources.cells import Cells
from resources.language_model import LanguageModel
from resources.storage import Leaves, ParquetStorage, Table
from weft.cells import Cell
from weft.models.settings import ModelSettings
from weft.progress import LogProgress
from weft.systems.settings import PlainNetworkSettings, PromptSettings
from weft.tuning.settings import TuningSettings

CODE_VERSION = "1"
"""Raise it when a change in code changes what is fitted: unfinished fits of the old version start over."""

VECTORS = [dg.AssetKey(["behaviour", "user_states"]), dg.AssetKey(["alignment", "aligned_items"])]


def _out(name: str, description: str, *kinds: str) -> dg.AssetOut:
    return dg.AssetOut(
        key=[SYSTEM, name],
        group_name=SYSTEM,
        description=description,
        kinds={"parquet", *kinds},
        code_version=CODE_VERSION,
        tags={SYSTEM_TAG: SYSTEM},
    )


@dg.asset(
    key=[SYSTEM, "prompts"],
    group_name=SYSTEM,
    description="What is asked of each judged row: its history, the candidate, and whose vector stands where.",
    deps=[ITEMS, SPLITS, NEGATIVES, VECTORS[0]],
    partitions_def=DATASETS,
    kinds={"parquet"},
    code_version=CODE_VERSION,
    tags={SYSTEM_TAG: SYSTEM},
)
def prompts(
    context: dg.AssetExecutionContext,
    config: config_of("cit_rec_prompts", PromptSettings),  # type: ignore[valid-type]
    cells: Cells,
    io_manager: dg.ResourceParam[ParquetStorage],
) -> dg.Output[Leaves]:
    """One prompt per drawn training row, and per validation and test row. Text alone, so no GPU is held."""
    from weft.systems import cit_rec_prompts  # noqa: PLC0415 - imports transformers

    store, frames = io_manager.store, {}
    settings = settings_of(PROMPTS, PromptSettings, cells.models().tuning[SYSTEM], config.overrides())
    for cell in cells.of_system(SYSTEM, context.partition_key):
        stated = current(store, STATES, states_of(cell))["row"]
        items = store.read("interactions.items", cell.of_dataset())
        splits = store.read("interactions.splits", cell.of_protocol())
        rule, seed = cells.rule(cell), int(cell.seed or 0)
        drawn = store.read("interactions.negatives", cell.of_protocol()) if rule.samples else None
        frames[cell] = cit_rec_prompts.prompts(rule, splits, items, stated, str(cell.variant), settings, seed, drawn)
    told = {"settings": settings.model_dump_json()}
    return dg.Output({cell: Table(frame, told) for cell, frame in frames.items()}, metadata=shown.of_prompts(frames))


@dg.multi_asset(
    name=f"{SYSTEM}__adapter",
    outs={
        "adapter_history": _out("adapter_history", "Loss and validation AUC of the tuning."),
        "projections": _out("projections", "The maps from vectors to input embeddings; the plain network.", "torch"),
        "adapter": _out("adapter", "The LoRA adapter: a PEFT folder as a table.", "torch", "huggingface"),
    },
    deps=[dg.AssetKey([SYSTEM, "prompts"]), *VECTORS, made("llm_embeddings"), SPLITS, HOUSE_LANGUAGE],
    partitions_def=DATASETS,
    pool=GPU_POOL,
    op_tags=GPU_TAGS,
)
def adapter(
    context: dg.AssetExecutionContext,
    config: config_of("cit_rec_adapter", TuningSettings),  # type: ignore[valid-type]
    cells: Cells,
    accelerator: Accelerator,
    language_model: LanguageModel,
    io_manager: dg.ResourceParam[ParquetStorage],
) -> Iterator[dg.Output[Any]]:
    """Adapter and projections, trained together on the answers; the plain network in the variant of that name."""
    store, profile = io_manager.store, cells.models()
    wanted = [cell for cell in cells.of_system(SYSTEM, context.partition_key) if variant_of(cell).has("fit")]
    tuned: dict[Cell, cit_rec_stages.Tuned] = {}
    works = []
    with fitting.alone(store, ADAPTER, wanted, context.run_id):
        for cell in wanted:
            of, model = given(store, cells, cell), None
            need_rows(of)
            settings: ModelSettings = PlainNetworkSettings()
            if variant_of(cell).has("language_model"):
                settings = settings_of(ADAPTER, TuningSettings, profile.tuning[SYSTEM], config.overrides())
                model = language_model.adapted(store, profile, SYSTEM, accelerator.device)
            device = accelerator.name()
            computes = device, accelerator.precision
            version = fitting.digest([CODE_VERSION, of.made_from, model and vars(model.identity)])
            work = fitting.work_folder(
                store, ADAPTER, cell, settings, of.material, computes, version, context.log.warning
            )
            runtime = accelerator.runtime(int(cell.seed or 0), work, context.log)
            tuned[cell] = cit_rec_stages.fit(of, settings, model, runtime, device)
            works.append(work)
        found = {
            "adapter_history": {cell: one.history for cell, one in tuned.items()},
            "projections": {cell: one.weights for cell, one in tuned.items() if len(one.weights)},
            "adapter": {cell: one.adapter for cell, one in tuned.items() if one.adapter is not None},
        }
        for name, tables in found.items():
            leaves = {cell: Table(table, tuned[cell].attributes) for cell, table in tables.items()}
            yield dg.Output(leaves, name, metadata=shown.of_fit(tuned) if name == "adapter" else None)
        for work in works:  # Dagster comes back here when the outputs are committed
            fitting.forget(work)


def _outcome(
    kind: str, name: str, description: str, show: Callable[[Mapping[Cell, pl.DataFrame]], dict]
) -> dg.AssetsDefinition:
    """The stage that scores with what was fitted, under the protocols of one kind."""

    @dg.asset(
        key=[SYSTEM, name],
        group_name=SYSTEM,
        description=description,
        deps=[dg.AssetKey([SYSTEM, read]) for read in ("prompts", "adapter", "projections")] + VECTORS,
        partitions_def=DATASETS,
        kinds={"parquet", "torch"},
        code_version=CODE_VERSION,
        tags={SYSTEM_TAG: SYSTEM},
        pool=GPU_POOL,
        op_tags=GPU_TAGS,
    )
    def outcome(
        context: dg.AssetExecutionContext,
        cells: Cells,
        accelerator: Accelerator,
        language_model: LanguageModel,
        io_manager: dg.ResourceParam[ParquetStorage],
    ) -> dg.Output[Leaves]:
        progress = LogProgress(context.log.info, interval=5.0)
        scorer = cit_rec_stages.Scorer(io_manager.store, cells, language_model, accelerator, progress)
        wanted = [cell for cell in cells.of_system(SYSTEM, context.partition_key) if cells.rule(cell).kind == kind]
        scored = {cell: scorer.score(cell) for cell in wanted}
        for cell, (_, told) in scored.items():
            if int(told.get("unread", 0)):
                unread = told["unread"], told["questions"]
                context.log.warning("%s: %s of %s answers say neither Yes nor No or never came", cell.path, *unread)
        leaves = {cell: Table(*one) for cell, one in scored.items()}
        return dg.Output(leaves, metadata=show({cell: frame for cell, (frame, _) in scored.items()}))

    return outcome


scored_pairs = _outcome(
    "pointwise",
    "scored_pairs",
    "Scores of the labelled pairs of validation and test: log-odds of Yes (CIT-Rec eq. 7).",
    shown.of_scored_pairs,
)
rankings = _outcome(
    "ranking",
    "rankings",
    "Each target's place among the items drawn for it, all judged one by one: log-odds of Yes (CIT-Rec eq. 7).",
    shown.of_rankings,
)
