from __future__ import annotations

from tests.language.conftest import prompts_with_prefixes
from weft.language import sharing


def test_a_prompt_joins_a_group_only_where_that_saves_tokens():
    long = list(range(100, 130))
    # Eight share 30 tokens; a ninth shares only 9 of them: joining would make 7 prompts read 21 tokens again.
    prompts = [[*long, k] for k in range(8)] + [[*long[:9], 1, 2, 3]]
    assert sorted((len(one.rows), one.shared) for one in sharing.group(prompts)) == [(1, 0), (8, 30)]
    # Two prompts share 30, a third 20: 20 saved for it, 10 lost for one other.
    prompts = [[*long, 1], [*long, 2], [*long[:20], 500]]
    assert [(len(one.rows), one.shared) for one in sharing.group(prompts)] == [(3, 20)]


def test_every_prompt_stands_in_one_group():
    prompts = prompts_with_prefixes(5)
    rows = [row for one in sharing.group(prompts) for row in one.rows]
    assert sorted(rows) == list(range(len(prompts)))


def test_batches_hold_no_more_tokens_than_the_budget():
    prompts = prompts_with_prefixes(6)
    lengths = [len(prompt) + 1 for prompt in prompts]
    seen = []
    for batch in sharing.batches(sharing.group(prompts), lengths, 150):
        rows = [row for one in batch for row in one.rows]
        tail = max(lengths[row] - one.shared for one in batch for row in one.rows)
        width = max(one.shared for one in batch) + tail
        assert len(rows) == 1 or len(rows) * width <= 150
        assert len({one.shared > 0 for one in batch}) == 1
        seen += rows
    assert sorted(seen) == list(range(len(prompts)))


def test_a_short_common_beginning_is_not_shared():
    assert sharing.group([[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 9]]) == [
        sharing.Group([0], 0),
        sharing.Group([1], 0),
    ]


def test_like_lengths_go_together_longest_first():
    assert list(sharing.by_length([3, 10, 4, 9], 20)) == [[1, 3], [2, 0]]
    assert list(sharing.by_length([50], 20)) == [[0]]
    assert list(sharing.by_length([], 20)) == []
