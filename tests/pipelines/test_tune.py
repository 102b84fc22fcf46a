"""``weft tune`` as a person uses it."""

from pathlib import Path

import pytest
import yaml

from pipelines.cli import invoke
from pipelines.commands.tune import _models
from resources.artifacts import ArtifactStore
from weft.cells import Cell
from weft.data import registry


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--systems", "nonsense"], "there is no system 'nonsense'"),
        (["--systems", "oracle"], "there is no system 'oracle'"),
        (["--systems", "din"], "din needs a pointwise protocol"),
        (["--systems", "popularity"], "popularity has no setting to vary"),
        (["--systems", "itemknn", "--protocol", "nonsense"], "there is no protocol 'nonsense'"),
        (["--systems", "itemknn", "--set", "sasrec.width=8"], "--set sasrec.width"),
        (["--systems", "itemknn", "--set", "width=8"], "--set width"),
        (["--systems", "itemknn", "--set", "itemknn.nonsense=8"], "itemknn.nonsense"),
        (["--systems", "itemknn", "--set", "itemknn.neighbours=0"], "itemknn.neighbours"),
        (["--systems", "sasrec", "--protocol", "pointwise_time", "--set", "sasrec.loss=cross_entropy"], "sasrec.loss"),
        (["--systems", "itemknn", "--trials", "0"], "--trials"),
        (["--dataset", "nonsense"], "there is no data set 'nonsense'"),
    ],
)
def test_a_wrong_request_is_refused_before_any_work(
    arguments: list[str], told: str, tiny_storage: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["tune", "-d", "tiny", *arguments]) == 2
    assert told in capfd.readouterr().err
    assert not list(tiny_storage.glob("*/*/dataset=*"))
    assert not (tiny_storage / "tuned").exists()


def test_of_a_set_of_systems_the_models_are_tried_that_can_be(tmp_path: Path) -> None:
    spec = registry.specify(str(tmp_path), "tiny", format="storefront")
    ranked = {model.name for model in _models("baselines", spec, "leave_one_out")}
    judged = {model.name for model in _models("baselines", spec, "pointwise_time")}
    assert {"itemknn", "recent_popularity", "sasrec"} <= ranked
    assert not {"popularity", "oracle", "din"} & ranked
    assert judged - ranked == {"din"}
    assert [model.name for model in _models("sasrec,itemknn", spec, "leave_one_out")] == ["sasrec", "itemknn"]


def test_trials_are_shown_kept_and_there_for_questions(tiny_storage: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asked = ["tune", "-d", "tiny", "--systems", "itemknn", "--protocol", "global_time", "--seed", "3"]
    assert invoke([*asked, "--trials", "2", "--set", "itemknn.shrink=5"]) == 0
    told = capfd.readouterr().out
    assert "itemknn: trials on validation" in told
    assert "NDCG@10" in told
    chosen = yaml.safe_load((tiny_storage / "tuned" / "tiny.yaml").read_text())
    assert chosen["global_time"]["itemknn"]["shrink"] == 5
    assert yaml.safe_dump(chosen, sort_keys=False) in told
    assert ArtifactStore(tiny_storage).read("behaviour.trials", Cell("tiny", "global_time", seed=3)).height == 2
    assert invoke(["query", "select system, trial, value from behaviour.trials where seed = '3'"]) == 0
    assert capfd.readouterr().out.count("itemknn") == 2
