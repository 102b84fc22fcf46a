from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from PIL import Image
from rich.console import Console

from weft.reporting import plots
from weft.reporting.labels import metric_label, number
from weft.reporting.page import CaseCard, ReportData, Tile, UserCard, render
from weft.reporting.tables import leaderboard_tables
from weft.schemas import Ablations, Comparisons, Costs, Leaderboard, Metrics, TrainingHistory

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}'


def table(schema, rows: list[dict]) -> pl.DataFrame:
    """Rows of a schema; columns that a test does not care about are filled by type."""
    fill = {
        name: None if column.nullable else "x" if column.dtype == pl.String else 1
        for name, column in schema.columns().items()
    }
    return schema.validate(pl.DataFrame([fill | row for row in rows]), cast=True)


def leaderboard(*systems: str, protocol: str = "leave_one_out") -> pl.DataFrame:
    return table(
        Leaderboard,
        [
            {
                "protocol": protocol,
                "place": place,
                "system": system,
                "variant": "full",
                "metric": "ndcg@10",
                "value": 0.5 / place,
                "ci_low": 0.45 / place,
                "ci_high": 0.55 / place,
                "ndcg_10": 0.5 / place,
                "hr_10": 0.75,
                "n": 1500,
            }
            for place, system in enumerate(systems, 1)
        ],
    )


def comparison(a: str, b: str, delta: float, **rest) -> dict:
    return {
        "a": a, "b": b, "protocol": "leave_one_out", "metric": "ndcg", "k": 10, "slice": "all", "delta": delta,
        "ci_low": delta - 0.01, "ci_high": delta + 0.01, "p": 0.0, "n": 1500,
        "variant_a": "full", "variant_b": "full",
    } | rest  # fmt: skip


HISTORY = table(
    TrainingHistory,
    [
        {"epoch": k, "loss": 5.0 / k, "validation": None if k == 2 else 0.01 * k, "metric": "ndcg@10", "best": k == 3}
        for k in range(1, 5)
    ],
)


def ablation(variant: str, delta: float, **rest) -> dict:
    return {
        "protocol": "pointwise_time", "profile": "offline", "system": "cit_rec", "variant": variant, "metric": "auc",
        "slice": "all", "full": 0.7, "value": 0.7 - delta, "delta": delta, "ci_low": delta - 0.01,
        "ci_high": delta + 0.01, "p": 0.002, "n": 900, "seeds": 3,
    } | rest  # fmt: skip


def cost(system: str, variant: str = "full", **rest) -> dict:
    return {
        "protocol": "pointwise_time", "profile": "offline", "system": system, "variant": variant, "device": "cpu",
        "language_model": False, "queries": 2000,
    } | rest  # fmt: skip


def case(title: str = "Dune", picture: bytes | None = None) -> CaseCard:
    tile = Tile(title, "yes 73% · liked it", jpeg=picture)
    return CaseCard(title, "cit_rec", "pointwise_time", 12, [tile], [], [tile], [Tile(title, title)])


def jpeg() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(data, "JPEG")
    return data.getvalue()


def report(**changes) -> str:
    whole = {
        "dataset": "shop",
        "generated_at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        "leaderboard": leaderboard("oracle", "sasrec", "popularity"),
        "metrics": pl.DataFrame(),
        "comparisons": table(Comparisons, [comparison("sasrec", "popularity", 0.2)]),
        "histories": {"sasrec": HISTORY},
        "statistics": {"Users": 1500, "Density": 0.0752},
        "users": [UserCard("u1", [Tile("Dune", "Saga", jpeg=jpeg())], [Tile("Emma", because="Dune")], "sasrec")],
        "ranks": {"sasrec": np.array([1, 1.5, 30, 500]), "popularity": np.array([7, 600, 90, 2])},
        "events_per_user": np.array([3, 5, 9, 40]),
        "events_per_item": np.array([0, 1, 1, 30]),
    }
    return render(ReportData(**(whole | changes)))


