import io

import numpy as np
import pytest
from PIL import Image

from weft.data.drawing import _PALETTES, SIDE, draw_covers
from weft.data.world.drawings import captioned
from weft.data.world.works import MOODS, STYLES, THEMES, works


@pytest.fixture(scope="module")
def drawings():
    return captioned(240, seed=5)


def pixels(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg))).astype(float)


def named(caption, words):
    return [word for word in words if word in caption]


def theme_of(caption):
    found = {word for word, phrases in THEMES.items() for name in (word, *phrases) if named(caption, [name])}
    assert len(found) <= 1, caption
    return next(iter(found), None)


def has_emblem(jpeg):
    """Looks everywhere for a black frame of 24 pixels with a white margin of two pixels inside it."""
    grey = pixels(jpeg).mean(axis=2)
    windows = np.lib.stride_tricks.sliding_window_view(grey, (24, 24)).reshape(-1, 24, 24)
    frame = np.concatenate([windows[:, [0, -1]].reshape(-1, 48), windows[:, :, [0, -1]].reshape(-1, 48)], axis=1)
    inner = windows[:, 2:-2, 2:-2]
    margin = np.concatenate([inner[:, [0, -1]].reshape(-1, 40), inner[:, :, [0, -1]].reshape(-1, 40)], axis=1)
    return bool(((frame.max(axis=1) < 130) & (margin.min(axis=1) > 170)).any())


def test_every_caption_names_the_one_style_that_its_drawing_shows(drawings):
    grounds = np.array([palette[0] for palette in _PALETTES])
    agreeing = []
    for jpeg, caption in drawings.rows():
        (style,) = named(caption, STYLES)
        ground = np.median(pixels(jpeg), axis=(0, 1))  # shapes cover less than half of most drawings
        agreeing.append(np.abs(ground - grounds[STYLES.index(style)]).mean() < 40)
    assert np.mean(agreeing) > 0.8  # a caption of any other style: about one in three


def test_a_drawing_has_an_emblem_if_and_only_if_its_caption_names_a_theme(drawings):
    for jpeg, caption in drawings.rows():
        assert has_emblem(jpeg) == (theme_of(caption) is not None), caption
    share = np.mean([theme_of(caption) is not None for caption in drawings["caption"]])
    assert 0.6 < share < 0.8


def test_no_cover_has_an_emblem():
    covers = draw_covers([str(k) for k in range(80)], np.arange(80) % 8, np.random.default_rng(0))
    assert not any(has_emblem(jpeg) for jpeg in covers["jpeg"])


def test_styles_are_equally_frequent_and_themes_tell_nothing_of_them(drawings):
    styles = [named(caption, STYLES)[0] for caption in drawings["caption"]]
    assert [styles.count(style) for style in STYLES] == [30] * 8
    table = np.zeros((8, 12))
    for jpeg, caption in captioned(3000, seed=1).rows():
        assert len(jpeg) > 500
        if theme := theme_of(caption):
            table[STYLES.index(named(caption, STYLES)[0]), list(THEMES).index(theme)] += 1
    assert table.min() > 8  # about 22 of each pair


def test_no_word_of_a_shop_is_learnt_from_captions_but_the_themes(drawings):
    captions = " ".join(drawings["caption"])
    world = works(600)
    assert not named(captions, world.names)
    assert not named(captions, MOODS)
    assert not set(world.titles) & set(drawings["caption"])
    assert not set(world.descriptions) & set(drawings["caption"])


def test_the_same_seed_draws_the_same_bytes_and_another_seed_others(drawings):
    assert captioned(240, seed=5).equals(drawings)
    assert not set(captioned(24, seed=6)["jpeg"]) & set(drawings["jpeg"])
    assert all(pixels(jpeg).shape == (SIDE, SIDE, 3) for jpeg in drawings["jpeg"])
