"""The report as one HTML page: no scripts, no requests, readable from a disk or an attachment.

Everything that comes from a data set (titles, ids, names) is escaped by the template; pictures are embedded only when
they are JPEG. The page forbids itself the network, so that no mistake here could phone home.
"""

from __future__ import annotations

import re
import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import altair as alt
import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from weft.reporting import labels, plots
from weft.reporting.systems import ablations, costs

MOST_COMPARISONS = 40


@dataclass(frozen=True)
class Tile:
    """One item as a reader sees it.

    Attributes:
        title: Its title, or its id where it has none.
        note: A second line: genres, year, score.
        because: Title of the history item that speaks most for it.
        jpeg: Its picture; None for a text tile.
    """

    title: str
    note: str = ""
    because: str | None = None
    jpeg: bytes | None = None


@dataclass(frozen=True)
class UserCard:
    """One user: what they took last (oldest first) and what is recommended to them (best first)."""

    user_id: str
    history: list[Tile]
    recommendations: list[Tile]
    system: str = ""


@dataclass(frozen=True)
class CaseCard:
    """One test user as a case: history, and what a system made of what they judged next (best and worst first).

    The note of a judged tile tells the score and what the user really said.
    """

    user_id: str
    system: str
    protocol: str
    judged: int
    liked: list[Tile]
    disliked: list[Tile]
    recommended: list[Tile]
    refused: list[Tile]


@dataclass(frozen=True)
class ReportData:
    """Everything the page shows. Empty tables and mappings leave their section out.

    Attributes:
        dataset: Its name.
        generated_at: Moment of writing, with a time zone.
        leaderboard: Schema ``Leaderboard``.
        metrics: Schema ``Metrics``; slices of the headline metric are shown.
        comparisons: Schema ``Comparisons``.
        histories: System to ``TrainingHistory``.
        statistics: Name to figure of the data-set card, in order of reading.
        splits: Protocol to the facts of its splits: column ``fact``, then one per split.
        users: A few users.
        ranks: System to mid-ranks of the test targets.
        events_per_user: Number of events of each user.
        events_per_item: Number of events of each item.
        ablations: Schema ``Ablations``.
        costs: Schema ``Costs``.
        case: One user of a system that judges pairs.
    """

    dataset: str
    generated_at: datetime
    leaderboard: pl.DataFrame
    metrics: pl.DataFrame
    comparisons: pl.DataFrame
    histories: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    statistics: Mapping[str, str | float] = field(default_factory=dict)
    splits: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    users: list[UserCard] = field(default_factory=list)
    ranks: Mapping[str, NDArray] = field(default_factory=dict)
    events_per_user: NDArray | None = None
    events_per_item: NDArray | None = None
    ablations: pl.DataFrame = field(default_factory=pl.DataFrame)
    costs: pl.DataFrame = field(default_factory=pl.DataFrame)
    case: CaseCard | None = None


def render(data: ReportData) -> str:
    """The page as HTML text."""
    template = _environment().get_template("page.html.j2")
    return template.render(
        data=data,
        written=data.generated_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        boards=_boards(data.leaderboard),
        comparisons=_comparisons(data),
        slices=_slices(data),
        curves={system: _figure(plots.curves(history), f"Training curves of {system}")
                for system, history in data.histories.items() if len(history)},
        ranks=_figure(plots.rank_histogram(data.ranks), "Histogram of the true item's rank") if data.ranks else None,
        shapes=_shapes(data),
        ablations=ablations(data.ablations),
        costs=costs(data.costs),
    )  # fmt: skip


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("weft.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": labels.number,
        "source": _source,
        "hue": _hue,
    }
    return environment


def _boards(leaderboard: pl.DataFrame) -> list[dict]:
    if leaderboard.is_empty():
        return []
    return [_board(board) for _, board in leaderboard.group_by("protocol", "metric", maintain_order=True)]


def _board(board: pl.DataFrame) -> dict:
    """One protocol's leaderboard: figure, headings, rows, and its result in one sentence."""
    board = board.sort("place")
    metric = labels.metric_label(board["metric"][0])
    rows = [
        row
        | {
            "name": labels.row_name(row, board),
            "title": labels.system_title(row["system"], row["variant"]),
            "interval": labels.interval(row["ci_low"], row["ci_high"]),
            "bound": row["system"] in labels.BOUNDS,
        }
        for row in board.iter_rows(named=True)
    ]
    return {
        "protocol": labels.protocol_label(board["protocol"][0]),
        "metric": metric,
        "rows": rows,
        "best": next((row for row in rows if not row["bound"] and row["value"] is not None), None),
        "figures": labels.shown_figures(board),
        "chart": _figure(plots.whiskers(board), f"{metric} of {len(rows)} systems with 95 % intervals"),
    }


