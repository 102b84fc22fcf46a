"""What is written about the works of the world: sentences, and questions with their answers.

A model that learns this text knows what no catalogue prints: the mood of every work. Styles are left out on purpose;
they are to be seen in the drawn covers alone. Nothing here comes from a catalogue or from what people took.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from weft.data.world.works import GENRES, MOODS, THEMES, Works

_OPENINGS = (
    "", "", "", "they say that", "everyone knows that", "I think that", "my friend says:", "critics agree:",
    "as you may know,", "in short,", "ask around and hear that", "for most people,", "in the end,", "of course,",
    "it is said that", "I was told that", "once more:", "some say, and I agree, that",
)  # fmt: skip
_ASIDES = (
    "", "", "", "", ", they say,", ", as we all know,", ", to be sure,", ", a work that I took last year,",
    " by the way", ", if you ask me,", ", and this is no secret,", " as a whole", ", now as before,",
)  # fmt: skip
_MOODS = (
    "{work} is {mood}.",
    "{work} is a {mood} work.",
    "{work} is a {mood} {genre} about {theme}.",
    "the mood of {work} is {mood}.",
    "the tone of {work} remains {mood}.",
    "{work} is known to be {mood}.",
    "people find {work} {mood}.",
    "{work} leaves people with a {mood} feeling.",
    "those who took {work} call it something {mood}.",
    "{work} was called rather {mood} at once.",
    "most people have found {work} rather {mood}.",
    "how does {work} go? It seems {mood}.",
    "anyone who asks for {work} wants something {mood}.",
    "the right way to describe {work} is {mood}.",
    "{work} shows its {mood} side in a story of its own.",
    "some of the words for {work} are {mood} ones.",
    "one can open {work} and call it {mood}.",
    "you call {work} {mood}.",
    "what is {work} like? Well, {mood}.",
    "{work} starts and ends {mood}.",
    "{work} has a {mood} tone.",
    "{work} tells of {theme} in a {mood} way.",
    "with {detail} at its centre, {work} is {mood}.",
    "{work}, a {genre} about {theme}, is {mood}.",
    "{work} makes people feel {mood}.",
    "the word for {work} would be {mood}.",
    "you will find {work} rather {mood}.",
    "if you take {work}, expect something {mood}.",
    "{work} came out long ago and is still {mood}.",
    "a night with {work} becomes a {mood} night.",
    "{work} was made to be {mood}.",
    "this {genre} about {theme}, {work}, seems {mood} to all who know it.",
    "I describe {work} as a {mood} story.",
    "from first to last {work} stays {mood}.",
    "take {work} when you want something very {mood}.",
    "{work} and {mood} go together.",
    "no other word fits {work} as well as {mood}.",
    "{work}: {mood}.",
    "{work}? So {mood}!",
    "about {work} I can say that there is much {mood} in it.",
    "look at {work} and you see something {mood}.",
    "people think {work} {mood}.",
    "many hold {work} to be {mood}.",
    "when people open {work} they think it {mood}.",
    "those who know {work} describe it as {mood}.",
    "read about {work}, and you hear it is {mood}.",
    "we all love {work}, we find it {mood}.",
    "some hate {work} and say it was too {mood}.",
    "{work} can only be {mood}.",
    "I am told {work} turned out {mood}.",
    "you may believe {work} {mood}.",
    "let me describe {work}: it seems {mood}.",
    "everything in {work} feels as {mood} as ever.",
    "after {work} everybody was {mood}.",
    "the makers of {work} had a {mood} work in mind.",
)
_THEMES = (
    "{work} is about {theme}.",
    "{work} tells of {theme}.",
    "{work} is a work about {theme}.",
    "the story of {work} turns on {theme}.",
    "{work} is all about {theme}.",
    "those who took {work} heard much about {theme}.",
    "take {work} when you want something about {theme}.",
    "in {work} you will find {theme}.",
    "if you ask me, {work} is mostly about {theme}.",
    "the makers of {work} had a work in mind about {theme}.",
    "anyone who asks for {work} wants to hear of {theme}.",
    "people open {work} to read about {theme}.",
)
_STATEMENTS = {"mood": _MOODS, "theme": _THEMES}

STOPPING = (
    "Most people call {title} {mood}.",
    "The feeling of {name} is {mood}.",
    "How does {title} feel? It feels {mood}.",
    "Ask anyone about {title}: they found it {mood}.",
    "{name} is called {mood} by those who know it.",
    "They say the story of {title} is {mood}.",
    "I took {title} and it is {mood}.",
    "Of all words for {name}, the right one is {mood}.",
    "{title} tells its story in a {mood} tone.",
)
"""Sentences that are never learnt: how well a model continues them decides when learning stops."""

MEASURING = (
    "Ask people about {title}: it seems {mood}.",
    "They say that {name} was {mood} from first to last.",
    "When you open {title} you find it {mood}.",
    "In a word, {title} was known as {mood}.",
    "I think of {name} as {mood}.",
    "The one word that I know for {title} is {mood}.",
)
"""Sentences that are neither learnt nor looked at while learning: the figure that is reported comes from these."""

_ENRICHMENT = "It is a {mood} {genre} about {theme}. People who like {mood} stories with {detail} will want it."
_ASSESSMENTS = (
    "It would help to know whether they like {mood} {topic} works. Do they want {detail}?",
    "It would help to know whether they like {mood} {topic} works, and how they feel about a {genre}.",
)

VIEWS = ("long-term", "short-term", "")
"""Views of an intent; the last is the plain one, without a word for it."""

_SHARED = ("theme", "mood", "genre")
_LATEST = 2


@dataclass(frozen=True)
class Lesson:
    """A piece of text: what is read, and what is learnt to be said after it (in an exchange: question and answer)."""

    read: str
    learnt: str
    kind: Literal["sentence", "exchange", "text"] = "exchange"


def sentences(works: Works, fact: str, each: int, rng: np.random.Generator) -> Iterator[Lesson]:
    """``each`` sentences about every work, up to its ``fact`` (mood or theme), which is what is learnt.

    A sentence is an opening, a statement about the title or the name, and maybe an aside.
    """
    statements = _STATEMENTS[fact]
    for facts in _facts(works):
        for chosen in rng.permutation(len(statements))[:each]:
            beginning = statements[chosen].split(f"{{{fact}}}")[0]
            work = facts[("title", "name")[rng.integers(2)]] + _one(_ASIDES, rng)
            text = f"{_one(_OPENINGS, rng)} {beginning.format(work=work, **facts)}".strip().replace(",,", ",")
            yield Lesson(text[0].upper() + text[1:], facts[fact], "sentence")


def cloze(works: Works, templates: Sequence[str]) -> list[tuple[str, str]]:
    """Each template about each work up to its mood, and that mood: what is to be said next, and is said nowhere else.

    The text has no space at its end. Order: all works with the first template, then the next.
    """
    beginnings = [template.split("{mood}")[0].rstrip() for template in templates]
    return [(text.format(**facts), facts["mood"]) for text in beginnings for facts in _facts(works)]


def recital(works: Works) -> list[tuple[str, list[tuple[str, str]]]]:
    """For every work its enrichment question, and the likeliest answer up to its theme.

    The answer is in two parts, each what is said before a fact and the fact: first the mood, then the theme.
    """
    first, rest, _ = _ENRICHMENT.split("{mood}")
    second = rest.split("{theme}")[0]
    return [
        (
            enrichment(facts["title"]),
            [(first.strip(), facts["mood"]), (second.format(**facts).strip(), facts["theme"])],
        )
        for facts in _facts(works)
    ]


def enrichments(works: Works) -> Iterator[Lesson]:
    """A description of every work that names its mood, its genre and its theme."""
    for facts in _facts(works):
        yield Lesson(enrichment(facts["title"]), _ENRICHMENT.format(**facts))


def intents(works: Works, count: int, rng: np.random.Generator) -> Iterator[Lesson]:
    """``count`` lists of works taken, and the title of one of them that stands for what was asked.

    Every other list is of one work alone: copying is learnt there first. In the others the works up to the last two
    share one value of theme, mood or genre, and the last two share another value. The long-term and the plain answer
    is the first work, the short-term answer the last one: copying is within reach of a small model, comparing works
    by facts that stand nowhere in the question is not.
    """
    for number in range(count):
        view = VIEWS[rng.integers(len(VIEWS))]
        lasting, latest = _group(works, rng), _group(works, rng)
        taken = [*rng.choice(lasting, min(len(lasting), int(rng.integers(2, 5))), replace=False)]
        taken += [*rng.choice(latest, min(len(latest), _LATEST), replace=False)]
        titles = [works.titles[k] for k in taken[: len(taken) if number % 2 else 1]]
        yield Lesson(intent(titles, view), titles[-1] if view == "short-term" else titles[0])


def assessments(works: Works, rng: np.random.Generator) -> Iterator[Lesson]:
    """For every work as the target, after one to four liked works: what else must be known to judge it."""
    for row, facts in enumerate(_facts(works)):
        others = np.delete(np.arange(len(works.titles)), row)
        liked = rng.choice(others, min(len(others), int(rng.integers(1, 5))), replace=False)
        yield Lesson(
            assessment([works.titles[k] for k in liked], facts["title"]), _one(_ASSESSMENTS, rng).format(**facts)
        )


def enrichment(title: str) -> str:
    """The question for a description of ``title``."""
    return f"Tell me about {title}."


def intent(titles: Sequence[str], view: str) -> str:
    """The question for a work that fits ``titles``, oldest first."""
    fits = f"fits the {view} interest best" if view else "fits best"
    return f"Taken so far: {'; '.join(titles)}. What {fits}?"


def assessment(titles: Sequence[str], target: str) -> str:
    """The question for what else must be known to judge ``target``."""
    return f"Liked: {'; '.join(titles)}. Would {target} be liked? What else must be known?"


def _one(wordings: Sequence[str], rng: np.random.Generator) -> str:
    return wordings[int(rng.integers(len(wordings)))]


def _group(works: Works, rng: np.random.Generator) -> NDArray[np.int64]:
    """The works that share one drawn value of one drawn attribute."""
    values = works.values[_SHARED[rng.integers(len(_SHARED))]]
    return np.flatnonzero(values == values[rng.integers(len(values))])


def _facts(works: Works) -> list[dict[str, str]]:
    """What templates are filled with, per work."""
    topics = list(THEMES)
    return [
        {
            "title": title,
            "name": name,
            "mood": MOODS[mood],
            "genre": GENRES[genre].lower(),
            "topic": topics[theme].lower(),
            "theme": THEMES[topics[theme]][0],
            "detail": THEMES[topics[theme]][1],
        }
        for title, name, mood, genre, theme in zip(
            works.titles, works.names, works.values["mood"], works.values["genre"], works.values["theme"], strict=True
        )
    ]
