"""The client of chat completions against servers that are slow, broken, busy, odd, and right."""

import time

import pytest

from tests.chat_server import completion, refusal, serving
from vg_gym.errors import VGGymError
from vg_gym.language_models import chat_api
from vg_gym.language_models.chat_api import ChatServer, ServerError

BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
SECRET = "sk-0123456789abcdef"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(chat_api, "FIRST_WAIT_S", 0.001)
    for name in (chat_api.KEY, chat_api.OPENAI_KEY):
        monkeypatch.delenv(name, raising=False)


def test_a_right_answer_has_text_tokens_and_seconds():
    with serving([completion("[1, 2, 3, 4]", 321, 9)]) as stub:
        answer = ChatServer(stub.base).complete(BODY)
    assert (answer.text, answer.prompt_tokens, answer.completion_tokens) == ("[1, 2, 3, 4]", 321, 9)
    assert 0 < answer.seconds < 10 and stub.requests == [BODY] and stub.keys == [None]


@pytest.mark.parametrize(
    "broken",
    [
        None,  # the connection closes
        refusal(500),
        refusal(503),
        (200, {}, '{"choices": [{"message": {"content": "[1, '),  # cut off
        (200, {"Content-Length": "900"}, '{"choices": '),  # cut off by a closed connection
        (200, {}, "<html>busy</html>"),
        (200, {}, '{"choices": []}'),
        (200, {}, '{"choices": [{"message": {"content": 7}}]}'),
        (200, {}, "[" * 100_000),
    ],
    ids=["closed", "500", "503", "cut", "short", "html", "empty", "number", "deep"],
)
def test_a_broken_answer_is_asked_for_again(broken):
    with serving([broken, broken, completion("right")]) as stub:
        assert ChatServer(stub.base, timeout_s=5).complete(BODY).text == "right"
    assert len(stub.requests) == 3


def test_a_server_that_stays_broken_is_an_error_with_its_reason():
    with serving(lambda body: refusal(500, "out of memory")) as stub:
        with pytest.raises(ServerError, match="no answer in 3 attempts, the last: status 500: out of memory"):
            ChatServer(stub.base, retries=2).complete(BODY)
    with pytest.raises(ServerError, match="no answer in 2 attempts"):
        ChatServer(stub.base, retries=1).complete(BODY)  # nothing listens there any more


@pytest.mark.parametrize("status", [400, 401, 404, 422, 302])
def test_a_refusal_is_not_repeated(status):
    with serving(lambda body: refusal(status, "no such model")) as stub:
        with pytest.raises(ServerError, match=f"refuses, status {status}: no such model"):
            ChatServer(stub.base).complete(BODY)
    assert len(stub.requests) == 1


def test_a_busy_server_is_left_alone_as_long_as_it_asks():
    with serving([refusal(429, Retry_After="0.4"), completion("right")]) as stub:
        assert ChatServer(stub.base).complete(BODY).text == "right"
    assert stub.times[1] - stub.times[0] >= 0.4


def test_other_threads_leave_a_busy_server_alone_too():
    with serving([refusal(429, Retry_After="0.4"), completion("one"), completion("two")]) as stub:
        server = ChatServer(stub.base, retries=0)
        with pytest.raises(ServerError):
            server.complete(BODY)
        server.retries = 1
        stub_start = time.monotonic()
        server._free_at = stub_start + 0.4
        assert server.complete(BODY).text == "one"
    assert stub.times[1] - stub_start >= 0.4


def test_a_server_that_asks_for_too_long_a_wait_is_an_error():
    with serving([refusal(429, "quota", Retry_After="86400")]) as stub:
        with pytest.raises(ServerError, match="asks to wait 86,400 s: status 429: quota"):
            ChatServer(stub.base).complete(BODY)


def test_waits_grow_and_are_random(monkeypatch):
    limits = []
    monkeypatch.setattr(chat_api, "FIRST_WAIT_S", 0.5)
    monkeypatch.setattr(chat_api.random, "uniform", lambda low, high: limits.append((low, high)) or 0.0)
    with serving(lambda body: refusal(500)) as stub, pytest.raises(ServerError):
        ChatServer(stub.base, retries=9).complete(BODY)
    assert limits == [(0, min(60, 0.5 * 2**n)) for n in range(9)]