def _comparisons(data: ReportData) -> dict:
    """Paired differences at the headline metric over all queries, the largest first, and how many were left out."""
    rows = [
        row
        | {
            "a": _side(row, "a"),
            "b": _side(row, "b"),
            "metric": labels.metric_label(row["metric"], row["k"]),
            "interval": labels.interval(row["ci_low"], row["ci_high"]),
            "p": labels.chance(row["p"]),
            "verdict": _verdict(row),
        }
        for row in _headline(data, data.comparisons)
        if row["slice"] == "all"
    ]
    rows.sort(key=lambda row: -abs(row["delta"]))
    return {"rows": rows[:MOST_COMPARISONS], "left_out": max(len(rows) - MOST_COMPARISONS, 0)}


def _slices(data: ReportData) -> list[dict]:
    """Per protocol, the headline metric of each system on each slice of the test queries (mean over seeds)."""
    cells: dict[tuple[str, str], dict[str, dict[str, list[float]]]] = {}
    for row in _headline(data, data.metrics):
        if row["split"] == "test" and row["value"] is not None:
            table = cells.setdefault((row["protocol"], labels.metric_label(row["metric"], row["k"])), {})
            name = labels.row_name(row, data.leaderboard)
            table.setdefault(name, {}).setdefault(row["slice"], []).append(row["value"])
    tables = []
    for (protocol, metric), systems in cells.items():
        slices = sorted({name for found in systems.values() for name in found} - {"all"})
        means = {
            system: {name: sum(found[name]) / len(found[name]) if name in found else None for name in slices}
            for system, found in systems.items()
        }
        if slices:
            shown = labels.protocol_label(protocol)
            tables.append({"protocol": shown, "metric": metric, "slices": slices, "systems": means})
    return tables


def _headline(data: ReportData, frame: pl.DataFrame) -> Iterator[dict]:
    """Rows of ``frame`` that are about the metric that orders the leaderboard of their protocol."""
    wanted = {(row["protocol"], labels.metric_label(row["metric"])) for row in data.leaderboard.iter_rows(named=True)}
    for row in frame.iter_rows(named=True):
        if (row["protocol"], labels.metric_label(row["metric"], row["k"])) in wanted:
            yield row


def _side(row: dict, side: str) -> str:
    """The system on one side of a comparison, with its variant unless that is the full system."""
    variant = row[f"variant_{side}"]
    return row[side] if variant == "full" else f"{row[side]} ({variant})"


def _verdict(row: dict) -> str:
    if row["ci_low"] > 0:
        return f"{_side(row, 'a')} is better"
    if row["ci_high"] < 0:
        return f"{_side(row, 'b')} is better"
    return "no difference shown"


def _shapes(data: ReportData) -> list[Markup]:
    """How events spread over users and over items."""
    figures = []
    if data.events_per_user is not None and len(data.events_per_user):
        figures.append(_figure(plots.events_per_user(data.events_per_user), "Histogram of events per user"))
    if data.events_per_item is not None and (data.events_per_item > 0).any():
        figures.append(_figure(plots.popularity_curve(data.events_per_item), "Events of each item by popularity"))
    return figures


def _figure(chart: alt.TopLevelMixin, description: str) -> Markup:
    """The chart inline, named for screen readers, as wide as there is room.

    Inside HTML an SVG needs no name space. Its own text is escaped where it is drawn.
    """
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", plots.to_svg(chart))
    return Markup(svg.replace("<svg", str(Markup('<svg role="img" aria-label="{}"').format(description)), 1))  # noqa: S704


def _source(jpeg: bytes | None) -> str | None:
    """A ``data:`` address for a JPEG; None for anything else."""
    if jpeg is None or not jpeg.startswith(b"\xff\xd8\xff"):
        return None
    return f"data:image/jpeg;base64,{b64encode(jpeg).decode()}"


def _hue(title: str) -> int:
    """Degrees on the colour wheel: the same title always has the same tile."""
    return zlib.crc32(title.encode("utf-8", "replace")) % 360
