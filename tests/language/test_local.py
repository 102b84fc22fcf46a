from __future__ import annotations

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.language.conftest import tiny_folder
from weft.errors import RequestError, WeftError
from weft.language import loading, memory
from weft.language.engine import Identity, Sampling
from weft.language.local import LocalModel
from weft.language.tokens import SLOT

CONTENTS = [
    "A quiet film",
    "Tell me about the lighthouse keeper, a slow and gentle story.",
    "Hi",
    "Harbour; Winter Sun",
    "No",
]
PROMPTS = [[{"role": "user", "content": content}] for content in CONTENTS]


@pytest.fixture(scope="module")
def model(model_folder):
    torch.set_num_threads(1)
    return LocalModel.open(model_folder, device="cpu")


def texts(model, prompts, sampling):
    return [answer.text for _, answer in sorted(model.generate(prompts, sampling), key=lambda pair: pair[0])]


def naive(model, prompt, steps):
    """Greedy, one token after the other, the whole text read anew for each."""
    ids = model.final(prompt)
    written = []
    with torch.no_grad():
        for _ in range(steps):
            token = int(model.model(torch.tensor([[*ids, *written]])).logits[0, -1].argmax())
            written.append(token)
            if token == model.tokenizer.eos_token_id:
                break
    return model.tokenizer.decode(written, skip_special_tokens=True)


def test_greedy_answers_are_those_of_a_naive_loop_in_any_batch(model):
    sampling = Sampling(max_tokens=16)
    expected = [naive(model, prompt, 16) for prompt in PROMPTS]
    assert texts(model, PROMPTS, sampling) == expected
    small = LocalModel(model.model, model.tokenizer, model.identity, batch_tokens=60)
    assert texts(small, PROMPTS, sampling) == expected


def test_drawn_answers_depend_on_no_batch(model):
    sampling = Sampling(max_tokens=16, temperature=1.0, top_p=0.9, seed=5)
    together = texts(model, PROMPTS, sampling)
    assert [texts(model, [prompt], sampling)[0] for prompt in PROMPTS] == together
    assert texts(model, PROMPTS[::-1], sampling) == together[::-1]
    assert texts(model, PROMPTS, Sampling(max_tokens=16, temperature=1.0, top_p=0.9, seed=6)) != together
    assert texts(model, PROMPTS, Sampling(max_tokens=16)) != together


def test_the_folder_s_own_generation_settings_change_nothing(model, model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "other")
    settings = json.loads((folder / "generation_config.json").read_text())
    settings |= {"do_sample": True, "temperature": 5.0, "repetition_penalty": 3.0, "max_length": 3, "top_k": 2}
    settings |= {"no_repeat_ngram_size": 1, "suppress_tokens": list(range(0, 400, 2))}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    other = LocalModel.open(folder, device="cpu")
    assert texts(other, PROMPTS, Sampling(max_tokens=16)) == texts(model, PROMPTS, Sampling(max_tokens=16))


def test_every_end_token_of_the_folder_ends_an_answer(model, model_folder, tmp_path):
    """Llama 3 and others name several."""
    ids = model.final(PROMPTS[0])
    with torch.no_grad():
        first = int(model.model(torch.tensor([ids])).logits[0, -1].argmax())
    folder = shutil.copytree(model_folder, tmp_path / "other")
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": [first, model.tokenizer.eos_token_id]}))
    ((_, answer),) = LocalModel.open(folder, device="cpu").generate(PROMPTS[:1], Sampling(max_tokens=16))
    assert (answer.text, answer.finish, answer.tokens_out) == ("", "stop", 1)


