from __future__ import annotations

import json
import logging
import threading
import time
from email.utils import formatdate

import openai
import pytest

from tests.language.serving import completion, told_server
from weft.errors import RequestError, WeftError
from weft.language import endpoint
from weft.language.endpoint import EndpointModel
from weft.language.engine import Identity, Sampling

PROMPT = [{"role": "user", "content": "A quiet film"}]
SECRET = "sk-very-secret-0123456789"  # noqa: S105 - no key of anyone


def error(status, message="no", headers=None):
    return status, headers or {}, {"error": {"message": message}}


def open_(url, **options):
    return EndpointModel("m", base_url=url, **{"timeout": 5, "longest_wait": 0.05, **options})


def ask(url, prompts=(PROMPT,), sampling=Sampling(max_tokens=5), **options):  # noqa: B008 - frozen
    return dict(open_(url, **options).generate(list(prompts), sampling))


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again(status):
    with told_server(lambda number, *_: error(status) if number < 3 else completion("yes")) as (url, received):
        answer = ask(url)[0]
    assert (answer.text, answer.finish, answer.tokens_in, answer.tokens_out) == ("yes", "stop", 3, 2)
    assert len(received) == 3


def test_a_dropped_connection_is_tried_again():
    with told_server(lambda number, *_: None if number < 3 else completion("yes")) as (url, received):
        assert ask(url)[0].text == "yes"
    assert len(received) == 3


@pytest.mark.parametrize("status", [400, 403, 413, 422])
def test_what_will_not_pass_fails_at_once_and_alone(status):
    def reply(_, body, __):
        return error(status, "too long") if body["messages"][0]["content"] == "bad" else completion("fine")

    bad = [{"role": "user", "content": "bad"}]
    with told_server(reply) as (url, received):
        got = ask(url, [PROMPT, bad, PROMPT])
    assert [got[place].finish for place in range(3)] == ["stop", "failed", "stop"]
    assert got[1].text == ""
    assert got[1].error == f"HTTP {status}: too long (after 1 tries)"
    assert sum(body["messages"] == bad for body in received) == 1


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "the key in WEFT_TEST_KEY"),
        (403, "the key in WEFT_TEST_KEY"),
        (404, "every request for the model 'm'"),
        (400, "every request for the model 'm'"),
    ],
)
def test_a_refusal_of_every_request_is_one_clear_error(status, said, monkeypatch):
    monkeypatch.setenv("WEFT_TEST_KEY", SECRET)
    with told_server(lambda *_: error(status, f"no: {SECRET}")) as (url, received):
        with pytest.raises(WeftError, match=said) as caught:
            ask(url, [PROMPT] * 200, key="WEFT_TEST_KEY", concurrency=2)
        assert SECRET not in str(caught.value)
    assert len(received) < 50  # the rest is dropped, not asked


def test_after_the_last_try_the_answer_failed_and_says_why():
    with told_server(lambda *_: error(503, "restarting")) as (url, received):
        answer = ask(url, attempts=4)[0]
    assert (answer.finish, answer.text) == ("failed", "")
    assert answer.error == "HTTP 503: restarting (after 4 tries)"
    assert len(received) == 4


def test_a_server_that_nobody_runs_fails_the_answers():
    got = ask("http://127.0.0.1:9/v1", [PROMPT] * 3, attempts=2)
    assert [got[place].finish for place in range(3)] == ["failed"] * 3
    assert "Connection error" in got[0].error


def test_a_server_that_hangs_costs_bounded_time():
    hold = threading.Event()

    def reply(_, body, __):
        if body["messages"][0]["content"] != "fine":
            hold.wait(20)
        return completion("fine")

    with told_server(reply) as (url, _):
        begun = time.monotonic()
        fine = [{"role": "user", "content": "fine"}]
        got = open_(url, timeout=0.4, attempts=2, concurrency=2).generate([PROMPT, fine], Sampling())
        first, second = next(got), next(got)
        took = time.monotonic() - begun
        hold.set()
    assert first[0] == 1  # answers come as they arrive
    assert first[1].text == "fine"
    assert second[1].error == "no answer within 0.4 s (after 2 tries)"
    assert 0.8 <= took < 5


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
def test_the_wait_that_a_server_asks_for_is_kept(as_date):
    times = []

    def reply(number, *_):
        times.append(time.time())
        after = formatdate(time.time() + 2, usegmt=True) if as_date else "1"
        return error(429, headers={"Retry-After": after}) if number == 1 else completion("yes")

    with told_server(reply) as (url, _):
        assert ask(url, longest_wait=30)[0].text == "yes"
    assert 0.9 <= times[1] - times[0] < 3


def test_a_server_cannot_ask_for_a_longer_wait_than_the_longest():
    reply = lambda number, *_: error(429, headers={"Retry-After": "3600"}) if number == 1 else completion("yes")  # noqa: E731
    with told_server(reply) as (url, _):
        begun = time.monotonic()
        assert ask(url, longest_wait=0.1)[0].text == "yes"
    assert time.monotonic() - begun < 3


def test_waits_grow_and_are_drawn(monkeypatch):
    model = open_("http://127.0.0.1:9/v1", longest_wait=30.0)

    class State:
        outcome = None
        attempt_number = 1

    longest = []
    for attempt in (1, 2, 3, 4, 10):
        State.attempt_number = attempt
        drawn = [model._wait(State) for _ in range(200)]
        assert len(set(drawn)) > 100
        longest.append(max(drawn))
    assert longest[0] <= 1 < longest[2] <= 4 < longest[3] <= 8 < longest[4] <= 30


