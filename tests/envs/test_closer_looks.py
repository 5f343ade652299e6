import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from vg_gym import boxes as box_ops
from vg_gym.clip.loader import load_clip
from vg_gym.data.images import ArrayImage
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.envs.actions import make_actions
from vg_gym.envs.factory import make_engine
from vg_gym.envs.grounding import GroundingEnv
from vg_gym.envs.tensor_env import GroundingTensorEnv
from vg_gym.envs.vector import GroundingVectorEnv
from vg_gym.errors import VGGymError
from vg_gym.features.image_views import ImageView, view_around
from vg_gym.language_models.text_env import TextGroundingEnv, read_action, say_action

SAMPLES = RefShapes("refshapes", "test", scenes=3)[:]
ARGUMENTS = {"dataset": SAMPLES, "reward": "clip", "score": "cosine", "max_steps": 12, "cache": False}


def small_box(env):
    """The target of the episode, normalised."""
    return env.engine.true_boxes(0)[0]


@pytest.fixture
def env():
    env = GroundingEnv(zoom=True, **ARGUMENTS)
    env.reset(seed=0, options={"index": 2})
    return env


def test_views_are_squares_inside_the_image():
    rng = np.random.default_rng(0)
    for _ in range(200):
        size = tuple(rng.integers(8, 200, 2).tolist())
        low = rng.uniform(0, 0.9, 2) * size
        high = low + rng.uniform(0.05, 1, 2) * (np.array(size) - low)
        x1, y1, x2, y2 = view_around(np.array([*low, *high]), size)
        assert 0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1]
        assert x1 <= low[0] + 1 and y1 <= low[1] + 1 and x2 >= high[0] - 1 and y2 >= high[1] - 1
        assert x2 - x1 == y2 - y1 or x2 - x1 == size[0] or y2 - y1 == size[1]


def test_a_view_is_an_image_of_its_own():
    pixels = np.arange(10 * 20 * 3, dtype=np.uint8).reshape(10, 20, 3)
    view = ImageView(ArrayImage(pixels, "a"), (2, 3, 12, 9))
    assert view.key == "a#2,3,12,9" and view.size == (10, 6)
    assert (view.array() == pixels[3:9, 2:12]).all()


@pytest.mark.parametrize("action", ["classic", "edges", "multi-edges", "fine-edges"])
@pytest.mark.parametrize("answers", [False, True])
def test_action_sets_have_one_more_choice(action, answers):
    plain, zoom = (make_actions(action, answers=answers, zoom=zoom) for zoom in (False, True))
    assert len(zoom.names) == len(plain.names) + 1 and plain.look is None
    boxes = np.array([[0.2, 0.2, 0.6, 0.7]], dtype=np.float32)
    moved, stop = zoom.apply(boxes, np.asarray(zoom.look)[None])
    assert moved.tolist() == boxes.tolist() and not stop[0] and zoom.looks(np.asarray(zoom.look)[None])[0]
    assert not zoom.looks(np.asarray(zoom.trigger)[None])[0]
    columns = len(zoom.masks(boxes)[0])
    assert zoom.names[columns + zoom.look_column] == "look closer"
    assert [zoom.names[column] for column in zoom.answer_columns] == [*plain.names[-2:]] * answers
    codes = zoom.encode(np.stack([zoom.look, zoom.trigger, zoom.noop]))
    assert len({tuple(code) for code in codes.tolist()}) == len({str(a) for a in (zoom.look, zoom.trigger, zoom.noop)})


def test_a_look_scores_the_box_from_an_encoding_of_its_region(env):
    box = small_box(env)
    env.place(box)
    before = env.engine.score[0]
    action, clip = env.engine.actions.look, load_clip("refshapes")
    observation, reward, *_ = env.step(action)
    query = env.engine.query(0)
    scale = box_ops.image_scale(query.image.size)
    view = ImageView(query.image, view_around(box * scale, query.image.size))
    alone = make_engine(1, **{**ARGUMENTS, "dataset": [type(query)(view, query.expression, "view")]})
    alone.reset_rows([0], _rng(), {"initial_box": (box * scale - np.tile(view.box[:2], 2)) / np.tile(view.size, 2)})
    assert env.engine.score[0] == pytest.approx(alone.score[0], abs=1e-5) != pytest.approx(before, abs=1e-4)
    assert observation["region"] == pytest.approx(alone.region[0], abs=1e-5)
    assert reward == pytest.approx(env.engine.score[0] - before - 0.01 - env.engine.options.step_cost, abs=1e-5)
    assert observation["view"][:4] == pytest.approx(np.array(view.box) / scale) and observation["view"][4] == 1
    assert (env.engine.boxes[0] == box).all() and clip.grid == env.engine.clip.grid


