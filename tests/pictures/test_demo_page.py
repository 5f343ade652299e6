"""The demo as a person meets it: ``vg-gym demo`` in a process of its own, and a real browser."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest

from tests.browsers import needs_browser, opened

pytestmark = [
    needs_browser,
    pytest.mark.skipif(find_spec("gradio") is None, reason='vg-gym demo needs pip install -e ".[demo]"'),
]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PATIENCE = 300_000
"""Milliseconds that a first answer may take on a busy machine."""
YELLOW = (255, 214, 10)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where the demo listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "vg_gym.cli", "demo", "--port", str(port)]
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(folder), "XDG_CACHE_HOME": str(folder)}
    log = folder / "log"
    former = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores the signal
    with log.open("w") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    signal.signal(signal.SIGINT, former)
    where = f"http://127.0.0.1:{port}/"
    try:
        deadline = time.monotonic() + PATIENCE / 1000
        while where not in log.read_text():
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield where
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        server.send_signal(signal.SIGINT)
        try:
            assert server.wait(PATIENCE / 1000) == 130, log.read_text()
        finally:
            server.kill()
            server.wait()


@pytest.fixture(scope="module")
def browser():
    with opened() as browser:
        yield browser


@pytest.fixture
def visit(browser, address, tmp_path, request):
    """Opens the page in a window of a size; at the end, it has asked no other host and made no error."""
    pages, hosts, errors = [], set(), []

    def visit(window):
        page = browser.new_page(viewport=window)
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: hosts.add(re.sub(r"^(\w+:/*[^/]*).*", r"\1", request.url)))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.get_by_role("button", name="Ground", exact=True).wait_for()
        pages.append(page)
        return page

    yield visit
    folder = os.environ.get("VG_GYM_SCREENSHOTS", tmp_path)
    for number, page in enumerate(pages):
        page.screenshot(path=os.path.join(folder, f"{request.node.name}-{number}.png"), full_page=True)
    assert {host for host in hosts if not host.startswith(("data:", "blob:"))} == {address.rstrip("/")}
    assert not errors


def ground(page):
    page.get_by_role("button", name="Ground", exact=True).click()


def shows(page, part, color):
    """Whether a picture of the page has a pixel of a colour (R, G, B)."""
    locator = page.locator(f"#{part} img")
    locator.wait_for()
    return locator.evaluate(
        """(image, [red, green, blue]) => image.decode().then(() => {
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
            for (let at = 0; at < data.length; at += 4)
                if (data[at] === red && data[at + 1] === green && data[at + 2] === blue) return true;
            return false;
        })""",
        color,
    )


def test_type_click_and_see_a_box(visit):
    page = visit(DESKTOP)
    assert not shows(page, "picture", YELLOW)
    page.get_by_label("Sentence", exact=True).fill("the leftmost square")
    page.get_by_label("Beside it").click()
    page.get_by_role("option", name="seg-clip", exact=True).click()
    ground(page)
    assert shows(page, "first-answer", YELLOW) and shows(page, "second-heat-map", YELLOW)
    page.get_by_text("IoU with the truth").first.wait_for()
    before = page.locator("#first-answer img").get_attribute("src")
    page.locator("#first-step input[type=range]").fill("0")
    page.wait_for_function(f"document.querySelector('#first-answer img').getAttribute('src') !== {before!r}")


def test_a_telephone_needs_no_sideways_scrolling(visit):
    page = visit(PHONE)
    assert page.get_by_label("Nothing fits below this score").input_value() == ""
    ground(page)
    assert shows(page, "first-answer", YELLOW)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_broken_upload_is_a_message(visit, tmp_path):
    page = visit(DESKTOP)
    (tmp_path / "broken.png").write_bytes(b"no image")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload a picture").click()
    chooser.value.set_files(tmp_path / "broken.png")
    alert = page.get_by_role("alert").filter(has_text="broken.png")
    alert.wait_for()
    assert "Traceback" not in alert.inner_text()
