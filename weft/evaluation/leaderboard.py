"""The leaderboard: test figures of every system, best first, as a table and for people. Imports no torch."""

from __future__ import annotations

import html
from collections.abc import Iterable

import polars as pl

from weft.schemas import Leaderboard

HEADLINES = (("ndcg", 10), ("auc", None))
"""What orders a board: of ranked outcomes, of scored pairs."""

_DIGITS = 10


def leaderboard_of(metrics: pl.DataFrame) -> pl.DataFrame:
    """Test figures per (protocol, system, variant, profile): means over seeds, best first within a protocol.

    The interval is the mean of the seeds' limits. Rules that changed under one name (another protocol digest) are
    ranked apart.
    """
    tests = metrics.filter((pl.col("split") == "test") & (pl.col("slice") == "all"))
    system = ["protocol", "protocol_digest", "system", "variant", "profile"]

    def figure(metric: str, k: int | None, what: str = "value") -> pl.Expr:
        return pl.col(what).filter((pl.col("metric") == metric) & pl.col("k").eq_missing(k)).mean().round(_DIGITS)

    def headline(what: str) -> pl.Expr:
        return pl.coalesce(figure(metric, k, what) for metric, k in HEADLINES)

    board = (
        tests.group_by(system)
        .agg(
            seeds=pl.col("seed").n_unique(),
            metric=pl.when((pl.col("metric") == "ndcg").any()).then(pl.lit("ndcg@10")).otherwise(pl.lit("auc")),
            value=headline("value"),
            ci_low=headline("ci_low"),
            ci_high=headline("ci_high"),
            hr_10=figure("hr", 10),
            ndcg_10=figure("ndcg", 10),
            mrr=figure("mrr", None),
            auc=figure("auc", None),
            uauc=figure("uauc", None),
            coverage_10=figure("coverage", 10),
            n=pl.col("n").filter(pl.col("metric").is_in(["ndcg", "auc"])).max(),
        )
        .sort(
            ["protocol", "protocol_digest", "value", "system", "variant", "profile"],
            descending=[False, False, True, False, False, False],
            nulls_last=True,
        )
        .with_columns(place=pl.int_range(1, pl.len() + 1).over("protocol", "protocol_digest"))
    )
    return Leaderboard.cast(board.select(list(Leaderboard.columns())))


def leaderboard_markdown(board: pl.DataFrame, baselines: Iterable[str] = ()) -> str:
    """The board for people, as a Markdown table; names are escaped, baselines are marked."""
    known = set(baselines)
    lines = [
        "| protocol | place | system | variant | metric | value (95 %) | HR@10 | MRR | coverage@10 | UAUC | n |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in board.iter_rows(named=True):
        name = _escaped(row["system"]) + (" (baseline)" if row["system"] in known else "")
        value = f"{_shown(row['value'])} ({_shown(row['ci_low'])} to {_shown(row['ci_high'])})"
        cells = [_escaped(row["protocol"]), row["place"], name, _escaped(row["variant"]), row["metric"], value]
        cells += [_shown(row[column]) for column in ("hr_10", "mrr", "coverage_10", "uauc")] + [row["n"]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _escaped(text: str) -> str:
    return html.escape(text).replace("|", "&#124;")
