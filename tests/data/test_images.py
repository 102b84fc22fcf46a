"""Pictures: found by id or by a map, decoded once, guarded, and joined to our item numbers."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from weft.data.images import Pictures, of_items, read_map, shrink
from weft.errors import SourceError
from weft.schemas import Images, RawImages


def picture(width: int, height: int, kind: str = "PNG", mode: str = "RGB", **more) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height), "red" if mode == "RGB" else 1).save(buffer, kind, **more)
    return buffer.getvalue()


def huge_png() -> bytes:
    """A PNG of 40,000 × 40,000 pixels in under 100 bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture
def posters(tmp_path) -> Path:
    with zipfile.ZipFile(tmp_path / "posters.zip", "w") as archive:
        archive.writestr("posters/1.jpg", picture(300, 600, "JPEG"))
        archive.writestr("posters/2.png", picture(10, 20, mode="L"))
        archive.writestr("posters/3.jpg", b"not a picture")
        archive.writestr("posters/4.png", huge_png())
        archive.writestr("posters/5.jpg", picture(300, 600, "JPEG")[:500])
        archive.writestr("posters/readme.txt", b"hello")
    return tmp_path / "posters.zip"


def raw_items(*ids: str) -> pl.DataFrame:
    return pl.DataFrame({"item_id": ids}).with_columns(image=pl.lit(None, pl.String))


def test_pictures_named_by_item_id_are_shrunk_to_rgb_jpeg_and_unusable_ones_left_out(posters):
    found = Pictures.open(posters)
    items = found.references(raw_items("1", "2", "3", "4", "5", "6"), None)
    assert items["image"].to_list() == ["1", "2", "3", "4", "5", None]
    table = found.decode(items["image"].drop_nulls().to_list(), side=50)
    RawImages.validate(table)
    assert table.drop("jpeg").rows() == [("1", 50, 100), ("2", 10, 20)]
    with Image.open(io.BytesIO(table["jpeg"][1])) as decoded:
        assert (decoded.format, decoded.mode) == ("JPEG", "RGB")


def test_a_map_leads_from_items_to_pictures_and_two_items_may_share_one(posters, tmp_path):
    (tmp_path / "map.tsv").write_text('ml100k_item_id\tml1m_movie_id\ttitle\nx\t1\t"odd\ny\t1\t\nz\t9\t\nw\t\t\n')
    found = Pictures.open(posters)
    items = found.references(raw_items("x", "y", "z", "w", "1"), read_map(tmp_path / "map.tsv"))
    assert items["image"].to_list() == ["1", "1", None, None, None]
    numbered = pl.DataFrame({"item": [1, 2, 3], "item_id": ["x", "z", "y"]}, schema_overrides={"item": pl.Int32})
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


def test_a_folder_without_pictures_and_a_map_of_one_column_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no pictures here")
    with pytest.raises(SourceError, match="holds no pictures"):
        Pictures.open(tmp_path)
    with pytest.raises(SourceError, match="expected two"):
        read_map(tmp_path / "notes.txt")
