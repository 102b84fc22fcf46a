"""The contract of ``weft/models/base.py``, held by every model in the registry."""

import contextlib
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.models import contracts as c
from weft.evaluation.ranking import top_k
from weft.models.base import Model
from weft.models.registry import MODELS
from weft.models.settings import FitSettings

pytestmark = pytest.mark.parametrize("name", MODELS)


def _fitted(name: str, seed: int = 0, **overrides: object) -> Model:
    model = c.build(name, **overrides)
    model.fit(c.train_of(name), None, c.runtime(seed))
    return model


class Fitted(dict[str, Model]):
    """Each model fitted once on the ring, when it is first asked for."""

    def __missing__(self, name: str) -> Model:
        self[name] = _fitted(name)
        return self[name]


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    """Fitted models for the tests that only score."""
    return Fitted()


def test_it_learns_a_planted_pattern(name: str, fitted: dict[str, Model]) -> None:
    if not c.ranks(name):
        pytest.skip("what it can learn is what is liked, below")
    elif name in c.SAME_FOR_EVERYBODY:
        model = c.build(name)
        model.fit(c.favourite(5), None, c.runtime())
        items, _ = top_k(model.score, c.queries([[1], [], [7, 8]]), 1)
        assert items[:, 0].tolist() == [5, 5, 5]
    elif name in c.NO_ORDER:
        train, asked, missing = c.camps()
        model = c.build(name)
        model.fit(train, None, c.runtime())
        items, _ = top_k(model.score, asked, 1)
        assert items[:, 0].tolist() == missing
        strangers = c.queries([[1, 2, 3, 4], [6, 7, 8, 9, 10]], users=[0, 45])
        items, _ = top_k(model.score, strangers, 1)
        assert items[:, 0].tolist() == [5, 11], "strangers are known by their history"
    else:
        items, _ = top_k(fitted[name].score, c.queries([[1, 2, 3], [6, 7], [4, 5, 6, 7]]), 1)
        assert items[:, 0].tolist() == [4, 8, 8]


def test_training_cannot_foresee_the_next_item_of_noise(name: str) -> None:
    """A position that saw what comes after it would drive the loss to zero; the best honest one is ln 11."""
    if name in c.KNOWS_USERS:
        pytest.skip("it remembers what a user took, and is asked for no position")
    if not c.ranks(name):
        pytest.skip("it is asked for no next item")
    rng = np.random.default_rng(0)
    noise = c.events([rng.integers(1, c.N_ITEMS, size=8).tolist() for _ in range(300)])
    history = c.build(name, epochs=8).fit(noise, None, c.runtime())
    if len(history):
        assert history["loss"].min() > 0.85 * math.log(c.N_ITEMS - 1)


def test_what_comes_later_does_not_change_the_score_of_a_prefix(name: str, fitted: dict[str, Model]) -> None:
    whole, changed = [1, 2, 3, 4, 5, 6], [1, 2, 3, 9, 8, 7]
    prefixes = [fitted[name].score(c.queries([history[:n] for n in range(7)])) for history in (whole, changed)]
    torch.testing.assert_close(prefixes[0][:4], prefixes[1][:4], rtol=0, atol=1e-5)


def test_the_seed_decides_everything(name: str, fitted: dict[str, Model]) -> None:
    c.assert_same_tensors(fitted[name], _fitted(name))
    if issubclass(MODELS[name].settings, FitSettings):
        with pytest.raises(AssertionError):
            c.assert_same_tensors(fitted[name], _fitted(name, seed=1))


def test_an_interrupted_fit_goes_on_and_ends_where_an_unbroken_one_does(name: str, tmp_path) -> None:
    if not c.ranks(name):
        pytest.skip("it is fitted on labels, below")
    task = c.validation([3, 3, 4])
    whole, broken, resumed = c.Watcher(), c.build(name), c.build(name)
    unbroken = c.build(name)
    history = unbroken.fit(c.cycle(), task, c.runtime(work=tmp_path / "unbroken", progress=whole))
    try:
        broken.fit(c.cycle(), task, c.runtime(work=tmp_path / "work", progress=c.Watcher(stop=2)))
    except c.Interrupted:
        pass
    else:
        assert whole.calls == 0, "a model that reports progress can be interrupted"
    second = c.Watcher()
    again = resumed.fit(c.cycle(), task, c.runtime(work=tmp_path / "work", progress=second))
    c.assert_same_tensors(unbroken, resumed)
    assert again.equals(history)
    if len(history):
        assert second.calls < whole.calls, "it started over"


def test_the_answers_of_validation_teach_nothing(name: str) -> None:
    """With one epoch there is nothing to select, so other answers must leave the same model."""
    models = [c.build(name, epochs=1) for _ in range(2)]
    tasks = [c.validation(targets) for targets in ([3, 4, 5, 6], [9, 1, 7, 2])] if c.ranks(name) else c.opposed()
    for model, task in zip(models, tasks, strict=True):
        model.fit(c.train_of(name), task, c.runtime())
    c.assert_same_tensors(*models)


