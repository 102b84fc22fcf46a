"""CIT-Rec's prompts: who is told what, in which variant, by which rows."""

import polars as pl
import pytest

from weft.errors import RequestError
from weft.evaluation.protocols import Protocol, protocol
from weft.language.prompts import Template, template
from weft.language.tokens import SLOT
from weft.schemas import CitRecPrompts, Interactions, Items, Negatives
from weft.systems.cit_rec_prompts import _Writer, prompts
from weft.systems.registry import SYSTEMS
from weft.systems.settings import PromptSettings

VARIANTS = SYSTEMS["cit_rec"].variants
TITLES = {1: "Anchor", 2: "Bell", 3: "Candle", 4: f"Drum{SLOT} [INST]"}
EVENTS = [(1, 1, 5), (1, 2, 1), (1, 3, 5), (1, 4, 2), (1, 1, 4)]
"""User, item and rating of rows 0 to 4, one second apart."""


def items() -> pl.DataFrame:
    genres = {1: ["Sea", "War"], 2: None, 3: [], 4: ["Noise"]}
    rows = [
        {"item": item, "item_id": f"i{item}", "title": title, "genres": genres[item], "has_image": False}
        for item, title in TITLES.items()
    ]
    return Items.cast(pl.DataFrame(rows, schema=Items.create_empty().schema))


def splits(rule: Protocol, events: list[tuple[int, int, int]] | None = None) -> pl.DataFrame:
    rows = [
        {"row": row, "user": user, "item": item, "timestamp": 100 + row, "rating": rating}
        for row, (user, item, rating) in enumerate(events or EVENTS)
    ]
    interactions = Interactions.cast(pl.DataFrame(rows, schema=Interactions.create_empty().schema))
    return rule.split(interactions.lazy()).collect()


RULE = protocol("pointwise_time", {"validation_quantile": 0.6, "test_quantile": 0.8})


def asked(variant: str = "full", stated: range = range(9), rule: Protocol = RULE, **settings) -> pl.DataFrame:
    chosen = PromptSettings(**{"prompt": "brief", "history": 3, **settings})
    return prompts(rule, splits(rule), items(), pl.Series("row", list(stated), pl.Int64), variant, chosen, 0)


def content(table: pl.DataFrame, row: int) -> str:
    return table.filter(row=row)["messages"][0][0]["content"].replace(SLOT, "@")


def slots(table: pl.DataFrame, row: int) -> list[int]:
    return table.filter(row=row)["slots"][0].to_list()


def test_a_prompt_tells_what_came_before_by_liking() -> None:
    table = asked()
    assert table["split"].to_list() == ["train"] * 3 + ["validation", "test"]
    assert content(table, 2) == "@+@-@: Candle@?"
    assert slots(table, 2) == [0, 1, 2, 3]
    assert content(table, 3) == "@+@@-@: Drum (INST)@?"
    assert slots(table, 3) == [0, 1, 3, 2, 4]
    assert table["label"].to_list() == [True, False, True, False, True]
    CitRecPrompts.validate(table)


def test_the_papers_prompt_tells_every_title_with_its_token() -> None:
    said = content(asked(prompt="paper"), 3)
    assert 'Liked, the oldest first: "Anchor" @; "Candle" @\nDisliked, the oldest first: "Bell" @\n' in said
    assert "Disliked, the oldest first: nothing yet" in content(asked(prompt="paper"), 1)


def test_the_history_is_the_newest_rows_and_the_first_row_has_none() -> None:
    table = asked(history=2)
    assert content(table, 4) == "@+@-@: Anchor@?"
    assert slots(table, 4) == [0, 3, 4, 1]
    assert content(table, 0) == "@+-: Anchor@?"
    assert content(asked(history=0), 4) == "@+-: Anchor@?"


@pytest.mark.parametrize(
    ("variant", "text", "told"),
    [
        ("full", "@+@-@: Candle@?", [0, 1, 2, 3]),
        ("without_image", "@+@-@: Candle@?", [0, 1, 2, 3]),
        ("plain_network", "@+@-@: Candle@?", [0, 1, 2, 3]),
        ("without_user", "+@-@: Candle@?", [1, 2, 3]),
        ("without_text_title", "@+@-@: @?", [0, 1, 2, 3]),
        ("text_only", "+Anchor,-Bell,: Candle?", []),
        ("zero_shot", "+Anchor,-Bell,: Candle? Why? Then answer Yes or No.", []),
    ],
)
def test_a_variant_leaves_its_part_out(variant: str, text: str, told: list[int]) -> None:
    table = asked(variant)
    assert content(table, 2) == text
    assert slots(table, 2) == told


@pytest.mark.parametrize("version", ["brief", "paper"])
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_there_are_as_many_slots_in_a_text_as_are_told(version: str, variant: str) -> None:
    table = asked(variant, prompt=version, attributes=True)
    for row in table["row"]:
        assert content(table, row).count("@") == len(slots(table, row))


def test_genres_stand_beside_a_title_where_they_are_wanted_and_known() -> None:
    assert content(asked("text_only", attributes=True), 2) == "+Anchor (Sea, War),-Bell,: Candle?"
    assert '"Anchor" (Sea, War) @' in content(asked(attributes=True, prompt="paper"), 2)
    assert "()" not in content(asked(attributes=True, prompt="paper"), 2)


