"""What the contract tests feed every model: small settings, planted patterns, queries, and an interrupting watcher."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from weft.data.sequences import Events, Queries, Task
from weft.models.base import Model
from weft.models.registry import MODELS
from weft.progress import NoProgress, Progress
from weft.training.runtime import Runtime

SMALL: dict[str, dict[str, object]] = {
    "sasrec": {"width": 16, "blocks": 1, "length": 8, "dropout": 0.1, "epochs": 20, "batch": 16, "learning_rate": 0.02},
    "gru4rec": {
        "width": 16,
        "hidden": 16,
        "length": 8,
        "dropout": 0.1,
        "epochs": 20,
        "batch": 16,
        "learning_rate": 0.02,
    },
    "narm": {"width": 16, "length": 8, "dropout": 0.1, "epochs": 20, "batch": 16, "learning_rate": 0.02},
    "stamp": {"width": 16, "length": 8, "dropout": 0.1, "epochs": 20, "batch": 16, "learning_rate": 0.02},
    "srgnn": {
        "width": 16,
        "length": 8,
        "dropout": 0.3,
        "epochs": 20,
        "batch": 16,
        "learning_rate": 0.01,
        "weight_decay": 1.0,
    },
    "tagnn": {
        "width": 16,
        "length": 8,
        "dropout": 0.3,
        "epochs": 20,
        "batch": 16,
        "learning_rate": 0.01,
        "weight_decay": 1.0,
    },
    "gcegnn": {
        "width": 16,
        "length": 8,
        "dropout": 0.1,
        "neighbours": 4,
        "prefixes": 2,
        "epochs": 15,
        "batch": 32,
        "learning_rate": 0.02,
    },
    "dhcn": {"width": 16, "length": 8, "dropout": 0.1, "epochs": 20, "batch": 16, "learning_rate": 0.02},
    "mf_bpr": {"width": 4, "epochs": 15, "batch": 32, "learning_rate": 0.05, "weight_decay": 0.5},
    "ncf": {"width": 16, "layers": 2, "epochs": 8, "batch": 32, "learning_rate": 0.02, "weight_decay": 0.5},
    "din": {"width": 8, "hidden": 8, "length": 8, "dropout": 0.1, "epochs": 10, "batch": 16, "learning_rate": 0.01},
    "lightgcn": {"width": 4, "epochs": 15, "batch": 32, "learning_rate": 0.05, "weight_decay": 0.5},
    "sgl": {
        "width": 4,
        "epochs": 15,
        "batch": 32,
        "learning_rate": 0.05,
        "weight_decay": 0.5,
        "contrast": 0.01,
    },
    "xsimgcl": {"width": 4, "epochs": 15, "batch": 32, "learning_rate": 0.05, "weight_decay": 0.5},
    "bert4rec": {
        "width": 16,
        "blocks": 1,
        "length": 8,
        "last": 0.5,
        "dropout": 0.1,
        "epochs": 40,
        "batch": 16,
        "learning_rate": 0.02,
    },
    "core": {"width": 16, "blocks": 1, "length": 8, "dropout": 0.1, "epochs": 40, "batch": 16, "learning_rate": 0.02},
    "cl4srec": {
        "width": 16,
        "blocks": 1,
        "length": 8,
        "dropout": 0.1,
        "epochs": 20,
        "batch": 16,
        "learning_rate": 0.02,
    },
    "fpmc": {"width": 16, "dropout": 0.1, "epochs": 20, "batch": 32, "learning_rate": 0.05, "weight_decay": 0.1},
}
"""Settings that learn a planted pattern in seconds; a model that is not listed takes its defaults."""

SAME_FOR_EVERYBODY = {"popularity", "recent_popularity"}
"""Models that recommend without looking at the history: what they can learn is the popular item."""

KNOWS_USERS = {"mf_bpr", "ncf", "lightgcn", "sgl", "xsimgcl", "fpmc"}
"""Models that remember what each user took: of noise they learn that by heart, and what they can learn is a taste."""

NO_ORDER = {"mf_bpr", "ncf", "lightgcn", "sgl", "xsimgcl", "sknn"}
"""Models to whom a history is a set: the ring is not theirs to learn, they are shown two camps."""

NEEDS_A_HISTORY = {"itemknn", "sknn", "vsknn"}
"""Models that find like things alone: without a history every item is level."""

N_ITEMS, N_USERS = 12, 44
UNSEEN = N_ITEMS  # in the catalogue, never in training


def build(name: str, **overrides: object) -> Model:
    """An unfitted model with its small settings; overrides that it has no field for are left out."""
    entry = MODELS[name]
    known = {key: value for key, value in overrides.items() if key in entry.settings.model_fields}
    return entry.build(entry.settings(**{**SMALL.get(name, {}), **known}))


def ranks(name: str) -> bool:
    """Whether the model works under ranking protocols; else it is fitted on labelled pairs alone."""
    return "ranking" in MODELS[name].kinds


def train_of(name: str) -> Events:
    """The ring, with labels for models that need them."""
    return cycle() if ranks(name) else labelled()


def runtime(seed: int = 0, work: Path | None = None, progress: Progress | None = None) -> Runtime:
    return Runtime(device="cpu", threads=1, seed=seed, work=work, progress=progress or NoProgress())


def events(histories: list[list[int]], n_items: int = N_ITEMS) -> Events:
    """Events of users 1, 2, …, one per day; one more user exists and has none."""
    lengths = [len(history) for history in histories]
    user = np.repeat(np.arange(1, len(histories) + 1), lengths).astype(np.int32)
    item = np.concatenate(histories).astype(np.int32)
    day = np.concatenate([np.arange(length) for length in lengths]).astype(np.int64)
    return Events(user, item, day * 86_400, None, n_users=len(histories) + 1, n_items=n_items)


def cycle() -> Events:
    """Item i is followed by i + 1 on a ring of the seen items; one user has a single item."""
    ring = N_ITEMS - 1
    histories = [[(start + step) % ring + 1 for step in range(5)] for start in range(N_USERS)]
    return events([*histories, [3]])


def camps() -> tuple[Events, Queries, list[int]]:
    """Odd users take the first five items, even ones the other six, each of them all but one, in orders of their own.

    Returns:
        The events, a query of each user after all of theirs, and the item that each is missing.
    """
    rng = np.random.default_rng(0)
    histories, missing = [], []
    for user in range(1, N_USERS + 1):
        camp = list(range(1, 6)) if user % 2 else list(range(6, N_ITEMS))
        missing.append(camp[user // 2 % len(camp)])
        histories.append(rng.permutation([item for item in camp if item != missing[-1]]).tolist())
    return events(histories), queries(histories, users=list(range(1, N_USERS + 1))), missing


def labelled() -> Events:
    """Everybody likes the even items and dislikes the odd ones, apart from user 1, who rated nothing they liked.

    Users read the ring from different places, and dislike the odd items more often than they like the even ones.
    """
    ring = N_ITEMS - 1
    histories = [[(start + step) % ring + 1 for step in range(8)] for start in range(N_USERS)]
    histories[0] = [1, 3]
    train = events(histories)
    return replace(train, label=(train.item % 2 == 0).astype(np.float32))


def judged() -> Task:
    """Labelled pairs of the same taste, some of strangers, after histories of many lengths."""
    asked = queries([[2, 4], [2, 4], [6], [6], [], [], [8] * 30, [8] * 30], users=[2, 2, 3, 3, 45, 45, 4, 4])
    item = np.array([6, 5, 8, 9, 4, 7, 10, 11], np.int32)
    return Task("validation", asked, item, np.arange(N_ITEMS + 1) > 0, filter_seen=False, label=item % 2 == 0)


def opposed() -> tuple[Task, Task]:
    """The judged pairs, and the same with opposite answers."""
    task = judged()
    return task, replace(task, label=np.logical_not(task.label))


def favourite(item: int = 5) -> Events:
    """Everybody ends with one item, at any place in the ring."""
    return events([[user % (N_ITEMS - 1) + 1, item] for user in range(N_USERS)])


def queries(histories: list[list[int]], users: list[int] | None = None) -> Queries:
    lengths = [len(history) for history in histories]
    return Queries(
        query=np.arange(len(histories), dtype=np.int64),
        user=np.array(users or [1] * len(histories), np.int32),
        time=np.full(len(histories), 10 * 86_400, np.int64),
        items=np.array([item for history in histories for item in history], np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )


def some_queries() -> Queries:
    """Twenty histories of many lengths, longer than what a small model reads among them."""
    rng = np.random.default_rng(0)
    return queries([rng.integers(1, N_ITEMS, size=length).tolist() for length in range(20)])


def validation(targets: list[int]) -> Task:
    """One query per target, each after the same two items."""
    asked = queries([[1, 2]] * len(targets))
    ranked = np.arange(N_ITEMS + 1) > 0
    return Task("validation", asked, np.array(targets, np.int32), ranked, filter_seen=True)


def assert_same_tensors(a: Model, b: Model) -> None:
    left, right = a.tensors(), b.tensors()
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


class Interrupted(Exception):  # noqa: N818 - it plays a signal, not an error
    pass


class Watcher:
    """Counts the work it is told of; raises ``Interrupted`` in the middle of epoch ``stop + 1``, or at the first sign
    of life of a model that counts no epochs.
    """

    def __init__(self, stop: int | None = None) -> None:
        self.calls = 0
        self._stop = stop
        self._done = 0.0
        self._limit = 0.0

    @contextmanager
    def step(self, label: str, total: float | None = None, unit: str = "rows") -> Iterator["Watcher"]:
        self._done = 0.0
        self._limit = (self._stop or 0) + 0.5 if unit == "epochs" else 0.0
        yield self

    def advance(self, done: float = 1, note: str = "") -> None:
        self.calls += 1
        self._done += done
        if self._stop is not None and self._done > self._limit:
            raise Interrupted


def finite(scores: torch.Tensor) -> bool:
    return bool(torch.isfinite(scores[:, 1:]).all()) and bool(torch.isneginf(scores[:, 0]).all())
