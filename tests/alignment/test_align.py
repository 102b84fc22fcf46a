"""The alignment of a small catalogue whose truth is planted."""

import contextlib
import logging
from dataclasses import fields
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from tests.models.contracts import Interrupted, Watcher
from weft.alignment import align as module
from weft.alignment.align import FEWEST, Aligned, _apart, _Pairs, align
from weft.alignment.settings import AlignmentSettings
from weft.progress import NoProgress, Progress
from weft.training.runtime import Runtime
from weft.training.tensor_batches import TensorBatches

N = 200
SETTINGS = AlignmentSettings(epochs=20, batch=64, learning_rate=3e-3, width=8)
EVERYWHERE = np.ones(N, np.bool_)


def _runtime(work: Path | None = None, progress: Progress | None = None) -> Runtime:
    return Runtime(device="cpu", threads=1, work=work, progress=progress or NoProgress())


def _related(shared: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pictures and texts of which ``shared`` is one hidden thing, seen in two ways, and the rest their own."""
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=(N, 6))
    parts = []
    for width in (10, 14):
        own = rng.normal(size=(N, width))
        parts.append((shared * hidden @ rng.normal(size=(6, width)) + (1 - shared) * own + 5).astype(np.float32))
    return parts[0], parts[1]


@pytest.fixture(scope="module")
def catalogue() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return _related(0.9)


@pytest.fixture(scope="module")
def aligned(catalogue: tuple[NDArray[np.float32], NDArray[np.float32]]) -> Aligned:
    return align(*catalogue, EVERYWHERE, EVERYWHERE, SETTINGS, _runtime())


def _figures(table: pl.DataFrame, split: str) -> dict[str, float]:
    return dict(table.filter(split=split).select("metric", "value").iter_rows())


def _assert_equal(a: Aligned, b: Aligned) -> None:
    for name in ("image", "text", "vector"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    for name, tensor in a.heads.items():
        np.testing.assert_array_equal(tensor, b.heads[name], err_msg=name)
    assert a.history.equals(b.history)
    assert a.quality.equals(b.quality)
    assert {field.name for field in fields(Aligned)} == {"image", "text", "vector", "heads", "history", "quality"}


def test_held_out_pictures_find_their_texts_where_the_two_share_something(aligned: Aligned) -> None:
    held_out = _figures(aligned.quality, "held_out")
    assert held_out["items"] == 20
    assert held_out["image_to_text_recall@1"] > 6 * held_out["chance_recall@1"]
    assert held_out["text_to_image_recall@10"] > 0.9
    assert held_out["alignment"] < 1.5, "unrelated unit vectors have 2"
    assert aligned.history["validation"].max() > 1.5
    np.testing.assert_allclose(np.linalg.norm(aligned.image, axis=1), 1, rtol=1e-5)


def test_the_information_that_picks_the_epoch_is_none_where_they_share_nothing() -> None:
    history = align(*_related(0), EVERYWHERE, EVERYWHERE, SETTINGS, _runtime()).history
    assert history["metric"].unique().to_list() == ["information"]
    assert history["validation"].max() < 0.2
    assert history["loss"][-1] < history["loss"][0], "and yet the pairs are being learnt by heart"


def test_the_vector_of_an_item_is_its_picture_beside_its_text_or_their_mean(
    catalogue: tuple[NDArray[np.float32], NDArray[np.float32]], aligned: Aligned
) -> None:
    np.testing.assert_array_equal(aligned.vector, np.hstack([aligned.image, aligned.text]))
    mean = align(*catalogue, EVERYWHERE, EVERYWHERE, SETTINGS.model_copy(update={"fusion": "mean"}), _runtime())
    np.testing.assert_allclose(mean.vector, (aligned.image + aligned.text) / 2)
    assert mean.vector.dtype == np.float32


def test_an_item_without_a_picture_has_its_text_twice_and_teaches_nothing(
    catalogue: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    image, text = catalogue
    has_image = np.arange(N) % 4 > 0
    made = align(image, text, has_image, EVERYWHERE, SETTINGS, _runtime())
    np.testing.assert_array_equal(made.vector[~has_image], np.hstack([made.text, made.text])[~has_image])
    assert not made.image[~has_image].any()
    assert _figures(made.quality, "train")["items"] + _figures(made.quality, "held_out")["items"] == has_image.sum()
    placeholder = np.where(has_image[:, None], image, np.float32(1e6))
    _assert_equal(made, align(placeholder, text, has_image, EVERYWHERE, SETTINGS, _runtime()))


def test_an_item_without_a_text_has_its_picture_twice(
    catalogue: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    has_text = np.arange(N) % 4 > 0
    made = align(*catalogue, EVERYWHERE, has_text, SETTINGS, _runtime())
    np.testing.assert_array_equal(made.vector[~has_text], np.hstack([made.image, made.image])[~has_text])


def test_a_catalogue_without_any_picture_is_made_of_texts_with_a_warning(
    catalogue: tuple[NDArray[np.float32], NDArray[np.float32]], caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = np.zeros(N, np.bool_)
    with caplog.at_level(logging.WARNING):
        made = align(*catalogue, nowhere, EVERYWHERE, SETTINGS, _runtime())
    assert "0 items have a picture and a text" in caplog.text
    np.testing.assert_array_equal(made.vector, np.hstack([made.text, made.text]))
    np.testing.assert_allclose(np.linalg.norm(made.text, axis=1), 1, rtol=1e-5)
    assert all(np.isfinite(tensor).all() for tensor in made.heads.values())
    assert made.history.is_empty()
    assert made.quality.is_empty()


def test_a_picture_that_is_swapped_between_two_items_goes_along_into_their_vectors(
    catalogue: tuple[NDArray[np.float32], NDArray[np.float32]], aligned: Aligned
) -> None:
    image, text = catalogue
    swapped = image.copy()
    swapped[[3, 8]] = image[[8, 3]]
    made = align(swapped, text, EVERYWHERE, EVERYWHERE, SETTINGS, _runtime())
    for item, other in ((3, 8), (8, 3)):
        assert not np.allclose(made.vector[item], aligned.vector[item], atol=0.1)
        assert made.image[item] @ aligned.image[other] > 0.9 > made.image[item] @ aligned.image[item]
        assert made.text[item] @ aligned.text[item] > 0.9


def test_what_is_held_out_picks_the_epoch_and_teaches_nothing(
    catalogue: tuple[NDArray[np.float32], NDArray[np.float32]], aligned: Aligned
) -> None:
    image, text = catalogue
    trained, held_out = _apart(np.arange(N), SETTINGS.held_out, 0)
    assert sorted([*trained, *held_out]) == list(range(N))
    shuffled = text.copy()
    shuffled[held_out] = text[np.roll(held_out, 1)]
    made = align(image, shuffled, EVERYWHERE, EVERYWHERE, SETTINGS, _runtime())
    np.testing.assert_allclose(made.history["loss"], aligned.history["loss"][: len(made.history)], rtol=1e-4)
    assert made.history["validation"].max() < 0.2 < aligned.history["validation"].max()


@pytest.mark.parametrize(("share", "held"), [(0.001, 2), (0.1, 2), (0.11, 3), (0.5, 10)])
def test_the_fewest_items_leave_some_to_learn_from_and_some_to_compare(
    catalogue: tuple[NDArray[np.float32], NDArray[np.float32]], share: float, held: int
) -> None:
    few = EVERYWHERE[:FEWEST]
    settings = SETTINGS.model_copy(update={"held_out": share, "epochs": 2})
    image, text = catalogue
    made = align(image[:FEWEST], text[:FEWEST], few, few, settings, _runtime())
    assert _figures(made.quality, "held_out")["items"] == held
    assert _figures(made.quality, "train")["items"] == FEWEST - held
    assert made.history["validation"].n_unique() == 2, "one item alone would tell nothing of any epoch"


def test_a_share_that_leaves_hardly_anything_to_learn_from_is_refused() -> None:
    with pytest.raises(ValidationError, match="held_out"):
        AlignmentSettings(held_out=0.51)


def test_a_catalogue_that_is_mapped_in_parts_has_the_same_vectors(
    catalogue: tuple[NDArray[np.float32], NDArray[np.float32]], aligned: Aligned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_COMPARED", 30)
    made = align(*catalogue, EVERYWHERE, EVERYWHERE, SETTINGS, _runtime())
    np.testing.assert_allclose(made.vector, aligned.vector, atol=1e-6)
    assert _figures(made.quality, "train")["items"] == 30


def _seed(seed: int) -> Runtime:
    return Runtime(device="cpu", threads=1, seed=seed)


def test_the_same_seed_gives_the_same_vectors_and_another_seed_others(
    catalogue: tuple[NDArray[np.float32], NDArray[np.float32]], aligned: Aligned
) -> None:
    _assert_equal(aligned, align(*catalogue, EVERYWHERE, EVERYWHERE, SETTINGS, _seed(0)))
    assert not np.allclose(aligned.vector, align(*catalogue, EVERYWHERE, EVERYWHERE, SETTINGS, _seed(1)).vector)


@pytest.mark.parametrize("stop", [0, 7])
def test_an_interrupted_alignment_goes_on_to_the_same_vectors(
    catalogue: tuple[NDArray[np.float32], NDArray[np.float32]], aligned: Aligned, tmp_path: Path, stop: int
) -> None:
    def run(progress: Progress) -> Aligned:
        return align(*catalogue, EVERYWHERE, EVERYWHERE, SETTINGS, _runtime(tmp_path, progress))

    with contextlib.suppress(Interrupted):
        run(Watcher(stop))
        pytest.fail("nothing was interrupted")
    _assert_equal(aligned, run(NoProgress()))


def test_an_epoch_holds_each_item_once_at_most_in_full_batches_and_every_epoch_has_an_order_of_its_own() -> None:
    vectors = np.arange(10, dtype=np.float32)[:, None]
    batches = TensorBatches(_Pairs.of(vectors, vectors, np.arange(10)).tensors, 4, seed=0, whole=True)
    epochs = [[batch[0][:, 0].tolist() for batch, _ in batches.epoch(number)] for number in (0, 1, 0)]
    assert [len(batch) for batch in epochs[0]] == [4, 4]
    assert len(batches) == 2
    assert len({item for batch in epochs[0] for item in batch}) == 8
    assert epochs[0] == epochs[2] != epochs[1]
