"""Labelled pairs of several systems on one or several shops: AUC with intervals, differences, the table for the page.

A shop is one data set in a storage of its own with one seed. Users are resampled inside each shop, and a figure is the
mean over shops: a paired bootstrap over users, pooled over seeds.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from resources.artifacts import ArtifactStore
from weft.cells import Cell
from weft.evaluation.comparison import paired
from weft.evaluation.intervals import RESAMPLES, interval
from weft.evaluation.measuring import measure

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
SLICES = ("all", "new items")
"""All test rows, and those of items without any row in the training split."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shop:
    """One data set under one protocol with one seed."""

    storage: Path
    dataset: str
    protocol: str
    seed: int
    profile: str = "offline"

    def cell(self, variant: str = "full") -> Cell:
        """Where the outcome of a variant stands."""
        return Cell(self.dataset, self.protocol, self.profile, variant, self.seed)

    def finished(self, variants: Iterable[str]) -> bool:
        """Whether the variants of CIT-Rec stand, and the reports, which come after all systems."""
        store = ArtifactStore(self.storage)
        scored = all(store.exists("cit_rec.scored_pairs", self.cell(variant)) for variant in variants)
        return scored and store.exists("reports.cost", Cell(self.dataset))

    def scored(self) -> dict[str, pl.DataFrame]:
        """The scored test rows of every system and variant that stands, by name, each in the order of its rows."""
        store, found = ArtifactStore(self.storage), {}
        for leaf in store.leaves("*.*scored_pairs", dataset=self.dataset, protocol=self.protocol, seed=self.seed):
            table = store.read(leaf.asset, leaf.cell).filter(split="test").sort("row")
            found[name_of(table["system"][0], str(leaf.cell.variant))] = table
        return found

    def trained_items(self) -> pl.Series:
        """Items with a row in the training split."""
        splits = ArtifactStore(self.storage).scan("interactions.splits", Cell(self.dataset, self.protocol))
        return splits.filter(pl.col("split") == "train").select(pl.col("item").unique()).collect()["item"]


def name_of(system: str, variant: str = "full") -> str:
    """``cit_rec``, ``cit_rec without_image``."""
    return system if variant == "full" else f"{system} {variant}"


