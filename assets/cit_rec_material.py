"""What one cell of CIT-Rec is made from, found in storage and checked. No Dagster objects in here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import ValidationError

from assets import fitting
from assets.baselines import material
from assets.content import is_current
from resources.artifacts import ArtifactStore
from resources.cells import Cells
from resources.profiles import TuningSpec
from weft.cells import Cell
from weft.errors import RequestError, WeftError
from weft.models.settings import ModelSettings
from weft.systems.registry import SYSTEMS, Variant

if TYPE_CHECKING:
    from weft.systems.cit_rec import Vectors

SYSTEM = "cit_rec"
PROMPTS, ADAPTER, PROJECTIONS = (f"{SYSTEM}.{name}" for name in ("prompts", "adapter", "projections"))
STATES, ALIGNED, TEXTS = "behaviour.user_states", "alignment.aligned_items", "content.llm_embeddings"

_OPTIONS = {"protocol": "protocols", "variant": "variants", "seed": "seeds"}

_Kind = TypeVar("_Kind", bound=ModelSettings)


@dataclass(frozen=True)
class Given:
    """Splits, prompts, and vectors where the variant has any; and of what they are."""

    material: fitting.Material
    prompts: pl.DataFrame
    vectors: "Vectors | None"
    made_from: tuple[str, ...]
    prompt_settings: str

    def pairs(self, rows: pl.DataFrame) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """float32 [n, d] and [n, d']: the user's state and the item's vector of each judged row.

        Raises:
            ValueError: If the variant has no vectors.
        """
        if self.vectors is None:
            raise ValueError("this variant has no vectors")
        users = self.vectors.user[self.vectors.places(rows["row"].to_numpy())]
        return users, self.vectors.item[rows["item"].to_numpy()]


def variant_of(cell: Cell) -> Variant:
    """What the cell's variant has and does without."""
    return SYSTEMS[SYSTEM].variants[str(cell.variant)]


def states_of(cell: Cell) -> Cell:
    """Where the user states of a cell stand: they depend on no variant."""
    return replace(cell, variant=None)


def settings_of(asset: str, kind: type[_Kind], spec: TuningSpec, overrides: Mapping[str, Any]) -> _Kind:
    """The settings of ``asset`` that a profile states, with what the run configuration sets in its place.

    Raises:
        RequestError: If a name is unknown or a value is out of bounds.
    """
    stated = {name: value for name, value in spec.model_dump().items() if name in kind.model_fields}
    try:
        return kind(**{**stated, **overrides})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join([asset, *map(str, first["loc"])])
        raise RequestError(f"setting {field}: {first['msg']}", f"fields: {', '.join(kind.model_fields)}") from error


def given(store: ArtifactStore, cells: Cells, cell: Cell) -> Given:
    """What the cell is fitted on and scored with.

    Raises:
        MissingArtifactError: If something has not been made.
        WeftError: If something was made of other data than stand in storage now.
    """
    prompts = current(store, PROMPTS, cell)
    vectors, digests = None, [store.digest(PROMPTS, cell)]
    if variant_of(cell).has("user_token") or variant_of(cell).has("item_tokens"):
        vectors, read = vectors_of(store, cell)
        digests += read
    settings = store.footer(PROMPTS, cell)["settings"]
    return Given(material(store, cells, cell, drawn=True), prompts, vectors, tuple(digests), settings)


def vectors_of(store: ArtifactStore, cell: Cell) -> "tuple[Vectors, list[str]]":
    """Users' states before each row and the items' vectors, and the digests of both.

    Without pictures these are the plain vectors of the texts: in the aligned ones the heads have learnt from pictures.
    """
    from weft.systems.cit_rec import Vectors  # noqa: PLC0415 - imports torch

    items = store.scan("interactions.items", cell.of_dataset()).select(pl.len()).collect().item()
    states = current(store, STATES, states_of(cell))
    if variant_of(cell).has("pictures"):
        asset, place = ALIGNED, Cell(cell.dataset, profile=cell.profile, seed=cell.seed)
        vectors = current(store, asset, place)
    else:
        asset, place = TEXTS, Cell(cell.dataset, profile=cell.profile)
        vectors = current(store, asset, place).filter(of="text")
    digests = [store.digest(STATES, states_of(cell)), store.digest(asset, place)]
    return Vectors.of(states, vectors, items), digests


def current(store: ArtifactStore, asset: str, cell: Cell) -> pl.DataFrame:
    """The table, if it was made of what stands in storage now.

    Raises:
        MissingArtifactError: If it has not been made.
        WeftError: If it is out of date.
    """
    table = store.read(asset, cell)
    if not is_current(store, asset, cell):
        raise WeftError(f"{asset} of {cell.path} was made of other data than stand in storage now", made_again(cell))
    return table


def made_again(cell: Cell) -> str:
    """The remedy: the command that makes all that a cell needs."""
    named = " ".join(f"--{_OPTIONS.get(name, name)} {value}" for name, value in cell.parts())
    return f"make it again: weft run {named} --systems content,{SYSTEM}"


def need_rows(given: Given) -> None:
    """Makes sure that there is something to learn from.

    Raises:
        RequestError: If no training row is judged.
    """
    if given.prompts.filter(split="train").is_empty():
        name = given.material.protocol.name
        raise RequestError(
            f"protocol {name!r}: no training row has a user state, so there is nothing to learn from",
            "use a data set with more ratings, or lower user_states.share",
        )


def attributes(given: Given, settings: ModelSettings | None, device: str, **told: str) -> dict[str, str]:
    """What every leaf that comes from a fit (or from none) says about it; ``told`` adds to it."""
    stated = {} if settings is None else settings.model_dump(mode="json")
    return {
        "system": SYSTEM,
        **given.material.attributes,
        "settings": "{}" if settings is None else settings.model_dump_json(),
        "prompt_settings": given.prompt_settings,
        "config_digest": fitting.digest([given.prompt_settings, stated]),
        "device": device,
        **told,
    }
