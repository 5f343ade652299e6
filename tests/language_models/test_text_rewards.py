import numpy as np
import pytest

from vg_gym import boxes as box_ops
from vg_gym.envs.grounding import GroundingEnv
from vg_gym.errors import VGGymError
from vg_gym.frames import FRAMES
from vg_gym.language_models import text_rewards as rewards
from vg_gym.language_models.chat import to_chat_dataset


def columns(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.mark.parametrize("frame", [name for name in FRAMES if name != "resized"])
def test_the_solution_of_every_row_has_all_rewards(shapes, frame):
    rows = to_chat_dataset(shapes, frame, limit=5)[:]
    said = [row["solution"] for row in rows]
    as_messages = [[{"role": "assistant", "content": f"<think>..</think>{text}"}] for text in said]
    for completions in (said, as_messages):
        given = columns(rows)
        assert len(rows) == 5 and rewards.format_reward(completions, **given) == [1.0] * 5
        assert min(rewards.iou_reward(completions, **given)) > 0.85
        assert min(rewards.giou_reward(completions, **given)) > 0.85
    assert rows[0]["image"].size == tuple(rows[0]["size"]) and rows[0]["expression"] in str(rows[0]["prompt"])


def test_rewards_are_those_of_the_boxes(shapes):
    (row,) = to_chat_dataset(shapes, "pixels", limit=1)[:]
    given = columns([row] * 3)
    said = ["[0, 0, 64, 64]", "[0, 0, 1, 1] or [2, 2, 3, 3]", "none"]
    true = np.float32(row["box"])
    expected = [float(box_ops.iou(np.float32([0, 0, x, x]), true)) for x in (64, 1)]
    assert rewards.iou_reward(said, **given) == pytest.approx([*expected, 0])
    assert rewards.format_reward(said, **given) == [1, 0, 0]
    assert rewards.giou_reward(said, **given)[2] == -1
    start = float(box_ops.iou(np.float32([0, 0, 128, 128]), true))
    assert rewards.improvement_reward(said, **given) == pytest.approx(
        [expected[0] - start, expected[1] - start, -start]
    )
    both = rewards.combine({rewards.iou_reward: 2.0, rewards.format_reward: 0.5}, "both")
    assert both.__name__ == "both" and both(said, **given)[0] == pytest.approx(2 * expected[0] + 0.5)
    verl = rewards.compute_score("refshapes", said[0], row["box"], {"size": row["size"], "frame": "pixels"})
    assert verl == pytest.approx(expected[0])


@pytest.mark.parametrize(
    ("text", "reward"),
    [
        ("[100, 200, 500, 600]", 1.0),
        ("[0, 0, 1000, 1000]", 1.0),
        ("[-500, -500, 5000, 5000]", 0.0),
        ("[100, 100, 1920, 1080]", 0.0),
        ("[0.1, 0.2, 0.5, 0.6]", 0.0),
        ("[100, 200, 100, 600]", 0.0),
        ("[100, 200, 500, 600] [100, 200, 500, 601]", 0.0),
        ("<think>[100, 200, 500, 600], but", 0.0),
    ],
)
def test_only_one_box_in_the_numbers_of_the_frame_has_the_format(text, reward):
    assert rewards.format_reward([text], box=[[0, 0, 9, 9]], size=[[6400, 4800]], frame=["0-1000"]) == [reward]


def test_reasoning_that_the_prompt_opened_is_none_until_it_is_closed():
    given = {"box": [[0, 0, 40, 40]] * 2, "size": [[80, 40]] * 2, "frame": ["pixels"] * 2}
    said = ["perhaps [0, 0, 40, 40]", "hm</think>[0, 0, 40, 40]"]
    for prompts in (["user: where? <think>"] * 2, [[{"role": "assistant", "content": "<think>"}]] * 2):
        assert rewards.iou_reward(said, prompts=prompts, **given) == [0.0, 1.0]
        assert rewards.format_reward(said, prompts=prompts, **given) == [0.0, 1.0]
        assert rewards.giou_reward(said, prompts=prompts, **given) == [-1.0, 1.0]
    assert rewards.iou_reward(said, **given) == [1.0, 1.0]


def asked(shapes, prompt):
    return to_chat_dataset(shapes, prompt=prompt, limit=1)[0]["prompt"][0]["content"][1]["text"]


def test_braces_of_a_prompt_are_literal(shapes):
    words = shapes[0].query.expression
    plain = 'Locate {expression}. Answer as JSON: {"bbox_2d": [x1, y1, x2, y2], "of": {"a": {}}}'
    assert asked(shapes, plain) == plain.replace("{expression}", words)
    assert asked(shapes, 'Locate {expression} as {{"box": {form}}}') == f'Locate {words} as {{"box": [x1, y1, x2, y2]}}'
    assert asked(shapes, "{expression} {other} } {") == f"{words} {{other}} }} {{"
    with pytest.raises(VGGymError, match="has no {expression}"):
        asked(shapes, "Locate {}.")


def test_the_clip_reward_is_that_of_the_environment_and_reads_no_label(shapes, tiny_clip):
    rows = to_chat_dataset(shapes, "pixels", limit=3)[:]
    given = columns(rows)
    del given["box"], given["solution"]
    reward = rewards.ClipReward(tiny_clip, "context")
    found = reward(["[10, 20, 90, 100]", "nothing", "[0, 0, 128, 128]"], **given)
    env = GroundingEnv(dataset=shapes, clip=tiny_clip, scoring="crop", score="context")
    boxes = [np.float32([10, 20, 90, 100]) / 128, None, np.float32([0, 0, 1, 1])]
    for index, box in enumerate(boxes):
        if box is not None:
            _, info = env.reset(options={"index": index, "initial_box": box})
            assert found[index] == pytest.approx(info["clip_score"], abs=1e-5)
    assert found[1] == -1 and reward.__name__ == "clip_context_reward"


def test_the_resized_frame_reads_the_size_that_the_model_saw():
    given = {"box": [[0, 0, 40, 40]], "size": [[80, 40]], "frame": ["resized"], "input_size": [[160, 80]]}
    assert rewards.iou_reward(["[0, 0, 80, 80]"], **given) == [1.0]


def test_missing_columns_are_named():
    with pytest.raises(VGGymError, match="read the column 'size'"):
        rewards.iou_reward(["[0, 0, 1, 1]"], box=[[0, 0, 1, 1]])
    with pytest.raises(VGGymError, match="reads the column 'initial_box'"):
        rewards.improvement_reward(["x"], box=[[0, 0, 1, 1]], size=[[4, 4]], frame=["pixels"])
    with pytest.raises(VGGymError, match="unknown box frame"):
        to_chat_dataset([], "percent")
