"""The speed benchmark's own arithmetic, on made-up figures; no peer is installed or started."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import sasrec_speed
from benchmarks.speed import matmul
from benchmarks.speed.time_to import Reached, Watch
from benchmarks.speed.verdict import BOUNDS, markdown, medians, verdicts
from benchmarks.speed.workload import Clock, Histories, Job, check_answers
from weft.models.settings import FitSettings
from weft.training import loop
from weft.training.runtime import Runtime

# Training positions and top-10 users per second, by library and length, of the middle repeat.
RATES = {
    ("weft", 200): (40_000.0, 4_000.0),
    ("rectools", 200): (5_000.0, 600.0),
    ("replay", 200): (10_000.0, 1_000.0),
    ("weft", 50): (40_000.0, 9_000.0),
    ("rectools", 50): (10_000.0, 1_000.0),
    ("replay", 50): (20_000.0, 4_000.0),
    ("recbole", 50): (1_000.0, 6_000.0),
}


def _runs(**skipped: object) -> list[dict]:
    """Three repeats: the middle one as in RATES, one where the machine took twice as long, one with an outlier."""
    runs = []
    for repeat, factor in enumerate((1.0, 0.5, 1.2)):
        for (library, length), (train, users) in RATES.items():
            if library == skipped.get("without"):
                continue
            figures = {"train_per_second": train * factor, "users_per_second": users * factor, "peak_mb": 1000.0}
            runs.append({"repeat": repeat, "length": length, "library": library, **figures})
    return runs


def _row(rows: list[dict], figure: str, length: int, peer: str) -> dict:
    return next(r for r in rows if (r["figure"], r["length"]) == (figure, length) and peer in r["peer"])


def test_a_median_ignores_the_slow_minute_and_the_lucky_one() -> None:
    assert medians(_runs())["200"]["weft"]["train_per_second"] == 40_000.0


def test_a_bound_holds_by_the_ratio_of_medians() -> None:
    rows = verdicts(_runs())
    rectools = _row(rows, "train_per_second", 200, "rectools")
    assert (rectools["ratio"], rectools["span"], rectools["holds"]) == (8.0, [8.0, 8.0], True)
    replay = _row(rows, "train_per_second", 50, "replay")
    assert (replay["ratio"], replay["least"], replay["holds"]) == (2.0, 2.2, False)
    assert len(rows) == sum(bound.dataset == "ml-1m" for bound in BOUNDS)
    beauty = verdicts(_runs(), "amazon-beauty-sequences")
    assert [(row["peer"], row["ratio"], row["least"]) for row in beauty] == [("rectools", 4.0, 3.0)]


def test_answers_at_50_are_compared_with_the_fastest_of_the_three() -> None:
    row = _row(verdicts(_runs()), "users_per_second", 50, "fastest")
    assert (row["peer"], row["ratio"], row["holds"]) == ("fastest peer (recbole)", 1.5, True)


def test_without_one_peer_the_fastest_is_unknown_and_no_verdict_is_given() -> None:
    rows = verdicts(_runs(without="recbole"))
    fastest = _row(rows, "users_per_second", 50, "fastest")
    assert (fastest["ratio"], fastest["holds"]) == (None, None)
    assert _row(rows, "train_per_second", 50, "recbole")["holds"] is None


def test_the_span_shows_a_repeat_in_which_the_ratio_was_another() -> None:
    runs = _runs()
    slow = next(r for r in runs if (r["repeat"], r["length"], r["library"]) == (2, 200, "replay"))
    slow["train_per_second"] = 24_000.0  # ours in that repeat: 48,000
    row = _row(verdicts(runs), "train_per_second", 200, "replay")
    assert (row["ratio"], row["span"]) == (4.0, [2.0, 4.0])


def test_the_kept_result_becomes_the_section_between_the_marks_again_and_again(tmp_path: Path) -> None:
    runs = _runs(without="recbole")
    machine = {"commit": "abc", "processor": "a CPU", "cores": 2, "memory_gib": 24.0}
    result = {"dataset": "ml-1m", "machine": machine, "threads": 2, "repeats": 3, "batches": 8, "load": 0.1}
    result |= {"verdicts": verdicts(runs), "medians": medians(runs)}
    result["time_to"] = {"goal": 0.15, "reached": True, "minutes": 3.5, "peak_mb": 1200, "epoch": 9}
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- sasrec_speed: begin -->\nstale\n<!-- sasrec_speed: end -->\nafter\n")
    kept = json.loads(json.dumps(result))  # as it comes back from the file
    sasrec_speed.render(kept, page)
    first = page.read_text()
    sasrec_speed.render(kept, page)
    assert page.read_text() == first
    assert first.startswith("before\n")
    assert first.endswith("after\n")
    assert "stale" not in first
    assert "| training positions/s | 200 | rectools | 8.00 | 8.00 to 8.00 | 7 | 10 | yes |" in first
    assert "| training positions/s | 50 | recbole | not measured | - | 30 | - | - |" in first
    assert "| 200 | weft | 40,000 | 4,000 | 1,000 | - |" in first
    assert "0.15 with the shipped settings: reached after 3.5 minutes (9 epochs, peak 1,200 MB)" in markdown(kept)


def test_the_page_has_the_marks_that_render_needs() -> None:
    text = sasrec_speed.PAGE.read_text()
    for name in map(sasrec_speed.name_of, {bound.dataset for bound in BOUNDS}):
        assert text.count(f"<!-- {name}: begin -->") == text.count(f"<!-- {name}: end -->") == 1


def test_a_process_speaks_through_its_last_json_line_and_its_failure_is_shown() -> None:
    python = Path(sys.executable)
    with pytest.raises(SystemExit, match=r"no_such_module failed[\s\S]*No module named"):
        sasrec_speed.measure(python, "benchmarks.no_such_module", threads=1)
    job = Job("histories.npz", "folder", 50, seed=2)
    assert Job(**json.loads(job.to_json())) == job


def test_the_clock_starts_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = iter([10.0, 20.0, 21.0, 24.0])
    monkeypatch.setattr("benchmarks.speed.workload.time.perf_counter", lambda: next(ends))
    clock = Clock(warmup=2)
    for targets in (999, 999, 50, 70):
        clock.batch_ended(targets)
    assert clock.rate == (50 + 70) / (24.0 - 20.0)


def test_answers_that_repeat_an_item_or_show_a_seen_one_are_refused() -> None:
    user, item = np.array([1, 1, 3], np.int32), np.array([5, 6, 7], np.int32)
    histories = Histories(user, item, np.zeros(3, np.int8), 30)
    assert histories.offsets.tolist() == [0, 2, 3]
    good = np.stack([np.arange(10, 20), np.arange(10, 20)])
    check_answers(good, histories)
    for wrong in (5, 11):  # seen by the first user; twice in the row
        bad = good.copy()
        bad[0, 0] = wrong
        with pytest.raises(SystemExit, match="user 0"):
            check_answers(bad, histories)
    with pytest.raises(SystemExit, match="shape"):
        check_answers(good[:1], histories)


def test_the_work_of_an_epoch_is_counted_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    epoch = matmul.Epoch(lengths=[3, 1], batch=1, width=4, blocks=2, n_items=5)
    work = {name: total for name, (total, _, _) in matmul.shares(epoch).items()}
    assert work["logits"] == work["gradient of states"] == work["gradient of items"] == 4 * 2 * 4 * 5
    assert work["query, key, value"] == 4 * 2 * 4 * 12 * 2
    assert work["square layers"] == 4 * 3 * 2 * 4 * 4 * 2
    assert work["attention"] == 6 * 2 * 4 * 2 * (9 + 1) / 2
    monkeypatch.setattr(matmul, "rate", lambda _call, _operations: 10.0)
    seconds, rates = matmul.ideal_seconds(epoch)
    assert seconds == pytest.approx(sum(work.values()) / 10.0)
    assert set(rates) == set(work)


class _Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * self.slope - 1).square().mean()


class _OneBatch:
    def __len__(self) -> int:
        return 1

    def epoch(self, number: int):
        yield (torch.ones(1),), 1


def test_the_watch_reads_the_metric_of_the_real_loop_and_ends_the_fit_at_the_goal() -> None:
    metrics, watch = iter([0.149, 0.151, 0.2]), Watch(0.15)
    runtime = Runtime(device="cpu", progress=watch)
    settings = FitSettings(epochs=6, patience=0, evaluate_every=2)
    validation = loop.Validation("ndcg@10", lambda: next(metrics))
    with pytest.raises(Reached):
        loop.fit(_Line(), _OneBatch(), settings, runtime, validation, loop.open_fabric(runtime))
    assert [(row["epoch"], row["ndcg_10"]) for row in watch.evaluations] == [(2, 0.149), (4, 0.151)]
