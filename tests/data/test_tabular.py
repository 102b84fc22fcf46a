"""The user's own tables: three kinds of file, columns by any name, and what their absence means."""

import gzip
import json
from pathlib import Path

import polars as pl
import pytest
import yaml

from weft.data.cleaning import clean
from weft.data.registry import load, save, specify
from weft.data.sources import open_source
from weft.errors import RequestError, SourceError
from weft.schemas import RawInteractions, RawItems

MAPPING = {
    "interactions": {"user": "customer", "item": "sku", "timestamp": "at", "rating": "stars", "session": "visit"},
    "items": {
        "file": "goods.csv",
        "item": "sku",
        "title": "name",
        "year": "published",
        "genres": "shelf",
        "domain": "shop",
    },
    "genre_separator": ",",
}
EVENTS = pl.DataFrame(
    {
        "sku": ["007", "b", "b"],
        "customer": ["ann", "bob", "ann"],
        "stars": [5, 4, None],
        "at": ["2024-01-02T00:00:00Z", "2024-01-01", "2024-01-01 00:00:05"],
        "visit": ["v1", None, "v2"],
        "unused": [1, 2, 3],
    }
)
GOODS = 'sku,name,published,shelf,shop\n007,"Bolts, 5 mm",ca. 1999,"tools, metal",hardware\nb,Book,,,books\n'
JAN_1 = 1_704_067_200
AT = {"interactions": {"timestamp": "at"}}


def written(folder: Path, kind: str) -> Path:
    path = folder / f"events{kind}"
    if kind == ".parquet":
        EVENTS.with_columns(
            pl.coalesce(pl.col("at").str.to_datetime(f, strict=False) for f in ("%Y-%m-%dT%H:%M:%SZ", "%F %T", "%F"))
        ).write_parquet(path)
    elif kind == ".jsonl":
        EVENTS.write_ndjson(path)
    elif kind == ".csv.gz":
        path.write_bytes(gzip.compress(EVENTS.write_csv().encode()))
    else:
        EVENTS.write_csv(path, separator="\t" if kind == ".tsv" else ",")
    (folder / "goods.csv").write_text(GOODS)
    (folder / "mapping.yaml").write_text(yaml.safe_dump(MAPPING))
    return path


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".csv.gz", ".jsonl", ".parquet"])
def test_every_kind_of_file_gives_the_same_tables(tmp_path, kind):
    path = written(tmp_path, kind)
    spec = specify(tmp_path / "storage", "mine", source=path, mapping=tmp_path / "mapping.yaml")
    save(tmp_path / "storage", spec)
    source = open_source(load(tmp_path / "storage", "mine"))
    source.check()
    raw, items = source.interactions().collect(), source.items()
    RawInteractions.validate(raw)
    RawItems.validate(items)
    assert raw.drop("domain", "part").rows() == [
        (0, "ann", "007", JAN_1 + 86_400, 5.0, "v1"),
        (1, "bob", "b", JAN_1, 4.0, None),
        (2, "ann", "b", JAN_1 + 5, None, "v2"),
    ]
    assert items.select("item_id", "title", "year", "genres", "domain").rows() == [
        ("007", "Bolts, 5 mm", 1999, ["tools", "metal"], "hardware"),
        ("b", "Book", None, None, "books"),
    ]
    cleaned = clean(source.interactions(), items.lazy(), spec.rules)
    assert cleaned.users.rows() == [(1, "bob"), (2, "ann")]
    assert cleaned.interactions.select("row", "user", "item", "domain").rows() == [
        (1, 1, 2, "books"),
        (2, 2, 2, "books"),
        (0, 2, 1, "hardware"),
    ]


@pytest.mark.parametrize(
    ("how", "text"),
    [("auto", "100"), ("s", "100.9"), ("ms", "100900"), ("us", "100000000"), ("ns", "100000000000"),
     ("auto", "1970-01-01T00:01:40"), ("iso", "1970-01-01T02:01:40+02:00"), ("%d.%m.%Y %T", "01.01.1970 00:01:40")],
)  # fmt: skip
def test_times_in_any_writing_become_seconds_of_utc(tmp_path, how, text):
    (tmp_path / "interactions.csv").write_text(f"user,item,t\na,b,{text}\n")
    mapping = {"interactions": {"timestamp": "t"}, "time": how}
    source = open_source(specify(tmp_path / "storage", "mine", source=tmp_path, mapping=mapping))
    source.check()
    assert source.interactions().collect()["timestamp"].to_list() == [100]


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [
        (["2024-01-01 01:00", "2024-01-01T01:00Z", "2024-01-01T02:00+01:00"], [JAN_1 + 3600] * 3),
        (["unknown", str(JAN_1), f"{JAN_1}.9"], [None, JAN_1, JAN_1]),  # most are numbers
    ],
)
def test_how_times_are_written_is_told_by_most_of_the_first_ones(tmp_path, stated, seconds):
    (tmp_path / "events.csv").write_text("user,item,at\n" + "".join(f"u,i,{time}\n" for time in stated))
    spec = specify(tmp_path / "s", "shop", source=tmp_path / "events.csv", mapping=AT)
    assert open_source(spec).interactions().collect()["timestamp"].to_list() == seconds


