"""Prompts to answers: asked of the cache first, then of the model, each question once.

An answer that cannot be read is kept as it came, and the question is asked again with the next sample, a bounded
number of times. What no model answered is not kept, so that the next run asks again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import polars as pl

from weft.language.answers import Parse
from weft.language.cache import Cache, Journal, answer_key, question_digest
from weft.language.engine import Answer, Prompt, Sampling, Writer
from weft.progress import NoProgress, Progress
from weft.schemas import Generated

WARM = 0.7
"""Least temperature of a second try: the likeliest answer would come again, word by word."""


@dataclass(frozen=True)
class Tally:
    """What a generation cost.

    Attributes:
        prompts: Rows that were asked for.
        questions: Different ones among them.
        cached: Answers that the cache had, second tries counted.
        called: Answers asked of the model, second tries counted.
        retried: Questions that were answered at a later try.
        malformed: Questions whose last answer could still not be read.
        failed: Questions that no model answered.
    """

    prompts: int
    questions: int
    cached: int
    called: int
    retried: int
    malformed: int
    failed: int


@dataclass(frozen=True)
class _Settled:
    """The answer to one question that stands so far."""

    digest: str
    sampling: Sampling
    attempts: int
    answer: Answer
    readable: bool

    @property
    def status(self) -> str:
        if self.answer.finish == "failed":
            return "failed"
        return "malformed" if not self.readable else "answered" if self.attempts == 1 else "retried"


def generate(
    prompts: pl.DataFrame,
    writer: Writer,
    sampling: Sampling,
    cache: Cache,
    *,
    parse: Parse,
    attempts: int = 2,
    progress: Progress | None = None,
) -> tuple[pl.DataFrame, Tally]:
    """Answers to all prompts, in their order.

    Args:
        prompts: Key columns, ``prompt_version`` and ``messages``.
        writer: Who answers.
        sampling: How. Try k, from 0, draws with seed + k, and from k = 1 on with a temperature of at least ``WARM``.
        cache: Asked first; takes every new answer the moment it comes.
        parse: Gives None for an answer that cannot be read.
        attempts: Answers asked for at most per question, while they cannot be read.
        progress: Sees the answers of the model come.

    Returns:
        The key columns with those of ``Generated``, and the tally.
    """
    asked: list[Prompt] = prompts["messages"].to_list()
    digests = [question_digest(writer.final(prompt)) for prompt in asked]
    work = _Work(writer, cache, parse, progress or NoProgress(), dict(zip(digests, asked, strict=True)))
    with cache.writing() as journal:
        for sample in range(attempts):
            work.ask(journal, _drawn(sampling, sample), sample)
    settled = work.settled
    status = Counter(one.status for one in settled.values())
    tally = Tally(
        prompts=len(asked),
        questions=len(settled),
        cached=work.cached,
        called=work.called,
        retried=status["retried"],
        malformed=status["malformed"],
        failed=status["failed"],
    )
    return _table(prompts, [settled[digest] for digest in digests], writer), tally


@dataclass
class _Work:
    """The questions by digest, and how far they are settled."""

    writer: Writer
    cache: Cache
    parse: Parse
    progress: Progress
    questions: dict[str, Prompt]
    settled: dict[str, _Settled] = field(default_factory=dict)
    cached: int = 0
    called: int = 0

    def ask(self, journal: Journal, sampling: Sampling, sample: int) -> None:
        """Settles what has no answer that can be read: from the cache, then by the model."""
        identity = self.writer.identity
        pending = [q for q in self.questions if q not in self.settled or self.settled[q].status == "malformed"]
        keys = {answer_key(question, identity, sampling, sample): question for question in pending}
        known = self.cache.find(list(keys))
        self.cached += len(known)
        missing = [key for key in keys if key not in known]
        for key, answer in known.items():
            self._settle(keys[key], key, sampling, sample, answer)
        for key, answer in self._written([(key, self.questions[keys[key]]) for key in missing], sampling):
            self.called += 1
            if answer.finish != "failed":
                journal.add(key, identity, answer)
            self._settle(keys[key], key, sampling, sample, answer)

    def _written(self, asked: list[tuple[str, Prompt]], sampling: Sampling) -> Iterator[tuple[str, Answer]]:
        """The model's answers by key, as they come."""
        if not asked:
            return
        with self.progress.step("answers", len(asked), "answers") as step:
            for place, answer in self.writer.generate([prompt for _, prompt in asked], sampling):
                # Half a surrogate pair can be received, and never written.
                yield asked[place][0], replace(answer, text=answer.text.encode("utf-8", "replace").decode())
                step.advance()

    def _settle(self, question: str, key: str, sampling: Sampling, sample: int, answer: Answer) -> None:
        if answer.finish == "failed" and question in self.settled:
            return  # an answer that cannot be read is worth more than none
        readable = answer.finish != "failed" and self.parse(answer.text) is not None
        self.settled[question] = _Settled(key, sampling, sample + 1, answer, readable)


def _drawn(sampling: Sampling, sample: int) -> Sampling:
    if sample == 0:
        return sampling
    warm = {"seed": sampling.seed + sample, "temperature": max(sampling.temperature, WARM)}
    return sampling.model_copy(update=warm)


def _table(prompts: pl.DataFrame, settled: list[_Settled], writer: Writer) -> pl.DataFrame:
    identity = writer.identity
    rows = [
        (one.digest, one.sampling.model_dump_json(), one.answer.text, one.answer.finish, one.status, one.attempts,
         one.answer.tokens_in, one.answer.tokens_out, one.answer.seconds, one.answer.error or None)
        for one in settled
    ]  # fmt: skip
    columns = [
        "digest",
        "sampling",
        "raw",
        "finish",
        "status",
        "attempts",
        "tokens_in",
        "tokens_out",
        "seconds",
        "error",
    ]
    types = Generated.create_empty().schema
    answered = pl.DataFrame(rows, schema={name: types[name] for name in columns}, orient="row")
    by = {"model": identity.model, "revision": identity.revision, "adapter": identity.adapter}
    whole = prompts.drop("messages").hstack(answered)
    whole = whole.with_columns(**{name: pl.lit(text) for name, text in by.items()})
    return whole.select(*types, pl.exclude(types))  # the order of the schemas
