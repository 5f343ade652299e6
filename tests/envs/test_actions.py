import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vg_gym import boxes as box_ops
from vg_gym.agents.oracle import climb
from vg_gym.envs.actions import ACTIONS, MultiEdgeActions, make_actions
from vg_gym.envs.moves import MIN_SIDE, shift_edges
from vg_gym.errors import VGGymError

NAMES = [name for name in ACTIONS if name != "continuous"]
JUMPS = 3


def make(name):
    return make_actions(name, jumps=JUMPS)


def some_proposals(boxes):
    """Of each box two proposals and an empty row: (B, 3, 5)."""
    found = np.zeros((len(boxes), JUMPS, 5), dtype=np.float32)
    found[:, 0], found[:, 1] = (0.1, 0.2, 0.4, 0.6, 0.9), (0.5, 0.5, 1.0, 0.9, 0.3)
    return found


def some_boxes(rng, count=64):
    raw = rng.uniform(-0.3, 1.3, (count, 4)).astype(np.float32)
    boxes = box_ops.fit_inside(np.sort(raw.reshape(-1, 2, 2), axis=1).reshape(-1, 4), min_side=MIN_SIDE)
    return np.concatenate([boxes, box_ops.FULL[None]])


def sample(actions, rng, count):
    actions.space.seed(int(rng.integers(1000)))
    return np.array([actions.space.sample() for _ in range(count)])


