"""MovieLens-shaped archives of a few lines, as zip and as folder, whole and broken."""

import zipfile
from pathlib import Path

import pytest

from weft.data.cleaning import clean
from weft.data.registry import specify
from weft.data.rules import CleaningRules
from weft.data.sources import open_source
from weft.errors import SourceError
from weft.schemas import Interactions, Items, RawInteractions, RawItems, Rejected, Users

RATINGS = b"10::1::5::300\n10::3::4::100\n7::3::3::100\n10::2::1::200\n"
MOVIES = "1::Ciné: a story (1995)::Comedy|Drama\n2::Se7en::\n3::Up (2009)::Animation\n4::Unseen (1980)::War\n".encode(
    "iso-8859-1"
)
UNKNOWN = "|".join(["1"] + ["0"] * 18)
DRAMA_WAR = "|".join("1" if k in (8, 17) else "0" for k in range(19))


def one_m(path: Path, ratings: bytes = RATINGS, movies: bytes = MOVIES) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ml-1m/ratings.dat", ratings)
        archive.writestr("ml-1m/movies.dat", movies)
    return path


def opened(path: Path, tmp_path: Path, **more):
    return open_source(specify(tmp_path / "storage", "tiny", source=path, format="movielens", **more))


def test_a_zip_of_the_1m_edition_is_read_numbered_and_sorted(tmp_path):
    source = opened(one_m(tmp_path / "a.zip"), tmp_path)
    assert source.check() == []
    raw, items = source.interactions().collect(), source.items()
    RawInteractions.validate(raw)
    RawItems.validate(items)
    assert raw["user_id"].to_list() == ["10", "10", "7", "10"]
    assert items["title"].to_list() == ["Ciné: a story (1995)", "Se7en", "Up (2009)", "Unseen (1980)"]
    assert items["year"].to_list() == [1995, None, 2009, 1980]
    assert items["genres"].to_list()[:3] == [["Comedy", "Drama"], [], ["Animation"]]

    cleaned = clean(raw.lazy(), items.lazy())
    for schema, table in (
        (Interactions, cleaned.interactions),
        (Users, cleaned.users),
        (Items, cleaned.items),
        (Rejected, cleaned.rejected),
    ):
        schema.validate(table)
    # Both users begin at second 100; row 1 (user 10) stands before row 2 (user 7).
    assert cleaned.users.rows() == [(1, "10"), (2, "7")]
    assert cleaned.interactions.select("row", "user", "item", "timestamp", "rating").rows() == [
        (1, 1, 3, 100, 4.0),
        (3, 1, 2, 200, 1.0),
        (0, 1, 1, 300, 5.0),
        (2, 2, 3, 100, 3.0),
    ]
    assert cleaned.items["item_id"].to_list() == ["1", "2", "3", "4"]


def test_a_folder_of_the_100k_edition_reads_flags_as_genres(tmp_path):
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    (folder / "u.data").write_bytes(b"196\t242\t3\t881250949\n186\t302\t3\t891717742\n")
    lines = [
        f"242|Misérables, Les (1995)|01-Jan-1995||http://x|{DRAMA_WAR}",
        f"302|No year|01-Jan-1997||http://x|{DRAMA_WAR}",
        f"267|unknown||||{UNKNOWN}",
    ]
    (folder / "u.item").write_bytes("\n".join(lines).encode("iso-8859-1") + b"\n")
    source = opened(folder, tmp_path)
    source.check()
    items = source.items()
    assert items["genres"].to_list() == [["Drama", "War"], ["Drama", "War"], []]
    assert items["year"].to_list() == [1995, 1997, None]
    assert items["title"][0] == "Misérables, Les (1995)"
    assert source.interactions().collect()["timestamp"].to_list() == [881250949, 891717742]


def test_broken_lines_are_rejected_by_name_and_the_rest_is_kept(tmp_path):
    broken = (
        b"::1::5::300\n10::x:y::4::1\n9::2::five::200\n9::2::9::200\n"
        b"9::2::3::-5\n9::2::3\n9::2::3::soon\n10::1::5::300\n"
    )
    source = opened(one_m(tmp_path / "a.zip", RATINGS + broken), tmp_path)
    rules = CleaningRules(rating_max=5, max_rejected_share=0.9)
    cleaned = clean(source.interactions(), source.items().lazy(), rules)
    assert len(cleaned.interactions) == 4
    assert cleaned.rejected.select("row", "rule").rows() == [
        (4, "missing_user"),
        (5, "missing_timestamp"),
        (6, "bad_rating"),
        (7, "rating_out_of_range"),
        (8, "bad_timestamp"),
        (9, "missing_timestamp"),
        (10, "missing_timestamp"),
        (11, "duplicate"),
    ]
    assert '"item_id":"2"' in cleaned.rejected["content"][2]


@pytest.mark.parametrize(
    ("ratings", "movies", "why"),
    [
        (b"", MOVIES, "ratings.dat in .* is empty"),
        (RATINGS, b"", "movies.dat in .* is empty"),
        (b"10::1::5\n", MOVIES, "has 3 columns, expected 4"),
        (b"10,1,5,300\n", MOVIES, "has 1 columns, expected 4"),
    ],
)
def test_an_empty_file_or_a_missing_column_is_one_clear_error_before_any_work(tmp_path, ratings, movies, why):
    with pytest.raises(SourceError, match=why):
        opened(one_m(tmp_path / "a.zip", ratings, movies), tmp_path).check()


