"""A small zip file like the published archives, and its description."""

import hashlib
import io
import zipfile

import numpy as np

from vg_gym.data.archives import Archive


def make_zip(**extra):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("refcocog/instances.json", b"{}")
        file.writestr("refcocog/refs(umd).p", np.random.default_rng(0).bytes(300_000))
        file.writestr("__MACOSX/._refcocog", b"x")
        for name, content in extra.items():
            file.writestr(name, content)
    return buffer.getvalue()


DATA = make_zip()
SIZE, SHA256 = len(DATA), hashlib.sha256(DATA).hexdigest()


def archive(*urls, size=SIZE, sha256=SHA256):
    return Archive("a.zip", urls, "instances.json", "refcocog", size, sha256)
