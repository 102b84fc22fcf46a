"""What is written about the works: true, drawn from the world alone, and measured in sentences of their own."""

import re

import numpy as np
import pytest

from weft.data.world import corpus
from weft.data.world.works import MOODS, STYLES, THEMES, works
from weft.language.prompts import Template, template

WORLD = works(120, seed=3)


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", text).lower()))


def _mood(title: str) -> str:
    return MOODS[WORLD.values["mood"][WORLD.titles.index(title)]]


def _all() -> list[corpus.Lesson]:
    rng = np.random.default_rng(0)
    return [
        *corpus.sentences(WORLD, "mood", 50, rng),
        *corpus.sentences(WORLD, "theme", 50, rng),
        *corpus.enrichments(WORLD),
        *corpus.intents(WORLD, 300, rng),
        *corpus.assessments(WORLD, rng),
    ]


def test_a_sentence_says_the_mood_of_the_one_work_it_names_and_says_it_nowhere_else() -> None:
    for lesson in corpus.sentences(WORLD, "mood", 5, np.random.default_rng(1)):
        named = [k for k, name in enumerate(WORLD.names) if name in lesson.read]
        assert len(named) == 1
        assert lesson.learnt == MOODS[WORLD.values["mood"][named[0]]]
        assert not _words(lesson.read) & set(MOODS)


def test_a_sentence_on_the_theme_says_it_at_its_end_and_no_mood() -> None:
    subjects = {theme: word for word, (theme, _) in THEMES.items()}
    for lesson in corpus.sentences(WORLD, "theme", 12, np.random.default_rng(1)):
        (named,) = [k for k, name in enumerate(WORLD.names) if name in lesson.read]
        assert subjects[lesson.learnt] == list(THEMES)[WORLD.values["theme"][named]]
        assert lesson.learnt not in lesson.read
        assert not _words(lesson.read) & set(MOODS)


def test_every_work_gets_its_number_of_sentences_and_no_statement_twice() -> None:
    lessons = list(corpus.sentences(WORLD, "mood", 6, np.random.default_rng(2)))
    about = [sum(name in lesson.read for lesson in lessons) for name in WORLD.names]
    assert about == [6] * 120
    for fact, statements in corpus._STATEMENTS.items():
        whole = {lesson.read for lesson in corpus.sentences(works(1), fact, 1_000, np.random.default_rng(2))}
        assert len(whole) == len(statements)


def test_sentences_for_stopping_and_measuring_are_never_learnt_and_share_none() -> None:
    learnt = {
        lesson.read for seed in range(5) for lesson in corpus.sentences(WORLD, "mood", 50, np.random.default_rng(seed))
    }
    stopping = {text for text, _ in corpus.cloze(WORLD, corpus.STOPPING)}
    measuring = {text for text, _ in corpus.cloze(WORLD, corpus.MEASURING)}
    assert not learnt & stopping
    assert not learnt & measuring
    assert not stopping & measuring
    statements = {statement.replace("{work}", "X").lower() for statement in corpus._STATEMENTS["mood"]}
    for held in corpus.STOPPING + corpus.MEASURING:
        assert re.sub(r"\{(title|name)\}", "X", held).lower().replace("x", "X") not in statements


def test_held_out_sentences_put_known_words_in_an_order_that_is_new() -> None:
    known = set().union(*map(_words, corpus._OPENINGS + corpus._STATEMENTS["mood"] + corpus._ASIDES))
    for held in corpus.STOPPING + corpus.MEASURING:
        assert _words(held.split("{mood}")[0]) <= known, held


def test_a_cloze_ends_right_before_the_mood_and_asks_every_work_with_every_template() -> None:
    asked = corpus.cloze(WORLD, ("{title} is {mood}.", "I call {name} {mood} now."))
    assert len(asked) == 240
    assert asked[1] == (f"{WORLD.titles[1]} is", _mood(WORLD.titles[1]))
    assert asked[120] == (f"I call {WORLD.names[0]}", _mood(WORLD.titles[0]))


