"""Gathers what stands in storage about one data set for the terminal's leaderboard and the HTML page."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console

from assets.fitting import is_current
from pipelines.instance import local_folder
from resources.artifacts import ArtifactStore
from weft.cells import Cell
from weft.data.card import DATA
from weft.data.images import shrink
from weft.errors import MissingArtifactError
from weft.evaluation.metrics import mid_ranks
from weft.reporting.case import Case, Judged, case_of
from weft.reporting.labels import protocol_label
from weft.reporting.page import CaseCard, ReportData, Tile, UserCard, render
from weft.reporting.tables import leaderboard_tables
from weft.systems.registry import FULL, SYSTEMS

_USERS = 6
_HISTORY = 8
_RECOMMENDED = 8
_SIDE = 120
"""Shorter side of a picture on the page in pixels, as wide as it is shown: a hundred of them take one or two MB."""


def show(base: str, dataset: str, console: Console) -> None:
    """Prints the leaderboard, one table per protocol.

    Raises:
        MissingArtifactError: If nothing has been measured yet.
    """
    for table in leaderboard_tables(ArtifactStore(base).read("reports.leaderboard", Cell(dataset)), dataset):
        console.print(table)


def write(base: str, dataset: str) -> Path:
    """Writes ``storage/reports/<dataset>.html`` and returns its path."""
    folder = local_folder(base) / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{dataset}.html"
    staged = folder / f".{dataset}.{os.getpid()}.tmp"
    staged.write_text(render(gather(ArtifactStore(base), dataset)), encoding="utf-8")
    staged.replace(file)
    return file


def gather(store: ArtifactStore, dataset: str) -> ReportData:
    """Everything that the page shows; what has not been made is left out."""
    cell = Cell(dataset)
    events = store.read("interactions.interactions", cell)
    items = store.read("interactions.items", cell)
    statistics, splits = _card(store, cell)
    return ReportData(
        dataset=dataset,
        generated_at=datetime.now(UTC),
        leaderboard=store.read("reports.leaderboard", cell),
        metrics=store.read("reports.metrics", cell),
        comparisons=store.read("reports.comparisons", cell),
        ablations=_report(store, "ablations", cell),
        costs=_report(store, "cost", cell),
        histories=_histories(store, dataset),
        statistics=statistics,
        splits=splits,
        users=_cards(store, cell, events, items),
        case=_case(store, cell, items),
        ranks=_ranks(store, dataset),
        events_per_user=events.group_by("user").len()["len"].to_numpy(),
        events_per_item=np.bincount(events["item"].to_numpy(), minlength=len(items) + 1)[1:],
    )


def _report(store: ArtifactStore, name: str, cell: Cell) -> pl.DataFrame:
    """A report that a storage of an earlier version may not have yet."""
    asset = f"reports.{name}"
    return store.read(asset, cell) if store.exists(asset, cell) else pl.DataFrame()


def _histories(store: ArtifactStore, dataset: str) -> dict[str, pl.DataFrame]:
    """The training history of each system, of its first cell that was iterated."""
    found: dict[str, pl.DataFrame] = {}
    for leaf in store.leaves("*.*_history", dataset=dataset):
        system = leaf.asset.split(".", 1)[1].removesuffix("_history")
        if system not in found and leaf.rows:
            found[system] = store.read(leaf.asset, leaf.cell)
    return found


def _ranks(store: ArtifactStore, dataset: str) -> dict[str, np.ndarray]:
    """Mid-ranks of the test targets, of each system's first cell."""
    found: dict[str, np.ndarray] = {}
    for leaf in store.leaves("*.*_rankings", dataset=dataset):
        table = store.scan(leaf.asset, leaf.cell).filter(pl.col("split") == "test")
        columns = table.select("system", "score", "better", "equal", "candidates").collect()
        if len(columns):  # what got no score stands last
            found.setdefault(columns["system"][0], np.minimum(mid_ranks(columns), columns["candidates"].to_numpy()))
    return found


def _card(store: ArtifactStore, cell: Cell) -> tuple[dict[str, str], dict[str, pl.DataFrame]]:
    """The card of the data set: fact to text, and for every protocol a table with a column per split."""
    facts = store.read("reports.card", cell)
    wide = {
        str(about): rows.pivot("split", index="fact", values="shown", maintain_order=True).fill_null("")
        for (about,), rows in facts.filter(pl.col("about") != DATA).group_by("about", maintain_order=True)
    }
    return dict(facts.filter(pl.col("about") == DATA).select("fact", "shown").iter_rows()), wide