def _rng():
    from vg_gym.envs.rng import CounterRNG

    return CounterRNG.from_seeds([0], None)


def test_a_box_that_leaves_its_view_is_scored_as_without_it(env):
    plain = GroundingEnv(**ARGUMENTS)
    plain.reset(seed=0, options={"index": 2})
    env.place(small_box(env))
    env.step(env.engine.actions.look)
    for box in (box_ops.FULL, np.array([0, 0, 0.1, 0.1])):
        ours, theirs = env.place(box)[0], plain.place(box)[0]
        assert ours["view"][4] == 0 and ours["score"][0] == theirs["score"][0]
        assert (ours["region"] == theirs["region"]).all()


def test_an_episode_begins_without_a_view(env):
    env.place(small_box(env))
    env.step(env.engine.actions.look)
    handles = env.engine.features.images.handles
    assert env.engine.looks.slots.size == 1
    observation, _ = env.reset(options={"index": 2})
    assert not observation["view"].any() and env.engine.looks.slots.size == 0
    assert sum(handles._holders[: len(handles)]) == len(env.engine.features._names)  # of the queries alone


def test_without_looks_nothing_differs_from_zoom_false():
    zoom, plain = (GroundingEnv(zoom=on, **ARGUMENTS) for on in (True, False))
    (ours, _), (theirs, _) = (env.reset(seed=3) for env in (zoom, plain))
    rng = np.random.default_rng(0)
    for _ in range(10):
        assert "view" not in theirs
        for name in theirs.keys() - {"history"}:
            assert (ours[name] == theirs[name]).all(), name
        action = np.array([*rng.integers(0, 5, 4), 0])
        (ours, *ends), (theirs, *others) = zoom.step(action), plain.step(action)
        assert ends[:3] == others[:3]


def test_masks_allow_a_look_that_shows_something_new(env):
    column = env.engine.actions.look_column
    env.place(small_box(env))
    assert env.action_masks()[column]
    env.step(env.engine.actions.look)
    assert not env.action_masks()[column]


def test_the_checker_of_gymnasium_finds_nothing():
    check_env(GroundingEnv(zoom=True, **ARGUMENTS), skip_render_check=True)


def test_vector_and_tensor_environments_play_as_single_ones():
    rng, count = np.random.default_rng(1), 3
    single = [GroundingEnv(zoom=True, **ARGUMENTS) for _ in range(count)]
    vector = GroundingVectorEnv(count, zoom=True, **ARGUMENTS)
    tensor = GroundingTensorEnv(count, zoom=True, **ARGUMENTS)
    observations = [env.reset(seed=5 + i)[0] for i, env in enumerate(single)]
    together, tensors = vector.reset(seed=5)[0], tensor.reset(seed=5)
    torch = pytest.importorskip("torch")
    for step in range(8):
        for i, observation in enumerate(observations):
            for name, values in observation.items():
                assert (together[name][i] == values).all(), (step, name)
                assert tensors[name][i].numpy() == pytest.approx(values, abs=1e-4), (step, name)
        actions = np.stack([[*rng.integers(0, 5, 4), rng.choice([0, 2])] for _ in range(count)])
        stepped = [env.step(action) for env, action in zip(single, actions, strict=True)]
        observations, rewards = [s[0] for s in stepped], [s[1] for s in stepped]
        together, reward, *_ = vector.step(actions)
        tensors, tensor_reward, *_ = tensor.step(torch.from_numpy(actions))
        assert reward.tolist() == rewards and tensor_reward.numpy() == pytest.approx(reward, abs=1e-4)
    assert together["view"].any()


def test_looks_have_words():
    env = TextGroundingEnv(zoom=True, **ARGUMENTS)
    env.reset(seed=0)
    first, *_ = env.step("[400, 400, 500, 500]")
    assert "'look closer'" in first.text
    after, *_, info = env.step("Look closer.")
    assert not info["unreadable"] and after.image.width > first.image.width and after.image.height == first.image.height
    wide, *_ = env.step("[0, 0, 1000, 1000]")
    assert wide.image.width == first.image.width
    assert say_action(env.actions.look, env.actions) == "look closer"
    assert (read_action("look closer", env.actions) == env.actions.look).all()
    assert read_action("look closer", make_actions("multi-edges")) is None


@pytest.mark.parametrize("options", [{"scoring": "crop"}, {"score": "relational", "proposals": "ssd"}])
def test_scores_that_no_look_can_change_are_refused(options):
    with pytest.raises(VGGymError, match="zoom=true reads dense scores"):
        GroundingEnv(**{**ARGUMENTS, **options}, zoom=True)


def test_continuous_actions_cannot_look():
    with pytest.raises(VGGymError, match="cannot look closer"):
        GroundingEnv(action="continuous", zoom=True, **ARGUMENTS)