@pytest.mark.parametrize("drip", [False, True], ids=["silent", "one byte at a time"])
def test_a_slow_server_has_a_time_limit(drip):
    with serving(lambda body: (drip or time.sleep(2)) and completion("late")) as stub:
        stub.seconds_per_byte = 0.05
        start = time.monotonic()
        with pytest.raises(ServerError, match="no whole answer in 0.5 s"):
            ChatServer(stub.base, timeout_s=0.5, retries=0).complete(BODY)
        assert time.monotonic() - start < 2


def test_an_endless_answer_is_an_error(monkeypatch):
    monkeypatch.setattr(chat_api, "MAX_BYTES", 1000)
    with serving(lambda body: completion("x" * 5000)) as stub:
        with pytest.raises(ServerError, match="more than 1,000 bytes"):
            ChatServer(stub.base, retries=0).complete(BODY)


def test_contents_of_parts_or_of_nothing_are_texts():
    parts = [{"type": "text", "text": "[1, 2, "}, {"type": "text", "text": "3, 4]"}]
    with serving([completion(parts), completion(None), (200, {}, '{"choices": [{"message": {"content": "a"}}]}')]) as s:
        server = ChatServer(s.base)
        assert [server.complete(BODY).text for _ in range(2)] == ["[1, 2, 3, 4]", ""]
        assert server.complete(BODY).prompt_tokens is None


def test_the_key_is_sent_and_appears_nowhere_else(monkeypatch, caplog):
    monkeypatch.setenv(chat_api.KEY, f" {SECRET}\n")
    caplog.set_level("DEBUG")
    echo = f"{'x' * 290} wrong key {SECRET} {SECRET}"
    with serving([refusal(500, echo), completion(f"your key is {SECRET}"), refusal(401, echo)]) as stub:
        server = ChatServer(stub.base)
        answer = server.complete(BODY)
        with pytest.raises(ServerError) as failure:
            server.complete(BODY)
    assert stub.keys == [f"Bearer {SECRET}"] * 3
    assert answer.text == "your key is <VG_GYM_API_KEY>"
    for text in (str(failure.value), repr(failure.value), caplog.text, repr(answer)):
        assert SECRET[:12] not in text


def test_the_key_of_openai_is_sent_to_openai_alone(monkeypatch):
    monkeypatch.setenv(chat_api.OPENAI_KEY, SECRET)
    assert chat_api.key_for("https://api.openai.com/v1") == SECRET
    assert chat_api.key_for("https://api.openai.com.example.org/v1") == ""
    monkeypatch.setenv(chat_api.KEY, "EMPTY")
    assert chat_api.key_for("https://api.openai.com/v1") == chat_api.key_for("http://localhost/v1") == "EMPTY"


def test_a_word_in_place_of_a_key_is_not_hidden(monkeypatch):
    monkeypatch.setenv(chat_api.KEY, "EMPTY")
    with serving([completion("EMPTY")]) as stub:
        assert ChatServer(stub.base).complete(BODY).text == "EMPTY"


@pytest.mark.parametrize("key", [f"{SECRET}\n{SECRET}", f"{SECRET} x", f"{SECRET}é"])
def test_an_impossible_key_is_an_error_that_does_not_repeat_it(monkeypatch, key):
    monkeypatch.setenv(chat_api.KEY, key)
    with pytest.raises(VGGymError, match="VG_GYM_API_KEY contains a space or another character") as failure:
        ChatServer("http://localhost:1/v1")
    assert SECRET not in str(failure.value)


@pytest.mark.parametrize(
    ("base", "why"),
    [
        ("", "is not http"), ("localhost:8000/v1", "is not http"), ("ftp://host/v1", "is not http"),
        ("http://host:port/v1", "is not http"), (f"https://me:{SECRET}@host/v1", "contains a user, password or query"),
        (f"https://host/v1?key={SECRET}", "contains a user, password or query"), (f"me:{SECRET}@host", "is not http"),
    ],
)  # fmt: skip
def test_a_wrong_address_is_an_error_without_secrets(base, why):
    with pytest.raises(VGGymError, match=why) as failure:
        ChatServer(base)
    assert SECRET not in str(failure.value)


def test_addresses_may_end_in_a_slash_or_in_the_path():
    for end in ("", "/", "/chat/completions"):
        assert chat_api.checked_base(f"http://localhost:8000/v1{end}") == "http://localhost:8000/v1"


def test_an_interrupt_ends_the_wait():
    with serving(lambda body: refusal(429, Retry_After="60")) as stub:
        server = ChatServer(stub.base)
        server.stopped.set()
        start = time.monotonic()
        with pytest.raises(ServerError):
            server.complete(BODY)
        assert time.monotonic() - start < 10 and len(stub.requests) == 1