def test_no_more_requests_are_in_flight_than_allowed():
    running, most, lock = [0], [0], threading.Lock()

    def reply(*_):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.05)
        with lock:
            running[0] -= 1
        return completion("yes")

    with told_server(reply) as (url, _):
        got = ask(url, [PROMPT] * 12, concurrency=3)
    assert len(got) == 12
    assert most[0] == 3


def test_a_caller_that_stops_listening_drops_what_has_not_begun():
    def reply(*_):
        time.sleep(0.05)
        return completion("yes")

    with told_server(reply) as (url, received):
        answers = open_(url, concurrency=2).generate([PROMPT] * 100, Sampling())
        next(answers)
        answers.close()
        time.sleep(0.5)
        assert len(received) < 12


def test_the_whole_request_reaches_the_server():
    sampling = Sampling(max_tokens=7, temperature=0.5, top_p=0.9, stop=("###",), seed=11)
    with told_server(lambda *_: completion("yes ### and more")) as (url, received):
        answer = ask(url, sampling=sampling)[0]
    assert answer.text == "yes "
    assert received[0] == {
        "model": "m", "messages": PROMPT, "max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "seed": 11,
        "stop": ["###"],
    }  # fmt: skip


def test_an_answer_that_was_cut_says_so():
    with told_server(lambda *_: completion("and so on", "length")) as (url, _):
        assert ask(url)[0].finish == "length"


def test_a_reply_without_an_answer_fails():
    with told_server(lambda *_: (200, {}, {"id": "x", "object": "chat.completion", "choices": []})) as (url, _):
        assert "without an answer" in ask(url)[0].error


def test_the_key_is_sent_and_shown_nowhere(monkeypatch, caplog):
    monkeypatch.setenv("WEFT_TEST_KEY", SECRET)
    sent = []

    def reply(number, _, headers):
        sent.append(headers["Authorization"])
        # Some servers repeat the key in what they say, at the very place where a long message is cut.
        return error(500, "x" * 290 + SECRET) if number < 3 else error(400, f"your key {SECRET}")

    with caplog.at_level(logging.DEBUG), told_server(reply) as (url, _):
        model = open_(url, key="WEFT_TEST_KEY", attempts=2)
        failed = dict(model.generate([PROMPT], Sampling()))[0]
        with pytest.raises(WeftError) as caught:
            list(model.generate([PROMPT], Sampling()))
    shown = [failed.error, str(caught.value), repr(model), json.dumps(model.identity.__dict__)]
    shown += [record.getMessage() for record in caplog.records]
    assert set(sent) == {f"Bearer {SECRET}"}
    assert not [text for text in shown if SECRET[:6] in text]


def test_without_its_variable_nothing_is_opened(monkeypatch):
    monkeypatch.delenv("WEFT_TEST_KEY", raising=False)
    with pytest.raises(RequestError, match="WEFT_TEST_KEY is not set"):
        open_("http://127.0.0.1:9/v1", key="WEFT_TEST_KEY")


def test_a_password_in_the_address_is_refused():
    with pytest.raises(RequestError, match="password") as caught:
        open_("http://me:hunter2@127.0.0.1:9/v1")
    assert "hunter2" not in str(caught.value)


def test_answers_are_kept_under_the_model_where_it_runs_or_under_its_revision_wherever_that_is():
    assert open_("http://127.0.0.1:9/v1").identity == Identity("m", "http://127.0.0.1:9/v1")
    assert open_("http://127.0.0.1:9/v1", revision="r").identity == Identity("m", "r")
    assert open_("http://localhost:10/v1", revision="r").identity == Identity("m", "r")


def test_final_messages_are_copies_of_the_prompt():
    final = open_("http://127.0.0.1:9/v1").final(PROMPT)
    assert final == PROMPT
    assert final[0] is not PROMPT[0]


def test_only_what_may_pass_is_asked_again():
    def status(code):
        answer = openai.APIStatusError.__new__(openai.APIStatusError)
        answer.status_code = code
        return answer

    again = [code for code in range(400, 600) if endpoint._may_pass(status(code))]
    assert again == [408, 409, 429, *range(500, 600)]


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"index": 0, "finish_reason": "stop", "message": None}]},
        {"choices": []},
        {"error": {"code": 502, "message": "provider is down"}},
        {"id": "x"},
    ],
)
def test_a_reply_that_is_no_answer_is_tried_again_and_then_marked(body):
    with told_server(lambda number, *_: (200, {}, body) if number < 3 else completion("yes")) as (url, received):
        assert ask(url)[0].text == "yes"
    assert len(received) == 3
    with told_server(lambda *_: (200, {}, body)) as (url, received):
        answer = ask(url, attempts=2)[0]
    assert (answer.finish, answer.tokens_in, len(received)) == ("failed", 0, 2)
    assert "without an answer" in answer.error


@pytest.mark.parametrize("usage", [{}, None, {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}])
def test_an_answer_without_a_count_of_its_tokens_has_zero(usage):
    def reply(*_):
        status, headers, body = completion("yes")
        return status, headers, {**body, "usage": usage}

    with told_server(reply) as (url, _):
        answer = ask(url)[0]
    assert (answer.text, answer.tokens_in, answer.tokens_out) == ("yes", 0, 0)


def test_a_server_that_is_gone_ends_the_run_before_every_question_has_been_tried():
    with pytest.raises(WeftError, match="questions in a row"):
        ask("http://127.0.0.1:9/v1", [PROMPT] * 500, attempts=1, concurrency=4)


def test_a_password_without_a_user_in_the_address_is_refused():
    with pytest.raises(RequestError, match="holds a password"):
        open_("http://:secret@127.0.0.1:9/v1")
