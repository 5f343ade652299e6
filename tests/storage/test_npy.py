import io

import numpy as np
import pytest

from vg_gym.storage.npy import read_npy


def npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


def test_an_array_is_read_and_mapped(tmp_path, rng):
    np.save(tmp_path / "a.npy", array := rng.normal(size=(3, 2)))
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), array)
    assert isinstance(read_npy(tmp_path / "a.npy", "r"), np.memmap)


@pytest.mark.parametrize(
    "damaged",
    [b"", b"\x93NUMPY", npy("'''"), npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3"), npy("(" * 9000),
     npy("{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999999999,)}\n"),
     npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n") + b"cos\nsystem\n"],
)  # fmt: skip
@pytest.mark.parametrize("mode", [None, "r"])
def test_a_damaged_file_is_a_value_error(damaged, mode, tmp_path):
    (tmp_path / "a.npy").write_bytes(damaged)
    with pytest.raises(ValueError):
        read_npy(tmp_path / "a.npy", mode)


def test_half_of_a_file_is_a_value_error(tmp_path):
    np.save(whole := io.BytesIO(), np.arange(100))
    (tmp_path / "a.npy").write_bytes(whole.getvalue()[:300])
    with pytest.raises(ValueError):
        read_npy(tmp_path / "a.npy")