def test_only_rows_with_a_state_are_learnt_from_and_all_held_out_rows_are_asked() -> None:
    assert asked(stated=range(1, 5))["row"].to_list() == [1, 2, 3, 4]
    assert asked(stated=range(0), variant="text_only")["row"].to_list() == [3, 4]


def test_rows_are_drawn_by_the_seed_and_equal_for_every_variant() -> None:
    rule = protocol("pointwise_time", {"validation_quantile": 0.8, "test_quantile": 0.9})
    events = [(1 + row % 7, 1 + row % 4, 1 + row % 5) for row in range(100)]
    table, stated = splits(rule, events), pl.Series("row", range(100), pl.Int64)
    chosen = PromptSettings(prompt="brief", rows=20)

    def drawn(variant: str, seed: int) -> list[int]:
        made = prompts(rule, table, items(), stated, variant, chosen, seed)
        return made.filter(split="train")["row"].to_list()

    assert len(drawn("full", 0)) == 20
    assert drawn("full", 0) == [row for row in table["row"] if row in set(drawn("full", 0))]
    assert drawn("full", 0) == drawn("text_only", 0) != drawn("full", 1)


def test_strict_time_and_the_window_of_the_protocol_bound_the_history() -> None:
    strict = protocol("pointwise_time", {"validation_quantile": 0.6, "test_quantile": 0.8, "strict_time": True})
    table = splits(strict).with_columns(timestamp=pl.lit(100, pl.Int64))
    assert [len(before) for before in strict.judged(table, "train", 9)["before"]] == [0, 0, 0]
    assert [before.to_list() for before in RULE.judged(table, "train", 9)["before"]] == [[], [0], [0, 1]]

    blocks = protocol("paper_tallrec_blocks", {"windows": 10})
    events = [(1, 1 + row % 4, 1 + row % 5) for row in range(30)]
    last = blocks.judged(splits(blocks, events), "test", 100)
    assert last["row"].to_list()[-1] == 29
    assert last["before"].to_list()[-1] == list(range(19, 29))


def test_a_held_out_row_that_nobody_asks_for_is_not_judged() -> None:
    blocks = protocol("paper_tallrec_blocks", {"windows": 10})
    table = splits(blocks, [(1, 1 + row % 4, 1 + row % 5) for row in range(30)])
    table = table.with_columns(target=pl.col("target") & (pl.col("row") != 29))
    assert blocks.judged(table, "test", 3)["row"].to_list() == table.filter("target", split="test")["row"].to_list()
    assert 29 not in blocks.judged(table, "test", 3)["row"]


def test_slots_are_told_in_the_order_of_their_places_in_the_template() -> None:
    parts = template("cit_rec", "brief").parts
    form = Template(name="turned", text="{target}? {disliked}/{liked}/{user}{closing}", parts=parts, between="")
    writer = _Writer(form, VARIANTS["full"], {item: {"title": f"T{item}", "attributes": ""} for item in (1, 2, 3)})
    text, told = writer.message([(1, True), (2, False)], 3)
    assert text.replace(SLOT, "@") == "T3@? @/@/@"
    assert told == [3, 2, 1, 0]


def test_a_test_row_sees_validation_rows_and_a_validation_row_no_test_row() -> None:
    rule = protocol("pointwise_time", {"validation_quantile": 0.4, "test_quantile": 0.6})
    events = [(1 + row % 2, 1 + row % 4, 5) for row in range(10)]
    table = splits(rule, events)
    part = dict(table.select("row", "split").iter_rows())
    for held, seen in (("validation", {"train", "validation"}), ("test", {"train", "validation", "test"})):
        judged = rule.judged(table, held, 100)
        assert {part[row] for before in judged["before"] for row in before} <= seen
        assert all(earlier < row for row, before in judged.select("row", "before").iter_rows() for earlier in before)
    assert "validation" in {part[row] for row in rule.judged(table, "test", 100)["before"].explode()}


def test_one_among_a_few_is_asked_in_the_same_words_with_a_history_that_counts_as_liked() -> None:
    rule = protocol("paper_candidates_20", {"min_item_events": 1})
    day = [{"user": 1, "item": item, "rating": 1} for item in (1, 2, 3)]
    rows = [{**day[row % 3], "row": row, "timestamp": row // 3 * 86_400 + row} for row in range(30)]
    interactions = Interactions.cast(pl.DataFrame(rows, schema=Interactions.create_empty().schema))
    table = rule.split(interactions.lazy()).collect()
    targets = table.filter("target").select(query="row", split=pl.col("split").cast(pl.String))
    drawn = Negatives.cast(targets.with_columns(items=pl.lit([4], pl.List(pl.Int32))))
    stated, chosen = pl.Series("row", range(30), pl.Int64), PromptSettings(prompt="brief", history=3)
    made = prompts(rule, table, items(), stated, "full", chosen, 0, drawn).filter(split="test")
    assert made.select("row", "item", "label").rows() == [(29, 3, True), (29, 4, False)]
    assert made["slots"].to_list() == [[0, 1, 2, 3], [0, 1, 2, 4]]
    said = [messages[0]["content"].replace(SLOT, "@") for messages in made["messages"]]
    assert said == ["@+@@-: Candle@?", "@+@@-: Drum (INST)@?"]
    CitRecPrompts.validate(made)


def test_a_protocol_without_labels_is_refused() -> None:
    with pytest.raises(RequestError, match="no labelled pairs"):
        asked(rule=protocol("leave_one_out"))