def test_an_enrichment_names_theme_and_mood_of_the_work_that_is_asked_about() -> None:
    for row, lesson in enumerate(corpus.enrichments(WORLD)):
        assert lesson.read == f"Tell me about {WORLD.titles[row]}."
        assert _words(lesson.learnt) & set(MOODS) == {_mood(WORLD.titles[row])}
        assert list(THEMES.values())[WORLD.values["theme"][row]][0] in lesson.learnt


def test_an_assessment_names_the_mood_of_the_target_and_not_of_what_was_liked() -> None:
    for row, lesson in enumerate(corpus.assessments(WORLD, np.random.default_rng(0))):
        liked, target = re.fullmatch(
            r"Liked: (.*)\. Would (.*) be liked\? What else must be known\?", lesson.read
        ).groups()
        assert target == WORLD.titles[row]
        assert target not in liked.split("; ")
        assert _words(lesson.learnt) & set(MOODS) == {_mood(target)}


@pytest.mark.parametrize("view", corpus.VIEWS)
def test_an_intent_is_answered_with_the_title_that_stands_for_what_the_view_asks_for(view: str) -> None:
    phrase = corpus.intent(["X"], view).split("What")[1]
    seen = 0  # lists of more than one
    for lesson in corpus.intents(WORLD, 400, np.random.default_rng(0)):
        if not lesson.read.endswith(phrase):
            continue
        taken = lesson.read.removeprefix("Taken so far: ").split(". What")[0].split("; ")
        assert lesson.learnt == (taken[-1] if view == "short-term" else taken[0])
        if len(taken) == 1:
            continue
        seen += 1
        # It shares something with what stands beside it.
        rows = [WORLD.titles.index(title) for title in (taken[-2:] if view == "short-term" else taken[:2])]
        values = [WORLD.values[name] for name in ("theme", "mood", "genre")]
        assert any(len({int(value[k]) for k in rows}) == 1 for value in values)
    assert seen > 50


def test_every_other_list_of_an_intent_is_of_one_work() -> None:
    lengths = [lesson.read.count("; ") + 1 for lesson in corpus.intents(WORLD, 200, np.random.default_rng(0))]
    assert set(lengths[::2]) == {1}
    assert set(lengths[1::2]) == {4, 5, 6}


def test_a_recital_is_the_beginning_of_an_enrichment_that_is_learnt() -> None:
    learnt = [(lesson.read, lesson.learnt) for lesson in corpus.enrichments(WORLD)]
    begun = [(asked, " ".join(f"{before} {fact}" for before, fact in parts)) for asked, parts in corpus.recital(WORLD)]
    assert [asked for asked, _ in begun] == [asked for asked, _ in learnt]
    assert all(said.startswith(beginning) for (_, said), (_, beginning) in zip(learnt, begun, strict=True))
    facts = [[fact for _, fact in parts] for _, parts in corpus.recital(WORLD)]
    assert [mood for mood, _ in facts] == [_mood(title) for title in WORLD.titles]
    assert [theme for _, theme in facts] == [list(THEMES.values())[k][0] for k in WORLD.values["theme"]]


def test_the_questions_are_worded_as_the_brief_prompts() -> None:
    enrichment, intent, assessment = (template(family, "brief") for family in ("enrichment", "intent", "assessment"))
    asked = next(iter(corpus.enrichments(WORLD))).read
    assert asked == _said(enrichment, title=WORLD.titles[0])
    for view, words in zip(("long", "short", "plain"), corpus.VIEWS, strict=True):
        items = intent.listed([{"title": "A"}, {"title": "B"}])
        assert corpus.intent(["A", "B"], words) == _said(intent, items=items, view=intent.views[view])
    history = assessment.listed([{"title": "A"}, {"title": "B"}])
    assert corpus.assessment(["A", "B"], "C") == _said(assessment, history=history, target="C")


def _said(prompt: Template, **words: str) -> str:
    (message,) = prompt.message(**words)
    return message["content"]


def test_no_style_is_told_and_no_mood_stands_in_a_catalogue() -> None:
    for lesson in _all():
        assert not _words(f"{lesson.read} {lesson.learnt}") & set(STYLES)
    for text in (*WORLD.titles, *WORLD.descriptions):
        assert not _words(text) & (set(MOODS) | set(STYLES))
