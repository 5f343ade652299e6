"""Client of servers with OpenAI's chat completions, as vLLM, SGLang, llama.cpp and most providers offer them.

Failed requests are repeated after exponentially growing random waits (Brooker, "Exponential Backoff and Jitter", AWS
Architecture Blog, 2015). A server that answers 429 or 503 with ``Retry-After`` is left alone for that time by all
threads. The key comes from an environment variable and is in no message, answer, cache or log of this module.
"""

from __future__ import annotations

import base64
import io
import json
import os
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from vg_gym.errors import VGGymError, importing, one_line

EXTRA = "api"
"""Extra of the package that installs the client."""
KEY, OPENAI_KEY = "VG_GYM_API_KEY", "OPENAI_API_KEY"
"""Environment variables of the key; the second one is sent to :data:`OPENAI_HOST` alone."""
OPENAI_HOST = "api.openai.com"
RETRIED = (408, 409, 425, 429, 500, 502, 503, 504, 529)
"""Statuses after which a request is repeated."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
"""Upper limits of the first random wait and of all others, in seconds."""
LONGEST_PAUSE_S = 600.0
"""Longest ``Retry-After`` that is waited for; with a longer one the request fails."""
CONNECT_S = 10.0
"""Longest time of connecting to the server, in seconds."""
MAX_BYTES = 2**24
"""Largest size of an answer in bytes."""
SECRET_CHARACTERS = 8
"""Smallest length of a key that is a secret; shorter ones, such as vLLM's ``EMPTY``, are words."""


class ServerError(VGGymError):
    """Failure of a request after all its repetitions."""


class _TryAgain(Exception):
    """Failure of one attempt, with the server's wish how long to wait (seconds; None: no wish)."""

    def __init__(self, reason: str, wait_s: float | None = None):
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True)
class ChatAnswer:
    """Answer of a model behind a server."""

    text: str
    """Text of the answer; empty if the model wrote none, e.g. reasoning alone."""
    prompt_tokens: int | None
    """Number of tokens of the question with its image; None if the server does not count."""
    completion_tokens: int | None
    """Number of tokens of the answer with its reasoning; None if the server does not count."""
    seconds: float
    """Duration of the request that was answered, without failed attempts and waits."""


class ChatServer:
    """Server with OpenAI's chat completions; several threads may use one object.

    Args:
        base: address up to the version, e.g. ``http://localhost:8000/v1``.
        timeout_s: longest duration of one attempt in seconds, however slowly the server sends its answer.
        retries: number of repetitions of a failed request.

    Raises:
        VGGymError: the address is not usable or contains a secret, the key is not a key, or httpx is not installed.
    """

    def __init__(self, base: str, timeout_s: float = 120.0, retries: int = 6):
        with importing("api", "httpx", EXTRA):
            import httpx
        self._httpx, self.base = httpx, checked_base(base)
        self.timeout_s, self.retries = timeout_s, retries
        self._key = key_for(self.base)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        timeout = httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s), pool=None)
        self._client = httpx.Client(base_url=self.base, headers=headers, timeout=timeout)
        self._free_at = 0.0
        self.stopped = threading.Event()
        """Event that ends waits and repetitions, for interrupts."""

    def complete(self, body: Mapping[str, Any]) -> ChatAnswer:
        """Return the answer to a request of ``/chat/completions``.

        Args:
            body: model, messages and sampling options.

        Raises:
            ServerError: the server refuses the request, or all attempts failed.
        """
        for attempt in range(self.retries + 1):
            self._wait(self._free_at - time.monotonic())
            try:
                return self._attempt(body)
            except _TryAgain as error:
                reason = str(error)
                if attempt == self.retries or self.stopped.is_set():
                    break
                self._back_off(attempt, error)
        raise ServerError(self._hidden(f"{self.base} gave no answer in {attempt + 1} attempts, the last: {reason}"))

    def _attempt(self, body: Mapping[str, Any]) -> ChatAnswer:
        start = time.monotonic()
        try:
            status, headers, content = self._post(body, start + self.timeout_s)
        except self._httpx.TimeoutException:
            raise _TryAgain(f"no whole answer in {self.timeout_s:g} s") from None
        except self._httpx.TransportError as error:
            raise _TryAgain(one_line(error)) from None
        if status in RETRIED:
            raise _TryAgain(f"status {status}: {_message(content)}", _retry_after(headers.get("Retry-After")))
        if status != 200:
            hint = f"; the key is read from {KEY} (or {OPENAI_KEY} for {OPENAI_HOST})" if status in (401, 403) else ""
            raise ServerError(self._hidden(f"{self.base} refuses, status {status}: {_message(content)}{hint}"))
        return self._parsed(content, time.monotonic() - start)

    def _post(self, body: Mapping[str, Any], deadline: float) -> tuple[int, Mapping[str, str], str]:
        """Return status, headers and content; the deadline also holds for a server that sends a byte now and then."""
        with self._client.stream("POST", "chat/completions", json=dict(body)) as response:
            content = bytearray()
            for part in response.iter_bytes():
                content += part
                if time.monotonic() > deadline:
                    raise _TryAgain(f"no whole answer in {self.timeout_s:g} s")
                if len(content) > MAX_BYTES:
                    raise _TryAgain(f"an answer of more than {MAX_BYTES:,} bytes")
            return response.status_code, response.headers, self._hidden(content.decode(errors="replace"))

    def _parsed(self, content: str, seconds: float) -> ChatAnswer:
        try:
            answer = json.loads(content)
            text, usage = _text(answer["choices"][0]["message"]["content"]), answer.get("usage") or {}
            prompt_tokens, completion_tokens = (
                _count(usage.get("prompt_tokens")),
                _count(usage.get("completion_tokens")),
            )
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise _TryAgain(f"not a chat completion: {one_line(content)[:100]!r}") from None
        return ChatAnswer(self._hidden(text), prompt_tokens, completion_tokens, round(seconds, 4))

    def _back_off(self, attempt: int, error: _TryAgain) -> None:
        """Wait before the next attempt; if the server names a time, all threads wait for it."""
        jitter = random.uniform(0, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempt))
        if error.wait_s is None:
            return self._wait(jitter)
        if error.wait_s > LONGEST_PAUSE_S:
            raise ServerError(self._hidden(f"{self.base} asks to wait {error.wait_s:,.0f} s: {error}"))
        self._free_at = max(self._free_at, time.monotonic() + error.wait_s)
        self._wait(error.wait_s + jitter)

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            self.stopped.wait(seconds)

    def _hidden(self, text: str) -> str:
        """Return a text without the key, which some servers repeat in their messages."""
        return text.replace(self._key, f"<{KEY}>") if len(self._key) >= SECRET_CHARACTERS else text


