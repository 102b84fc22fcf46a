"""The card of a data set, on tables small enough to count by hand."""

import polars as pl
import pytest

from weft.data.card import DATA, card_of
from weft.schemas import Card, Interactions, Items, Rejected, Splits

DAY = 86_400


def _interactions() -> pl.DataFrame:
    """Two users. Of the six events two share their second; one repeats an item; one has no rating."""
    return Interactions.cast(
        pl.DataFrame(
            {
                "row": [0, 1, 2, 3, 4, 5],
                "user": [1, 1, 1, 2, 2, 2],
                "item": [1, 2, 1, 1, 2, 3],
                "timestamp": [0, DAY, DAY, DAY, 2 * DAY, 3 * DAY],
                "rating": [5.0, 4, 3, 2, 1, None],
                "domain": None,
                "session_id": None,
                "part": None,
            }
        )
    )


def _splits(**changes: list) -> pl.LazyFrame:
    columns = {
        **_interactions().select("row", "user", "item", "timestamp", "rating").to_dict(as_series=False),
        "split": ["train", "validation", "test", "train", "validation", "test"],
        "target": [False, True, True, False, True, True],
        "session": [None] * 6,
        "label": [None] * 6,
        **changes,
    }
    return Splits.cast(pl.DataFrame(columns)).lazy()


def _card(**splits: pl.LazyFrame) -> dict[tuple, tuple]:
    items = Items.cast(
        pl.DataFrame({"item": [1, 2, 3, 4], "item_id": list("abcd"), "title": ["A", "B", "C", None], "year": None,
                      "genres": None, "description": None, "domain": ["shop", "shop", None, None],
                      "has_image": [False, True, False, False]})
    )  # fmt: skip
    rejected = Rejected.cast(
        pl.DataFrame({"source": ["interactions"] * 3, "row": [6, 7, 8], "reason": "…", "content": "{}",
                      "rule": ["duplicate", "bad_rating", "duplicate"]})
    )  # fmt: skip
    table = card_of(_interactions().lazy(), items.lazy(), rejected.lazy(), splits)
    Card.validate(table)
    assert table["place"].to_list() == list(range(len(table)))
    return {(row["about"], row["split"], row["fact"]): (row["value"], row["shown"]) for row in table.to_dicts()}


@pytest.mark.parametrize(
    ("fact", "value", "shown"),
    [
        ("interactions", 6, "6"),
        ("users", 2, "2"),
        ("items in the catalogue", 4, "4"),
        ("items with interactions", 3, "3"),
        ("density", 1.0, "100.000%"),
        ("interactions per user", 3, "3.0"),
        ("from", 0, "1970-01-01"),
        ("to", 3 * DAY, "1970-01-04"),
        ("interactions with a time", 1.0, "100.0%"),
        ("interactions that share their second with another of the user", 2 / 6, "33.3%"),
        ("repeats of a user's earlier item", 1 / 6, "16.7%"),
        ("interactions with a rating", 5 / 6, "83.3%"),
        ("items with a title", 0.75, "75.0%"),
        ("items with a description", 0.0, "0.0%"),
        ("items with a picture", 0.25, "25.0%"),
        ("rejected rows", 3, "3"),
        ("rejected interactions: duplicate", 2, "2"),
        ("rejected interactions: bad_rating", 1, "1"),
    ],
)
def test_a_fact_about_the_data_is_what_one_counts_by_hand(fact: str, value: float, shown: str) -> None:
    assert _card()[DATA, None, fact] == (pytest.approx(value), shown)


def test_items_without_a_domain_are_no_second_domain() -> None:
    assert (DATA, None, "domains") not in _card()


def test_the_facts_about_a_split_count_targets_ties_and_what_training_never_saw() -> None:
    card = _card(leave_one_out=_splits())
    about = {key[1:]: value for key, value in card.items() if key[0] == "leave_one_out"}
    assert about["train", "rows"] == (2, "2")
    assert ("train", "targets") not in about
    assert about["test", "users"] == (2, "2")
    assert about["test", "targets"] == (2, "2")
    # User 1's validation and test events share a second; items 2 and 3 are in no training row, item 1 is.
    assert about["validation", "targets decided by a tie in time"] == (0.5, "50.0%")
    assert about["test", "targets decided by a tie in time"] == (0.5, "50.0%")
    assert about["validation", "targets unseen in training"] == (1.0, "100.0%")
    assert about["test", "targets unseen in training"] == (0.5, "50.0%")
    assert about["test", "targets of users unseen in training"] == (0.0, "0.0%")
    assert ("unused", "rows") not in about


def test_sessions_are_counted_for_users_and_labels_as_a_share_of_likes() -> None:
    splits = ["train", "train", "unused", "test", "test", "test"]
    by_session = _splits(split=splits, session=[1, 1, None, 2, 2, 2], target=[False] * 5 + [True])
    labelled = _splits(split=splits, label=[True, False, None, True, True, True], target=[False] * 3 + [True] * 3)
    card = _card(sessions=by_session, pointwise_time=labelled)
    assert card["sessions", "train", "sessions"] == (1, "1")
    assert card["sessions", "unused", "rows"] == (1, "1")
    assert ("sessions", "test", "targets of users unseen in training") not in card
    assert card["pointwise_time", "train", "liked"] == (0.5, "50.0%")
    assert card["pointwise_time", "test", "liked"] == (1.0, "100.0%")
    assert card["pointwise_time", "test", "targets of users unseen in training"] == (1.0, "100.0%")


def test_without_times_everything_of_a_user_is_tied_and_no_span_is_told() -> None:
    splits = _splits(timestamp=[None] * 6)
    card = _card(leave_one_out=splits)
    assert card["leave_one_out", "test", "targets decided by a tie in time"] == (1.0, "100.0%")
