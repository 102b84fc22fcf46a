"""Charts as pictures: SVG text for the page, PNG bytes where a picture file is wanted (Dagster's metadata).

Altair describes them, vl-convert draws them inside the process: no browser, no network. Text and axes of an SVG take
the colour of the text around it, so that one picture serves a light and a dark page.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO, StringIO
from itertools import pairwise

import altair as alt
import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from weft.reporting.labels import BOUNDS, metric_label, number, row_name

BLUE, ORANGE, GREY = "#3b82c4", "#e07b39", "#8a8f98"


def to_svg(chart: alt.TopLevelMixin) -> str:
    """The chart as SVG text whose ink is ``currentColor``."""
    text = StringIO()
    _inked(chart, "currentColor").save(text, format="svg")
    return text.getvalue()


def to_png(chart: alt.TopLevelMixin) -> bytes:
    """The chart as PNG on white, at twice the size. A palette of 64 colours makes it a tenth of what is drawn."""
    drawn, data = BytesIO(), BytesIO()
    _inked(chart, "#333333").properties(background="white").save(drawn, format="png", scale_factor=2)
    Image.open(drawn).convert("RGB").quantize(64).save(data, format="png", optimize=True)
    return data.getvalue()


def whiskers(board: pl.DataFrame) -> alt.LayerChart:
    """Value and interval of each system's headline metric; one protocol of the schema ``Leaderboard``."""
    board = board.sort("place")
    frame = board.select(
        "value",
        "ci_low",
        "ci_high",
        system=pl.Series([row_name(row, board) for row in board.iter_rows(named=True)]),
        text=pl.Series([number(value) for value in board["value"]]),
        color=pl.when(pl.col("system").is_in(list(BOUNDS))).then(pl.lit(GREY)).otherwise(pl.lit(BLUE)),
    )
    label = metric_label(board["metric"][0])
    y = alt.Y("system:N", sort=frame["system"].to_list(), title=None, axis=alt.Axis(labelLimit=240, ticks=False))
    x = alt.X("value:Q", title=f"{label}, 95 % interval", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=8))
    color = alt.Color("color:N", scale=None)
    base = alt.Chart(frame).encode(y=y)
    line = base.mark_rule(strokeWidth=3, strokeCap="round", opacity=0.55)
    line = line.encode(x="ci_low:Q", x2="ci_high:Q", color=color)
    point = base.mark_point(filled=True, size=90, opacity=1).encode(x=x, color=color)
    text = base.mark_text(dy=-13).encode(x=x, text="text:N")
    return (line + point + text).properties(width=720, height=alt.Step(40))


def curves(history: pl.DataFrame) -> alt.HConcatChart:
    """Training loss and, where it was evaluated, the validation metric per epoch (schema ``TrainingHistory``)."""
    charts = [_curve(history, "loss", "Training loss", BLUE)]
    if history["validation"].is_not_null().any():
        scored = history.drop_nulls("validation")
        title = f"Validation {metric_label(scored['metric'][0])} (dot: chosen epoch)"
        best = alt.Chart(scored.filter("best").tail(1)).mark_point(filled=True, size=90, color=ORANGE, opacity=1)
        best = best.encode(x="epoch:Q", y="validation:Q")
        charts.append(_curve(scored, "validation", title, ORANGE) + best)
    return alt.hconcat(*charts, spacing=40)


def _curve(history: pl.DataFrame, column: str, title: str, color: str) -> alt.Chart:
    return (
        alt.Chart(history.select("epoch", column), width=380, height=180, title=title)
        .mark_line(
            color=color, strokeWidth=2, point=alt.OverlayMarkDef(size=18, color=color) if len(history) < 3 else False
        )
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, grid=False)),
            y=alt.Y(f"{column}:Q", title=None, scale=alt.Scale(zero=False)),
        )
    )