def weft(*arguments: str | Path, storage: Path) -> None:
    """Runs one command of the product.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    program = Path(sys.executable).parent / "weft"
    subprocess.run([program, *arguments, "--storage", storage], check=True)


@dataclass(frozen=True)
class Figure:
    """AUC and UAUC, float64 [2], with their resamples, float64 [RESAMPLES, 2], over ``n`` rows."""

    value: Floats
    samples: Floats
    n: int


def figures(scored: Mapping[str, pl.DataFrame], trained: pl.Series) -> dict[tuple[str, str], Figure]:
    """By (system, slice): every system on the same rows.

    Raises:
        ValueError: If two systems were asked about different rows.
    """
    asked = next(iter(scored.values())).select("row", "user", "item", "label")
    made = {}
    for name, table in scored.items():
        if not table.select("row", "user", "item", "label").equals(asked):
            raise ValueError(f"{name} was asked about other rows")
        parts = {"all": table, "new items": table.filter(~pl.col("item").is_in(trained.implode()))}
        for part, rows in parts.items():
            if 0 < rows["label"].sum() < len(rows):
                made[name, part] = _figure(rows)
    return made


def _figure(rows: pl.DataFrame) -> Figure:
    measured = measure(rows)
    place = [measured.columns.index(("all", metric, None)) for metric in ("auc", "uauc")]
    return Figure(measured.value[place], measured.samples[:, place], len(rows))


def pooled(shops: Sequence[Figure]) -> Figure:
    """The mean over shops. Each shop's resamples are put in an order of its own: its users are nobody else's."""
    samples = [
        figure.samples[np.random.default_rng(place).permutation(RESAMPLES)] for place, figure in enumerate(shops)
    ]
    value = np.mean([figure.value for figure in shops], axis=0)
    return Figure(value, np.mean(samples, axis=0), sum(figure.n for figure in shops))


Shops = Sequence[Mapping[tuple[str, str], Figure]]


def table(shops: Shops) -> list[dict[str, Any]]:
    """AUC and UAUC of every system and slice that all shops have, best first."""
    names = [key for key in shops[0] if all(key in shop for shop in shops)]
    rows = []
    for name, part in names:
        each = [shop[name, part] for shop in shops]
        whole = pooled(each)
        low, high = interval(whole.samples)
        rows.append(
            {
                "system": name,
                "slice": part,
                "n": whole.n,
                "auc": _round(whole.value[0]),
                "auc_ci": [_round(low[0]), _round(high[0])],
                "uauc": _round(whole.value[1]),
                "uauc_ci": [_round(low[1]), _round(high[1])],
                "auc_per_seed": [_round(figure.value[0]) for figure in each],
            }
        )
    return sorted(rows, key=lambda row: (SLICES.index(row["slice"]), -row["auc"]))


def difference(shops: Shops, a: str, b: str, part: str = "all") -> dict[str, Any] | None:
    """AUC of ``a`` - ``b`` with interval and p, pooled over the shops; None where one of them is missing."""
    if not all((name, part) in shop for shop in shops for name in (a, b)):
        return None
    left, right = (pooled([shop[name, part] for shop in shops]) for name in (a, b))
    found = paired(left.value, right.value, left.samples, right.samples)
    return {
        "a": a,
        "b": b,
        "slice": part,
        "delta": _round(found.delta[0]),
        "ci": [_round(found.low[0]), _round(found.high[0])],
        "p": _round(found.p[0]),
        "n": left.n,
        "per_seed": [_round(shop[a, part].value[0] - shop[b, part].value[0]) for shop in shops],
    }


def _round(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def costs(shop: Shop) -> list[dict[str, Any]]:
    """What the shop's ``reports.cost`` says under its protocol."""
    wanted = ["system", "variant", "language_model", "seconds_fit", "parameters", "ms_per_query", "ms_per_user"]
    return ArtifactStore(shop.storage).read("reports.cost", Cell(shop.dataset)).filter(
        protocol=shop.protocol
    ).select(wanted).to_dicts()  # fmt: skip


def markdown(rows: Iterable[Mapping[str, Any]], differences: Iterable[Mapping[str, Any]]) -> str:
    """Two tables for the page."""
    lines = ["| system | rows | AUC [95 %] | per seed | UAUC [95 %] | n |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row['system']} | {row['slice']} | {_shown(row['auc'], row['auc_ci'])} | {_each(row['auc_per_seed'])} "
        f"| {_shown(row['uauc'], row['uauc_ci'])} | {row['n']:,} |"
        for row in rows
    ]
    lines += ["", "| difference of AUC | rows | value [95 %] | p | per seed |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['a']} - {row['b']} | {row['slice']} | {_shown(row['delta'], row['ci'])} | {_p(row['p'])} "
        f"| {_each(row['per_seed'])} |"
        for row in differences
    ]
    return "\n".join(lines)


def _shown(value: float | None, limits: Sequence[float | None]) -> str:
    low, high = ("-" if limit is None else f"{limit:.3f}" for limit in limits)
    return "-" if value is None else f"{value:.3f} [{low}, {high}]"


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _each(values: Iterable[float | None]) -> str:
    return ", ".join("-" if value is None else f"{value:.3f}" for value in values)


def machine(result: Mapping[str, Any]) -> str:
    """What a kept result was measured on."""
    about = result["machine"]
    return f"commit `{about['commit']}`, {about['processor']}, {about['cores']} cores"


def render(name: str, text: str, page: Path = PAGE) -> None:
    """Puts ``text`` between the two marks of ``name`` in ``page``."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = page.read_text(encoding="utf-8").split(begin)
    after = rest.split(end)[1]
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