def test_another_zip_is_no_movielens_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(SourceError, match="no MovieLens archive"):
        opened(tmp_path / "a.zip", tmp_path).check()


def test_a_source_with_another_checksum_is_refused(tmp_path):
    path = one_m(tmp_path / "a.zip")
    with pytest.raises(SourceError, match="wrong checksum"):
        opened(path, tmp_path, checksum="sha256:" + "0" * 64).check()


def test_what_looks_like_movielens_is_movielens_without_being_told(tmp_path):
    spec = specify(tmp_path / "storage", "mine", source=one_m(tmp_path / "a.zip"))
    assert spec.format == "movielens"


def test_the_reader_keeps_up_with_ids_that_are_no_numbers(tmp_path):
    raw = (
        opened(one_m(tmp_path / "a.zip", b"u 1::i-9::3.5::100\n007::\xe9::3::100\n"), tmp_path).interactions().collect()
    )
    assert raw["user_id"].to_list() == ["u 1", "007"]
    assert raw["item_id"].to_list() == ["i-9", "é"]


HALF_STARS = b"10::1::3.5::300\n7::3::0.5::100\n"
RATINGS_CSV = b"userId,movieId,rating,timestamp\r\n1,307,3.5,1256677221\r\n1,2,0.5,1256677222\r\n007,307,5.0,x\r\n"
MOVIES_CSV = (
    "movieId,title,genres\r\n"
    '307,"Three Colors: Blue, (Trois couleurs) ""Bleu"" (1993)",Drama|Music\r\n'
    "2,Jumanji (1995),(no genres listed)\r\n"
    "3,Amélie (2001) ,Comedy\r\n"
    "4,Babylon 5,\r\n"
).encode()


def folder_of(tmp_path: Path, **files: bytes) -> Path:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content)
    return folder


def test_half_stars_and_utf8_titles_of_the_10m_edition(tmp_path):
    folder = folder_of(
        tmp_path, ratings_dat=HALF_STARS, movies_dat="1::Amélie… (2001)::Comedy\n3::Up::Drama\n".encode()
    )
    source = opened(folder, tmp_path)
    source.check()
    assert source.interactions().collect()["rating"].to_list() == [3.5, 0.5]
    assert source.items().select("title", "year").rows() == [("Amélie… (2001)", 2001), ("Up", None)]


def test_a_title_may_hold_what_python_takes_for_the_end_of_a_line(tmp_path):
    folder = folder_of(tmp_path, ratings_dat=RATINGS, movies_dat=b"1::Caf\xe9\x85 (2001)::Comedy\r\n2::Up\x0b::War\r\n")
    items = opened(folder, tmp_path).items()
    assert items.select("title", "genres").rows() == [("Café\x85 (2001)", ["Comedy"]), ("Up\x0b", ["War"])]


@pytest.mark.parametrize("zipped", [True, False])
def test_the_csv_editions_are_read_from_a_zip_and_from_a_folder(tmp_path, zipped):
    path = folder_of(tmp_path, ratings_csv=RATINGS_CSV, movies_csv=MOVIES_CSV, links_csv=b"movieId,imdbId\n")
    if zipped:
        with zipfile.ZipFile(tmp_path / "ml-32m.zip", "w") as archive:
            for file in path.iterdir():
                archive.write(file, f"ml-32m/{file.name}")
        path = tmp_path / "ml-32m.zip"
    spec = specify(tmp_path / "storage", "mine", source=path)
    assert spec.format == "movielens"
    source = open_source(spec)
    source.check()
    raw, items = source.interactions().collect(), source.items()
    RawInteractions.validate(raw)
    RawItems.validate(items)
    assert raw.select("row", "user_id", "item_id", "timestamp", "rating").rows() == [
        (0, "1", "307", 1_256_677_221, 3.5),
        (1, "1", "2", 1_256_677_222, 0.5),
        (2, "007", "307", None, 5.0),
    ]
    assert items.select("item_id", "title", "year", "genres").rows() == [
        ("307", 'Three Colors: Blue, (Trois couleurs) "Bleu" (1993)', 1993, ["Drama", "Music"]),
        ("2", "Jumanji (1995)", 1995, []),
        ("3", "Amélie (2001) ", 2001, ["Comedy"]),
        ("4", "Babylon 5", None, None),
    ]


def test_the_ratings_of_a_folder_are_never_read_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} is read as a whole"))
    source = opened(folder_of(tmp_path, ratings_csv=RATINGS_CSV, movies_csv=MOVIES_CSV), tmp_path)
    assert source.interactions().collect().height == 3


def test_another_header_is_one_clear_error_before_any_work(tmp_path):
    folder = folder_of(tmp_path, ratings_csv=b"user,movie,stars,at\n", movies_csv=MOVIES_CSV)
    with pytest.raises(SourceError, match=r"ratings\.csv in .* begins with 'user,movie,stars,at'"):
        opened(folder, tmp_path).check()
