"""The fit loop: what it keeps, when it stops, and that an interruption leaves no trace."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from weft.errors import WeftError
from weft.models.settings import FitSettings
from weft.progress import NoProgress
from weft.training import loop
from weft.training.averaging import average_of
from weft.training.runtime import Runtime


class Line(nn.Module):
    """Fits y = 2x."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(1, 1))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        noise = torch.rand(()) * 1e-3  # like dropout: drawn from torch's generator
        return ((x @ self.slope - y) ** 2).mean() + noise * self.slope.sum()


class Exact(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(1, 1))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return ((x @ self.slope - y) ** 2).mean()


class Points:
    def __len__(self) -> int:
        return 4

    def epoch(self, number: int):
        for step in range(4):
            x = torch.full((2, 1), 1.0 + step + 0.1 * number)
            yield (x, 2 * x), 2


def _fit(
    module: nn.Module, measure=None, work: Path | None = None, points=None, per_batch=None, **settings
) -> pl.DataFrame:
    settings = FitSettings(**{"epochs": 6, "patience": 0, "learning_rate": 0.05, **settings})
    runtime = Runtime(device="cpu", work=work)
    validation = loop.Validation("ndcg@10", measure) if measure else None
    fabric = loop.open_fabric(runtime)
    return loop.fit(module, points or Points(), settings, runtime, validation, fabric, per_batch=per_batch)


def test_the_loss_falls_and_without_validation_the_last_epoch_is_kept() -> None:
    history = _fit(Line())
    assert history["loss"].is_sorted(descending=True)
    assert history["best"].to_list() == [False] * 5 + [True]
    assert history["validation"].null_count() == 6


def test_the_weights_of_the_best_epoch_are_kept_and_patience_stops_the_fit() -> None:
    module, metrics, slopes = Line(), iter([0.1, 0.3, 0.2, 0.25, 0.9]), []

    def validate() -> float:
        slopes.append(module.slope.item())
        return next(metrics)

    history = _fit(module, validate, patience=2)
    assert history["epoch"].to_list() == [1, 2, 3, 4]
    assert history.filter("best")["epoch"].to_list() == [2]
    assert history["validation"].to_list() == [0.1, 0.3, 0.2, 0.25]
    assert history["metric"].to_list() == ["ndcg@10"] * 4
    assert module.slope.item() == slopes[1]


def test_a_fit_ends_at_the_first_value_that_is_enough_and_a_resumed_one_does_not_start_again(tmp_path: Path) -> None:
    values = iter([0.1, 0.8, 0.5, 0.9, 0.95])
    settings, runtime = FitSettings(epochs=6, patience=0), Runtime(device="cpu", work=tmp_path)
    for _ in range(2):
        validation = loop.Validation("cloze", lambda: next(values), enough=0.8)
        history = loop.fit(Line(), Points(), settings, runtime, validation, loop.open_fabric(runtime))
        assert history["validation"].to_list() == [0.1, 0.8]


def test_a_resumed_fit_counts_its_own_epochs_alone_so_that_the_time_left_is_true(tmp_path: Path) -> None:
    opened: list[tuple[str, float | None]] = []

    class Watch(NoProgress):
        def step(self, label: str, total: float | None = None, unit: str = "rows"):
            opened.append((label, total))
            return super().step(label, total, unit)

    for epochs in (2, 6):
        settings = FitSettings(epochs=epochs, patience=0)
        runtime = Runtime(device="cpu", work=tmp_path, progress=Watch())
        loop.fit(Line(), Points(), settings, runtime, None, loop.open_fabric(runtime))
    assert opened == [("training", 2), ("training on from epoch 2", 4)]


def test_who_listens_to_a_resumed_fit_hears_of_all_its_epochs(tmp_path: Path) -> None:
    def heard(work: Path, epochs: int) -> list[float]:
        values: list[float] = []
        runtime = Runtime(device="cpu", work=work, measured=values.append)
        module = Line()
        validation = loop.Validation("ndcg@10", module.slope.item)
        settings = FitSettings(epochs=epochs, patience=0, learning_rate=0.05)
        loop.fit(module, Points(), settings, runtime, validation, loop.open_fabric(runtime))
        return values

    heard(tmp_path / "broken", 2)
    assert heard(tmp_path / "broken", 5) == heard(tmp_path / "whole", 5)
    assert len(heard(tmp_path / "whole", 5)) == 5


def test_a_batch_in_parts_is_one_step_along_the_gradient_of_the_whole() -> None:
    class Parted:
        def __len__(self) -> int:
            return 1

        def epoch(self, number: int):
            x = torch.tensor([[1.0], [2.0], [5.0], [0.5], [3.0]])  # the mean of the squares is 7.85
            yield [((part, 2 * part), len(part)) for part in x.split([1, 4])]

    module, gradients = Exact(), []
    module.slope.register_post_accumulate_grad_hook(lambda slope: gradients.append(slope.grad.item()))
    history = _fit(module, points=Parted(), epochs=2)
    assert gradients[:2] == pytest.approx([-4 * 1 / 5, -4 * 7.85])
    assert history["loss"][0] == pytest.approx(4 * 7.85)
    # One step of Adam: 0.05 up, whatever the gradient; then along the gradient from there, not from zero.
    assert gradients[2:] == pytest.approx([-2 * 1.95 * 1 / 5, -2 * 1.95 * 7.85])


