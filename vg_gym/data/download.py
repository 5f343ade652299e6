"""Download of the published archives: a list of mirrors, resumed transfers, checked contents.

The servers of the archives come and go. Every archive therefore has several addresses, a broken transfer is resumed
where it stopped (HTTP Range), and the file is compared with the known size and SHA-256 before it is unpacked.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from vg_gym import __version__
from vg_gym.data.archives import Archive, WrongFile, check, extract, is_unpacked
from vg_gym.errors import VGGymError, one_line

CHUNK_BYTES = 1 << 18
"""Size in bytes of one read from a connection."""
MAX_FAILURES = 3
"""Number of consecutive transfers without a new byte after which the next mirror is tried."""
_NETWORK = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


class _OtherFile(Exception):
    """A mirror announces a file other than the archive, and nothing was received."""


class Progress:
    """Progress line on a stream with bytes, speed and remaining time; a terminal shows it in place."""

    def __init__(self, name: str, stream: IO[str] | None = None):
        self.name, self.stream = name, stream or sys.stderr
        self._start: tuple[float, int] | None = None
        self._shown = 0.0

    def __call__(self, done: int, total: int | None) -> None:
        """Report that ``done`` of ``total`` bytes have arrived."""
        now = time.monotonic()
        if self._start is None:
            self._start = now, done
        interval = 0.2 if self.stream.isatty() else 10.0
        if now - self._shown < interval and done != total:
            return
        self._shown = now
        end = "\r" if self.stream.isatty() and done != total else "\n"
        print(self._line(now, done, total), end=end, file=self.stream, flush=True)

    def _line(self, now: float, done: int, total: int | None) -> str:
        start, before = self._start or (now, done)
        rate = (done - before) / max(now - start, 1e-6)
        line = f"{self.name}: {done / 1e6:,.1f} MB"
        if total:
            line += f" of {total / 1e6:,.1f} MB ({done / total:.0%})"
        line += f", {rate / 1e6:.1f} MB/s"
        if total and rate > 0:
            minutes, seconds = divmod(round((total - done) / rate), 60)
            line += f", {minutes}:{seconds:02d} left"
        return f"{line}    "


def fetch(
    archive: Archive,
    folder: Path,
    mirrors: Sequence[str] = (),
    report: Callable[[int, int | None], None] | None = None,
    wait: float = 1.0,
) -> Path:
    """Fetch an archive into ``folder`` from the first mirror that has the right file, and return its path.

    An existing file of that name is checked and used. A file is called ``NAME.part`` until it is complete and checked.
    An interrupted call (also by Ctrl-C) leaves this part, and the next call resumes from it.

    Args:
        archive: archive to fetch.
        folder: folder of the file.
        mirrors: further addresses, tried first, of the file (ending in its name) or of its folder.
        report: function that is called with the number of received bytes and the total (None: unknown).
        wait: seconds before a broken transfer is resumed; they double each time.

    Raises:
        VGGymError: no mirror served the right file (the message lists each mirror with its fault), or ``folder``
            cannot be written.
    """
    target, part = folder / archive.name, folder / f"{archive.name}.part"
    urls = [_address(mirror, archive.name) for mirror in mirrors] + list(archive.mirrors)
    report, existed = report or Progress(archive.name), folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.is_file():
            return _checked_by_hand(archive, target)
        faults = []
        for url in urls:
            fault = _try_mirror(archive, url, part, report, wait)
            if fault is None:
                part.replace(target)
                return target
            faults.append((url, fault))
        if not existed:
            with suppress(OSError):  # the folder stays if it holds the part of a file
                folder.rmdir()
    except OSError as error:
        raise VGGymError(
            f"cannot write {folder}: {error.strerror or error}; free space or give another --root"
        ) from error
    raise VGGymError(
        f"no mirror served {archive.name}: {_by_fault(faults)}. Try again later, give --mirror URL, or put the file at "
        f"{target} by hand"
    )


def _by_fault(faults: Sequence[tuple[str, str]]) -> str:
    """Return addresses with their faults; addresses with the same fault share it."""
    addresses: dict[str, list[str]] = {}
    for url, fault in faults:
        addresses.setdefault(fault, []).append(url)
    return "; ".join(f"{', '.join(urls)}: {fault}" for fault, urls in addresses.items())


def _address(mirror: str, name: str) -> str:
    if not mirror.startswith(("http://", "https://")):
        raise VGGymError(f"mirror {mirror!r} is not an http(s) address; put an existing file into the --root folder")
    return mirror if mirror.endswith(f"/{name}") else f"{mirror.rstrip('/')}/{name}"


def _checked_by_hand(archive: Archive, path: Path) -> Path:
    try:
        check(archive, path)
    except WrongFile as error:
        raise VGGymError(f"{path} is not the published archive: {error}; delete it and run again") from error
    return path


def _try_mirror(archive: Archive, url: str, part: Path, report: Callable, wait: float) -> str | None:
    """Fetch the right file to ``part`` and return None, or return the fault of this mirror."""
    while True:
        resumed = part.exists() and part.stat().st_size > 0
        try:
            _transfer_persistently(url, part, archive.size, report, wait)
            check(archive, part)
            return None
        except WrongFile as error:
            part.unlink(missing_ok=True)
            if not resumed:  # otherwise the bytes of an earlier mirror may be wrong: start over
                return str(error)
        except (_OtherFile, *_NETWORK) as error:
            if isinstance(reason := getattr(error, "reason", None), socket.gaierror):
                return f"no connection ({reason.strerror})"
            return one_line(error)


def _transfer_persistently(url: str, part: Path, size: int | None, report: Callable, wait: float) -> None:
    """Transfer a file; resume a broken transfer up to :data:`MAX_FAILURES` times in a row without a new byte."""
    failures, most = 0, _size(part)
    while True:
        try:
            return _transfer(url, part, size, report)
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise
            fault: Exception = error
        except _NETWORK as error:
            if isinstance(getattr(error, "reason", None), socket.gaierror):  # no name is found without a network
                raise
            fault = error
        failures = 1 if _size(part) > most else failures + 1
        most = max(most, _size(part))
        if failures >= MAX_FAILURES:
            raise fault
        time.sleep(min(wait * 2 ** (failures - 1), 60))


def _transfer(url: str, part: Path, size: int | None, report: Callable[[int, int | None], None]) -> None:
    """Make one request: append the missing bytes to ``part``, or start over if the server cannot resume."""
    received = _size(part)
    response = _request(url, received)
    if response is None:
        return
    with response:
        if response.status != 206 or not response.headers.get("Content-Range", "").startswith(f"bytes {received}-"):
            received = 0
        length = response.headers.get("Content-Length")
        total = received + int(length) if length and length.isdigit() else None
        # This check comes before the part is written: an error page must not replace the gigabytes received so far.
        if size is not None and total not in (None, size):
            raise _OtherFile(f"it offers {total:,} bytes instead of {size:,}")
        _receive(response, part, received, total, report)


def _request(url: str, received: int) -> http.client.HTTPResponse | None:
    """Return the response from byte ``received`` on, or None if the file ends there."""
    headers = {"User-Agent": f"vg-gym/{__version__}", "Accept-Encoding": "identity"}
    if received:
        headers["Range"] = f"bytes={received}-"
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30)
    except urllib.error.HTTPError as error:
        error.close()  # the error is also a response with an open connection
        if error.code != 416:
            raise
        if error.headers.get("Content-Range") == f"bytes */{received}":
            return None
        raise WrongFile(f"it ends before byte {received:,}, which is already here") from error


def _receive(
    response: http.client.HTTPResponse,
    part: Path,
    received: int,
    total: int | None,
    report: Callable[[int, int | None], None],
) -> None:
    with open(part, "ab" if received else "wb") as file:
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            received += len(chunk)
            report(received, total)
    # read() does not raise when the connection breaks; only the announced length shows it.
    if total is not None and received < total:
        raise ConnectionError(f"the connection broke after {received:,} of {total:,} bytes")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def install(archive: Archive, root: Path, mirrors: Sequence[str] = (), report: Callable | None = None) -> Path:
    """Fetch and unpack an archive, unless it is already unpacked.

    Args:
        archive: archive to fetch.
        root: folder below which it is unpacked.
        mirrors: see :func:`fetch`.
        report: see :func:`fetch`.

    Returns:
        The folder of the unpacked contents.

    Raises:
        VGGymError: see :func:`fetch` and :func:`extract`.
    """
    if is_unpacked(archive, root):
        return root / archive.target
    return extract(archive, fetch(archive, root, mirrors, report), root)
