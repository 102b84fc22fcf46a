from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import cit_rec_ml100k, cit_rec_storefront
from benchmarks.judged_pairs import PAGE, Figure, Shop, difference, figures, markdown, name_of, pooled, render, table
from benchmarks.shuffled_images import shuffled
from resources.artifacts import ArtifactStore
from tests.reporting.test_case import scored, splits
from weft.cells import Cell
from weft.evaluation.intervals import RESAMPLES
from weft.schemas import Costs

USERS, EACH = 40, 10
FULL, IMAGELESS = cit_rec_storefront.FULL, cit_rec_storefront.IMAGELESS


def judged(seed: int, strength: float) -> pl.DataFrame:
    """Scores of 40 users on ten items that agree with the labels the more, the stronger."""
    rng = np.random.default_rng(seed)
    rows = np.arange(USERS * EACH)
    label = np.random.default_rng([seed, 1]).random(len(rows)) < 0.5
    score = rng.standard_normal(len(rows)) + strength * label
    columns = {"row": rows, "user": rows // EACH + 1, "item": rows % EACH + 1, "label": label, "score": score}
    return scored(list(pl.DataFrame(columns).iter_rows()))


def shop(seed: int, **strength: float) -> dict[tuple[str, str], Figure]:
    tables = {name.replace("__", " "): judged(seed, value) for name, value in strength.items()}
    return figures(tables, pl.Series([1, 2, 3, 4, 5, 6]))


def test_items_without_a_training_row_are_measured_apart() -> None:
    made = shop(0, full=1.0)
    rows = judged(0, 1.0)
    new = rows.filter(pl.col("item") > 6)
    assert made["full", "all"].value[0] == pytest.approx(roc_auc_score(rows["label"], rows["score"]))
    assert made["full", "new items"].value[0] == pytest.approx(roc_auc_score(new["label"], new["score"]))
    assert made["full", "new items"].n == USERS * 4


def test_systems_that_were_asked_about_other_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="b was asked about other rows"):
        figures({"a": judged(0, 1.0), "b": judged(0, 1.0).head(-1)}, pl.Series([1]))


def test_a_pooled_figure_is_the_mean_over_shops_and_its_spread_that_of_independent_users() -> None:
    rng = np.random.default_rng(0)
    # Worst case: the shops' resamples are the same numbers, as they are where every shop has as many users.
    samples = rng.standard_normal((RESAMPLES, 2))
    whole = pooled([Figure(np.array([0.6, 0.5]), samples, 10), Figure(np.array([0.8, 0.7]), samples, 10)])
    assert whole.value.tolist() == pytest.approx([0.7, 0.6])
    assert whole.n == 20
    assert whole.samples.std(axis=0) == pytest.approx(samples.std(axis=0) / np.sqrt(2), rel=0.1)


def test_both_sides_of_a_difference_are_put_in_the_same_order() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((RESAMPLES, 2))
    better = Figure(np.array([0.62, 0.6]), 0.6 + noise + 0.02, 10)
    worse = Figure(np.array([0.6, 0.6]), 0.6 + noise, 10)
    found = difference([{("a", "all"): better, ("b", "all"): worse}] * 3, "a", "b")
    assert found is not None
    assert found["delta"] == pytest.approx(0.02)
    assert found["ci"] == pytest.approx([0.02, 0.02])  # noise of the users falls out
    assert found["per_seed"] == [0.02] * 3
    assert difference([{("a", "all"): better}], "a", "b") is None


def test_the_table_holds_what_all_shops_have_and_a_difference_tells_its_direction() -> None:
    shops = [shop(0, cit_rec=1.5, sasrec=0.1, once=0.3), shop(1, cit_rec=1.5, sasrec=0.1)]
    rows = table(shops)
    assert [(row["system"], row["slice"]) for row in rows] == [
        ("cit_rec", "all"), ("sasrec", "all"), ("cit_rec", "new items"), ("sasrec", "new items"),
    ]  # fmt: skip
    assert rows[0]["auc"] == pytest.approx(np.mean(rows[0]["auc_per_seed"]), abs=1e-4)
    assert rows[0]["auc_ci"][0] < rows[0]["auc"] < rows[0]["auc_ci"][1]
    found = difference(shops, "cit_rec", "sasrec")
    assert found is not None
    assert found["ci"][0] > 0
    text = markdown(rows, [found])
    assert "| cit_rec - sasrec | all |" in text
    assert len(text.splitlines()) == 2 + 4 + 1 + 2 + 1
    assert [row["system"] for row in cit_rec_storefront._once(shops)] == ["once", "once"]
    assert cit_rec_storefront._once(shops[:1]) == []