def data_url(picture: Image.Image) -> str:
    """Return a picture as a PNG in a data URL."""
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def checked_base(base: str) -> str:
    """Return the address of a server without a slash at its end.

    Raises:
        VGGymError: the address is missing or not one of http, or contains a user, a password or a query.

    >>> checked_base("http://localhost:8000/v1/")
    'http://localhost:8000/v1'
    """
    try:
        parts = urlsplit(base)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host:
        example = "--api-base http://localhost:8000/v1"
        raise VGGymError(
            f"the address of the server, {base.rpartition('@')[2]!r}, is not http(s)://HOST/...: {example}"
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise VGGymError(f"the address of {host} contains a user, password or query; leave it out, and set {KEY}")
    return base.rstrip("/").removesuffix("/chat/completions")


def key_for(base: str) -> str:
    """Return the key for a server; empty if there is none.

    Raises:
        VGGymError: the key has characters that a header cannot have; the message does not repeat it.
    """
    names = (KEY, OPENAI_KEY) if urlsplit(base).hostname == OPENAI_HOST else (KEY,)
    name = next((name for name in names if os.environ.get(name, "").strip()), KEY)
    key = os.environ.get(name, "").strip()
    if not all(33 <= ord(letter) <= 126 for letter in key):
        raise VGGymError(f"{name} contains a space or another character that no key has; set it again")
    return key


def _text(content: Any) -> str:
    """Return the text of a message, whose content is a text, parts, or nothing."""
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content)
    if not isinstance(content, str | None):
        raise TypeError(type(content).__name__)
    return content or ""


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 2**53 else None


def _message(content: str) -> str:
    """Return the reason in the content of an error, or the start of the content."""
    try:
        error = json.loads(content)["error"]
        return one_line(str(error["message"] if isinstance(error, dict) else error))
    except (ValueError, LookupError, TypeError, RecursionError):
        return one_line(content or "no reason")


def _retry_after(value: str | None) -> float | None:
    """Return the seconds of a ``Retry-After``, which is a number or a date; None without a readable one.

    >>> _retry_after("2.5"), _retry_after("soon"), _retry_after("Wed, 21 Oct 2015 07:28:00 GMT")
    (2.5, None, 0.0)
    """
    if value is None:
        return None
    try:
        seconds = float(value)
        return seconds if 0 <= seconds < float("inf") else None
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
