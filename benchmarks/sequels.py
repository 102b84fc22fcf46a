"""Do sentence embeddings put sequels and films of one series near each other? MovieLens-1M, titles and genres.

python -m benchmarks.sequels --source ml-1m.zip

The pairs in ``sequels.tsv`` were written by hand. ``shared``: one pair per series, both titles have a word in common.
``none``: they have none but small ones, so that only knowledge of the films could tell.
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.machine import save
from weft.data.archives import open_archive
from weft.data.formats.movielens import MovieLens
from weft.language.sentences import PACKAGED, SentenceEncoder
from weft.training.runtime import Runtime

NEAR = 10
BOUND = 0.8
"""Least share of the pairs with a word in common that must be found."""

_SMALL = {"a", "an", "and", "back", "by", "de", "des", "el", "for", "from", "in", "of", "part", "the", "to", "with"}


def pairs() -> pl.DataFrame:
    """The hand-made list: ``words`` (shared or none), ``first`` and ``second`` (titles as MovieLens writes them)."""
    return pl.read_csv(Path(__file__).with_name("sequels.tsv"), separator="\t", quote_char=None)


def content_words(title: str) -> set[str]:
    """The words of a title without its year, small words and numbers."""
    name = re.sub(r"\s*\(\d{4}\)$", "", title).lower()
    return {
        word for word in re.findall(r"[a-z0-9']+", name) if word not in _SMALL and not re.fullmatch("[ivx1-9]+", word)
    }


def films(source: Path) -> pl.DataFrame:
    """``title`` (with its year) and ``genres`` of all films."""
    items = MovieLens.find(open_archive(source)).items()
    return items.select("title", genres=pl.col("genres").list.join(", "))


def found(encoder: SentenceEncoder, titles: list[str], texts: list[str], asked: pl.DataFrame) -> np.ndarray:
    """Bool [2, pairs]: whether the second film is among the ten nearest of the first, and the other way round."""
    vectors = encoder.encode(texts)
    number = {title: k for k, title in enumerate(titles)}
    ends = np.array([[number[a], number[b]] for a, b in asked.select("first", "second").iter_rows()]).T
    near = vectors @ vectors.T
    np.fill_diagonal(near, -np.inf)
    return np.stack([(near[x] > near[x, y][:, None]).sum(axis=1) < NEAR for x, y in (ends, ends[::-1])])


def measure(source: Path, runtime: Runtime) -> dict[str, Any]:
    """Share found per kind of text and list, from the first film to the second and back; what was missed."""
    encoder, table, asked = SentenceEncoder(PACKAGED, runtime=runtime), films(source), pairs()
    titles = table["title"].to_list()
    texts = {
        "title": titles,
        "title and genres": table.select(pl.format("{}. {}", "title", "genres")).to_series().to_list(),
    }
    result: dict[str, Any] = {}
    for name, lines in texts.items():
        start = time.perf_counter()
        hits = found(encoder, titles, lines, asked)
        result[name] = {"seconds": round(time.perf_counter() - start, 1)}
        for words in ("shared", "none"):
            rows = (asked["words"] == words).to_numpy()
            missed = asked.filter(pl.Series(rows & ~hits[0]))
            result[name][words] = {
                "pairs": int(rows.sum()),
                "found": round(float(hits[0, rows].mean()), 4),
                "found from the second": round(float(hits[1, rows].mean()), 4),
                "missed": missed.select(pl.format("{} → {}", "first", "second")).to_series().to_list(),
            }
    return result


def main() -> None:
    """Measures, keeps the result, and fails under the bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True, help="ml-1m.zip")
    figures = measure(parser.parse_args().source, Runtime(device="cpu", threads=1))
    for name, lists in figures.items():
        print(name, {words: lists[words]["found"] for words in ("shared", "none")}, f"{lists['seconds']} s")
    print(f"kept in {save('sequels', {'near': NEAR, 'bound': BOUND, **figures})}")
    if figures["title"]["shared"]["found"] < BOUND:
        raise SystemExit(f"fewer than {BOUND:.0%} of the pairs with a word in common were found")


if __name__ == "__main__":
    main()
