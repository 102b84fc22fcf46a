"""``behaviour.user_states``: what a sequence model knows of a user before each labelled row (CIT-Rec eq. 1).

How the rows are cut, so that nobody judges what it was trained on, is told in ``weft/models/user_states.py``.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import dagster as dg

from assets import fitting, shown
from assets.baselines import SIZES, SPLITS, material, timed
from assets.fitting import Fitted
from assets.model_config import config_class
from assets.partitions import DATASETS
from resources import weights
from resources.accelerator import GPU_POOL, GPU_TAGS, Accelerator
from resources.cells import Cells
from resources.storage import Leaves, ParquetStorage, Table
from weft.cells import Cell
from weft.models.registry import Entry
from weft.models.settings import resolve
from weft.models.user_states import UserStatesSettings, user_states, without_later

ASSET = "behaviour.user_states"
CODE_VERSION = "1"

NETWORK = Entry(
    "user_states",
    "SASRec on what was liked in the early training rows",
    "weft.models.next_liked:NextLiked",
    UserStatesSettings,
    "behaviour",
)


def _out(name: str, description: str) -> dg.AssetOut:
    return dg.AssetOut(
        key=["behaviour", name],
        group_name="behaviour",
        description=description,
        kinds={"parquet", "torch"},
        code_version=CODE_VERSION,
    )


@dg.multi_asset(
    name="behaviour__user_states",
    outs={
        "user_states_history": _out("user_states_history", "Loss and validation of the network behind the states."),
        "user_states": _out(
            "user_states", "SASRec's state before each labelled row, by a network that never saw the row's label."
        ),
    },
    deps=[SPLITS, *SIZES],
    partitions_def=DATASETS,
    pool=GPU_POOL,
    op_tags=GPU_TAGS,
)
def states(
    context: dg.AssetExecutionContext,
    config: config_class(NETWORK),  # type: ignore[valid-type]
    cells: Cells,
    accelerator: Accelerator,
    io_manager: dg.ResourceParam[ParquetStorage],
) -> Iterator[dg.Output[Leaves]]:
    """The early training rows fit the network; the later ones, validation and test get a state."""
    store, dataset = io_manager.store, context.partition_key
    wanted, works = cells.of_states(dataset), []
    fitted: dict[Cell, Fitted] = {}
    tables: Leaves = {}
    with fitting.alone(store, ASSET, wanted, context.run_id):
        for cell in wanted:
            given = material(store, cells, cell)
            settings = resolve(UserStatesSettings, NETWORK.name, dataset, config.overrides(), cell.protocol)
            early = replace(given, splits=without_later(given.splits, settings.share))
            device = accelerator.name()
            computes = device, accelerator.precision
            works.append(
                fitting.work_folder(store, ASSET, cell, settings, early, computes, CODE_VERSION, context.log.warning)
            )
            runtime = accelerator.runtime(int(cell.seed or 0), works[-1], context.log)
            fitted[cell] = each = fitting.fit(NETWORK, settings, early, runtime, device)
            model = cast("Any", NETWORK.load_class()).load(settings, weights.from_table(each.weights))
            model.to(accelerator.torch_device())
            table, seconds = timed(user_states, model, given.protocol, given.splits, given.n_items, settings.share)
            tables[cell] = Table(table, {**each.attributes, "seconds_states": seconds})
        histories = {cell: Table(each.history, each.attributes) for cell, each in fitted.items()}
        yield dg.Output(histories, "user_states_history")
        yield dg.Output(tables, "user_states", metadata=shown.of_fit(fitted))
        for work in works:  # Dagster comes back here when the outputs are committed
            fitting.forget(work)