def test_times_of_which_none_can_be_read_are_an_error_and_not_an_absence(tmp_path):
    (tmp_path / "events.csv").write_text("user,item,at\nu,i,\nu,j,28/01/2020\n")
    spec = specify(tmp_path / "s", "shop", source=tmp_path / "events.csv", mapping=AT)
    with pytest.raises(SourceError, match="no time in 'at' can be read as iso, for example '28/01/2020'") as error:
        open_source(spec).check()
    assert "%d.%m.%Y" in str(error.value)


def test_user_and_item_are_enough_and_the_notes_say_what_then_cannot_be_done(tmp_path):
    (tmp_path / "events.csv").write_text("user,item\nb,x\na,y\nb,y\n")
    spec = specify(tmp_path / "storage", "mine", source=tmp_path / "events.csv")
    assert spec.format == "tabular"
    source = open_source(spec)
    notes = source.check()
    assert [note.split(":")[0] for note in notes] == [
        "no times", "no ratings", "no domains in the interactions", "no sessions",
    ]  # fmt: skip
    cleaned = clean(source.interactions(), source.items().lazy(), spec.rules)
    assert cleaned.users.rows() == [(1, "b"), (2, "a")]
    assert cleaned.items.select("item", "item_id", "title").rows() == [(1, "x", None), (2, "y", None)]
    assert cleaned.interactions.select("user", "item", "timestamp").rows() == [(1, 1, None), (1, 2, None), (2, 2, None)]


def test_a_folder_with_interactions_and_items_needs_no_file_names(tmp_path):
    (tmp_path / "interactions.parquet").touch()
    pl.DataFrame({"user": [1], "item": [2]}).write_parquet(tmp_path / "interactions.parquet")
    (tmp_path / "items.jsonl").write_text(json.dumps({"item": "2", "title": "Two", "genres": ["a", "b"]}) + "\n")
    mapping = {"items": {"title": "title", "genres": "genres"}}
    source = open_source(specify(tmp_path / "storage", "mine", source=tmp_path, mapping=mapping))
    source.check()
    assert source.interactions().collect().select("user_id", "item_id").rows() == [("1", "2")]
    assert source.items().select("item_id", "title", "genres").rows() == [("2", "Two", ["a", "b"])]