def test_a_stop_text_that_several_tokens_make_up_ends_its_own_row_only(model):
    plain = texts(model, PROMPTS, Sampling(max_tokens=24))
    vocabulary = [model.tokenizer.decode([token]) for token in range(len(model.tokenizer))]
    slices = [plain[1][place : place + 3] for place in range(3, len(plain[1]) // 2)]
    stop = next(
        text
        for text in slices
        if "\ufffd" not in text and text not in plain[0] and not any(text in token for token in vocabulary)
    )
    stopped = dict(model.generate(PROMPTS, Sampling(max_tokens=24, stop=(stop,))))
    assert stopped[1].text == plain[1][: plain[1].index(stop)]
    assert stopped[1].finish == "stop"
    assert stopped[1].tokens_out < 24
    assert stopped[0].text == plain[0]


def test_a_prompt_that_leaves_no_room_fails_alone(model):
    long = [{"role": "user", "content": "film " * 600}]
    got = dict(model.generate([PROMPTS[0], long], Sampling(max_tokens=4)))
    assert got[0].finish == "length"
    assert got[1].finish == "failed"
    assert "are more than the 512 it can read" in got[1].error


def test_no_text_is_written_after_a_slot(model):
    ((_, answer),) = model.generate([[{"role": "user", "content": f"A {SLOT}"}]], Sampling())
    assert answer.finish == "failed"
    assert "slot" in answer.error


def test_an_answer_s_seconds_add_up_over_its_batch(model):
    got = [answer for _, answer in model.generate(PROMPTS, Sampling(max_tokens=4))]
    assert len({answer.seconds for answer in got}) == 1
    assert sum(answer.seconds for answer in got) < 30


def test_choices_are_text_and_wordings_with_equal_tokens_count_once(model):
    once = model.choice_probabilities(PROMPTS, [("Yes", " Yes"), ("No", " No")])
    twice = model.choice_probabilities(PROMPTS, [("Yes", " Yes", "Yes", "Yes, indeed"), (" No", "No")])
    np.testing.assert_allclose(once.sum(1), 1)
    np.testing.assert_allclose(twice, once, atol=1e-6)
    logs = model.choice_log_probabilities(PROMPTS, [("Yes", " Yes"), ("No", " No")])
    assert (np.exp(logs).sum(1) < 1).all()
    np.testing.assert_allclose(np.exp(logs[:, 0]) / np.exp(logs).sum(1), once[:, 0])


def test_choice_probabilities_sum_the_wordings_of_a_naive_reading(model):
    def log_of(prompt, text):
        ids, said = model.final(prompt), model.tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logs = model.model(torch.tensor([ids + said])).logits[0].double().log_softmax(-1)
        return sum(float(logs[len(ids) - 1 + step, token]) for step, token in enumerate(said))

    choices = [("Yes", " Yes"), ("Harbour; Winter",)]
    expected = [
        [np.log(sum(np.exp(log_of(prompt, text)) for text in choice)) for choice in choices] for prompt in PROMPTS
    ]
    np.testing.assert_allclose(model.choice_log_probabilities(PROMPTS, choices), expected, atol=1e-5)


def test_the_embedding_of_a_token_in_a_slot_is_that_token(model):
    """A slot that is given the vector of ``film`` is ``film``."""
    (film,) = model.tokens.answer(" film")
    vector = model.input_embeddings().weight[film].detach().numpy()[None]
    slot = model.choice_probabilities([[{"role": "user", "content": f"A quiet{SLOT}."}]], [("Yes",), ("No",)], [vector])
    word = model.choice_probabilities([[{"role": "user", "content": "A quiet film."}]], [("Yes",), ("No",)])
    np.testing.assert_allclose(slot, word, atol=1e-6)


def test_a_prompt_that_is_too_long_to_score_is_named(model):
    with pytest.raises(RequestError, match=r"prompt 1: .* more than the 512"):
        model.choice_probabilities([PROMPTS[0], [{"role": "user", "content": "film " * 600}]], [("Yes",), ("No",)])


def test_vectors_are_means_of_last_hidden_states(model):
    texts_ = ["A quiet film about the sea", "No", "Harbour"]
    got = model.embed(texts_)
    assert got.dtype == np.float32
    for row, text in zip(got, texts_, strict=True):
        ids = model.tokenizer(text)["input_ids"]
        with torch.no_grad():
            states = model.model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0]
        np.testing.assert_allclose(row, states.mean(0).numpy(), atol=1e-5)


def test_a_long_text_is_read_in_parts_and_nothing_is_cut(model):
    text = "A quiet film about the sea. " * 20 + "Harbour"
    ids = model.tokens.text(text)
    got = model.embed([text], max_tokens=50)[0]
    parts = -(-len(ids) // 50)
    cuts = [len(ids) * k // parts for k in range(parts + 1)]
    with torch.no_grad():
        states = [
            model.model(torch.tensor([ids[a:b]]), output_hidden_states=True).hidden_states[-1][0]
            for a, b in pairwise(cuts)
        ]
    np.testing.assert_allclose(got, torch.cat(states).mean(0).numpy(), atol=1e-5)
    assert max(b - a for a, b in pairwise(cuts)) <= 50
    assert np.abs(model.embed([text + " No"], max_tokens=50)[0] - got).max() > 1e-3


def test_a_text_without_tokens_has_a_vector_of_zeros(qwen_folder):
    got = LocalModel.open(qwen_folder, device="cpu").embed(["", "No", SLOT])
    assert not got[0].any()
    assert got[1].any()
    assert np.isfinite(got).all()


def test_an_adapter_changes_answers_and_identity(llama_folder, tmp_path):
    base = AutoModelForCausalLM.from_pretrained(llama_folder)
    torch.manual_seed(1)
    tuned = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    tuned.save_pretrained(tmp_path / "adapter")
    plain = LocalModel.open(llama_folder, device="cpu")
    adapted = LocalModel.open(llama_folder, adapter=tmp_path / "adapter", device="cpu")
    assert plain.identity.adapter == ""
    assert len(adapted.identity.adapter) == 64
    ids = torch.tensor([plain.final(PROMPTS[0])])
    with torch.no_grad():
        expected = tuned.eval()(ids).logits[0, -1].log_softmax(-1)
    (token,) = plain.tokens.answer(" film")
    got = adapted.choice_log_probabilities(PROMPTS[:1], [(" film",), ("No",)])[0, 0]
    np.testing.assert_allclose(got, float(expected[token]), atol=1e-5)
    before = plain.choice_log_probabilities(PROMPTS[:1], [(" film",), ("No",)])[0, 0]
    assert abs(got - before) > 1e-3


def test_answers_are_kept_under_the_weights_not_under_the_path(llama_folder, tmp_path):
    copy = shutil.copytree(llama_folder, tmp_path / llama_folder.name)
    here, there = LocalModel.open(llama_folder, device="cpu"), LocalModel.open(copy, device="cpu")
    assert here.identity == there.identity
    other = tiny_folder(tmp_path / "other" / llama_folder.name, "llama", seed=1)
    assert LocalModel.open(other, device="cpu").identity != here.identity
    named = LocalModel.open(copy, revision="abc", known_as="house", device="cpu")
    assert named.identity == Identity("house", "abc")


def test_pickled_weights_are_not_read(llama_folder, tmp_path):
    folder = shutil.copytree(llama_folder, tmp_path / "pickled")
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(RequestError, match="cannot be opened"):
        LocalModel.open(folder, device="cpu")


def test_a_pickled_adapter_is_not_read(llama_folder, tmp_path):
    base = AutoModelForCausalLM.from_pretrained(llama_folder)
    adapter = tmp_path / "adapter"
    get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(adapter)
    (adapter / "adapter_model.safetensors").unlink()
    torch.save({}, adapter / "adapter_model.bin")
    with pytest.raises(RequestError, match=r"adapter_model\.safetensors"):
        LocalModel.open(llama_folder, adapter=adapter, device="cpu")


def test_a_model_that_brings_code_is_refused_and_its_code_not_run(llama_folder, tmp_path):
    folder = shutil.copytree(llama_folder, tmp_path / "coded")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.C"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RequestError, match="cannot be opened"):
        LocalModel.open(folder, device="cpu")
    assert not (tmp_path / "ran").exists()


def test_an_unknown_folder_is_a_clear_error(tmp_path):
    with pytest.raises(RequestError, match="nowhere cannot be opened as a causal language model"):
        LocalModel.open(tmp_path / "nowhere", device="cpu")


def test_a_model_that_does_not_fit_is_refused_before_its_weights_are_read(llama_folder, monkeypatch):
    monkeypatch.setattr(memory, "free", lambda _: 1000)
    monkeypatch.setattr(loading, "read_model", lambda *_, **__: pytest.fail("weights were read"))
    with pytest.raises(WeftError, match=r"needs .* GiB"):
        LocalModel.open(llama_folder, device="cpu")


def test_a_gpu_that_is_not_there_is_a_clear_error(llama_folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RequestError, match="torch sees none"):
        LocalModel.open(llama_folder, device="cuda")


def test_weights_have_the_type_that_was_asked_for(llama_folder):
    half = LocalModel.open(llama_folder, device="cpu", dtype="bfloat16")
    assert half.input_embeddings().weight.dtype == torch.bfloat16
    assert LocalModel.open(llama_folder, device="cpu").input_embeddings().weight.dtype == torch.float32
    full = LocalModel.open(llama_folder, device="cpu").choice_probabilities(PROMPTS, [("Yes",), ("No",)])
    np.testing.assert_allclose(half.choice_probabilities(PROMPTS, [("Yes",), ("No",)]), full, atol=0.1)
    assert AutoTokenizer.from_pretrained(llama_folder).chat_template
