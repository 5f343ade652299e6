"""What fuzzers say of themselves."""

import pytest


@pytest.fixture
def fuzzed(record_property):
    """Say how many inputs a fuzzer made for a test, of which each is a case."""
    return lambda count: record_property("fuzzed", count)
