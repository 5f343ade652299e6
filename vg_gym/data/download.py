"""Fetch the published archives: a list of mirrors, resumed transfers, checked contents.

The archives lie on servers that come and go, so every archive has several addresses, a transfer that breaks is taken up
where it broke (HTTP Range), and what arrives is compared with the known size and SHA-256 before it is unpacked.
"""

from __future__ import annotations

import http.client
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from vg_gym import __version__
from vg_gym.data.archives import Archive, WrongFile, check, extract, is_unpacked
from vg_gym.errors import VGGymError

CHUNK = 1 << 18
"""Bytes read at a time."""
TRIES = 3
"""Broken transfers in a row, without a byte gained, before the next mirror is tried."""
_NETWORK = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


class _OtherFile(Exception):
    """What a mirror announces is not the archive; nothing was received."""


class Progress:
    """One line on a stream: bytes, speed and time left; rewritten in place on a terminal."""

    def __init__(self, name: str, stream: IO[str] | None = None):
        self.name, self.stream = name, stream or sys.stderr
        self._start: tuple[float, int] | None = None
        self._shown = 0.0

    def __call__(self, done: int, total: int | None) -> None:
        """Report that ``done`` of ``total`` bytes are there."""
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
    """Fetch an archive into ``folder``, from the first mirror that has the right file; returns its path.

    A file of that name that is there already is checked and taken. Until it is complete and checked it is called
    ``NAME.part``; an interrupted call (Ctrl-C too) leaves the part, and the next call goes on from it.

    Args:
        archive: what to fetch.
        folder: where to.
        mirrors: further addresses, tried first: of the file (ending in its name) or of the folder it lies in.
        report: called with the bytes got and the total (None: unknown).
        wait: seconds before a broken transfer is taken up again; doubles each time.

    Raises:
        VGGymError: no mirror served the right file (the message lists each and its fault), or ``folder`` cannot be
            written.
    """
    target, part = folder / archive.name, folder / f"{archive.name}.part"
    urls = [_address(mirror, archive.name) for mirror in mirrors] + list(archive.mirrors)
    report = report or Progress(archive.name)
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
            faults.append(f"{url}: {fault}")
    except OSError as error:
        raise VGGymError(
            f"cannot write {folder}: {error.strerror or error}; free space or give another --root"
        ) from error
    raise VGGymError(
        f"no mirror served {archive.name}: {'; '.join(faults)}. Try again later, give --mirror URL, or put the file at "
        f"{target} by hand"
    )


def _address(mirror: str, name: str) -> str:
    if not mirror.startswith(("http://", "https://")):
        raise VGGymError(f"mirror {mirror!r} is no http(s) address; for a file you have, put it into the --root folder")
    return mirror if mirror.endswith(f"/{name}") else f"{mirror.rstrip('/')}/{name}"


def _checked_by_hand(archive: Archive, path: Path) -> Path:
    try:
        check(archive, path)
    except WrongFile as error:
        raise VGGymError(f"{path} is not the published archive: {error}; delete it and run again") from error
    return path


def _try_mirror(archive: Archive, url: str, part: Path, report: Callable, wait: float) -> str | None:
    """Get the right file at ``part`` and return None, or say what is wrong with this mirror."""
    while True:
        resumed = part.exists() and part.stat().st_size > 0
        try:
            _transfer_persistently(url, part, archive.size, report, wait)
            check(archive, part)
            return None
        except WrongFile as error:
            part.unlink(missing_ok=True)
            if not resumed:  # else the fault may lie in the bytes from an earlier mirror: once more from the start
                return str(error)
        except (_OtherFile, *_NETWORK) as error:
            return " ".join(str(error).split()) or type(error).__name__


def _transfer_persistently(url: str, part: Path, size: int | None, report: Callable, wait: float) -> None:
    """Transfer, taking up a broken transfer again as long as that gains bytes or tries are left."""
    failures, most = 0, _size(part)
    while True:
        try:
            return _transfer(url, part, size, report)
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise
            fault: Exception = error
        except _NETWORK as error:
            fault = error
        failures = 1 if _size(part) > most else failures + 1
        most = max(most, _size(part))
        if failures >= TRIES:
            raise fault
        time.sleep(min(wait * 2 ** (failures - 1), 60))


def _transfer(url: str, part: Path, size: int | None, report: Callable[[int, int | None], None]) -> None:
    """One request: append what ``part`` lacks, or begin anew where the server cannot resume."""
    have = _size(part)
    response = _request(url, have)
    if response is None:
        return
    with response:
        if response.status != 206 or not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else None
        # Before the part is touched: an error page must not cost the gigabytes that are there.
        if size is not None and total not in (None, size):
            raise _OtherFile(f"it offers {total:,} bytes instead of {size:,}")
        _receive(response, part, have, total, report)


def _request(url: str, have: int) -> http.client.HTTPResponse | None:
    """The response from byte ``have`` on; None when there is nothing after it."""
    headers = {"User-Agent": f"vg-gym/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30)
    except urllib.error.HTTPError as error:
        error.close()  # it is a response too, with an open connection
        if error.code != 416:
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return None
        raise WrongFile(f"it ends before byte {have:,}, which we have") from error


def _receive(
    response: http.client.HTTPResponse,
    part: Path,
    have: int,
    total: int | None,
    report: Callable[[int, int | None], None],
) -> None:
    with open(part, "ab" if have else "wb") as file:
        while chunk := response.read(CHUNK):
            file.write(chunk)
            have += len(chunk)
            report(have, total)
    # read() ends quietly when the connection breaks; only the announced length tells.
    if total is not None and have < total:
        raise ConnectionError(f"the connection broke after {have:,} of {total:,} bytes")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def install(archive: Archive, root: Path, mirrors: Sequence[str] = (), report: Callable | None = None) -> Path:
    """Fetch and unpack an archive, unless that is done.

    Args:
        archive: what to fetch.
        root: the folder below which it is unpacked.
        mirrors: as in :func:`fetch`.
        report: as in :func:`fetch`.

    Returns:
        The folder with what is wanted of the archive.

    Raises:
        VGGymError: as :func:`fetch` and :func:`extract`.
    """
    if is_unpacked(archive, root):
        return root / archive.target
    return extract(archive, fetch(archive, root, mirrors, report), root)