def _cards(store: ArtifactStore, cell: Cell, events: pl.DataFrame, items: pl.DataFrame) -> list[UserCard]:
    """A few users, from few to many events, with what they took last and what they are offered."""
    try:
        served = store.read("serving.recommendations", cell)
    except MissingArtifactError:
        return []
    known = served.filter(pl.col("because").is_not_null() | (pl.col("user") > 0))["user"].unique()
    counts = events.group_by("user").len().filter(pl.col("user").is_in(known.implode())).sort("len", "user")
    if counts.is_empty():
        return []
    chosen = counts["user"].gather(np.linspace(0, len(counts) - 1, min(_USERS, len(counts))).astype(int)).to_list()
    ordered = events.filter(pl.col("user").is_in(chosen)).sort("user", "timestamp", "row")
    tiles = _Tiles(store, cell, items)
    cards = []
    for user in chosen:
        offers = served.filter(pl.col("user") == user).sort("rank").head(_RECOMMENDED)
        past = ordered.filter(pl.col("user") == user)["item"].tail(_HISTORY)
        cards.append(
            UserCard(
                user_id=offers["user_id"][0],
                history=[tiles.of(item) for item in past],
                recommendations=[tiles.of(row["item"], row["because"]) for row in offers.iter_rows(named=True)],
                system=offers["system"][0],
            )
        )
    return cards


def _case(store: ArtifactStore, cell: Cell, items: pl.DataFrame) -> CaseCard | None:
    """A case of the first system that judges pairs: its whole variant, under its first protocol and seed."""
    for system in SYSTEMS.values():
        for leaf in store.leaves(f"{system.name}.scored_pairs", dataset=cell.dataset, variant=FULL):
            splits = leaf.cell.of_protocol()
            if not store.exists("interactions.splits", splits):
                continue
            if not is_current(store, leaf.cell, store.footer(leaf.asset, leaf.cell)):
                continue
            case = case_of(store.read(leaf.asset, leaf.cell), store.read("interactions.splits", splits))
            if case is not None:
                return _case_card(store, leaf.cell, items, system.name, case)
    return None


def _case_card(store: ArtifactStore, cell: Cell, items: pl.DataFrame, system: str, case: Case) -> CaseCard:
    users = store.scan("interactions.users", cell.of_dataset()).filter(pl.col("user") == case.user).collect()
    tiles = _Tiles(store, cell.of_dataset(), items)
    return CaseCard(
        user_id=users["user_id"][0],
        system=system,
        protocol=protocol_label(str(cell.protocol)),
        judged=case.judged,
        liked=[tiles.of(item) for item in case.liked],
        disliked=[tiles.of(item) for item in case.disliked],
        recommended=[_judged(tiles, each) for each in case.recommended],
        refused=[_judged(tiles, each) for each in case.refused],
    )


def _judged(tiles: "_Tiles", judged: Judged) -> Tile:
    """The score is a logit (CIT-Rec eq. 7): shown as the probability of a yes."""
    yes = 1 / (1 + np.exp(-judged.score))
    said = "liked it" if judged.liked else "did not like it"
    return replace(tiles.of(judged.item), note=f"yes {yes:.0%} · {said}")


class _Tiles:
    """Items as a reader sees them, with their picture where there is one."""

    def __init__(self, store: ArtifactStore, cell: Cell, items: pl.DataFrame) -> None:
        self._store, self._cell = store, cell
        self._items = {row["item"]: row for row in items.iter_rows(named=True)}
        self._has_images = store.exists("interactions.images", cell)

    def of(self, item: int, because: str | None = None) -> Tile:
        row = self._items[item]
        notes = [str(row["year"])] if row["year"] else []
        notes += row["genres"] or []
        return Tile(row["title"] or row["item_id"], " · ".join(notes), because, self._jpeg(item))

    def _jpeg(self, item: int) -> bytes | None:
        if not self._has_images:
            return None
        found = (
            self._store.scan("interactions.images", self._cell).filter(pl.col("item") == item).select("jpeg").collect()
        )
        small = shrink(found["jpeg"][0], _SIDE) if len(found) else "missing_image"
        return None if isinstance(small, str) else small[2]
