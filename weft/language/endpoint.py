"""A language model behind any server that speaks the OpenAI protocol: vLLM, Ollama, OpenRouter, a paid service.

Servers are busy, restarted and slow. What may pass is tried again after a growing wait; what will not pass fails the
one answer and says why; what is wrong with every request (the key, the model's name) ends the run at once. Servers
disagree on which status says that, so a refused request is followed by the plainest one there is.
"""

from __future__ import annotations

import email.utils
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any
from urllib.parse import urlsplit

import openai
import tenacity

from weft.errors import RequestError, WeftError
from weft.language.engine import Answer, Identity, Message, Prompt, Sampling

_PASSING = frozenset({408, 409, 429})  # besides 5xx
_UNKNOWN_CALLER = frozenset({401, 403})
_PLAINEST = ([Message(role="user", content="Hello")], Sampling(max_tokens=1))
_GIVE_UP = 6
"""Failures in a row, per request in flight, after which a server is taken to be gone."""
_FIRST_WAIT = 1.0
_NO_KEY = "none"  # the client wants one, local servers do not
_LONGEST_ERROR = 300


class EndpointModel:
    """A server behind the words of ``weft/language/engine.py``.

    Args:
        name: What the server calls the model.
        base_url: Address up to and with ``/v1``.
        key: Environment variable that holds the key; empty for a server that asks for none.
        revision: What the model's weights are known by, where that can be said; kept with the answers.
        concurrency: Most requests at once.
        timeout: Seconds that one try may take.
        attempts: Most tries of one request.
        longest_wait: Most seconds between two tries, also where the server asks for more.

    Raises:
        RequestError: If the variable is not set, or the address holds a password.
    """

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        key: str = "",
        revision: str = "",
        concurrency: int = 8,
        timeout: float = 120.0,
        attempts: int = 6,
        longest_wait: float = 60.0,
    ) -> None:
        self._name, self._variable, self._revision = name, key, revision
        self._concurrency, self._timeout, self._attempts = concurrency, timeout, attempts
        self._longest_wait = longest_wait
        self._secret = os.environ.get(key, "") if key else ""
        if key and not self._secret:
            raise RequestError(f"{name} needs a key and {key} is not set", f"set the environment variable {key}")
        if "@" in urlsplit(base_url).netloc:
            raise RequestError(
                "the address of the server holds a password", "put the key into a variable, name it in key"
            )
        self._url = base_url
        self._client = openai.OpenAI(base_url=base_url, api_key=self._secret or _NO_KEY, timeout=timeout, max_retries=0)

    def __repr__(self) -> str:
        """Name and address, never the key."""
        return f"EndpointModel({self._name!r}, base_url={self._url!r}, key={self._variable!r})"

    @property
    def identity(self) -> Identity:
        """What answers are kept under: the model's name, with its revision, or where it runs if nobody named one."""
        return Identity(self._name, self._revision or self._url)

    def final(self, prompt: Prompt) -> list[Message]:
        """The messages, as the server gets them."""
        return [Message(role=message["role"], content=message["content"]) for message in prompt]

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Answer]]:
        """Answers as they arrive, each with the place of its prompt.

        An answer's seconds are those of the try that gave it. One that no try gave is ``failed``, with the last
        reason; requests that have not begun are dropped when the caller stops listening.

        Raises:
            WeftError: If the server refuses every request (the key is wrong, or the model unknown), or gives no answer
                to many in a row.
        """
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="endpoint")
        over = threading.Event()
        try:
            places = {
                pool.submit(self._answer, self.final(prompt), sampling, over): place
                for place, prompt in enumerate(prompts)
            }
            unanswered = 0
            for future in as_completed(places):
                answer = future.result()
                unanswered = unanswered + 1 if answer.finish == "failed" else 0
                if unanswered >= _GIVE_UP * self._concurrency:
                    raise WeftError(
                        f"{self._url} has not answered {unanswered} questions in a row: {answer.error}",
                        "see that it runs, then run again: what it answered is kept",
                    )
                yield places[future], answer
        finally:
            over.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, messages: list[Message], sampling: Sampling, over: threading.Event) -> Answer:
        """One answer, after as many tries as it takes and may take."""
        begun = time.perf_counter()
        tries = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=tenacity.stop_any(tenacity.stop_after_attempt(self._attempts), tenacity.stop_when_event_set(over)),
            wait=self._wait,
            sleep=tenacity.sleep_using_event(over),
            reraise=True,
        )
        try:
            return tries(self._ask, messages, sampling)
        except openai.APIStatusError as error:
            if not _may_pass(error):
                self._end_if_all_are_refused()
            reason = self._safe(f"HTTP {error.status_code}: {_message(error)}")
        except openai.APITimeoutError:
            reason = f"no answer within {self._timeout:g} s"
        except openai.OpenAIError as error:
            reason = self._safe(f"{type(error).__name__}: {error}")
        reason += f" (after {tries.statistics['attempt_number']} tries)"
        return Answer("", "failed", 0, 0, time.perf_counter() - begun, reason)

    def _ask(self, messages: list[Message], sampling: Sampling) -> Answer:
        begun = time.perf_counter()
        wanted: dict[str, Any] = {
            "model": self._name,
            "messages": messages,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
        }
        if sampling.stop:
            wanted["stop"] = list(sampling.stop)
        try:
            reply = self._client.chat.completions.create(**wanted)
            said = reply.choices[0]
            text = said.message.content or ""
        except (ValueError, AttributeError, TypeError, LookupError) as error:  # no JSON, or not what the protocol says
            raise _OddReplyError("the server answered without an answer") from error
        # Some servers leave the stop text in.
        end = min((place for stop in sampling.stop if (place := text.find(stop)) >= 0), default=len(text))
        stopped = end < len(text) or said.finish_reason != "length"
        usage = reply.usage
        return Answer(
            text=text[:end],
            finish="stop" if stopped else "length",
            tokens_in=getattr(usage, "prompt_tokens", None) or 0,
            tokens_out=getattr(usage, "completion_tokens", None) or 0,
            seconds=time.perf_counter() - begun,
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        """Seconds to the next try: what the server asks for, else twice as long each time, with jitter."""
        error = state.outcome.exception() if state.outcome else None
        asked = _retry_after(error) if isinstance(error, openai.APIStatusError) else None
        if asked is not None:
            return min(asked, self._longest_wait)
        return tenacity.wait_random_exponential(multiplier=_FIRST_WAIT, max=self._longest_wait)(state)

    def _end_if_all_are_refused(self) -> None:
        """Asks the plainest question.

        Raises:
            WeftError: If that is refused as well.
        """
        try:
            self._ask(*_PLAINEST)
        except openai.APIStatusError as error:
            if _may_pass(error):
                return
            named = f"the key in {self._variable}" if self._variable else "requests without a key"
            what = named if error.status_code in _UNKNOWN_CALLER else f"every request for the model {self._name!r}"
            raise WeftError(
                f"{self._url} refuses {what}: {self._safe(f'HTTP {error.status_code}, {_message(error)}')}",
                "check key, name of the model and address, which mostly ends in /v1",
            ) from None
        except openai.OpenAIError:
            return

    def _safe(self, text: str) -> str:
        text = text.replace(self._secret, "…") if self._secret else text
        return " ".join(text.split())[:_LONGEST_ERROR]


class _OddReplyError(openai.OpenAIError):
    """A reply that is no answer: gateways send such ones while a model behind them is down."""


def _may_pass(error: BaseException) -> bool:
    """Whether another try can succeed: timeouts, dropped connections, a busy or broken server."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code in _PASSING or error.status_code >= 500
    return isinstance(error, openai.APIConnectionError | _OddReplyError)


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Seconds that the server asks to wait, given as a number or as a date; None if it asks for nothing."""
    header = error.response.headers.get("retry-after", "")
    try:
        return max(float(header), 0.0)
    except ValueError:
        moment = email.utils.parsedate_tz(header)
        return max(email.utils.mktime_tz(moment) - time.time(), 0.0) if moment else None


def _message(error: openai.APIStatusError) -> str:
    body = error.body
    told = body.get("message") or body.get("detail") if isinstance(body, dict) else None
    return str(told or error.message)
