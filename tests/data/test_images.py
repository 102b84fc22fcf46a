"""Pictures: found by id or by a map, decoded once, guarded, and joined to our item numbers."""

import io
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from weft.data.cleaning import clean
from weft.data.images import MAX_BYTES, Pictures, of_items, read_map, shrink
from weft.data.rules import REASONS
from weft.errors import SourceError
from weft.schemas import Images, Items, RawImages, RawInteractions, RawItems


def picture(width: int, height: int, kind: str = "PNG", mode: str = "RGB", **more) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height), "red" if mode == "RGB" else 1).save(buffer, kind, **more)
    return buffer.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A PNG that says it has so many pixels, in under 100 bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture
def posters(tmp_path) -> Path:
    with zipfile.ZipFile(tmp_path / "posters.zip", "w") as archive:
        archive.writestr("posters/1.jpg", picture(300, 600, "JPEG"))
        archive.writestr("posters/2.png", picture(10, 20, mode="L"))
        archive.writestr("posters/3.jpg", b"not a picture")
        archive.writestr("posters/4.png", png_of(40_000, 40_000))
        archive.writestr("posters/5.jpg", picture(300, 600, "JPEG")[:-200])
        archive.writestr("posters/6.gif", b"")
        archive.writestr("posters/readme.txt", b"hello")
    return tmp_path / "posters.zip"


def raw_items(*ids: str) -> pl.DataFrame:
    return pl.DataFrame({"item_id": ids}).with_columns(image=pl.lit(None, pl.String))


def test_pictures_named_by_item_id_are_shrunk_to_rgb_jpeg_and_the_others_have_a_problem(posters):
    found = Pictures.open(posters)
    items = found.references(raw_items("1", "2", "3", "4", "5", "6", "7"), None)
    assert items["image"].to_list() == ["1", "2", "3", "4", "5", "6", None]
    table = found.decode([*items["image"].drop_nulls(), "elsewhere"], side=50)
    RawImages.validate(table)
    assert table.drop("jpeg").rows() == [
        ("1", 50, 100, None),
        ("2", 10, 20, None),
        ("3", None, None, "unreadable_image"),
        ("4", None, None, "huge_image"),
        ("5", None, None, "truncated_image"),
        ("6", None, None, "empty_image"),
        ("elsewhere", None, None, "missing_image"),
    ]
    assert table["jpeg"].is_null().to_list() == table["problem"].is_not_null().to_list()
    assert set(table["problem"].drop_nulls()) <= set(REASONS)
    with Image.open(io.BytesIO(table["jpeg"][1])) as decoded:
        assert (decoded.format, decoded.mode) == ("JPEG", "RGB")


def test_broken_pictures_are_counted_by_reason_and_their_items_have_none(posters):
    found = Pictures.open(posters)
    shelf = pl.concat(
        [RawItems.create_empty(), pl.DataFrame({"row": range(7), "item_id": [str(k) for k in range(1, 8)]})],
        how="diagonal",
    )
    items = found.references(shelf, None)
    log = (
        RawInteractions.create_empty()
        .clear(1)
        .with_columns(
            row=pl.lit(0, pl.Int64), user_id=pl.lit("u"), item_id=pl.lit("new"), timestamp=pl.lit(1, pl.Int64)
        )
    )
    pictures = found.decode(items["image"].drop_nulls().to_list(), 50)
    cleaned = clean(log.lazy(), items.lazy(), decoded=pictures.lazy())
    assert cleaned.items.select("item_id", "has_image").rows() == [
        *[(str(k), k in (1, 2)) for k in range(1, 8)],
        ("new", False),  # known from the log alone
    ]
    Items.validate(cleaned.items)
    assert cleaned.rejected.select("source", "row", "rule").rows() == [
        ("images", 2, "unreadable_image"),
        ("images", 3, "huge_image"),
        ("images", 4, "truncated_image"),
        ("images", 5, "empty_image"),
    ]
    assert of_items(cleaned.items.lazy(), items.lazy(), pictures.lazy()).collect()["item"].to_list() == [1, 2]


