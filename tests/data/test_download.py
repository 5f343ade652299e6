import io
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.data.zips import DATA, SHA256, archive
from vg_gym.data import download
from vg_gym.data.download import Progress, fetch, install
from vg_gym.errors import VGGymError


class Server:
    """A web server on loopback whose paths misbehave, each in its way; it records (path, Range) of every request."""

    def __init__(self):
        self.requests, self.files, self.delay = (
            [],
            {"/good/a.zip": DATA, "/ignores/a.zip": DATA, "/drops/a.zip": DATA},
            0,
        )
        self.files["/slow/a.zip"] = DATA
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802 - the name that http.server calls
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, kind, name="a.zip"):
        return f"http://127.0.0.1:{self.server.server_port}/{kind}/{name}"

    def answer(self, handler):
        asked = handler.headers.get("Range")
        self.requests.append((handler.path, asked))
        kind = handler.path.split("/")[1]
        data = self.files.get(handler.path)
        if data is None:
            handler.send_error(503 if kind == "busy" else 404)
            return
        start = 0 if asked is None or kind == "ignores" else int(asked.removeprefix("bytes=").rstrip("-"))
        if start >= len(data):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(data)}")
            handler.end_headers()
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        self.send(handler, kind, data[start:])

    def send(self, handler, kind, data):
        if kind == "drops":  # announces everything, sends a part, hangs up
            data = data[: 110_000 if len(data) > 110_000 else None]
        if kind == "dies":
            data = b""
        for at in range(0, len(data), 10_000):
            handler.wfile.write(data[at : at + 10_000])
            time.sleep(0.05 if kind == "slow" else 0)
        handler.close_connection = True


@pytest.fixture
def server():
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


def quiet(done, total):
    pass


def get(archive, folder, mirrors=()):
    return fetch(archive, folder, mirrors, quiet, wait=0.01)


def test_a_good_mirror(server, tmp_path):
    path = get(archive(server.url("good")), tmp_path / "new" / "folder")
    assert path.read_bytes() == DATA and path.name == "a.zip"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.zip"]
    get(archive(server.url("good")), path.parent)
    assert len(server.requests) == 1  # the second call took what was there


def test_dropped_connections_are_taken_up_where_they_broke(server, tmp_path):
    path = get(archive(server.url("drops")), tmp_path)
    assert path.read_bytes() == DATA
    assert [asked for _, asked in server.requests] == [None, "bytes=110000-", "bytes=220000-"]


