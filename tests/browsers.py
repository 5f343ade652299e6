"""The browser that tests of pages drive, where there is one."""

import shutil
from contextlib import contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
"""Its path; None where there is none."""
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason=f"no browser: none of {', '.join(NAMES)} is on the PATH; try apt-get install chromium"
)


@contextmanager
def opened():
    """The browser, driven with playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="a browser is driven with playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()