def test_the_bounds_of_the_storefront_are_about_intervals_not_about_figures() -> None:
    def told(gain: list[float], mixed: list[float], plain: list[float]) -> list[bool]:
        rows = [{"a": FULL, "b": IMAGELESS, "slice": "all", "ci": gain},
                {"a": FULL, "b": IMAGELESS, "slice": "new items", "ci": [-1, 1]},
                {"a": cit_rec_storefront.SHUFFLED, "b": FULL, "slice": "all", "ci": mixed}]  # fmt: skip
        return list(cit_rec_storefront.judged(rows, {"ci": plain}).values())

    assert told([0.01, 0.03], [-0.05, -0.01], [-0.01, 0.01]) == [True, True, True]
    assert told([-0.001, 0.03], [-0.05, 0.001], [-0.02, -0.01]) == [False, False, False]
    assert list(cit_rec_storefront.judged([], None).values()) == [False, False, False]


def test_every_picture_goes_to_another_item_and_texts_stay() -> None:
    image = [[1.0, 0.0], None, [0.0, 1.0], [0.6, 0.8]]
    text = [[k, k] for k in (10.0, 20.0, 30.0, 40.0)]
    halves = [(mine or words) + words for mine, words in zip(image, text, strict=True)]
    aligned = pl.DataFrame(
        {"item": [1, 2, 3, 4], "image": image, "vector": halves},
        schema_overrides={"image": pl.Array(pl.Float32, 2), "vector": pl.Array(pl.Float32, 4)},
    )
    for seed in range(5):
        got = shuffled(aligned, seed)
        assert got[:, 2:].tolist() == text
        assert got[1].tolist() == halves[1]
        own = [np.float32(image[k]).tolist() for k in (0, 2, 3)]
        given = got[[0, 2, 3], :2].tolist()
        assert sorted(given) == sorted(own)
        assert all(mine != other for mine, other in zip(own, given, strict=True))
    with pytest.raises(ValueError, match="concatenation"):
        shuffled(aligned.with_columns(image=pl.col("image").reverse()), 0)


def test_a_shop_reads_the_test_rows_of_its_seed_and_protocol_alone(tmp_path: Path) -> None:
    store, mine = ArtifactStore(tmp_path), Shop(tmp_path, "storefront", "pointwise_time", 201)
    rows = [(10, 2, 20, True, 0.5), (11, 2, 21, False, 1.5)]
    for cell in (mine.cell(), mine.cell("without_image"), mine.cell().with_seed(0)):
        store.write("cit_rec.scored_pairs", cell, pl.concat([scored(rows[::-1]), scored(rows, "validation")]))
    store.write("interactions.splits", Cell("storefront", "pointwise_time"),
                splits([(0, 2, 10, 5, "train", True), (10, 2, 20, 6, "test", True)]))  # fmt: skip
    found = mine.scored()
    assert list(found) == [name_of("cit_rec"), "cit_rec without_image"]
    assert found["cit_rec"]["row"].to_list() == [10, 11]
    assert mine.trained_items().to_list() == [10]


def test_a_shop_is_finished_when_all_variants_and_the_reports_stand(tmp_path: Path) -> None:
    store, mine = ArtifactStore(tmp_path), Shop(tmp_path, "storefront", "pointwise_time", 201)
    rows = scored([(10, 2, 20, True, 0.5)])
    store.write("cit_rec.scored_pairs", mine.cell(), rows)
    store.write("reports.cost", Cell("storefront"), Costs.create_empty())
    assert mine.finished(["full"])
    assert not mine.finished(["full", "text_only"])
    store.path("reports.cost", Cell("storefront")).unlink()
    assert not mine.finished(["full"]), "another system may have failed"


@pytest.mark.parametrize("name", [cit_rec_storefront.NAME, cit_rec_ml100k.NAME])
def test_the_page_has_a_place_for_the_result_and_nothing_else_of_it_changes(tmp_path: Path, name: str) -> None:
    page = tmp_path / "page.md"
    before = PAGE.read_text(encoding="utf-8")
    page.write_text(before, encoding="utf-8")
    render(name, "the figures", page)
    after = page.read_text(encoding="utf-8")
    start, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    assert after.split(start)[0] == before.split(start)[0]
    assert after.split(end)[1] == before.split(end)[1]
    assert after.split(start)[1].split(end)[0].strip() == "the figures"
