import inspect

import gymnasium
import numpy as np
import pytest

from vg_gym.errors import VGGymError
from vg_gym.language_models.grounding_tools import GroundingAnyTools, GroundingTools, call_of, tools_of


def made(shapes, tiny_clip, **options):
    options = {"reward": "iou", "min_steps": 1, "size": 64, **options}
    return GroundingTools(dataset=[shapes[i] for i in range(4)], clip=tiny_clip, **options)


def text(content):
    return content[-1]["text"]


def public(kind):
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"}


def test_the_public_methods_are_the_tools():
    """TRL offers every public method, and reads types and descriptions of all arguments."""
    assert public(GroundingTools) == {"reset", "get_reward", "move", "place", "zoom", "stop"}
    assert public(GroundingAnyTools) - public(GroundingTools) == {"this_one", "nothing"}


def test_transformers_makes_the_schemas():
    utils = pytest.importorskip("transformers.utils", reason='needs pip install "vg_gym[foundation]"')
    for kind in (GroundingTools, GroundingAnyTools):
        for name in public(kind) - {"reset", "get_reward"}:
            function = utils.get_json_schema(getattr(kind, name))["function"]
            assert function["name"] == name and function["description"]
            assert all(
                value["description"] and value["type"] for value in function["parameters"]["properties"].values()
            )
    assert utils.get_json_schema(GroundingTools.place)["function"]["parameters"]["required"] == ["box"]


def test_the_rewards_are_those_of_gymnasium(shapes, tiny_clip):
    """A move, a look, a box and the end, in an environment that Gymnasium made with the same options."""
    tools = made(shapes, tiny_clip)
    options = {"dataset": [shapes[i] for i in range(4)], "clip": tiny_clip, "reward": "iou", "min_steps": 1}
    env = gymnasium.make("RefShapes-Ground-v0", **options).unwrapped
    stay = env.engine.actions.noop
    for index in range(4):
        tools.reset(index=index)
        env.reset(seed=index, options={"index": index})
        tools.move(left="in coarse", bottom="in fine")
        tools.zoom()
        tools.place([100, 200, 700, 650])
        tools.stop()
        action = stay.copy()
        action[0], action[3] = 4, 3
        steps = [env.step(action), env.step(stay), env.place(np.array([0.1, 0.2, 0.7, 0.65], np.float32))]
        steps.append(env.step(env.engine.actions.trigger))
        np.testing.assert_allclose(tools.rewards, [step[1] for step in steps], atol=1e-6)
        assert tools.is_over and tools.get_reward() == pytest.approx(sum(step[1] for step in steps), abs=1e-6)


@pytest.mark.parametrize(
    "name, arguments, problem",
    [
        ("move", {"left": "sideways"}, "left='sideways' is not a move; use out coarse"),
        ("move", {"edge": "left"}, "unexpected keyword argument 'edge'"),
        ("place", {"box": [1, 2, 3]}, "is not a list of four numbers"),
        ("place", {"box": "here"}, "is not a list of four numbers"),
        ("place", {"box": [float("nan"), 0, 1, 1]}, "is not a list of four numbers"),
        ("place", {"box": [5000, 5000, 6000, 6000]}, "is not inside the image"),
        ("place", {}, "missing a required argument: 'box'"),
    ],
)
def test_a_call_that_cannot_be_carried_out_costs_a_step_and_says_why(shapes, tiny_clip, name, arguments, problem):
    tools = made(shapes, tiny_clip)
    tools.reset(index=0)
    answer = text(getattr(tools, name)(**arguments))
    assert problem in answer and "[0, 0, 1000, 1000]" in answer and "step 1 of 10" in answer
    assert tools.rewards == pytest.approx([-tools.face.env.engine.options.step_cost])


def test_pictures(shapes, tiny_clip):
    """Every answer has a picture, or only the first one and a close look; a picture shows the image and no more."""
    for pictures, count in (("all", 2), ("first", 1)):
        tools = made(shapes, tiny_clip, pictures=pictures)
        first = tools.reset(index=1)
        assert [part["type"] for part in first] == ["image", "text"] and first[0]["image"].size == (64, 64)
        assert shapes[1].query.expression in text(first) and "call stop once it fits" in text(first)
        assert len(tools.place([100, 100, 400, 300])) == count
        looked = tools.zoom()
        assert looked[0]["type"] == "image" and looked[0]["image"].size[0] == 64 > looked[0]["image"].size[1]


def test_the_end(shapes, tiny_clip):
    tools = made(shapes, tiny_clip, max_steps=2)
    assert "The episode is over" in text(tools.stop()), "before the first episode"
    tools.reset(index=0)
    tools.zoom()
    assert "The episode is over" in text(tools.move(left="in fine")) and tools.is_over
    reward = tools.get_reward()
    assert "changed nothing" in text(tools.place([0, 0, 500, 500])) and tools.get_reward() == reward
    early = made(shapes, tiny_clip, min_steps=3)
    early.reset(index=0)
    assert "counts from step 3 on" in text(early.stop()) and not early.is_over


def test_conversations_of_one_row_start_alike(shapes, tiny_clip):
    make = tools_of(dataset=shapes, clip=tiny_clip, reward="iou", initial_box="random", size=64)
    one, other = make(), make()
    row = {"prompt": [], "index": 3}
    assert text(one.reset(**row)) == text(other.reset(**row)) != text(other.reset(index=3, seed=5))
    assert one.face.env.engine.features is other.face.env.engine.features
    with pytest.raises(VGGymError, match="column index or seed"):
        one.reset(prompt=[])


def test_several_objects_or_none(tiny_clip):
    options = {"dataset": "refshapes-any", "clip": tiny_clip, "reward": "iou", "min_steps": 1, "size": 64}
    tools = tools_of(targets="any", **options)()
    assert isinstance(tools, GroundingAnyTools)
    assert "nothing ends without" in text(tools.reset(index=0))
    tools.place([100, 100, 400, 400])
    assert "Recorded: [100, 100, 400, 400]" in text(tools.this_one())
    assert "The episode is over" in text(tools.nothing()) and tools.info["num_boxes"] == 1


def test_frames_with_y_first(shapes, tiny_clip):
    tools = made(shapes, tiny_clip, frame="0-1000-yx")
    tools.reset(index=0)
    tools.place([100, 200, 300, 400])
    np.testing.assert_allclose(tools.info["box"], [0.2, 0.1, 0.4, 0.3], atol=1e-6)


def test_errors(shapes, tiny_clip):
    for options, match in (
        ({"frame": "loc"}, "plain numbers"),
        ({"frame": "resized"}, "plain numbers"),
        ({"pictures": "none"}, "pictures"),
        ({"targets": "any"}, "tools_of"),
    ):
        with pytest.raises(VGGymError, match=match):
            made(shapes, tiny_clip, **options)


def test_jumps(shapes):
    options = {"dataset": [shapes[0]], "clip": "refshapes", "action": "jump-edges", "proposals": "contours"}
    with pytest.raises(VGGymError, match="jump-edges.*tools_of"):
        GroundingTools(**options)
    tools = tools_of(**options, reward="iou", min_steps=1, size=64)()
    listed = text(tools.reset(index=0)).partition("jump to 0")[2]
    assert "1 at [" in listed
    name, arguments = call_of("left in coarse, jump to 1")
    answer = text(getattr(tools, name)(**arguments))
    assert answer.partition("It is at ")[2].partition(" (")[0] == listed.partition("1 at ")[2].partition(";")[0]
    assert "there is no proposal 999" in text(tools.jump(999)) and "no proposal 'x'" in text(tools.jump("x"))
