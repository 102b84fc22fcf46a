"""What the user token of a labelled row is made from: a sequence model's state before the row (CIT-Rec eq. 1).

The network must not have been trained on the row's own label: it would have learnt some of them by heart, and whoever
learns from its states would trust them more than they deserve on rows that nobody has seen. So the training rows are
cut once more: a window of the earliest fits the network, and the later ones, with all rows of validation and test, get
a state. Early rows get none. One network makes all states, so that they lie in one space.

The rule has a price, since the network sees half of the rows: on the storefront, fitted on all of them, its states took
a probe to a validation AUC of 0.66 instead of 0.64 (``benchmarks/cit_rec_vectors.py``). Imports no torch.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field

from weft.evaluation.protocols import Protocol
from weft.models.settings import SASRecSettings

if TYPE_CHECKING:
    from weft.models.sasrec import SASRec

HELD: tuple[Literal["validation"], Literal["test"]] = ("validation", "test")

_AT_ONCE = 8_192  # training rows whose histories lie in memory at once


class UserStatesSettings(SASRecSettings):
    """SASRec on liked items, and how much of the training split fits it.

    Chosen on the validation split of the storefront (pointwise_time, seed 0), with ``benchmarks/cit_rec_vectors.py``.
    """

    for_pairs: ClassVar[dict[str, Any]] = {"loss": "cross_entropy"}

    share: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Share of the training rows, the earliest, that fits the network and gets no state.",
    )
    length: int = Field(50, ge=2, le=4096, description="Last items of a history that are read.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Dropout on inputs and block outputs.")
    epochs: int = Field(30, ge=1, le=10_000, description="Most epochs.")
    patience: int = Field(8, ge=0, description="Evaluations without improvement before stopping; 0 never stops early.")
    batch: int = Field(64, ge=1, le=65_536, description="Sequences per optimiser step.")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Peak learning rate of Adam.")


def without_later(splits: pl.DataFrame, share: float) -> pl.DataFrame:
    """The splits (schema ``Splits``) without the later training rows: all that the network may be fitted on.

    Early are the first ``share`` of the training rows by (timestamp, row). Without times, users follow one another by
    their first row and are early or later as a whole; the one at the cut is early. Later rows are missing in the
    histories of validation rows as well, so that no label of theirs has a say in which epoch is picked.
    """
    return splits.filter(~_later(splits, share))


def user_states(model: SASRec, protocol: Protocol, splits: pl.DataFrame, n_items: int, share: float) -> pl.DataFrame:
    """The state before every later training row and every row of validation and test (schema ``user_states``).

    A history is what the protocol makes of it: the positives before the row. After an empty one the network has read
    padding alone: that gives one finite vector, the same for everybody of whom nothing is known yet.

    Args:
        model: Fitted on ``without_later(splits, share)``.
        protocol: A pointwise one, or one that ranks: then what came before counts as liked.
        splits: Its splits, all of them.
        n_items: Size of the catalogue.
        share: That of the fit.

    Returns:
        ``row``, ``split``, ``user``, and ``vector`` float32 [width], by row.
    """
    train = splits.filter(split="train")
    later = np.flatnonzero(_later(splits, share).filter(splits["split"] == "train").to_numpy())
    pieces = np.array_split(later, 1 + len(later) // _AT_ONCE)
    asked = chain(
        (protocol.queries(train, piece) for piece in pieces),
        (protocol.task(splits, split, n_items).queries for split in HELD),
    )
    rows, vectors = zip(*((queries.query, model.query_vectors(queries)) for queries in asked), strict=True)
    width = vectors[0].shape[1]
    states = pl.DataFrame(
        {
            "row": np.concatenate(rows),
            "vector": pl.Series(np.concatenate(vectors), dtype=pl.Array(pl.Float32, width)),
        }
    )
    return splits.select("row", "split", "user").join(states, on="row").sort("row")


def _later(splits: pl.DataFrame, share: float) -> pl.Series:
    """Bool per row of the splits: a training row that is not early."""
    train = splits.filter(split="train")
    untimed = train["timestamp"].null_count() > 0
    moment = pl.col("row").min().over("user") if untimed else pl.col("timestamp")
    placed = train.sort(moment, "row").with_columns(place=pl.int_range(pl.len()))
    if untimed:
        placed = placed.with_columns(pl.col("place").min().over("user"))
    return splits["row"].is_in(placed.filter(pl.col("place") >= share * len(train))["row"].implode())