def test_a_map_leads_from_items_to_pictures_and_two_items_may_share_one(posters, tmp_path):
    (tmp_path / "map.tsv").write_text('ml100k_item_id\tml1m_movie_id\ttitle\nx\t1\t"odd\ny\t1\t\nz\t9\t\nw\t\t\n')
    found = Pictures.open(posters)
    items = found.references(raw_items("x", "y", "z", "w", "1"), read_map(tmp_path / "map.tsv"))
    assert items["image"].to_list() == ["1", "1", None, None, None]
    rows = {"item": [1, 2, 3], "item_id": ["x", "z", "y"], "has_image": [True, False, True]}
    numbered = pl.DataFrame(rows, schema_overrides={"item": pl.Int32})
    joined = of_items(numbered.lazy(), items.lazy(), found.decode(["1"], 50).lazy()).collect()
    Images.validate(joined)
    assert joined["item"].to_list() == [1, 3]


def test_what_the_source_says_of_its_pictures_comes_before_the_item_id(posters):
    items = raw_items("1").with_columns(image=pl.lit("elsewhere/2.png"))
    found = Pictures.open(posters)
    assert found.references(items, None)["image"].to_list() == ["elsewhere/2.png"]
    assert found.decode(["elsewhere/2.png"], 50)["image"].to_list() == ["elsewhere/2.png"]


def test_a_photo_is_turned_upright_as_its_camera_says():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    assert shrink(picture(40, 20, "JPEG", exif=exif), 100)[:2] == (20, 40)
    assert shrink(picture(40, 20, "JPEG", exif=exif), 10)[:2] == (10, 20)


def colours(content: bytes, side: int = 50) -> np.ndarray:
    """Values of the pixels after shrinking, uint8 [height, width, 3]."""
    shrunk = shrink(content, side)
    assert not isinstance(shrunk, str), shrunk
    with Image.open(io.BytesIO(shrunk[2])) as decoded:
        assert (decoded.format, decoded.mode, decoded.size) == ("JPEG", "RGB", shrunk[:2])
        return np.asarray(decoded).astype(int)


def saved(image: Image.Image, kind: str, **more) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()


def test_an_animation_counts_with_its_first_frame():
    frames = [Image.new("RGB", (90, 60), colour) for colour in ("red", "blue", "lime")]
    for kind in ("GIF", "WEBP", "PNG"):
        content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        assert np.abs(colours(content).mean((0, 1)) - [255, 0, 0]).max() < 8, kind


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_the_colour_it_prints(kind):
    content = saved(Image.new("CMYK", (60, 60), (0, 255, 255, 0)), kind)  # magenta and yellow give red
    assert np.abs(colours(content).mean((0, 1)) - [255, 0, 0]).max() < 8


def test_what_is_transparent_is_white_whatever_lies_under_it():
    hidden = Image.new("RGBA", (60, 60), (255, 0, 0, 0))
    hidden.paste((0, 0, 255, 255), (0, 0, 30, 60))
    palette = Image.new("P", (60, 60), 1)
    palette.putpalette([0, 0, 255, 255, 0, 0])
    palette.paste(0, (0, 0, 30, 60))
    contents = [
        saved(hidden, "PNG"), saved(hidden, "WEBP", lossless=True), saved(palette, "PNG", transparency=1),
        saved(palette, "GIF", transparency=1),
    ]  # fmt: skip
    for content in contents:
        pixels = colours(content, 60)
        assert np.abs(pixels[:, :20] - [0, 0, 255]).max() < 30
        assert np.abs(pixels[:, 40:] - 255).max() < 30
    grey = saved(Image.merge("LA", (Image.new("L", (9, 9), 7), Image.new("L", (9, 9), 0))), "PNG")
    assert colours(grey).min() > 250


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_shades(kind):
    ramp = np.tile(np.linspace(0, 65_535, 64).astype(np.uint16), (64, 1))
    pixels = colours(saved(Image.fromarray(ramp), kind), 64)
    assert np.abs(pixels[:, :, 0].mean(0) - np.linspace(0, 255, 64)).max() < 6


