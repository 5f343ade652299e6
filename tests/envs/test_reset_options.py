"""Reset options: what is accepted, and what is refused with its name."""

import numpy as np
import pytest

from vg_gym.data.images import ArrayImage
from vg_gym.envs.reset_options import check_reset_options
from vg_gym.errors import VGGymError
from vg_gym.types import Query


def test_numbers_become_arrays():
    assert check_reset_options(None, 3, False) == {}
    given = check_reset_options({"index": [0, 2], "initial_box": [0, 0, 0.5, 1]}, 3, True, rows=2)
    assert given["index"].tolist() == [0, 2] and given["initial_box"].dtype == np.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"indx": 0}, "unknown reset option 'indx': did you mean 'index'"),
        ({"index": 3}, r"index=3 is outside \[0, 3\)"),
        ({"index": [0, -1]}, "index="),
        ({"query": "any"}, "must be a vg_gym.types.Query"),
        ({"query": Query(ArrayImage(np.zeros((4, 4, 3), np.uint8)), "any", "a")}, "needs; use reward='clip'"),
        ({"initial_box": [0, 0, 1]}, "initial_box="),
        ({"initial_box": [0.5, 0, 0.5, 1]}, "initial_box="),
        ({"initial_box": [0, 0, float("nan"), 1]}, "initial_box="),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_what_is_wrong_is_named(options, message):
    with pytest.raises(VGGymError, match=message):
        check_reset_options(options, 3, needs_labels=True)
