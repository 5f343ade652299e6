"""Pictures of answers show what they say."""

import numpy as np
import pytest

from vg_gym.data.drawing import BOX, TARGET
from vg_gym.data.images import ArrayImage
from vg_gym.errors import VGGymError
from vg_gym.pictures.found import COLD_TO_WARM, Found, overlay

BLACK = np.zeros((64, 64, 3), np.uint8)
ANSWER = np.array([16, 16, 32, 32], np.float32)


def found(**details):
    return Found(ANSWER[None], None, None, "the ring", "mine", "", ArrayImage(BLACK), None, details)


def shows(image, color):
    return bool((np.asarray(image) == color).all(-1).any())


def test_a_step_shows_where_the_agent_was():
    path = np.stack([np.array([0, 0, 64, 64], np.float32), ANSWER])
    walked = found(trajectory=path)
    first, last, answer = (np.asarray(walked.draw(step)) for step in (0, 1, None))
    assert first.shape == last.shape and first.shape[1] == 512
    assert (first[2, 256] == BOX).all() and not (last[2, 256] == BOX).all()
    assert last[0, 256].max() > 50 and answer[0, 256].max() == 0  # the earlier box, and none
    assert shows(walked.draw(target=ANSWER + 8), TARGET) and not shows(walked.draw(), TARGET)
    with pytest.raises(VGGymError, match="no step 2: its trajectory has steps 0 to 1"):
        walked.draw(2)
    assert found().trajectory.tolist() == [ANSWER.tolist()]


def test_proposals_are_ordered_by_what_the_method_thinks_of_them():
    boxes = np.array([[0, 0, 8, 8], [40, 40, 56, 56], [0, 40, 8, 56]], np.float32)
    proposed = found(proposals=boxes, scores=[0.1, 0.7, 0.2])
    assert proposed.proposals.tolist() == boxes[[1, 2, 0]].tolist()
    drawn = np.asarray(proposed.draw_proposals(), int).max(-1)
    likely, less, least = drawn[384, 320], drawn[384, 0], drawn[32, 0]
    assert likely > less > least > 0
    with pytest.raises(VGGymError, match="mine has no proposals"):
        found().draw_proposals()


def test_a_heat_map_is_warm_where_it_is_high():
    heat = np.zeros((4, 4))
    heat[:2, :2] = 7.0
    warmed = overlay(BLACK, heat)
    assert warmed.shape == BLACK.shape
    np.testing.assert_allclose(warmed[0, 0], 0.6 * np.array(COLD_TO_WARM[-1]), atol=1)
    np.testing.assert_allclose(warmed[-1, -1], 0.6 * np.array(COLD_TO_WARM[0]), atol=1)
    assert shows(found(heat_map=heat).draw_heat_map(), BOX)
    with pytest.raises(VGGymError, match="mine has no heat map"):
        found().draw_heat_map()