def test_one_bit_and_a_palette_without_transparency_are_pictures_too():
    assert colours(saved(Image.new("1", (20, 20), 1), "PNG")).min() > 250
    palette = Image.new("P", (20, 20), 0)
    palette.putpalette([0, 255, 0])
    assert np.abs(colours(saved(palette, "PNG")).mean((0, 1)) - [0, 255, 0]).max() < 8


def test_a_very_long_picture_stays_within_what_a_jpeg_can_hold():
    assert shrink(picture(70_000, 2), 10)[:2] == (160, 1)
    assert shrink(picture(1, 70_000), 10)[:2] == (1, 160)


@pytest.mark.filterwarnings("ignore")  # Pillow speaks of each damaged tag
def test_no_damage_to_a_file_breaks_the_reader():
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8))
    kinds = [saved(noise, kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")]
    problems = set()
    for content in kinds:
        assert not isinstance(shrink(content, 20), str)
        assert (
            shrink(content[: len(content) // 2], 20) in {"truncated_image", "unreadable_image"} or content[:2] == b"GI"
        )
        for _ in range(60):
            damaged = np.frombuffer(content, np.uint8).copy()
            damaged[rng.integers(0, min(len(damaged), 200), 6)] = rng.integers(0, 256, 6)
            outcome = shrink(damaged.tobytes(), 20)
            problems |= {outcome} if isinstance(outcome, str) else set()
    assert {"unreadable_image", "truncated_image"} <= problems <= set(REASONS)


def test_a_picture_without_pixels_or_bytes_is_none():
    assert shrink(png_of(0, 9), 20) == shrink(png_of(9, 0), 20) == "unreadable_image"
    assert shrink(b"", 20) == "empty_image"


def test_a_file_of_too_many_bytes_is_not_read(tmp_path):
    with (tmp_path / "1.bmp").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert Pictures.open(tmp_path).decode(["1"], 20)["problem"].to_list() == ["huge_image"]


_MEASURED = """
import resource, sys
from pathlib import Path
from weft.data.images import Pictures
pictures = Pictures.open(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
table = pictures.decode(sys.argv[2].split(","), 64)
print(*table["problem"], (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def peak_mb(folder: Path, *names: str) -> list[str]:
    """Problems of the pictures, and by how many MB the memory of a fresh process grew at most."""
    command = [sys.executable, "-c", _MEASURED, str(folder), ",".join(names)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def test_bombs_cost_no_memory_and_the_largest_picture_a_bounded_amount(tmp_path):
    for k in range(8):
        (tmp_path / f"bomb{k}.png").write_bytes(png_of(40_000 - k, 40_000))
    (tmp_path / "just.png").write_bytes(png_of(7_100, 7_100))  # over the limit, under Pillow's own
    *problems, grown = peak_mb(tmp_path, *(f"bomb{k}" for k in range(8)), "just")
    assert problems == ["huge_image"] * 9
    assert int(grown) < 40

    Image.new("RGB", (7_000, 7_000), "red").save(tmp_path / "large.png", compress_level=1)  # 147 MB of pixels
    *problems, grown = peak_mb(tmp_path, "large")
    assert problems == ["None"]
    assert int(grown) < 330


def test_a_folder_without_pictures_and_a_map_of_one_column_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no pictures here")
    with pytest.raises(SourceError, match="holds no pictures"):
        Pictures.open(tmp_path)
    with pytest.raises(SourceError, match="expected two"):
        read_map(tmp_path / "notes.txt")
