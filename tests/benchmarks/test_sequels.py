import pytest

from benchmarks.sequels import BOUND, content_words, films, found, pairs
from weft.language.sentences import PACKAGED, SentenceEncoder
from weft.training.runtime import Runtime


def test_the_two_lists_are_what_they_say():
    for words, first, second in pairs().iter_rows():
        assert bool(content_words(first) & content_words(second)) == (words == "shared"), (first, second)
    counts = dict(pairs().group_by("words").len().iter_rows())
    assert counts["shared"] >= 30
    assert counts["none"] >= 15
    shared = pairs().filter(words="shared")
    assert shared["first"].n_unique() == shared["second"].n_unique() == len(shared)  # no series counts twice


@pytest.mark.slow
def test_titles_of_one_series_are_near_each_other(real_data):
    titles = films(real_data / "ml-1m.zip")["title"].to_list()
    asked = pairs().filter(words="shared")
    assert set(asked["first"]) | set(asked["second"]) <= set(titles)
    encoder = SentenceEncoder(PACKAGED, runtime=Runtime(device="cpu", threads=1))
    there, back = found(encoder, titles, titles, asked).mean(axis=1)
    assert there >= BOUND
    assert back >= BOUND