def test_it_can_be_fitted_in_mixed_precision(name: str) -> None:
    """A GPU's own precision: bfloat16 products beside float32 weights."""
    if not issubclass(MODELS[name].settings, FitSettings):
        pytest.skip("it is not fitted in epochs")
    given = [(c.build(name, epochs=1, loss="binary"), c.labelled(), c.judged())]
    if c.ranks(name):
        given.append((c.build(name, epochs=1), c.cycle(), c.validation([3, 4])))
    for model, train, task in given:
        history = model.fit(train, task, replace(c.runtime(), precision="bf16-mixed"))
        assert np.isfinite(history["loss"].to_numpy()).all()
        assert np.isfinite(model.score_pairs(c.judged().queries, c.judged().target)).all()


def test_one_item_users_unseen_items_and_strangers_get_numbers(name: str, fitted: dict[str, Model]) -> None:
    strangers = c.queries([[3], [], [c.UNSEEN], [2, c.UNSEEN, 3], [1] * 50], users=[45, 0, 46, 0, 1])
    scores = fitted[name].score(strangers)
    assert scores.shape == (5, c.N_ITEMS + 1)
    assert scores.dtype == torch.float32
    assert c.finite(scores)


def test_the_batch_does_not_change_a_score(name: str, fitted: dict[str, Model]) -> None:
    asked = c.some_queries()
    together = fitted[name].score(asked)
    for size in (1, 7):
        index = np.arange(len(asked))
        parts = [fitted[name].score(asked.take(index[start : start + size])) for start in range(0, len(asked), size)]
        torch.testing.assert_close(torch.cat(parts), together, rtol=0, atol=1e-5)


def test_it_comes_back_from_its_arrays(name: str, fitted: dict[str, Model]) -> None:
    model = fitted[name]
    arrays = {key: np.array(value) for key, value in model.tensors().items()}
    assert all(array.dtype.kind in "iufb" for array in arrays.values())
    loaded = MODELS[name].load_class().load(model.settings, arrays)
    assert torch.equal(loaded.score(c.some_queries()), model.score(c.some_queries()))


def test_pairs_and_vectors_agree_with_the_scores(name: str, fitted: dict[str, Model]) -> None:
    model, asked = fitted[name], c.some_queries()
    item = np.arange(len(asked), dtype=np.int32) % c.N_ITEMS + 1
    scores = model.score(asked)
    expected = scores[torch.arange(len(asked)), torch.from_numpy(item).long()]
    np.testing.assert_allclose(model.score_pairs(asked, item), expected.numpy(), rtol=0, atol=1e-5)
    items, states = model.item_vectors(), model.query_vectors(asked)
    assert (items is None) == (states is None)
    if items is not None and states is not None:
        assert items.shape[0] == c.N_ITEMS + 1
        assert not items[0].any()
        assert states.shape == (len(asked), items.shape[1])


def test_labels_teach_what_is_liked(name: str) -> None:
    """Of two items with as many events the liked one scores higher, for people and for strangers."""
    task = c.judged()
    model = c.build(name, loss="binary")
    history = model.fit(c.labelled(), task, c.runtime())
    scores = model.score_pairs(task.queries, task.target)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    told = task.queries.lengths > 0 if name in c.NEEDS_A_HISTORY else np.ones(len(task), np.bool_)
    liked, disliked = (scores[task.label & told], scores[~task.label & told])
    assert (liked > disliked).all()
    if len(history):
        assert set(history["metric"]) == {"uauc"}
        assert history["validation"].max() == 1


def test_disliked_events_are_no_interactions_of_a_model_that_counts(name: str) -> None:
    if issubclass(MODELS[name].settings, FitSettings):
        pytest.skip("it learns from dislikes")
    models = [c.build(name) for _ in range(2)]
    for model, train in zip(models, (c.labelled(), c.labelled().positives), strict=True):
        model.fit(train, None, c.runtime())
    c.assert_same_tensors(*models)


def test_an_interrupted_fit_on_labels_ends_where_an_unbroken_one_does(name: str, tmp_path) -> None:
    task = c.judged()
    whole, broken = c.build(name, loss="binary", epochs=4), c.build(name, loss="binary", epochs=4)
    whole.fit(c.labelled(), task, c.runtime())
    with contextlib.suppress(c.Interrupted):
        broken.fit(c.labelled(), task, c.runtime(work=tmp_path, progress=c.Watcher(stop=2)))
    broken.fit(c.labelled(), task, c.runtime(work=tmp_path))
    c.assert_same_tensors(whole, broken)
