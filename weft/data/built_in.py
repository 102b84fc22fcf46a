"""Data sets that are there from the start.

Those that may be downloaded without a question have a url and the checksum that their publisher states. The others say
in ``origin`` where a person gets them.
"""

from __future__ import annotations

from weft.data.mapping import ColumnMapping
from weft.data.rules import CleaningRules
from weft.data.spec import DatasetSpec

_MOVIELENS_TERMS = (
    "Research use with acknowledgement (Harper and Konstan 2015, doi:10.1145/2827872); no redistribution and no "
    "commercial use without permission of GroupLens. The README inside the archive is authoritative."
)
_AMAZON_TERMS = (
    "Amazon product reviews 1996-2014, Beauty, 5-core (McAuley et al., SIGIR 2015; He and McAuley, WWW 2016). No "
    "licence is stated; the collection asks for citation. Research use."
)
_STARS = CleaningRules(rating_min=1, rating_max=5)
_HALF_STARS = CleaningRules(rating_min=0.5, rating_max=5)
_TOUCHED = CleaningRules(rating_min=1, rating_max=5, min_item_events=1)
"""Ratings of 1 to 5, and a catalogue of the items that somebody touched."""


def _movielens(edition: str, md5: str, rules: CleaningRules) -> DatasetSpec:
    """GroupLens publishes the MD5 beside each archive (``ml-1m.zip.md5``)."""
    return DatasetSpec(
        name=f"ml-{edition}",
        format="movielens",
        url=f"https://files.grouplens.org/datasets/movielens/ml-{edition}.zip",
        checksum=f"md5:{md5}",
        rules=rules,
        terms=_MOVIELENS_TERMS,
    )


BUILT_IN: dict[str, DatasetSpec] = {
    spec.name: spec
    for spec in (
        DatasetSpec(
            name="storefront", format="storefront", rules=_STARS, production=True, terms="Simulated; free to use."
        ),
        _movielens("100k", "0e33842e24a9c977be4e0107933c0723", _STARS),
        _movielens("1m", "c4d9eecfca2ab87c1945afe126590906", _STARS),
        _movielens("10m", "ce571fd55effeba0271552578f2648bd", _HALF_STARS),
        _movielens("20m", "cd245b17a1ae2cc31bb14903e1204af3", _HALF_STARS),
        _movielens("25m", "6b51fb2759a8657d3bfcbfc42b592ada", _HALF_STARS),
        _movielens("32m", "d472be332d4daa821edc399621853b57", _HALF_STARS),
        DatasetSpec(
            name="amazon-beauty",
            format="amazon",
            origin="https://jmcauley.ucsd.edu/data/amazon/ (reviews_Beauty_5.json.gz and meta_Beauty.json.gz)",
            rules=_TOUCHED,
            terms=_AMAZON_TERMS,
        ),
        DatasetSpec(
            name="amazon-beauty-sequences",
            format="sequence-tsv",
            origin="a folder with sequences.tsv.gz (columns user, asins) and meta.jsonl.gz (asin, title)",
            mapping=ColumnMapping.model_validate(
                {"interactions": {"user": "user", "item": "asins"}, "items": {"item": "asin", "title": "title"}}
            ),
            rules=_TOUCHED,
            terms=_AMAZON_TERMS,
        ),
        DatasetSpec(
            name="amazon-food-kitchen",
            format="cross-domain-tsv",
            origin="a folder with items.tsv.gz, train.tsv.gz, valid.tsv.gz and test.tsv.gz (Xin et al., LLMCDSR)",
            protocols={"predefined": {"targets": "last"}},
            terms="Sequences of LLMCDSR (Xin et al., ACM TOIS 2025) from Amazon product reviews 1996-2014 (McAuley et "
            "al., SIGIR 2015; He and McAuley, WWW 2016). No licence is stated. Research use.",
        ),
        DatasetSpec(
            name="book-crossing",
            format="book-crossing",
            origin="BX-CSV-Dump.zip of http://www2.informatik.uni-freiburg.de/~cziegler/BX/",
            protocols={"paper_tallrec_blocks": {"like_above": 5}},  # of ten, not of five
            rules=CleaningRules(rating_min=1, rating_max=10),
            terms="Freely available for research use when acknowledged (Ziegler, McNee, Konstan, Lausen, WWW 2005, "
            "doi:10.1145/1060745.1060754).",
        ),
    )
}
"""Data sets that are there from the start. Without a ``url`` one has to be given with ``--source``."""
