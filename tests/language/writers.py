"""A writer for tests: instant, deterministic, and counting its calls. Stands in for a model, for nothing else."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from weft.language.engine import Answer, Identity, Message, Prompt, Sampling


def echo(content: str, seed: int) -> str:
    """What was asked."""
    return content


class FakeWriter:
    """Answers by a function of the prompt's text and the seed; None fails.

    Args:
        answer: Gives the answer.
        log: File that gets one line per call, even when this process is killed right after.
        wait: Seconds per call.
    """

    def __init__(
        self, answer: Callable[[str, int], str | None] = echo, log: Path | None = None, wait: float = 0, **by: str
    ) -> None:
        self.identity = Identity(**{"model": "fake", "revision": "1", **by})
        self.calls: list[str] = []
        self._answer, self._log, self._wait = answer, log, wait

    def final(self, prompt: Prompt) -> list[Message]:
        return list(prompt)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Answer]]:
        for place in reversed(range(len(prompts))):  # answers come in any order
            text = self._answer(prompts[place][-1]["content"], sampling.seed)
            time.sleep(self._wait)
            self.calls.append(prompts[place][-1]["content"])
            if self._log is not None:
                with self._log.open("ab", buffering=0) as file:
                    file.write(b"called\n")
            if text is None:
                yield place, Answer("", "failed", 0, 0, 0.0, "nobody there")
            else:
                yield place, Answer(text, "stop", len(prompts[place]), len(text.split()), 0.5)
