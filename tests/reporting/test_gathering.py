"""The page from a storage: what stands there is shown, what is stale or missing is left out."""

from pathlib import Path

import polars as pl
import pytest

from pipelines.report import gather, write
from resources.artifacts import ArtifactStore
from tests.reporting.test_case import FUTURE, PAST, TESTS, scored, splits
from tests.reporting.test_reporting import HOSTILE, ablation, cost, jpeg, table
from weft import schemas
from weft.cells import Cell

SHOP = Cell("shop")
JUDGED = Cell("shop", "pointwise_time", "offline", "full", 0)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    """A shop of 23 items with one judged system."""
    store = ArtifactStore(tmp_path / "storage")
    ids = {"item": range(1, 24), "item_id": [f"i{k}" for k in range(1, 24)], "has_image": [k == 20 for k in range(23)]}
    events = splits(PAST + FUTURE).select("row", "user", "item", "timestamp")
    picture = {"item": 21, "width": 8, "height": 8, "jpeg": jpeg()}
    for asset, schema, rows in [
        ("interactions.interactions", schemas.Interactions, events.sort("user", "timestamp", "row").to_dicts()),
        ("interactions.users", schemas.Users, [{"user": 1, "user_id": "a"}, {"user": 2, "user_id": HOSTILE}]),
        ("interactions.items", schemas.Items, pl.DataFrame(ids).with_columns(title=pl.lit(HOSTILE)).to_dicts()),
        ("interactions.images", schemas.Images, [picture]),
        ("reports.card", schemas.Card, [{"place": 0, "about": "data set", "split": None, "value": 2.0}]),
        ("reports.ablations", schemas.Ablations, [ablation("without_user", 0.1)]),
        ("reports.cost", schemas.Costs, [cost("cit_rec")]),
    ]:
        store.write(asset, SHOP, table(schema, rows))
    for name, schema in {"leaderboard": schemas.Leaderboard, "metrics": schemas.Metrics}.items():
        store.write(f"reports.{name}", SHOP, schema.create_empty())
    store.write("reports.comparisons", SHOP, schemas.Comparisons.create_empty())
    store.write("interactions.splits", JUDGED.of_protocol(), splits(PAST + FUTURE))
    _judge(store, JUDGED)
    return store


def _judge(store: ArtifactStore, cell: Cell, **told: str) -> None:
    made_of = {"splits_digest": store.digest("interactions.splits", cell.of_protocol()), "n_items": "23"}
    store.write("cit_rec.scored_pairs", cell, scored(TESTS), attributes=made_of | told)


def test_the_case_names_its_user_and_shows_titles_pictures_and_what_was_said(store: ArtifactStore) -> None:
    found = gather(store, "shop")
    assert found.case is not None
    case = found.case
    assert (case.user_id, case.system, case.protocol, case.judged) == (HOSTILE, "cit_rec", "pointwise_time", 4)
    assert [len(part) for part in (case.liked, case.disliked, case.recommended, case.refused)] == [2, 1, 2, 2]
    # Scores 1.5 and 0.5 as probabilities, by hand: 1 / (1 + e^-1.5) = 0.8176, 1 / (1 + e^-0.5) = 0.6225.
    assert [tile.note for tile in case.recommended] == ["yes 82% · did not like it", "yes 62% · liked it"]
    assert [tile.note for tile in case.refused] == ["yes 12% · liked it", "yes 27% · did not like it"]
    assert case.recommended[0].jpeg is not None
    assert case.recommended[1].jpeg is None
    assert found.ablations["variant"].to_list() == ["without_user"]
    assert found.costs["system"].to_list() == ["cit_rec"]


def test_a_case_of_other_data_or_of_a_variant_is_not_shown(store: ArtifactStore) -> None:
    _judge(store, JUDGED, splits_digest="of last week")
    _judge(store, Cell("shop", "pointwise_time", "offline", "without_user", 0))
    assert gather(store, "shop").case is None


def test_a_storage_without_the_newer_reports_still_has_a_page(store: ArtifactStore) -> None:
    for name in ("ablations", "cost"):
        store.path(f"reports.{name}", SHOP).unlink()
    found = gather(store, "shop")
    assert found.ablations.is_empty()
    assert found.costs.is_empty()


def test_hostile_titles_and_names_of_a_case_stay_text_and_pictures_stay_small(store: ArtifactStore) -> None:
    page = write(str(store.base), "shop").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert page.count("data:image/jpeg;base64,") == 1
    assert len(page) < 200_000
