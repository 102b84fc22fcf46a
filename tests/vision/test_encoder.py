import io
import json
import shutil
import struct
import zlib

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from tests.vision.conftest import CPU
from weft.data.world.drawings import captioned
from weft.errors import RequestError
from weft.vision import pictures as decoding
from weft.vision.encoder import ImageTextEncoder


@pytest.fixture(scope="module")
def encoder(trained):
    return ImageTextEncoder(trained[0], runtime=CPU, batch=5)


@pytest.fixture(scope="module")
def pictures():
    return captioned(12, seed=9)["jpeg"].to_list()


DEEP = "amp;" * 5
"""Escaped more often than the tokeniser undoes at once, where a bare bracket stands in the text."""


def encoded(picture, kind="JPEG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(mode="RGB"):
    return Image.linear_gradient("L").resize((90, 60)).convert(mode)


def test_vectors_are_those_of_open_clip_one_picture_at_a_time(trained, encoder, pictures):
    model, prepare = open_clip.create_model_from_pretrained(f"local-dir:{trained[0]}")
    model.eval()
    vectors, seen = encoder.images(pictures)
    assert seen.all()
    assert vectors.dtype == np.float32
    assert vectors.shape == (12, encoder.width) == (12, 32)
    for picture, vector in zip(pictures, vectors, strict=True):
        with torch.inference_mode():
            plain = model.encode_image(prepare(Image.open(io.BytesIO(picture)))[None], normalize=True)[0].numpy()
        assert np.allclose(vector, plain, atol=1e-5)


def test_texts_are_those_of_open_clip(trained, encoder):
    model = open_clip.create_model_from_pretrained(f"local-dir:{trained[0]}", return_transform=False)
    model.eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{trained[0]}")
    texts = ["a drawing full of rings", "sailors", ""]
    vectors, chunks = encoder.texts(texts)
    with torch.inference_mode():
        plain = model.encode_text(tokens(texts), normalize=True).numpy()
    assert np.allclose(vectors, plain, atol=1e-5)
    assert chunks.tolist() == [1, 1, 1]
    assert chunks.dtype == np.int32


def test_a_vector_does_not_depend_on_its_batch(trained, encoder, pictures):
    whole = ImageTextEncoder(trained[0], runtime=CPU, batch=64)
    assert np.allclose(encoder.images(pictures)[0], whole.images(pictures)[0], atol=1e-5)
    assert np.allclose(encoder.images(pictures[::-1])[0][::-1], whole.images(pictures)[0], atol=1e-5)
    texts = [f"{count} rings on paper" for count in range(11)]
    assert np.allclose(encoder.texts(texts)[0], whole.texts(texts)[0], atol=1e-5)


def test_pictures_may_come_one_by_one_and_none_may_come_at_all(encoder, pictures):
    lazily, _ = encoder.images(iter(pictures))
    assert np.array_equal(lazily, encoder.images(pictures)[0])
    vectors, seen = encoder.images([])
    assert vectors.shape == (0, 32)
    assert seen.shape == (0,)
    vectors, chunks = encoder.texts([])
    assert vectors.shape == (0, 32)
    assert chunks.shape == (0,)


def test_only_two_batches_of_pictures_are_held_at_once(encoder, pictures):
    taken = []

    def source():
        for number, picture in enumerate(pictures * 3):
            taken.append(number)
            yield picture

    held = []
    original = encoder._encode

    def spying(tower, batch):
        held.append(len(taken) - 5 * len(held))
        return original(tower, batch)

    encoder._encode = spying
    try:
        encoder.images(source())
    finally:
        del encoder._encode
    assert len(held) == 8
    assert max(held) == 10


def test_what_cannot_be_decoded_is_marked_and_its_neighbours_are_not_touched(encoder, pictures, monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 100_000)
    good = pictures[0]
    bad = [b"", b"no picture", good[: len(good) // 2], encoded(Image.new("RGB", (400, 400)), "PNG"), b"\xff\xd8" * 40]
    mixed = [good, *bad, pictures[1]]
    vectors, seen = encoder.images(mixed)
    assert seen.tolist() == [True, False, False, False, False, False, True]
    assert np.array_equal(vectors[~seen], np.zeros((5, 32)))
    assert np.allclose(vectors[seen], encoder.images(pictures[:2])[0], atol=1e-5)
    none, unseen = encoder.images([b"", b""])
    assert not unseen.any()
    assert not none.any()


@pytest.mark.parametrize(
    ("mode", "kind"), [("CMYK", "JPEG"), ("L", "JPEG"), ("P", "PNG"), ("RGBA", "PNG"), ("1", "PNG"), ("P", "GIF")]
)
def test_pictures_of_any_colour_mode_are_read_as_rgb(encoder, mode, kind):
    content = encoded(gradient("RGB").convert(mode), kind)
    expected = Image.open(io.BytesIO(content)).convert("RGB")
    vectors, seen = encoder.images([content, encoded(expected, "PNG")])
    assert seen.all()
    assert np.allclose(vectors[0], vectors[1], atol=1e-5)


def test_of_an_animation_the_first_picture_counts(encoder):
    first, second = gradient(), gradient().rotate(180)
    moving = encoded(first, "GIF", save_all=True, append_images=[second])
    vectors, seen = encoder.images([moving, encoded(first, "GIF"), encoded(second, "GIF")])
    assert seen.all()
    assert np.allclose(vectors[0], vectors[1], atol=1e-5)
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-3


def test_the_last_sentence_of_a_long_text_counts(encoder):
    long = "the sea and sailors " * 75  # 300 words
    vectors, chunks = encoder.texts([f"{long} robots", f"{long} a wedding", f"{long} robots"])
    assert chunks.min() > 20
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-4
    assert np.array_equal(vectors[0], vectors[2])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_no_chunk_is_cut_by_the_tokeniser(encoder):
    read = []
    tokenizer = encoder._tokenizer
    encoder._tokenizer = Recorder(tokenizer, read)
    try:
        encoder.texts(["rings " * 100 + "x" * 300])
    finally:
        encoder._tokenizer = tokenizer
    ends = tokenizer.tokenizer.eos_token_id
    for chunk in read:
        tokens = tokenizer([chunk])[0].tolist()
        assert tokens.index(ends) == 1 + len(tokenizer.tokenizer(chunk, add_special_tokens=False).input_ids) <= 15


class Recorder:
    """A tokeniser that keeps the texts it was asked to make tensors of."""

    def __init__(self, tokenizer, read):
        self._inner, self._read = tokenizer, read

    def __call__(self, texts):
        self._read.extend(texts)
        return self._inner(texts)

    def __getattr__(self, name):
        return getattr(self._inner, name)


@pytest.mark.parametrize(
    "token", ["<end>", "<END>", "&lt;end&gt;", f"< &{DEEP}lt;end&{DEEP}gt;", "<pad>", "<e<end>nd>"]
)
def test_a_special_token_in_a_text_does_not_end_it(encoder, token):
    vectors, _ = encoder.texts([f"rings {token} robots", f"rings {token} a wedding", "rings robots"])
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-4
    if not any(odd in token for odd in ("<e<", "< ")):
        assert np.allclose(vectors[0], vectors[2], atol=1e-5)


def test_the_revision_is_the_digest_of_the_folder(trained, encoder, tmp_path):
    copy = shutil.copytree(trained[0], tmp_path / "copy")
    assert ImageTextEncoder(copy, runtime=CPU).revision == encoder.revision
    weights = copy / "open_clip_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert ImageTextEncoder(copy, runtime=CPU).revision != encoder.revision


@pytest.mark.parametrize("lacking", ["open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json"])
def test_a_folder_that_lacks_a_part_is_refused(trained, tmp_path, lacking):
    copy = shutil.copytree(trained[0], tmp_path / "copy")
    (copy / lacking).unlink()
    with pytest.raises(RequestError, match=str(copy)):
        ImageTextEncoder(copy, runtime=CPU)


@pytest.mark.parametrize(
    ("part", "because"),
    [({"tokenizer_kwargs": {"trust_remote_code": True}}, "code"), ({"hf_model_name": "someone/tower"}, "hub")],
)
def test_a_folder_may_not_ask_for_code_or_for_a_hub(trained, tmp_path, part, because):
    copy = shutil.copytree(trained[0], tmp_path / "copy")
    config = json.loads((copy / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"] |= part
    (copy / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(RequestError, match=because):
        ImageTextEncoder(copy, runtime=CPU)


def test_an_unknown_name_or_tag_is_refused():
    with pytest.raises(RequestError, match="ViT-Z-99"):
        ImageTextEncoder("ViT-Z-99", "openai", runtime=CPU)
    with pytest.raises(RequestError, match="ViT-B-32"):
        ImageTextEncoder("ViT-B-32", "no-such-tag", runtime=CPU)
    with pytest.raises(RequestError, match="ViT-B-32"):
        ImageTextEncoder("ViT-B-32", runtime=CPU)


def test_a_decompression_bomb_is_no_picture() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )
    assert decoding.open_picture(bomb) is None