def test_what_cannot_be_read_in_a_cell_breaks_its_row_only(tmp_path):
    text = "user,item,t,r\na,x,1,5\na,y,soon,5\na,z,3,good\n ,w,4,5\nb,x,5\nb,\xe9,6,\n"
    (tmp_path / "events.csv").write_bytes(text.encode("latin-1"))
    mapping = {"interactions": {"timestamp": "t", "rating": "r"}}
    spec = specify(tmp_path, "mine", source=tmp_path / "events.csv", mapping=mapping, rules={"max_rejected_share": 0.9})
    source = open_source(spec)
    source.check()
    cleaned = clean(source.interactions(), source.items().lazy(), spec.rules)
    assert sorted(cleaned.interactions["row"]) == [0, 4, 5]
    assert cleaned.rejected.select("row", "rule").rows() == [
        (1, "missing_timestamp"),
        (2, "bad_rating"),
        (3, "missing_user"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "mapping", "why"),
    [
        ("a.csv", "", {}, "a.csv is empty"),
        ("a.csv", "user,item\n", {}, "a.csv has no rows"),
        ("a.csv", "who,item\nx,y\n", {}, "has no column 'user' .for user."),
        ("a.csv", "user,item\nx,y\n", {"interactions": {"timestamp": "at"}}, "has no column 'at' .for timestamp."),
        ("a.parquet", "no parquet", {}, "a.parquet cannot be read"),
        ("a.jsonl", "no json", {}, "a.jsonl"),
        ("a.csv", "user,item\nx,y\n", {"items": {"file": "/nowhere/items.csv"}}, "items.csv does not exist"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_error_before_any_work(tmp_path, name, content, mapping, why):
    (tmp_path / name).write_text(content)
    spec = specify(tmp_path / "storage", "mine", source=tmp_path / name, mapping=mapping)
    with pytest.raises(SourceError, match=why) as caught:
        open_source(spec).check()
    assert caught.value.remedy


def test_an_unknown_key_in_the_mapping_is_refused_by_name(tmp_path):
    (tmp_path / "a.csv").write_text("user,item\nx,y\n")
    with pytest.raises(RequestError, match=r"mapping\.interactions\.costumer"):
        specify(tmp_path, "mine", source=tmp_path / "a.csv", mapping={"interactions": {"costumer": "c"}})


HOSTILE = ["007", "1e5", "None", "nan", "null", "true", "🛒💄", "x" * 1_000, "a,b", 'say "hi"', "{}", "../..", "-0"]


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".jsonl", ".json.gz", ".parquet"])
def test_ids_are_text_whatever_they_look_like(tmp_path, kind):
    table = pl.DataFrame({"user": HOSTILE, "item": HOSTILE[::-1]})
    path = tmp_path / f"events{kind}"
    if kind == ".parquet":
        table.write_parquet(path)
    elif kind == ".jsonl":
        table.write_ndjson(path)
    elif kind == ".json.gz":
        path.write_bytes(gzip.compress(table.write_ndjson().encode()))
    else:
        table.write_csv(path, separator="\t" if kind == ".tsv" else ",")
    source = open_source(specify(tmp_path / "storage", "mine", source=path))
    source.check()
    raw = source.interactions().collect()
    assert raw["user_id"].to_list() == HOSTILE
    assert raw["item_id"].to_list() == HOSTILE[::-1]
    cleaned = clean(source.interactions(), source.items().lazy())
    assert cleaned.rejected.is_empty()
    assert cleaned.users["user_id"].to_list() == HOSTILE


@pytest.mark.parametrize("broken", ["", '{"user": "b", "it', '{"user": {"no": "text"}, "item": "y"}'])
def test_a_broken_line_of_json_costs_its_row_only_and_numbers_are_text(tmp_path, broken):
    lines = ['{"user": 7, "item": "x", "t": 5, "r": 4.5}', broken, '{"user": 1.5, "item": true, "t": "6", "r": "3"}']
    (tmp_path / "events.jsonl").write_text("\n".join(lines))
    mapping = {"interactions": {"timestamp": "t", "rating": "r"}}
    source = open_source(specify(tmp_path, "mine", source=tmp_path / "events.jsonl", mapping=mapping))
    source.check()
    raw = source.interactions().collect()
    RawInteractions.validate(raw)
    assert raw.drop_nulls("user_id").select("user_id", "item_id", "timestamp", "rating").rows() == [
        ("7", "x", 5, 4.5),
        ("1.5", "true", 6, 3.0),
    ]
    assert len(raw) == (3 if broken else 2)


def test_genres_of_json_lines_may_be_lists_or_text_of_one(tmp_path):
    (tmp_path / "interactions.jsonl").write_text('{"user": "a", "item": "x"}\n')
    items = ['{"item": "x", "g": ["one", 2, null]}', '{"item": "y", "g": "three"}', '{"item": "z"}', "{"]
    (tmp_path / "items.jsonl").write_text("\n".join(items))
    source = open_source(specify(tmp_path, "mine", source=tmp_path, mapping={"items": {"genres": "g"}}))
    source.check()
    assert source.items()["genres"].to_list() == [["one", "2"], ["three"], None, None]
    RawItems.validate(source.items())


def test_a_json_column_that_holds_objects_is_no_column(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"user": {"id": 1}, "item": "x"}\n')
    with pytest.raises(SourceError, match="has no column 'user'"):
        open_source(specify(tmp_path / "storage", "mine", source=tmp_path / "a.jsonl")).check()


@pytest.mark.parametrize("name", ["events.csv.gz", "events.jsonl.gz"])
def test_a_gzip_file_that_is_cut_or_a_bomb_is_one_clear_error_before_any_work(tmp_path, name):
    lines = ["user,item"] * name.startswith("events.csv")
    lines += [f"{k},x" if name.startswith("events.csv") else f'{{"user": {k}, "item": "x"}}' for k in range(1_000)]
    text = "\n".join(lines).encode()
    whole = gzip.compress(text)
    for content, why in ((whole[:-9], "is damaged"), (gzip.compress(text + b" " * 2**23), "unpacks to over")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match=why):
            open_source(specify(tmp_path / "storage", "mine", source=tmp_path / name)).check()