class Page(HTMLParser):
    """Collects tags, attributes that load something, and checks that what opens also closes."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.open: list[str] = []
        self.images: list[dict] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href", "action", "data"}]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing_from_anywhere() -> None:
    html = report()
    page = Page(html)
    assert page.open == []
    assert "script" not in page.tags
    assert all(load.startswith("data:image/jpeg;base64,") for load in page.loads)
    assert not re.search(r"https?://|//[a-z]|@import|url\((?!#)", html)
    assert "default-src 'none'" in html
    assert len(html) < 200_000


def test_hostile_names_and_titles_stay_text_everywhere() -> None:
    html = report(
        dataset=HOSTILE,
        leaderboard=leaderboard(HOSTILE, "sasrec", protocol=HOSTILE),
        comparisons=table(Comparisons, [comparison(HOSTILE, "sasrec", 0.2, protocol=HOSTILE)]),
        histories={HOSTILE: HISTORY},
        statistics={HOSTILE: HOSTILE},
        users=[UserCard(HOSTILE, [Tile(HOSTILE, HOSTILE, HOSTILE, jpeg())], [Tile(HOSTILE, HOSTILE)], HOSTILE)],
        ranks={HOSTILE: np.array([1, 2])},
        ablations=table(
            Ablations,
            [ablation(HOSTILE, 0.1, system=HOSTILE, protocol=HOSTILE, slice=part) for part in ("all", HOSTILE)],
        ),
        costs=table(Costs, [cost(HOSTILE, HOSTILE, protocol=HOSTILE, device=HOSTILE)]),
        case=case(HOSTILE),
    )
    page = Page(html)
    assert page.open == []
    assert "script" not in page.tags
    assert page.handlers == []
    assert len(page.images) == 1
    assert page.images[0]["alt"] == f"Cover of {HOSTILE}"
    assert "{{ 7 * 7 }}" in html


def test_pictures_are_embedded_with_their_title_and_anything_else_becomes_a_text_tile() -> None:
    tiles = [Tile("Dune", jpeg=jpeg()), Tile("Emma", jpeg=b"<svg onload=x>"), Tile("Faust"), Tile("")]
    html = report(users=[UserCard("u1", tiles, [])])
    assert [image["alt"] for image in Page(html).images] == ["Cover of Dune"]
    assert html.count('class="cover text"') == 3


def test_the_leaderboard_names_the_best_system_and_marks_the_oracle_as_a_bound() -> None:
    html = report()
    assert "<strong>sasrec</strong> comes first with NDCG@10 0.2500 [0.2250, 0.2750] over 1,500 queries" in html
    assert html.count("upper bound</span>") == 1
    assert html.count("<caption>") == html.count("<table>") == 2


def test_comparisons_say_in_words_what_the_interval_shows() -> None:
    rows = [
        comparison("sasrec", "popularity", 0.2),
        comparison("popularity", "itemknn", -0.1, p=0.004, variant_b="no_recency"),
        comparison("popularity", "recent", 0.005, p=0.4),
        comparison("cold", "popularity", 0.3, slice="cold"),
        comparison("other", "popularity", 0.3, metric="hr"),
    ]
    text = unescape(re.sub(r"<[^>]+>", " ", report(comparisons=table(Comparisons, rows))))
    text = re.sub(r"\s+", " ", text[text.index("Who differs") : text.index("Where the true item")])
    assert (
        "sasrec \N{MINUS SIGN} popularity leave_one_out NDCG@10 0.2000 [0.1900, 0.2100] < 0.001 sasrec is better"
        in text
    )
    assert "[-0.1100, -0.0900] 0.004 itemknn (no_recency) is better" in text
    assert "[-0.0050, 0.0150] 0.400 no difference shown" in text
    assert "cold" not in text
    assert "other" not in text


def words(html: str, after: str, before: str) -> str:
    """What a reader reads between two headings."""
    text = re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))
    return text[text.index(after) : text.index(before, text.index(after))]


def test_each_variant_is_shown_with_what_it_leaves_out_and_what_that_is_worth() -> None:
    rows = [
        ablation("without_user", -0.03),
        ablation("without_image", 0.05),
        ablation("without_image", 0.09, slice="cold"),
        ablation("text_only", 0.001),
    ]
    html = report(ablations=table(Ablations, rows))
    assert Page(html).open == []
    text = words(html, "What each part is worth", "Where the true item")
    assert "AUC of the whole cit_rec minus that of each variant, under pointwise_time" in text
    shown = [
        "0.7000 0.6500 0.0500 [0.0400, 0.0600] 0.002 the whole system is better 0.0900 [0.0800, 0.1000] 3 900",
        "0.0010 [-0.0090, 0.0110] 0.002 no difference shown - 3 900",
        "-0.0300 [-0.0400, -0.0200] 0.002 without_user is better - 3 900",
    ]
    assert all(part in text for part in shown)
    assert [text.index(part) for part in shown] == sorted(text.index(part) for part in shown)


def test_costs_tell_language_models_from_the_rest_and_say_what_is_counted() -> None:
    rows = [
        cost("cit_rec", language_model=True, seconds_fit=80.0, parameters=12_000, seconds_score=5.0, ms_per_query=2.5,
             ms_per_user=50.0),
        cost("cit_rec", "plain_network", ms_per_query=0.01),
        cost("popularity"),
    ]  # fmt: skip
    text = words(report(costs=table(Costs, rows)), "What it costs", "Where the true item")
    assert "Reading tables, writing prompts and loading the model are not counted" in text
    assert "cit_rec pointwise_time yes cpu 80.0 12,000 5.0000 2.5000 50.0 2,000" in text
    assert "popularity pointwise_time no cpu - - - - - 2,000" in text
    assert text.index("cit_rec · plain_network") < text.index("cit_rec pointwise_time yes")


def test_a_case_shows_the_history_of_both_kinds_and_the_judged_items_with_what_was_said() -> None:
    html = report(case=case(picture=jpeg()), users=[])
    page = Page(html)
    assert page.open == []
    assert [image["alt"] for image in page.images] == ["Cover of Dune"] * 2
    text = words(html, "A case", "Where the true item")
    assert "user Dune, judged by cit_rec" in text
    assert "the one with the most of them (12)" in text
    assert re.search("Liked before D?.*Disliked before None. Recommended .*yes 73% · liked it.*Not recommended", text)


def test_slices_of_the_headline_metric_are_averaged_over_seeds() -> None:
    row = {"protocol": "leave_one_out", "system": "sasrec", "variant": "full", "metric": "ndcg", "k": 10, "n": 5}
    frame = table(
        Metrics,
        [
            row | {"split": split, "seed": seed, "slice": part, "value": value}
            for split, seed, part, value in [
                ("test", 0, "warm", 0.2), ("test", 1, "warm", 0.4), ("test", 0, "cold", 0.1), ("test", 0, "all", 0.9),
                ("validation", 0, "warm", 0.8),
            ]
        ],
    )  # fmt: skip
    html = report(metrics=frame)
    assert '<th scope="col">cold</th><th scope="col">warm</th>' in html
    assert "<td>0.1000</td><td>0.3000</td>" in html


def test_a_report_without_anything_to_show_is_still_a_page() -> None:
    html = render(ReportData("empty", datetime.now(UTC), *[pl.DataFrame()] * 3))
    assert Page(html).open == []
    assert "Nothing has been evaluated yet" in html


@pytest.mark.parametrize(
    "chart",
    [
        plots.whiskers(leaderboard("a<b>&", "oracle")),
        plots.curves(HISTORY),
        plots.curves(HISTORY.head(1).with_columns(validation=pl.lit(None, pl.Float64))),
        plots.rank_histogram({"sasrec": np.array([1, 1.5, 30, 500.0]), "empty": np.array([])}),
        plots.events_per_user(np.array([1, 1, 2, 500])),
        plots.events_per_user(np.array([7, 7])),
        plots.popularity_curve(np.array([0, 3, 9])),
    ],
)
def test_every_chart_is_well_formed_svg_and_a_png_of_some_size(chart) -> None:
    root = ET.fromstring(plots.to_svg(chart))  # noqa: S314 - our own text
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert float(root.get("width")) < 900
    assert {"script", "image", "a", "foreignObject"}.isdisjoint(node.tag.split("}")[1] for node in root.iter())
    picture = Image.open(io.BytesIO(plots.to_png(chart)))
    assert min(picture.size) > 100


def test_rank_ranges_hold_every_query_once() -> None:
    chart = plots.rank_histogram({"a": np.array([1, 1.5, 2, 3, 4, 10, 11, 40])})
    assert chart.data.rows() == [("1", 2 / 8), ("2-3", 2 / 8), ("4-10", 2 / 8), ("11-30", 1 / 8), ("31-100", 1 / 8)]


def test_the_terminal_shows_one_table_per_protocol_without_reading_markup() -> None:
    board = pl.concat([leaderboard("oracle", "[red]x[/red]"), leaderboard("sasrec", protocol="global_time")])
    console = Console(file=io.StringIO(), width=140)
    for part in leaderboard_tables(board, "shop"):
        console.print(part)
    text = console.file.getvalue()
    assert text.count("shop · ") == 2
    assert "[red]x[/red]" in text
    assert "0.2500 [0.2250, 0.2750]" in text
    assert "HR@10" in text
    assert "AUC" not in text  # no system has one


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (float("nan"), "-"), (1500, "1,500"), (0.12345, "0.1235"), (0.0, "0.0000"), (2e-6, "2.0e-06"),
     (1234.56, "1,234.6"), ("2024-01-01", "2024-01-01")],
)  # fmt: skip
def test_numbers_are_written_for_people(value: object, text: str) -> None:
    assert number(value) == text


def test_one_metric_has_one_label_however_it_is_named() -> None:
    assert metric_label("ndcg", 10) == metric_label("ndcg@10") == metric_label("ndcg_10") == "NDCG@10"
    assert metric_label("mrr") == "MRR"
