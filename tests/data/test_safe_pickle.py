import os
import pickle
from collections import Counter, OrderedDict

import numpy as np
import pytest

from vg_gym.data.safe_pickle import load_plain_pickle
from vg_gym.errors import VGGymError

PLAIN = [
    {"a": 1, "b": (2.5, None, True), "c": "é\u4e00", 3: [10**30, -1, 1j]},
    {1, 2},
    frozenset("x"),
    b"\x00\xffbytes",
    b"",
    bytearray(b"z"),
    OrderedDict(p=1),
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_of_every_protocol(tmp_path, protocol):
    # Protocols 0 to 2 write empty bytes and byte arrays as calls of types, which a data file has no need of.
    data = PLAIN if protocol >= 3 else [x for x in PLAIN if x not in (b"", bytearray(b"z"))]
    (tmp_path / "a.p").write_bytes(pickle.dumps(data, protocol))
    assert load_plain_pickle(tmp_path / "a.p") == data


def test_python_2_strings_are_latin_1(tmp_path):
    # {'sent': 'caf\xe9', u'n': 1L} as Python 2.7 wrote it with protocol 2.
    (tmp_path / "a.p").write_bytes(
        b"\x80\x02}q\x00(U\x04sentq\x01U\x04caf\xe9q\x02X\x01\x00\x00\x00nq\x03\x8a\x01\x01u."
    )
    assert load_plain_pickle(tmp_path / "a.p") == {"sent": "café", "n": 1}


class Call:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("function", "name"), [(os.system, "system"), (eval, "eval"), (getattr, "getattr"), (__import__, "__import__")]
)
def test_a_call_is_refused_and_nothing_runs(tmp_path, protocol, function, name):
    victim = tmp_path / "victim"
    arguments = {
        "system": (f"touch {victim}",),
        "eval": (f"open({str(victim)!r}, 'w')",),
        "getattr": ("", "join"),
        "__import__": ("antigravity",),
    }[name]
    path = tmp_path / "bad.p"
    path.write_bytes(pickle.dumps([{"ref_id": 1}, Call(function, *arguments)], protocol))
    with pytest.raises(VGGymError, match=rf"refused to read .*bad\.p: it names \w+\.{name},.*original source"):
        load_plain_pickle(path)
    assert not victim.exists()


@pytest.mark.parametrize("value", [np.float64(1), np.arange(3), Counter("a"), VGGymError, os.getcwd, range(3)])
def test_everything_but_plain_data_is_refused(tmp_path, value):
    (tmp_path / "a.p").write_bytes(pickle.dumps(value))
    with pytest.raises(VGGymError, match="refused to read"):
        load_plain_pickle(tmp_path / "a.p")


def test_ways_around_are_closed(tmp_path):
    dotted = b"\x80\x04\x8c\x08builtins\x8c\x0dset.__class__\x93."  # STACK_GLOBAL with a dotted name
    persistent = b"Psomewhere\n."
    codec = pickle.dumps(Call(__import__("_codecs").encode, "x", "rot13"), 2)
    for data in (dotted, persistent, codec):
        (tmp_path / "a.p").write_bytes(data)
        with pytest.raises(VGGymError, match="refused to read|not a readable pickle"):
            load_plain_pickle(tmp_path / "a.p")


def test_cut_short_anywhere_or_garbage_is_named(tmp_path):
    data = pickle.dumps([{"ref_id": i, "sentences": [{"sent": "a cat"}]} for i in range(20)], 2)
    for end in range(0, len(data), 7):
        (tmp_path / "a.p").write_bytes(data[:end])
        with pytest.raises(VGGymError, match=r"a\.p is not a readable pickle .*download it again"):
            load_plain_pickle(tmp_path / "a.p")
    rng = np.random.default_rng(0)
    failures = 0
    for _ in range(300):
        (tmp_path / "a.p").write_bytes(rng.bytes(100))
        try:
            load_plain_pickle(tmp_path / "a.p")
        except VGGymError as error:
            failures += 1
            assert "\n" not in str(error)
    assert failures > 250


def test_missing_file(tmp_path):
    with pytest.raises(VGGymError, match="cannot read .*none.p: No such file"):
        load_plain_pickle(tmp_path / "none.p")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_texts_of_python_2_are_utf_8_or_latin_1_each(tmp_path, encoding):
    text, other = "café".encode(encoding), "naïve".encode()
    short = b"".join(b"U" + bytes([len(part)]) + part for part in (text, other))
    (tmp_path / "short").write_bytes(b"\x80\x02" + short + b"\x86.")
    assert load_plain_pickle(tmp_path / "short") == ("café", "naïve")
    (tmp_path / "long").write_bytes(b"\x80\x02T" + len(text).to_bytes(4, "little") + text + b".")
    assert load_plain_pickle(tmp_path / "long") == "café"
    (tmp_path / "lines").write_bytes(b"S" + repr(text)[1:].encode() + b"\n.")
    assert load_plain_pickle(tmp_path / "lines") == "café"


@pytest.mark.parametrize("text", ["the man\u2019s \u201cred\u201d hat", "naïve \u2013 5 €", "\x81"])
def test_texts_of_python_2_on_windows(tmp_path, text):
    content = text.encode("cp1252") if text != "\x81" else b"\x81"  # a byte that Windows-1252 lacks
    (tmp_path / "a.p").write_bytes(b"\x80\x02U" + bytes([len(content)]) + content + b".")
    assert load_plain_pickle(tmp_path / "a.p") == text
