"""Cache of answers of servers, keyed by the whole content of their requests.

The key is a hash of the server's address and of the request: model, texts, bytes of the image, sampling options. What
is stored is the text of the answer, so another way to read boxes from it needs no new request.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vg_gym.errors import CannotWrite
from vg_gym.language_models.chat_api import ChatAnswer
from vg_gym.storage.files import cache_place, fingerprint, go_on_without_cache, make_folder, write_json

FOLDER = "api-answers"
"""Name of the folder in the cache folder."""


def cached(base: str, body: Mapping[str, Any], ask: Callable[[Mapping[str, Any]], ChatAnswer]) -> ChatAnswer:
    """Return the saved answer to a request, or ask and save the answer.

    Args:
        base: address of the server.
        body: request.
        ask: function that sends the request. Its errors are not saved.
    """
    path = place_of(base, body)
    answer = _read(path)
    if answer is None:
        answer = ask(body)
        try:
            make_folder(path.parent)
            write_json(path, asdict(answer))
        except CannotWrite as error:
            go_on_without_cache(error)
    return answer


def place_of(base: str, body: Mapping[str, Any]) -> Path:
    """Return the file of the answer to a request."""
    key = fingerprint(base, json.dumps(body, sort_keys=True))
    return cache_place(FOLDER, key[:2], f"{key}.json")


def _read(path: Path) -> ChatAnswer | None:
    """Return the answer in a file; None if the file is missing or damaged."""
    try:
        answer = ChatAnswer(**json.loads(path.read_text()))
        return answer if isinstance(answer.text, str) and answer.seconds >= 0 else None
    except (OSError, ValueError, TypeError):
        return None
