"""The hub's lines about failed requests are hidden, its other lines are not."""

import logging

from vg_gym.runtime.hub_log import HTTP_LOG, hide_failed_requests


def test_only_failed_requests_are_hidden(caplog):
    log = logging.getLogger(HTTP_LOG)
    hide_failed_requests()
    hide_failed_requests()
    log.warning("'[Errno -3] Temporary failure in name resolution' thrown while requesting HEAD https://hub/file")
    log.warning("Retrying in 8s [Retry 5/5].")
    log.warning("the file has moved")
    assert caplog.messages == ["the file has moved"] and len(log.filters) == 1
