"""The adapter and its folder: plain PEFT reads it, and nothing of this machine is in it."""

import json

import pytest
import torch
from peft import PeftModel

from tests.language.conftest import tiny_folder
from tests.tuning.conftest import SETTINGS, rows, soft_tokens, tiny
from weft.errors import RequestError
from weft.language.engine import Identity
from weft.language.local import LocalModel
from weft.training.runtime import Runtime
from weft.tuning import adapter
from weft.tuning.answers import tune

IDS = torch.arange(30)[None]


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def tuned(request, tmp_path_factory):
    """A model's folder, the model after tuning, and the folder of its adapter."""
    base = tiny_folder(tmp_path_factory.mktemp(request.param) / "base", request.param)
    model = LocalModel.open(base, device="cpu", known_as="house")
    tune(model, rows(16), soft_tokens(model), SETTINGS, Runtime(device="cpu"), None)
    folder = base.parent / "adapter"
    adapter.to_folder(model, folder)
    return base, model, folder


@torch.inference_mode()
def logits(model: torch.nn.Module) -> torch.Tensor:
    return model(input_ids=IDS).logits


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_plain_peft_loads_the_folder_onto_the_unchanged_model(tuned):
    base, model, folder = tuned
    plain = LocalModel.open(base, device="cpu").model
    untuned = logits(plain)
    loaded = PeftModel.from_pretrained(plain, str(folder)).eval()
    assert torch.equal(logits(loaded), logits(model.model))
    assert (logits(loaded) - untuned).abs().max() > 0.1
    merged = loaded.merge_and_unload()
    torch.testing.assert_close(logits(merged), logits(model.model), rtol=1e-4, atol=1e-4)


def test_the_house_opens_the_folder_as_it_opens_any_adapter(tuned):
    base, model, folder = tuned
    opened = LocalModel.open(base, adapter=folder, device="cpu")
    assert torch.equal(logits(opened.model), logits(model.model))
    again = folder.parent / "again"
    adapter.to_folder(opened, again)
    assert (again / "adapter_model.safetensors").read_bytes() == (folder / "adapter_model.safetensors").read_bytes()


def test_a_tuned_model_is_known_as_the_model_that_is_opened_with_its_adapter(tuned):
    base, model, folder = tuned
    opened = LocalModel.open(base, adapter=folder, device="cpu", known_as="house")
    assert opened.identity.adapter == adapter.digest_of(model)
    assert model.identity == opened.identity
    assert model.identity != LocalModel.open(base, device="cpu", known_as="house").identity


def test_the_folder_names_the_model_and_no_place_on_this_machine(tuned):
    base, _, folder = tuned
    assert sorted(file.name for file in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    written = (folder / "adapter_config.json").read_text()
    assert str(base.parent) not in written
    config = json.loads(written)
    assert config["base_model_name_or_path"] == "house"
    assert config["target_modules"] == sorted(SETTINGS.modules)
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (4, 8, 0.1)
    assert config["inference_mode"] is True


def test_writing_leaves_the_model_as_it_trains(tuned):
    _, model, folder = tuned
    adapter.to_folder(model, folder.parent / "once_more")
    assert model.model.peft_config["default"].inference_mode is False
    assert len(adapter.parameters(model)) == 28


def test_a_new_adapter_changes_no_answer_and_is_drawn_from_the_seed_alone(kind):
    before, drawn = logits(tiny(kind).model), []
    for seed in (1, 1, 2):
        model = tiny(kind)
        state = torch.get_rng_state()
        adapter.add(model, SETTINGS, seed)
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(logits(model.model), before)
        drawn.append([weight for name, weight in adapter.parameters(model).items() if "lora_A" in name])
        assert not model.model.training
    assert all(torch.equal(a, b) for a, b in zip(drawn[0], drawn[1], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(drawn[0], drawn[2], strict=True))


def test_an_adapter_of_alpha_over_rank_is_added_to_the_chosen_projections_alone():
    model = tiny()
    adapter.add(model, SETTINGS.model_copy(update={"modules": ("q_proj", "v_proj"), "rank": 2, "alpha": 6}), seed=0)
    names = {name.split(".lora_")[0].rpartition(".")[2] for name in adapter.parameters(model)}
    assert names == {"q_proj", "v_proj"}
    layer = model.model.model.layers[0].self_attn.q_proj
    with torch.no_grad():
        layer.lora_B["default"].weight.copy_(torch.randn(32, 2))
        given = torch.randn(1, 32)
        added = layer(given) - layer.base_layer(given)
        expected = 3 * given @ layer.lora_A["default"].weight.T @ layer.lora_B["default"].weight.T
    torch.testing.assert_close(added, expected, rtol=1e-4, atol=1e-5)


def test_dropout_takes_its_share_of_the_adapters_input():
    model = tiny()
    adapter.add(model, SETTINGS.model_copy(update={"dropout": 0.25}), seed=0)
    layer = model.model.model.layers[1].mlp.down_proj
    dropped = layer.train().lora_dropout["default"](torch.ones(200, 100))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)


def test_the_adapter_of_a_model_in_bfloat16_is_float32():
    model = tiny()
    model.model.to(torch.bfloat16)
    adapter.add(model, SETTINGS, seed=0)
    assert {weight.dtype for weight in adapter.parameters(model).values()} == {torch.float32}
    assert model.input_embeddings().weight.dtype == torch.bfloat16


def test_a_second_adapter_an_unknown_projection_and_a_model_without_one_are_refused(tmp_path):
    model = tiny()
    with pytest.raises(RequestError, match="'c_attn'") as refused:
        adapter.add(model, SETTINGS.model_copy(update={"modules": ("q_proj", "c_attn")}), seed=0)
    assert "q_proj" in refused.value.remedy
    with pytest.raises(RequestError, match="has no adapter"):
        adapter.to_folder(model, tmp_path)
    adapter.add(model, SETTINGS, seed=0)
    with pytest.raises(RequestError, match="an adapter already"):
        adapter.add(model, SETTINGS, seed=0)
    assert model.identity == Identity("tiny-llama")
