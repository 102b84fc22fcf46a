import polars as pl

from weft.language import texts

ITEMS = pl.DataFrame(
    {
        "item": [1, 2, 3, 4],
        "title": ["Oak spoon.", "Salt pig", None, "  "],
        "description": ["Carved by hand.", None, None, ""],
        "genres": [["wood"], ["kitchen", "clay"], None, []],
    },
    schema={"item": pl.Int32, "title": pl.String, "description": pl.String, "genres": pl.List(pl.String)},
)


def test_an_item_has_a_row_for_each_text_that_it_has_and_none_for_others() -> None:
    assert texts.of_items(ITEMS).rows() == [
        (1, "title", "Oak spoon."),
        (1, "text", "Oak spoon. Carved by hand."),
        (2, "title", "Salt pig"),
        (2, "text", "Salt pig. kitchen, clay"),
    ]


def test_what_a_language_model_wrote_stands_after_the_title() -> None:
    written = pl.DataFrame(
        {"item": [1, 2, 3], "text": ["For porridge.", None, "A thing."]}, schema_overrides={"item": pl.Int32}
    )
    found = texts.of_items(ITEMS, written).filter(of="enriched")
    assert found.rows() == [(1, "enriched", "Oak spoon. For porridge."), (3, "enriched", "A thing.")]
