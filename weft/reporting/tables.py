"""The leaderboard as a text table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
from rich.markup import escape
from rich.table import Table

from weft.reporting.labels import BOUNDS, interval, metric_label, number, protocol_label, row_name, shown_figures


def leaderboard_tables(leaderboard: pl.DataFrame, dataset: str) -> Iterator[Table]:
    """One table per (protocol, headline metric), in the order of the leaderboard.

    Args:
        leaderboard: Schema ``Leaderboard``.
        dataset: Named in the title.
    """
    for (protocol, metric), board in leaderboard.group_by("protocol", "metric", maintain_order=True):
        label = metric_label(str(metric))
        table = Table(title=escape(f"{dataset} · {protocol_label(str(protocol))} · test"), title_justify="left")
        figures = shown_figures(board)
        table.add_column("", justify="right")
        table.add_column("system")
        table.add_column(f"{label} [95 %]")
        for heading in figures.values():
            table.add_column(heading, justify="right")
        table.add_column("n", justify="right")
        for row in board.sort("place").iter_rows(named=True):
            table.add_row(
                str(row["place"]),
                escape(row_name(row, board)),
                escape(f"{number(row['value'])} {interval(row['ci_low'], row['ci_high'])}"),
                *(number(row[column]) for column in figures),
                number(row["n"]),
                style="dim" if row["system"] in BOUNDS else None,
            )
        yield table