@pytest.mark.parametrize("name", ACTIONS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_boxes_stay_valid(name, seed):
    rng, actions = np.random.default_rng(seed), make(name)
    boxes = some_boxes(rng)
    for _ in range(6):
        boxes, _ = actions.apply(boxes, sample(actions, rng, len(boxes)), some_proposals(boxes))
        assert boxes.dtype == np.float32 and box_ops.is_valid(boxes, (1, 1), 1e-6).all()
        assert (boxes[:, 2:] - boxes[:, :2] >= MIN_SIDE - 1e-5).all()


@pytest.mark.parametrize("name", ACTIONS)
def test_the_trigger_stops_and_moves_nothing(name, rng):
    actions, boxes = make(name), some_boxes(rng)
    after, stop = actions.apply(boxes, np.array([actions.trigger] * len(boxes)), some_proposals(boxes))
    assert stop.all()
    np.testing.assert_array_equal(after, boxes)


@pytest.mark.parametrize("name", NAMES)
def test_masked_moves_change_nothing_and_allowed_ones_do(name, rng):
    actions, boxes = make(name), some_boxes(rng)
    masks = actions.masks(boxes, some_proposals(boxes))
    for i, box in enumerate(boxes):
        for choice, allowed in enumerate(masks[i]):
            action = choice
            if isinstance(actions, MultiEdgeActions):
                edge, level = divmod(choice, len(actions.levels))
                last = choice - 4 * len(actions.levels)
                if last in (0, 1) or edge < 4 and level == actions.stay:
                    assert allowed
                    continue
                action = np.array([*[actions.stay] * 4, max(last, 0)])
                if last < 0:
                    action[edge] = level
            elif choice == actions.trigger:
                assert allowed
                continue
            moved, _ = actions.apply(box[None], np.array([action]), some_proposals(box[None]))
            assert (np.abs(moved[0] - box).max() > 1e-6) == allowed


def test_classic_is_the_published_order():
    actions = make_actions("classic")
    assert actions.names == ("left", "right", "up", "down", "bigger", "smaller", "fatter", "taller", "trigger")
    box = np.array([[0.4, 0.4, 0.6, 0.6]], np.float32)
    moved = {name: actions.apply(box, np.array([i]))[0][0] for i, name in enumerate(actions.names)}
    np.testing.assert_allclose(moved["left"], [0.34, 0.4, 0.54, 0.6], atol=1e-6)
    np.testing.assert_allclose(moved["down"], [0.4, 0.46, 0.6, 0.66], atol=1e-6)
    np.testing.assert_allclose(moved["bigger"], [0.37, 0.37, 0.63, 0.63], atol=1e-6)
    np.testing.assert_allclose(moved["fatter"], [0.4, 0.43, 0.6, 0.57], atol=1e-6)
    np.testing.assert_allclose(moved["taller"], [0.43, 0.4, 0.57, 0.6], atol=1e-6)


def test_a_shift_stops_at_the_border_without_shrinking():
    moved, _ = make_actions("classic").apply(np.array([[0.05, 0.2, 0.45, 0.6]], np.float32), np.array([0]))
    np.testing.assert_allclose(moved, [[0.0, 0.2, 0.4, 0.6]], atol=1e-6)


def test_the_default_set_reaches_the_goal(shapes):
    targets = np.stack([box_ops.normalize(s.box, s.query.image.size) for s in shapes])
    start = np.tile(box_ops.FULL, (len(targets), 1))
    names = [name for name in NAMES if name != "jump-edges"]  # its reach depends on the proposals
    reach = {n: box_ops.iou(climb(make(n), start, targets, 15)[-1], targets).mean() for n in names}
    assert reach["fine-edges"] > 0.95 > reach["multi-edges"] > 0.85 > 0.6 > reach["classic"]


def test_a_jump_leads_to_the_proposal_and_ignores_the_moves():
    actions, boxes = make("jump-edges"), np.tile(np.array([[0.3, 0.3, 0.5, 0.5]], np.float32), (3, 1))
    chosen = np.array([[0, 0, 0, 0, 2], [3, 3, 3, 3, 3], [0, 0, 0, 0, 4]])
    moved, stop = actions.apply(boxes, chosen, some_proposals(boxes))
    np.testing.assert_allclose(moved, [[0.1, 0.2, 0.4, 0.6], [0.5, 0.5, 1.0, 0.9], [0.3, 0.3, 0.5, 0.5]], atol=1e-6)
    assert not stop.any() and actions.encode(chosen)[:, 5].tolist() == [1, 1, 1]
    there, _ = actions.to(torch.device("cpu")).apply(
        torch.from_numpy(boxes), torch.from_numpy(chosen), torch.from_numpy(some_proposals(boxes))
    )
    np.testing.assert_array_equal(there.numpy(), moved)


@pytest.mark.parametrize(
    ("name", "action"),
    [("classic", 9), ("classic", -1), ("edges", 2.5), ("multi-edges", [5, 0, 0, 0, 0]), ("multi-edges", [1, 2]),
     ("continuous", [0, 0, np.nan, 0, 0]), ("continuous", [2.0, 0, 0, 0, 0])],
)  # fmt: skip
def test_bad_actions_are_named(name, action):
    with pytest.raises(VGGymError, match="action"):
        make_actions(name).apply(box_ops.FULL[None], np.array([action]))


def test_bad_sets_are_named():
    with pytest.raises(VGGymError, match="did you mean 'edges'"):
        make_actions("edge")
    with pytest.raises(VGGymError, match="coarse=2"):
        make_actions("edges", coarse=2)


def test_edges_are_shifted_as_in_tensors(rng):
    boxes = some_boxes(rng, 600)
    deltas = rng.uniform(-1.5, 1.5, boxes.shape).astype(np.float32)
    deltas[::3, 2:] = deltas[::3, :2]  # moves without a change of size
    deltas[1::5] = 0
    moved = shift_edges(boxes, deltas)
    tensors = shift_edges(torch.from_numpy(boxes), torch.from_numpy(deltas))
    np.testing.assert_allclose(moved, tensors.numpy(), atol=1e-6)
    assert box_ops.is_valid(moved, (1, 1), 0).all() and (moved[:, 2:] - moved[:, :2] > MIN_SIDE - 1e-6).all()
    spread = shift_edges(boxes[:, None], deltas[None, :9])
    assert spread.shape == (len(boxes), 9, 4)
    np.testing.assert_array_equal(spread[7, 3], shift_edges(boxes[7], deltas[3]))


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, np.uint64])
def test_integers_of_every_type_are_checked(dtype):
    actions = make_actions("fine-edges")
    actions.check(np.array([[0, 6, 3, 1, 1]], dtype))
    negative = [[0, -1, 0, 0, 0]] if np.issubdtype(dtype, np.signedinteger) else []
    for action in ([7, 0, 0, 0, 0], [0, 0, 0, 0, 2], *negative):
        with pytest.raises(VGGymError, match="is not in MultiDiscrete"):
            actions.check(np.array([actions.noop, action], dtype))


@pytest.mark.parametrize("name", ACTIONS)
def test_a_moved_set_acts_on_tensors_as_the_original_on_arrays(name, rng):
    actions = make_actions(name, jumps=3)
    there, boxes = actions.to(torch.device("cpu")), some_boxes(rng)
    actions.space.seed(0)
    chosen = np.stack([actions.space.sample() for _ in boxes])
    proposals = np.stack([np.pad(some_boxes(rng), ((0, 0), (0, 1)), constant_values=1)] * 3, axis=1)
    tensors = [torch.from_numpy(values) for values in (boxes, chosen, proposals)]
    ours = *actions.apply(boxes, chosen, proposals), actions.encode(chosen)
    theirs = *there.apply(*tensors), there.encode(tensors[1])
    for array, tensor in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(array, tensor.numpy(), atol=1e-6)
