from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch

from resources import model_folders
from tests.vision.conftest import CPU, TINY
from weft import digest
from weft.data.drawing import draw_covers
from weft.data.world.drawings import captioned
from weft.data.world.works import STYLES, works
from weft.errors import RequestError
from weft.progress import NoProgress
from weft.schemas import TrainingHistory
from weft.training.tensor_batches import TensorBatches
from weft.vision.encoder import ImageTextEncoder
from weft.vision.house import _Contrast, _Pairs, _recall, train
from weft.vision.settings import HouseVisionSettings


def shop(count):
    world = works(count, seed=4)
    covers = draw_covers(world.names, world.values["style"], np.random.default_rng(0))["jpeg"].to_list()
    return world, covers


def test_the_model_learns_what_the_words_for_styles_look_like(tmp_path):
    settings = HouseVisionSettings(drawings=900, epochs=4, batch=32, side=32, width=64, layers=1, context=24)
    history = train(tmp_path, settings, CPU)
    encoder = ImageTextEncoder(tmp_path, runtime=CPU)
    world, covers = shop(120)
    seen = encoder.images(covers)[0] @ encoder.texts([f"a drawing full of {style}" for style in STYLES])[0].T
    right = (seen.argmax(axis=1) == world.values["style"]).mean()
    assert right > 0.6  # 0.125 by chance; the covers are none of the drawings
    assert history["loss"].is_sorted(descending=True)
    assert history["validation"].max() > 3 * 10 / 90


def test_the_history_tells_the_epochs_and_which_one_was_kept(trained):
    history = trained[1]
    TrainingHistory.validate(history)
    assert history["epoch"].to_list() == [1, 2]
    assert history["metric"].unique().to_list() == ["recall@10"]
    assert history["best"].sum() == 1
    assert history.filter("best")["validation"].item() == history["validation"].max()


def test_equal_seeds_write_equal_bytes_and_others_do_not(trained, tmp_path):
    train(tmp_path / "again", TINY, CPU)
    assert digest.of_folder(tmp_path / "again") == digest.of_folder(trained[0])
    train(tmp_path / "other", TINY, replace(CPU, seed=4))
    weights = "open_clip_model.safetensors"
    assert (tmp_path / "other" / weights).read_bytes() != (trained[0] / weights).read_bytes()


def test_a_folder_comes_back_from_storage_as_it_was(trained, tmp_path):
    model_folders.to_folder(model_folders.to_table(trained[0]), tmp_path)
    assert digest.of_folder(tmp_path) == digest.of_folder(trained[0])  # so that its revision stays


def test_an_interrupted_training_ends_with_the_same_bytes(trained, tmp_path):
    class Interrupting(NoProgress):
        def step(self, label, total=None, unit="rows"):
            raise_after(2)
            return super().step(label, total, unit)

    steps = []

    def raise_after(count):
        steps.append(1)
        if len(steps) == count:
            raise KeyboardInterrupt

    world, covers = shop(40)
    catalogue = list(zip(covers, world.titles, strict=True))
    settings = TINY.model_copy(update={"catalogue_epochs": 1})
    train(tmp_path / "whole", settings, CPU, catalogue)
    work = tmp_path / "work"
    with pytest.raises(KeyboardInterrupt):  # when the second phase begins
        train(tmp_path / "cut", settings, replace(CPU, work=work, progress=Interrupting()), catalogue)
    assert not (tmp_path / "cut").exists()
    train(tmp_path / "cut", settings, replace(CPU, work=work), catalogue)
    assert digest.of_folder(tmp_path / "cut") == digest.of_folder(tmp_path / "whole")


def test_a_catalogue_comes_second_and_is_learnt_too(trained, tmp_path):
    world, covers = shop(60)
    pairs = [*zip(covers, world.titles, strict=True), (b"broken", "of no picture")]
    history = train(tmp_path, TINY.model_copy(update={"catalogue_epochs": 3}), CPU, pairs)
    TrainingHistory.validate(history)
    assert history["epoch"].to_list() == [1, 2, 3, 4, 5]
    assert not history["best"][:2].any()  # the weights of an epoch before the catalogue were not kept
    assert history["best"].sum() == 1
    before, after = (ImageTextEncoder(folder, runtime=CPU) for folder in (trained[0], tmp_path))
    words = world.names[0].lower()
    assert after._count(words) <= before._count(words)  # its tokeniser knows the catalogue's words
    assert np.abs(before.images(covers)[0] - after.images(covers)[0]).max() > 1e-3