def rank_histogram(ranks: Mapping[str, NDArray]) -> alt.ConcatChart:
    """Where the true item stood: share of queries per range of mid-ranks, one panel per system."""
    highest = max((float(np.max(values, initial=1)) for values in ranks.values()), default=1.0)
    edges = [edge for edge, before in zip(_RANKS, (0, *_RANKS), strict=False) if before <= highest]
    names = [_range(low, high - 1) for low, high in pairwise(edges)]
    shares = {system: np.histogram(values, edges)[0] / max(len(values), 1) for system, values in ranks.items()}
    top = max((float(share.max()) for share in shares.values()), default=1.0)
    y = alt.Y("share:Q", title=None, axis=alt.Axis(format="%", tickCount=4), scale=alt.Scale(domain=[0, top]))
    x = alt.X("rank:N", sort=names, title=None, axis=alt.Axis(labelAngle=-40))
    panels = [
        alt.Chart(pl.DataFrame({"rank": names, "share": share}), width=235, height=130, title=system)
        .mark_bar(color=BLUE)
        .encode(x=x, y=y)
        for system, share in shares.items()
    ]
    return alt.concat(*panels, columns=3)


def events_per_user(counts: NDArray) -> alt.Chart:
    """Histogram of events per user, on ranges that grow."""
    fewest, most = int(np.min(counts)), int(np.max(counts))
    edges = np.unique(np.geomspace(max(fewest, 1), most + 1, 15).round().astype(int))
    frame = pl.DataFrame(
        {
            "events": [_range(int(low), int(high) - 1) for low, high in pairwise(edges)],
            "users": np.histogram(counts, edges)[0],
        }
    )
    return (
        alt.Chart(frame, width=380, height=180, title="Events per user")
        .mark_bar(color=BLUE)
        .encode(
            x=alt.X("events:N", sort=frame["events"].to_list(), title="events", axis=alt.Axis(labelAngle=-40)),
            y=alt.Y("users:Q", title="users", axis=alt.Axis(tickMinStep=1)),
        )
    )


def popularity_curve(counts: NDArray) -> alt.Chart:
    """Events of each item, from the most to the least popular; items that nobody touched are left out."""
    ordered = np.sort(counts[counts > 0])[::-1]
    place = np.unique(np.geomspace(1, max(len(ordered), 1), 200).astype(int)) if len(ordered) else np.zeros(0, int)
    frame = pl.DataFrame({"place": place, "events": ordered[place - 1]})
    return (
        alt.Chart(frame, width=380, height=180, title="Popularity of items")
        .mark_line(color=ORANGE, strokeWidth=2)
        .encode(
            x=alt.X("place:Q", title="item, by popularity", scale=alt.Scale(type="log"), axis=_LOG),
            y=alt.Y("events:Q", title="events", scale=alt.Scale(type="log"), axis=_LOG),
        )
    )


_RANKS = (1, 2, 4, *(digit * 10**power + 1 for power in range(1, 8) for digit in (1, 3)))
"""Lower ends of 1, 2-3, 4-10, 11-30, 31-100 and so on. A mid-rank of 1.5 counts as 1."""

_LOG = alt.Axis(format="~s", tickCount=4, grid=False)


def _range(low: int, high: int) -> str:
    return f"{low}" if low >= high else f"{low}-{high}"


def _inked(chart: alt.TopLevelMixin, ink: str) -> alt.TopLevelMixin:
    """The chart with text and axes in one colour, no frame, and a faint grid."""
    faint = {"gridColor": ink, "gridOpacity": 0.12, "domainColor": ink, "domainOpacity": 0.35, "tickColor": ink}
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": 500}
    return (
        chart.configure(background="transparent", font="sans-serif")
        .configure_view(stroke=None)
        .configure_axis(**faint, **text, tickOpacity=0.35)
        .configure_title(color=ink, fontSize=13, fontWeight=600, anchor="start")
        .configure_text(color=ink, fontSize=12)
    )