@pytest.mark.parametrize(("per_batch", "expected"), [(None, [-4.0, -4 * 9.5625]), (2.5, [-4 * 0.4, -4 * 9.5625 * 1.6])])
def test_a_batch_weighs_as_its_targets_do_where_they_shall_count_alike(
    per_batch: float | None, expected: list[float]
) -> None:
    class Uneven:
        def __len__(self) -> int:
            return 2

        def epoch(self, number: int):
            for x in torch.tensor([[1.0], [2.0], [5.0], [0.5], [3.0]]).split([1, 4]):  # means of squares 1 and 9.5625
                yield (x, 2 * x), len(x)

    module, gradients = Exact(), []
    module.slope.register_post_accumulate_grad_hook(lambda slope: gradients.append(slope.grad.item()))
    history = _fit(module, points=Uneven(), per_batch=per_batch, epochs=1, learning_rate=1e-9)
    assert gradients == pytest.approx(expected)
    assert history["loss"][0] == pytest.approx(4 * (1 + 4 * 9.5625) / 5)  # what is told is the mean of targets anyway


def test_the_learning_rate_warms_up_and_decays_to_nothing() -> None:
    settings = FitSettings(warmup=0.5, decay="linear")
    shares = [loop._schedule(step, 8, settings) for step in range(9)]
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 0.75, 0.5, 0.25, 0.0])


def test_a_loss_that_is_no_number_stops_the_fit_with_a_remedy() -> None:
    class Broken(Line):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return super().forward(x, y) * float("nan")

    with pytest.raises(WeftError, match="lower learning_rate"):
        _fit(Broken())


def test_a_checkpoint_that_cannot_be_read_means_starting_over(tmp_path: Path) -> None:
    (tmp_path / "fit.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00garbage!")
    module = Line()
    assert len(_fit(module, work=tmp_path)) == 6
    unbroken = Line()
    _fit(unbroken)
    assert torch.equal(module.slope, unbroken.slope)


SCRIPT = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.training.test_loop import Line, Points, _fit
from safetensors.torch import save_file

class Slow(Points):
    def epoch(self, number):
        for batch in super().epoch(number):
            time.sleep(0.03 if sys.argv[3] == "slow" else 0)
            yield batch

module = Line()
history = _fit(module, work=Path(sys.argv[1]), points=Slow(), measure=lambda: module.slope.item())
save_file(dict(module.state_dict()), sys.argv[2])
history.write_parquet(sys.argv[2] + ".parquet")
"""


def test_an_average_begins_as_the_first_step_and_leaves_the_early_ones_behind() -> None:
    line = Line()
    for decay, expected in ((0.9, 0.25 * (2 / 11 + 18 / 11) + 0.75 * 3), (0.2, 0.2 * (2 / 11 + 18 / 11) + 0.8 * 3)):
        average = average_of(line, decay)
        for slope in (1.0, 2.0, 3.0):
            with torch.no_grad():
                line.slope.fill_(slope)
            average.update_parameters(line)
        assert average.module.slope.item() == pytest.approx(expected)


def test_an_averaged_fit_is_judged_and_kept_by_its_average_and_goes_on_from_its_own_weights() -> None:
    module, seen, plain = Line(), [], []
    history = _fit(module, lambda: seen.append(module.slope.item()) or -abs(2.1 - module.slope.item()), average=0.5)
    other = Line()
    expected = _fit(other, lambda: plain.append(other.slope.item()) or 0.0)
    assert history["loss"].to_list() == expected["loss"].to_list()  # the steps are the same
    assert all(average != own for average, own in zip(seen, plain, strict=True))
    assert module.slope.item() == max(seen, key=lambda slope: -abs(2.1 - slope))


def test_an_averaged_fit_without_validation_ends_with_its_average() -> None:
    module, plain = Line(), Line()
    _fit(module, average=0.5)
    _fit(plain)
    assert module.slope.item() != plain.slope.item()
    assert module.slope.item() == pytest.approx(plain.slope.item(), rel=0.2)


def test_an_averaged_fit_that_was_interrupted_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    def rising(first: int, end: int = 100) -> Callable[[], float]:
        values = iter(range(first, end))

        def measure() -> float:
            value = next(values, None)
            if value is None:
                raise KeyboardInterrupt
            return float(value)

        return measure

    whole, broken, again = Line(), Line(), Line()
    _fit(whole, rising(0), average=0.9)
    with pytest.raises(KeyboardInterrupt):
        _fit(broken, rising(0, end=3), work=tmp_path, average=0.9)
    _fit(again, rising(3), work=tmp_path, average=0.9)
    assert again.slope.item() == whole.slope.item()
    assert _fit(Line(), work=tmp_path)["epoch"].len() == 6  # a fit without an average does not go on from it


@pytest.mark.parametrize("epochs_before", [1, 3])
def test_a_fit_killed_after_an_epoch_goes_on_and_ends_with_the_weights_of_an_unbroken_one(
    tmp_path: Path, epochs_before: int
) -> None:
    command = [
        sys.executable,
        "-c",
        SCRIPT.format(root=str(Path(__file__).parents[2])),
        tmp_path / "work",
        tmp_path / "end",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, "slow"], env=environment)
    file, saved, standing = tmp_path / "work" / "fit.safetensors", 0, 0
    while saved < epochs_before:
        assert process.poll() is None, "the fit must not finish before it is killed"
        time.sleep(0.005)
        if file.exists() and file.stat().st_mtime_ns != standing:
            saved, standing = saved + 1, file.stat().st_mtime_ns
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run([*command, "fast"], check=True, env=environment)

    unbroken = Line()
    history = _fit(unbroken, measure=unbroken.slope.item)
    assert torch.equal(load_file(tmp_path / "end")["slope"], unbroken.slope)
    assert pl.read_parquet(tmp_path / "end.parquet").equals(history)