def test_a_catalogue_alone_can_be_learnt(tmp_path):
    world, covers = shop(40)
    settings = TINY.model_copy(update={"drawings": 0, "catalogue_epochs": 2})
    history = train(tmp_path, settings, CPU, list(zip(covers, world.titles, strict=True)))
    assert history["epoch"].to_list() == [1, 2]
    assert ImageTextEncoder(tmp_path, runtime=CPU).width == 32


def test_nothing_or_too_little_to_learn_from_is_refused(tmp_path):
    none = TINY.model_copy(update={"drawings": 0})
    with pytest.raises(RequestError, match="no drawings and no catalogue"):
        train(tmp_path / "model", none, CPU)
    with pytest.raises(RequestError, match="19 readable pictures"):
        train(tmp_path / "model", none, CPU, [*captioned(19).iter_rows(), *[(b"broken", "text")] * 30])
    assert not (tmp_path / "model").exists()


class Fixed(torch.nn.Module):
    """Stands for a model: vectors are handed in as they are."""

    def __init__(self):
        super().__init__()
        self.logit_scale = torch.nn.Parameter(torch.tensor(np.log(5.0)))

    def encode_image(self, vectors, normalize):
        return torch.nn.functional.normalize(vectors, dim=-1)

    encode_text = encode_image


def test_a_twin_is_no_negative():
    module = _Contrast(Fixed())
    module.of_pictures = lambda pictures: pictures
    pictures, texts = torch.eye(4)[:, :3] + 0.1, torch.randn(4, 3, generator=torch.manual_seed(0))
    texts = torch.nn.functional.normalize(texts, dim=-1)
    pictures = torch.nn.functional.normalize(pictures, dim=-1)
    same_picture, same_text = torch.tensor([0, 1, 2, 2]), torch.tensor([7, 7, 8, 9])

    logits = 5.0 * (pictures @ texts.T).double().numpy()
    twins = {(0, 1), (1, 0), (2, 3), (3, 2)}
    losses = []
    for of_picture in (True, False):
        for i in range(4):
            rivals = [j for j in range(4) if (i, j) not in twins]
            row = [logits[i, j] if of_picture else logits[j, i] for j in rivals]
            losses.append(np.log(np.exp(row).sum()) - logits[i, i])
    assert module(pictures, texts, same_picture, same_text).item() == pytest.approx(np.mean(losses), abs=1e-5)


def test_without_twins_the_loss_is_that_of_open_clip():
    module = _Contrast(Fixed())
    module.of_pictures = lambda pictures: pictures
    vectors = torch.nn.functional.normalize(torch.randn(2, 6, 3, generator=torch.manual_seed(1)), dim=-1)
    own = torch.arange(6)
    expected = open_clip.ClipLoss()(vectors[0], vectors[1], torch.tensor(5.0)).item()
    assert module(vectors[0], vectors[1], own, own).item() == pytest.approx(expected, abs=1e-5)


def test_recall_is_the_share_of_texts_whose_picture_is_among_the_ten_nearest():
    module = _Contrast(Fixed())
    module.of_pictures = lambda pictures: pictures
    pictures, texts = torch.nn.functional.normalize(torch.randn(2, 40, 3, generator=torch.manual_seed(2)), dim=-1)
    scores = (texts @ pictures.T).numpy()
    expected = np.mean([sorted(row, reverse=True).index(row[k]) < 10 for k, row in enumerate(scores)])
    own = torch.arange(40)
    assert 0.1 < expected < 0.6
    assert _recall(module, _Pairs(pictures, texts, own, own), torch.device("cpu")) == pytest.approx(expected)


def test_settings_out_of_bounds_are_refused():
    with pytest.raises(ValueError, match="multiple of 32"):
        HouseVisionSettings(side=40)
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        HouseVisionSettings(batch=1)


def test_the_last_rows_of_a_batch_never_make_an_easier_one():
    numbers = torch.arange(11)
    batches = TensorBatches([numbers, numbers, numbers, numbers], batch=4, seed=0, whole=True)
    drawn = [[rows[0].tolist() for rows, _ in batches.epoch(number)] for number in (0, 0, 1)]
    assert len(batches) == 2
    assert [len(rows) for rows in drawn[0]] == [4, 4]
    assert len({number for rows in drawn[0] for number in rows}) == 8
    assert drawn[0] == drawn[1] != drawn[2]