def test_a_part_of_an_earlier_call_is_resumed(server, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(DATA[:200_000])
    assert get(archive(server.url("good")), tmp_path).read_bytes() == DATA
    assert server.requests == [("/good/a.zip", "bytes=200000-")]


def test_a_complete_part_is_only_checked(server, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(DATA)
    assert get(archive(server.url("good")), tmp_path).read_bytes() == DATA


@pytest.mark.parametrize("size", [None, len(DATA)])
def test_a_part_longer_than_the_file_is_begun_anew(server, tmp_path, size):
    (tmp_path / "a.zip.part").write_bytes(DATA + b"more")
    assert get(archive(server.url("good"), size=size), tmp_path).read_bytes() == DATA


def test_a_server_that_ignores_range_makes_it_begin_anew(server, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(DATA[:200_000])
    assert get(archive(server.url("ignores")), tmp_path).read_bytes() == DATA
    assert server.requests == [("/ignores/a.zip", "bytes=200000-")]


def test_a_part_of_another_file_is_found_out_and_begun_anew(server, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(b"x" * 200_000)
    assert get(archive(server.url("good")), tmp_path).read_bytes() == DATA
    assert [asked for _, asked in server.requests] == ["bytes=200000-", None]


@pytest.mark.parametrize("known", ["size and checksum", "checksum", "nothing"])
@pytest.mark.parametrize("wrong", [b"<html>not found</html>", DATA[:150_000] + bytes(1000) + DATA[151_000:], DATA[:-1]])
def test_a_wrong_file_is_deleted_and_the_next_mirror_taken(server, tmp_path, known, wrong, capsys):
    server.files["/wrong/a.zip"] = wrong
    wanted = archive(
        server.url("wrong"),
        server.url("good"),
        size=len(DATA) if known == "size and checksum" else None,
        sha256=None if known == "nothing" else SHA256,
    )
    assert get(wanted, tmp_path).read_bytes() == DATA
    assert [path for path, _ in server.requests] == ["/wrong/a.zip", "/good/a.zip"]
    assert not (tmp_path / "a.zip.part").exists()
    if known == "nothing":
        assert f"no checksum is published; intact as a zip file, SHA-256 {SHA256}" in (capsys.readouterr().err)


def test_an_error_page_does_not_cost_the_part(server, tmp_path):
    server.files["/ignores/b/a.zip"] = b"<html>log in first</html>"
    (tmp_path / "a.zip.part").write_bytes(DATA[:200_000])
    wanted = archive(server.url("ignores/b"), server.url("good"))
    assert get(wanted, tmp_path).read_bytes() == DATA
    assert server.requests[-1] == ("/good/a.zip", "bytes=200000-")


def test_the_last_error_lists_every_mirror_and_its_fault(server, tmp_path):
    server.files["/wrong/a.zip"] = b"x" * len(DATA)
    server.files["/dies/a.zip"] = DATA
    wanted = archive(
        server.url("gone"), server.url("busy"), server.url("wrong"), server.url("dies"), "http://127.0.0.1:1/"
    )
    with pytest.raises(VGGymError) as caught:
        get(wanted, tmp_path)
    message = str(caught.value)
    for fault in (
        "/gone/a.zip: HTTP Error 404",
        "/busy/a.zip: HTTP Error 503",
        "/wrong/a.zip: its SHA-256 is ",
        f"/dies/a.zip: the connection broke after 0 of {len(DATA):,} bytes",
        "http://127.0.0.1:1/: <urlopen error [Errno 111]",
        "give --mirror URL, or put the file at",
    ):
        assert fault in message
    assert "\n" not in message
    assert [path for path, _ in server.requests].count("/busy/a.zip") == download.MAX_FAILURES
    assert [path for path, _ in server.requests].count("/gone/a.zip") == 1


def test_without_a_network_the_answer_is_quick_and_leaves_no_folder(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise urllib.error.URLError(socket.gaierror(-2, "Name or service not known"))

    monkeypatch.setattr("vg_gym.data.download.urllib.request.urlopen", offline)
    wanted = archive("http://one.org/a.zip", "http://two.org/a.zip")
    with pytest.raises(VGGymError, match=r"one.org/a.zip, \S+two.org/a.zip: no connection \(Name or service"):
        fetch(wanted, tmp_path / "data", wait=60)
    assert not (tmp_path / "data").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(VGGymError, match="no connection"):
        fetch(wanted, tmp_path / "mine", wait=60)
    assert (tmp_path / "mine").exists()


def test_given_mirrors_come_first(server, tmp_path):
    folder = server.url("good", "").rstrip("/")
    assert get(archive(server.url("gone")), tmp_path / "1", [folder]).exists()
    assert get(archive(server.url("gone")), tmp_path / "2", [server.url("good")]).exists()
    assert {path for path, _ in server.requests} == {"/good/a.zip"}
    with pytest.raises(VGGymError, match="'file:///etc' is not an http"):
        get(archive(server.url("good")), tmp_path / "3", ["file:///etc"])


def test_a_file_put_there_by_hand_is_checked_never_deleted(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"mine")
    with pytest.raises(VGGymError, match="is not the published archive: it has 4 bytes instead of .*delete it"):
        get(archive(), tmp_path)
    assert (tmp_path / "a.zip").read_bytes() == b"mine"


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(VGGymError, match="cannot write .*file.*--root"):
        get(archive(server.url("good")), tmp_path / "file")


def test_interrupt_keeps_the_part_and_ends_in_one_line(server, tmp_path):
    code = (
        # A shell that runs the tests in the background has its children ignore Ctrl-C; this one must hear it.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys; from vg_gym.cli.entry import main; from vg_gym.data import archives\n"
        f"a = archives.Archive('a.zip', ({server.url('slow')!r},), 'instances.json', 'refcocog')\n"
        "archives.ARCHIVES['refcocog'] = a; main(['download', 'refcocog', '--root', sys.argv[1]])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path], stderr=subprocess.PIPE, text=True)
    part = tmp_path / "a.zip.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in errors and "vg-gym: interrupted" in errors
    got = part.read_bytes()
    assert 0 < len(got) < len(DATA) and DATA.startswith(got)
    assert get(archive(server.url("good")), tmp_path).read_bytes() == DATA


def test_progress_tells_share_rate_and_time_left(monkeypatch):
    clock = iter([0.0, 10.0, 20.0, 21.0])
    monkeypatch.setattr(download.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    progress = Progress("a.zip", stream)
    progress(1_000_000, 100_000_000)  # resumed at 1 MB: what was there does not count as speed
    progress(21_000_000, 100_000_000)
    progress(50_000_000, 100_000_000)
    progress(100_000_000, 100_000_000)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("a.zip: 21.0 MB of 100.0 MB (21%), 2.0 MB/s, 0:40 left")
    assert lines[-1].startswith("a.zip: 100.0 MB of 100.0 MB (100%)") and len(lines) == 3


# Unpacking


def test_unpacked_is_what_is_wanted_and_nothing_else(server, tmp_path):
    folder = install(archive(server.url("good")), tmp_path, report=quiet)
    assert folder == tmp_path / "refcocog"
    assert sorted(path.name for path in folder.iterdir()) == ["instances.json", "refs(umd).p"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "refcocog"]
    assert install(archive(), tmp_path) == folder  # done already: asks nobody
