"""The hub's log of failed requests: without a network some forty lines come before the one that names the file."""

from __future__ import annotations

import logging

HTTP_LOG = "huggingface_hub.utils._http"
"""Name of the logger of requests."""
FAILED_REQUEST = ("thrown while requesting", "[Retry ")
"""Parts of the messages about a failed request and the next one."""


def hide_failed_requests() -> None:
    """Hide the lines about failed requests; the error after the last of them says what could not be fetched."""
    logging.getLogger(HTTP_LOG).addFilter(_says_more)


def _says_more(record: logging.LogRecord) -> bool:
    return not any(part in record.getMessage() for part in FAILED_REQUEST)
