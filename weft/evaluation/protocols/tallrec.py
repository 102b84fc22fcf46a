"""TALLRec's blocks of users, and the blocks that take their place where there are no times."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field

from weft.evaluation.protocols.base import Protocol
from weft.evaluation.protocols.windows import cut_parts, of_earliest_window

SEED = 0
"""Of the order of users in data without times."""


class PaperTallrecBlocks(Protocol):
    """Liked or not after ten ratings, cut by blocks of users as TALLRec does (arXiv:2305.00447).

    ``windows``, for data with times: every rating that has ten ratings of the user before it ends a window of eleven.
    Windows come user by user (in the order of their first row in the source), inside a user by (timestamp, row); the
    last 10,000 are cut 80/10/10. A row that several windows hold counts for the earliest; rows that none holds are
    unused. So a user at a cut is in two splits, and training rows may be later than the test. In training, the ten rows
    before the first window of a user are labelled rows too.

    ``users``, for data without times: users in an order drawn with a fixed seed are cut 80/10/10 by count, every
    held-out rating is judged, and rating 0, which says "implicit" in Book-Crossing, is unused. Nobody is in two splits.

    In both a history is the positive ones among the ten ratings before, by (timestamp, row). Rows without a rating are
    unused.
    """

    name: ClassVar[str] = "paper_tallrec_blocks"
    title: ClassVar[str] = "Liked or not, TALLRec's blocks of users"
    kind: ClassVar[Literal["ranking", "pointwise"]] = "pointwise"
    needs: ClassVar[tuple[str, ...]] = ("rating",)
    window: ClassVar[int | None] = 10
    one_clock: ClassVar[bool] = True
    promises_past: ClassVar[bool] = False

    filter_seen: Literal[False] = Field(default=False, description="Nothing is ranked, so nothing is left out.")
    by: Literal["auto", "windows", "users"] = Field(
        default="auto", description="What is cut; auto: windows where every rating has a time, else users."
    )
    like_above: float = Field(default=3, description="Ratings above this are positive (TALLRec: 3 movies, 5 books).")
    windows: int = Field(default=10_000, ge=10, description="The last so many windows are used.")

    @property
    def liked(self) -> pl.Expr:
        """Rated, and above the threshold."""
        return (pl.col("rating") > self.like_above).fill_null(value=False)

    def _assigned(self, ordered: pl.LazyFrame) -> pl.LazyFrame:
        rated = ordered.filter(pl.col("rating").is_not_null()).collect()
        by = self.by if self.by != "auto" else "users" if rated["timestamp"].null_count() else "windows"
        if by == "users":
            rated = rated.filter(pl.col("rating") != 0)
        rated = rated.with_columns(label=pl.col("rating") > self.like_above)
        parts = self._by_user(rated) if by == "users" else self._by_window(rated)
        if parts.is_empty():
            raise self.refusal("ratings" if by == "users" else "users with eleven ratings")
        return (
            ordered.drop("label")
            .join(parts.lazy(), on="row", how="left", maintain_order="left")
            .with_columns(pl.col("split").fill_null("unused"), pl.col("target").fill_null(value=False))
        )

    def _by_window(self, rated: pl.DataFrame) -> pl.DataFrame:
        """``row``, ``label``, ``split`` and ``target`` of the rows that the last windows hold."""
        by_user = [pl.col("row").min().over("user"), "timestamp", "row"]
        rows = rated.sort(by_user).with_columns(place=pl.int_range(pl.len()).over("user"))
        ends = rows.filter(pl.col("place") >= 10).tail(self.windows)
        parts = cut_parts(pl.int_range(pl.len()), int(0.8 * len(ends)), int(0.9 * len(ends)))
        rows = rows.join(ends.select("row", of_window=parts), on="row", how="left", maintain_order="left")
        rows = rows.with_columns(split=of_earliest_window("of_window", 11, ["user"])).filter(
            pl.col("split") != "unused"
        )
        asked = pl.col("of_window").is_in(["validation", "test"]).fill_null(value=False)
        return rows.select("row", "label", "split", target=asked)

    def _by_user(self, rated: pl.DataFrame) -> pl.DataFrame:
        """``row``, ``label``, ``split`` and ``target`` of all ratings."""
        users = rated.group_by("user").agg(first=pl.col("row").min()).sort("first")["user"]
        order = pl.DataFrame({"user": users.gather(np.random.default_rng(SEED).permutation(len(users)))})
        parts = cut_parts(pl.int_range(pl.len()), int(0.8 * len(users)), int(0.9 * len(users)))
        rows = rated.join(order.with_columns(split=parts), on="user", how="left", maintain_order="left")
        return rows.select("row", "label", "split", target=pl.col("split").is_in(["validation", "test"]))
