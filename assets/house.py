"""The house models: a language model and an image-text model that are trained here, in minutes, without any download.

They know a world of their own (``weft/data/world``). A catalogue's texts and pictures enter only where the run
configuration names it. A model that stands is kept until a run asks for another one, so that nothing retrains it by
itself: not a changed catalogue, and not a run for another data set. They have no partitions: every data set reads the
same ones.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from assets import fitting, shown
from assets.model_config import ModelConfig, config_of
from resources import model_folders
from resources.accelerator import GPU_POOL, GPU_TAGS, Accelerator
from resources.artifacts import ArtifactStore
from resources.storage import SHARED, ParquetStorage, Table
from weft.cells import Cell
from weft.language.house.settings import HouseLanguageSettings
from weft.models.settings import FitSettings
from weft.training.runtime import Runtime
from weft.vision.settings import HouseVisionSettings

GROUP = "house"
CODE_VERSION = "1"
HOME = Cell(SHARED)


class HouseConfig(ModelConfig):
    """What a house model learns from besides its own world."""

    catalogue: str = Field(default="", description="Data set whose texts (and pictures) are learnt as well.")
    seed: int = Field(default=0, ge=0, description="Seed of weights and data order.")

    def asks(self) -> bool:
        """Whether anything was set: without, whatever model stands is kept."""
        return bool(self.overrides() or self.catalogue or self.seed)

    def sources(self) -> tuple[str, ...]:
        """What of a catalogue is learnt."""
        return ("items", "images") if self.catalogue else ()

    def overrides(self) -> dict[str, Any]:
        """The settings that were set."""
        return {name: value for name, value in super().overrides().items() if name not in HouseConfig.model_fields}


@dataclass(frozen=True)
class House:
    """One of the two.

    Attributes:
        name: Of the asset.
        about: Its description.
        kind: Shown beside it in the UI.
        settings: Class of its settings.
        lessons: What it learns from a catalogue.
        train: Writes the model's folder and returns the history of the fit.
    """

    name: str
    about: str
    kind: str
    settings: type[FitSettings]
    lessons: Callable[[ArtifactStore, Cell], Sequence[Any]]
    train: Callable[[Path, Any, Runtime, Sequence[Any]], pl.DataFrame]


def _texts(store: ArtifactStore, cell: Cell) -> list[str]:
    items = store.read("interactions.items", cell).sort("item")
    return items.select(pl.concat_str("title", "description", separator=". ", ignore_nulls=True)).to_series().to_list()


def _pairs(store: ArtifactStore, cell: Cell) -> list[tuple[bytes, str]]:
    texts = pl.Series("text", _texts(store, cell))
    items = store.read("interactions.items", cell).sort("item").select("item", text=texts)
    pictures = store.read("interactions.images", cell).join(items, on="item").sort("item")
    return list(zip(pictures["jpeg"].to_list(), pictures["text"].to_list(), strict=True))


def _train_language(folder: Path, settings: Any, runtime: Runtime, catalogue: Sequence[str]) -> pl.DataFrame:
    from weft.language.house.training import train  # noqa: PLC0415 - imports torch

    return train(folder, settings, runtime, catalogue)


def _train_vision(
    folder: Path, settings: Any, runtime: Runtime, catalogue: Sequence[tuple[bytes, str]]
) -> pl.DataFrame:
    from weft.vision.house import train  # noqa: PLC0415 - imports torch

    return train(folder, settings, runtime, catalogue)


HOUSES = (
    House(
        "language_model",
        "A small causal language model that knows the works of its world: a model folder as a table.",
        "huggingface",
        HouseLanguageSettings,
        _texts,
        _train_language,
    ),
    House(
        "image_text_model",
        "A small CLIP that learnt from captioned drawings: a model folder as a table.",
        "openclip",
        HouseVisionSettings,
        _pairs,
        _train_vision,
    ),
)


def _asset(house: House) -> dg.AssetsDefinition:
    asset = f"{GROUP}.{house.name}"

    def out(name: str, description: str, *kinds: str) -> dg.AssetOut:
        return dg.AssetOut(
            key=[GROUP, name],
            group_name=GROUP,
            description=description,
            kinds={"parquet", *kinds},
            code_version=CODE_VERSION,
        )

    @dg.multi_asset(
        name=f"{GROUP}__{house.name}",
        outs={
            house.name: out(house.name, house.about, "torch", house.kind),
            f"{house.name}_history": out(f"{house.name}_history", f"Loss and validation of the {house.name}."),
        },
        pool=GPU_POOL,
        op_tags=GPU_TAGS,
    )
    def model(
        context: dg.AssetExecutionContext,
        config: config_of(house.name, house.settings, HouseConfig),  # type: ignore[valid-type]
        accelerator: Accelerator,
        io_manager: dg.ResourceParam[ParquetStorage],
    ) -> Iterator[dg.Output[Any]]:
        store, settings = io_manager.store, house.settings(**config.overrides())
        learnt = [store.digest(f"interactions.{name}", Cell(config.catalogue)) for name in config.sources()]
        recipe = fitting.digest([settings.model_dump(mode="json"), config.seed, config.catalogue, learnt, CODE_VERSION])
        with fitting.alone(store, asset, [HOME], context.run_id):
            standing = _standing(store, asset)
            if standing == recipe or (standing and not config.asks()):
                context.log.info("%s stands as it was trained and is kept", asset)
                for name in (f"{house.name}_history", house.name):
                    yield dg.Output(Table(store.read(f"{GROUP}.{name}", HOME), {"recipe": standing}), name)
                return
            work = store.work / fitting.digest([asset]) / recipe
            runtime = accelerator.runtime(config.seed, work, context.log)
            lessons = house.lessons(store, Cell(config.catalogue)) if config.catalogue else ()
            with tempfile.TemporaryDirectory() as folder:
                history = house.train(Path(folder), settings, runtime, lessons)
                table = model_folders.to_table(Path(folder))
            yield dg.Output(Table(history, {"recipe": recipe}), f"{house.name}_history")
            yield dg.Output(Table(table, {"recipe": recipe}), house.name, metadata=shown.of_history(history))
            fitting.forget(work)

    return model


def _standing(store: ArtifactStore, asset: str) -> str:
    """The recipe of the model that stands, with its history; empty where a whole one does not."""
    parts = (f"{asset}_history", asset)
    if not all(store.exists(part, HOME) for part in parts):
        return ""
    recipes = {store.footer(part, HOME).get("recipe", "") for part in parts}
    return recipes.pop() if len(recipes) == 1 else ""


MODELS = [_asset(house) for house in HOUSES]
