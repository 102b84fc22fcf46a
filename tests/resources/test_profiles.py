import os
import subprocess
import sys

import open_clip
import pytest
import yaml

from resources import profiles
from resources.artifacts import ArtifactStore
from resources.language_model import LanguageModel, needs
from resources.profiles import PROFILES, LanguageModelSpec, TextTask
from weft.errors import MissingArtifactError, RequestError
from weft.language.prompts import template


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_is_whole_and_its_prompts_exist(name: str) -> None:
    profile = profiles.load(name)
    for family in ("enrichment", "intent", "assessment"):
        assert template(family, getattr(profile, family).prompt).stamp
    assert {"cit_rec", "dualrec", "score"} == set(profile.tuning)


def test_the_paper_profile_names_the_models_and_settings_of_the_papers() -> None:
    paper = profiles.load("paper")
    assert paper.language_model(paper.text_encoder).name == "meta-llama/Llama-2-7b-hf"
    assert paper.language_model(paper.intent.model).name == "Qwen/Qwen-7B-Chat"
    assert paper.language_model(paper.tuning["score"].model).name == "meta-llama/Llama-3.1-8B-Instruct"
    assert paper.reranker.name == "BAAI/bge-reranker-large"
    assert (paper.tuning["cit_rec"].rank, paper.tuning["cit_rec"].alpha, paper.tuning["cit_rec"].dropout) == (
        8,
        32,
        0.1,
    )
    assert paper.assessment.limit == 10_000


def test_only_the_offline_profile_needs_the_house() -> None:
    assert [name for name in PROFILES if profiles.load(name).needs_house] == ["offline"]


def test_an_unknown_profile_is_refused_with_the_choice() -> None:
    with pytest.raises(RequestError, match="choose from offline, paper, small"):
        profiles.load("huge")


def test_a_profile_that_names_a_model_it_has_not_is_refused(monkeypatch, tmp_path) -> None:
    fields = yaml.safe_load((profiles._FOLDER / "offline.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(fields | {"text_encoder": "nobody"}))
    monkeypatch.setattr(profiles, "_FOLDER", tmp_path)
    monkeypatch.setattr(profiles, "PROFILES", ("mine",))
    with pytest.raises(RequestError, match="'nobody'"):
        profiles.load("mine")


def test_reading_profiles_imports_no_torch() -> None:
    code = "import sys; from resources import profiles; profiles.load('paper'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == 0


def test_a_house_model_that_was_never_trained_is_named(tmp_path) -> None:
    task = TextTask(model="house", prompt="brief")
    with pytest.raises(MissingArtifactError, match="language_model"):
        LanguageModel().writer(ArtifactStore(tmp_path), profiles.load("offline"), task, "cpu")


def test_an_endpoint_whose_key_is_not_set_is_refused_before_any_question(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    paper = profiles.load("paper")
    with pytest.raises(RequestError, match="DEEPSEEK_API_KEY is not set"):
        LanguageModel().writer(ArtifactStore(tmp_path), paper, paper.enrichment, "cpu")


def test_an_address_that_is_set_takes_the_place_of_the_profiles_writer(tmp_path) -> None:
    resource = LanguageModel(base_url="http://localhost:9/v1", name="mine")
    writer = resource.writer(ArtifactStore(tmp_path), profiles.load("offline"), profiles.load("offline").intent, "cpu")
    assert writer.identity.model == "mine"


def test_what_a_model_needs_is_told_in_gib_and_a_key_is_never_shown(monkeypatch) -> None:
    monkeypatch.setenv("SECRET_KEY_OF_MINE", "do-not-print")
    told = needs(LanguageModelSpec(kind="local", name="meta-llama/Llama-2-7b-hf", dtype="float32"))
    assert "GiB" in told
    assert ("does not fit" in told) or ("fits" in told)
    endpoint = LanguageModelSpec(kind="endpoint", name="m", base_url="http://localhost:1/v1", key="SECRET_KEY_OF_MINE")
    assert "(set)" in needs(endpoint)
    assert "do-not-print" not in needs(endpoint)


def test_a_key_where_its_variable_is_to_be_named_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="should match pattern") as error:
        LanguageModel(base_url="http://localhost:1/v1", name="m", key="sk-live-secret!")
    assert "pattern" in str(error.value)


def test_an_address_without_a_name_is_refused(tmp_path) -> None:
    offline = profiles.load("offline")
    with pytest.raises(RequestError, match="and language_model"):
        LanguageModel(base_url="http://localhost:1/v1").writer(ArtifactStore(tmp_path), offline, offline.intent, "cpu")


def test_two_servers_under_one_name_are_two_writers_unless_somebody_names_their_revision(tmp_path) -> None:
    offline, store = profiles.load("offline"), ArtifactStore(tmp_path)

    def identity(**settings: str):
        return LanguageModel(name="m", **settings).writer(store, offline, offline.intent, "cpu").identity

    one, other = (identity(base_url=f"http://localhost:{port}/v1") for port in (1, 2))
    assert one != other
    one, other = (identity(base_url=f"http://localhost:{port}/v1", revision="v2") for port in (1, 2))
    assert one == other


def test_the_paper_profile_takes_clip_with_the_activation_that_its_weights_were_trained_with() -> None:
    spec = profiles.load("paper").image_text_model
    weights = open_clip.get_pretrained_cfg(spec.name, spec.pretrained)
    assert weights["quick_gelu"] == bool(open_clip.get_model_config(spec.name).get("quick_gelu"))
