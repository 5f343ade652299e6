"""What people and programs type and pass, at random: it is taken, or refused in one line; nothing half-done stays."""

import contextlib
import io
import json
import math
from functools import lru_cache

import gymnasium
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from vg_gym import boxes as box_ops
from vg_gym.agents.config import TrainConfig
from vg_gym.baselines.detectors.detector_learner import DetectorConfig
from vg_gym.cli.entry import _parsed
from vg_gym.cli.environments import env_arguments
from vg_gym.cli.option_docs import field_docs
from vg_gym.clip.finetuning.config import ClipTrainConfig
from vg_gym.config import load_config
from vg_gym.envs import GroundingEnv
from vg_gym.envs.options import EnvOptions
from vg_gym.errors import VGGymError
from vg_gym.evaluation.columns import Answers
from vg_gym.evaluation.lines import is_prediction, predict_batch
from vg_gym.evaluation.methods import method_options
from vg_gym.evaluation.predictions import PredictionFile
from vg_gym.evaluation.set_metrics import set_f1
from vg_gym.frames import FRAMES
from vg_gym.language_models.box_text import find_boxes
from vg_gym.learned.grounder_learner import GrounderConfig
from vg_gym.registry import grounder, grounder_names, open_dataset
from vg_gym.types import Prediction

WORDS = ("", "0", "-1", "1", "nan", "inf", "-inf", "1e999", "1" * 30, "true", "null", "[]", "[1,2", "{}", "{a: 1", 
         "a: b: c",
         "x", "~", "!!python/name:os.system", "${oc.env:HOME}", "*a", "&a [*a]", "ünï", "\x00", "'", '"', 
         "%", "=", ",", "@", "../..", "a.b.c", "[nan]", "0x10", "1_000", "2001-01-01", "<<: 1", "?", "- -", "|",
         "\ud800")  # fmt: skip
"""What stands for values, and for names."""
VALUES = (None, True, 0, -1, 1, 10**30, math.nan, math.inf, 1e308, "", "x", "auto", "1", [], [1, 2, 3, 4], {}, {"a": 1},
          b"x",          (0, 0, 1, 1), 1.5, np.float32(2), np.zeros(3), object)  # fmt: skip
"""What is passed in Python."""
OPTIONS = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}
words = st.one_of(st.sampled_from(WORDS), st.text(max_size=8))
SCHEMAS = {"agent": TrainConfig, "grounder": GrounderConfig, "detector": DetectorConfig, "clip": ClipTrainConfig}


def attack(attempt, strategy, examples, fuzzed):
    """Try many inputs: each is taken or refused by a line that is not too long."""

    @settings(max_examples=examples, **OPTIONS)
    @given(strategy)
    def one(made):
        try:
            attempt(made)
        except VGGymError as error:
            assert 10 < len(str(error)) < 2000, error

    one()
    fuzzed(examples)


def pairs(names):
    """``name=value`` of known names, and of others."""
    known = st.tuples(st.sampled_from(sorted(names)), words).map("=".join)
    return st.one_of(known, known, known, st.tuples(words, words).map("=".join), words)


def configured(schema):
    return lambda typed: load_config(schema, typed)


def typed_options(schema):
    return st.lists(pairs(field_docs(schema)), min_size=1, max_size=3)


COMMANDS = ("ground", "train", "evaluate", "list", "play", "minari", "features", "download", "info")
FLAGS = ("--out", "--method", "--clip", "--weights", "--json", "--dataset", "--limit", "--shard", "--runner", "--seed",
         "--episodes", "--env", "--root", "--splits", "--workers", "--plugins", "--frame", "--methods")  # fmt: skip


def parse(line):
    """A command line; argparse says what is wrong with it, and leaves with status 2."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            _parsed(line)
        except SystemExit as left:
            assert left.code in (0, 2)


def answers(text):
    for frame in FRAMES:
        assert all(len(box) == 4 for box in find_boxes(text, frame))


METHOD_OPTIONS = (
    "batch_size",
    "tau",
    "score",
    "min_score",
    "parse",
    "steps",
    "seed",
    "weights",
    "box",
    "fraction",
    "clip",
)
INPUTS = {
    **{f"options of {name}": (configured(schema), typed_options(schema)) for name, schema in SCHEMAS.items()},
    "options of methods": (
        method_options,
        st.lists(pairs({f"{m}.{o}" for m in grounder_names() for o in METHOD_OPTIONS}), max_size=3),
    ),
    "options of environments": (
        lambda given: env_arguments("RefShapes-Ground-v0", given), st.lists(pairs({"action", "reward"}), max_size=3)
    ),
    "command lines": (
        parse,
        st.tuples(st.sampled_from(COMMANDS), st.lists(st.one_of(st.sampled_from(FLAGS), words), max_size=5)).map(
            lambda made: [made[0], *made[1]]
        ),
    ),
    "answers in words": (
        answers,
        st.one_of(st.text(max_size=60), st.text(alphabet="[](){}<>,.-0123456789eNalocbxy\" :", max_size=80)),
    ),
}  # fmt: skip
"""What is given -> who reads it, and what is made up."""


@pytest.mark.parametrize("what", INPUTS)
def test_what_is_typed(what, fuzzed):
    attack(*INPUTS[what], 40, fuzzed)


@pytest.mark.slow
@pytest.mark.parametrize("what", INPUTS)
def test_much_that_is_typed(what, fuzzed):
    attack(*INPUTS[what], 400, fuzzed)


@pytest.mark.parametrize("method", ["center", "constant", "random", "full", "no-op"])
def test_options_of_built_methods(method, fuzzed):
    names = st.sampled_from(("fraction", "box", "seed", "x"))
    attack(lambda made: grounder(method, **{made[0]: made[1]}), st.tuples(names, st.sampled_from(VALUES)), 40, fuzzed)


@lru_cache(1)
def a_game(clip):
    """An environment of two scenes."""
    return gymnasium.make(
        "RefShapes-Ground-v0", clip=clip, dataset_options={"scenes": 2}, cache=False, disable_env_checker=True
    ).unwrapped


def play_on(env):
    """A refused call leaves the episode as it was, and the next ones work."""
    env.reset(seed=0)
    _, reward, *_ = env.step(env.action_space.sample())
    assert math.isfinite(reward)


def reset_and_step(env):
    """Tries something, then that all goes on."""

    def attempt(made):
        name, value, action = made
        env.reset(seed=1)
        before = env.step(np.zeros_like(env.action_space.sample()))
        with contextlib.suppress(VGGymError):
            env.reset(options={name: value})
        with contextlib.suppress(VGGymError):
            env.step(action)
        env.reset(seed=1)
        after = env.step(np.zeros_like(env.action_space.sample()))
        assert before[1] == after[1] and all(np.array_equal(before[0][k], after[0][k]) for k in before[0])

    return attempt


EPISODES = st.tuples(
    st.sampled_from(("index", "initial_box", "query", "", "x")), st.sampled_from(VALUES), st.sampled_from(VALUES)
)


ENVIRONMENT = st.tuples(
    st.sampled_from([*field_docs(EnvOptions), "dataset", "root", "split", "clip", "device", "x"]),
    st.sampled_from(VALUES),
)


@pytest.mark.parametrize("examples", [40, pytest.param(300, marks=pytest.mark.slow)])
def test_resets_and_actions(examples, fuzzed, tiny_clip):
    attack(reset_and_step(a_game(tiny_clip)), EPISODES, examples, fuzzed)


@pytest.mark.parametrize("examples", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_options_of_a_made_environment(examples, fuzzed, tiny_clip):
    def attempt(made):
        env = gymnasium.make(
            "RefShapes-Ground-v0", disable_env_checker=True,
            **{"clip": tiny_clip, "dataset_options": {"scenes": 1}, "cache": False, made[0]: made[1]},
        ).unwrapped  # fmt: skip
        play_on(env)
        env.close()

    attack(attempt, ENVIRONMENT, examples, fuzzed)


LINE = {"method": "a", "key": "k", "box": [0, 0, 1, 1], "boxes": [[0, 0, 1, 1], [2, 2, 3, 3]], "scores": [0.5, 0.4],
        "ms": 1.0, "score": 0.5, "proposals": [[0, 0, 1, 1]], "proposal_scores": [0.9]}  # fmt: skip


@pytest.mark.parametrize("examples", [60, pytest.param(600, marks=pytest.mark.slow)])
def test_predictions_of_a_run_that_goes_on(examples, fuzzed, tmp_path):
    """What is kept has the types that the evaluator wrote; what is damaged is asked again."""
    jsons = st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=3), lambda x: st.lists(x, max_size=4)
    )
    changed = st.tuples(st.sampled_from(sorted(LINE)), jsons).map(lambda made: json.dumps({**LINE, made[0]: made[1]}))
    cut = st.integers(0, 90).map(lambda at: json.dumps(LINE)[:at])
    lines = st.lists(st.one_of(changed, changed, cut, st.text(max_size=20)), max_size=4)

    def attempt(made):
        (tmp_path / "predictions.jsonl").write_text("\n".join(made), encoding="utf-8", errors="replace")
        kept = PredictionFile(tmp_path, {"limit": 1})
        good = (tmp_path / "predictions.jsonl").read_text()
        last = {(line["method"], line["key"]): line for line in map(json.loads, good.splitlines())}
        for name, line in last.items():
            assert kept[name] == line
            assert line["box"] is None or np.asarray(line["box"], dtype=np.float32).shape == (4,)
            assert np.isfinite(line.get("ms", 0)) and (line["box"] is not None or isinstance(line["failure"], str))
        PredictionFile(tmp_path, {"limit": 1})
        assert (tmp_path / "predictions.jsonl").read_text() == good

    attack(attempt, lines, examples, fuzzed)


SIDES = (-40.0, -0.4, 0.0, 3.0, 64.5, 127.0, 128.0, 400.0, 1e9, -1e38, math.nan, math.inf)
BOX = st.tuples(*4 * [st.sampled_from(SIDES)]) | st.sampled_from([(3.0, 3.0, 64.5, 127.0), (0.0, 0.0, 128.0, 128.0)])
SETS = st.lists(BOX, max_size=3).flatmap(lambda boxes: st.sampled_from([boxes, 2 * boxes, (50 * boxes)[:50]]))
"""Sets of boxes: none, a few, the same ones twice, fifty; boxes may lie outside, or be none."""
SCORES = st.sampled_from([None, 0.7, math.nan, [], [0.9, 0.1], "one for each"])


@pytest.mark.parametrize("examples", [80, pytest.param(800, marks=pytest.mark.slow)])
def test_sets_of_boxes_that_a_method_answers(examples, fuzzed, shapes):
    """Each answer is a line that is read again with as many boxes, or a failure."""
    query = shapes[0].query

    def attempt(made):
        boxes, scores = made
        scores = np.linspace(1, 0, len(boxes)) if scores == "one for each" else scores
        answer = Prediction(boxes=np.array(boxes, np.float32).reshape(-1, 4), **(
            {"score": scores} if isinstance(scores, float) else {"scores": scores}))  # fmt: skip
        [written] = predict_batch(lambda *_: [answer], ([query], None))
        line = json.loads(json.dumps(written, allow_nan=False)) | {"method": "m"}
        assert is_prediction(line)
        right = box_ops.is_valid(answer.boxes, query.image.size, tolerance=0.5).all()
        assert ("failure" in line) == (not right)
        answers = Answers.of([line])
        assert len(answers.boxes_of(0)) == len(boxes) * right
        assert len(answers.above(0.5).boxes_of(0)) <= len(answers.boxes_of(0))
        if right:
            np.testing.assert_allclose(answers.boxes_of(0), answer.boxes, atol=1e-2)
            assert set_f1(answers.boxes_of(0), answer.boxes) == 1 or len(boxes) > len(set(boxes))

    attack(attempt, st.tuples(SETS, SCORES), examples, fuzzed)


@pytest.mark.parametrize("examples", [25, pytest.param(250, marks=pytest.mark.slow)])
def test_sets_of_boxes_that_an_expression_means(examples, fuzzed, tiny_clip, shapes, tmp_path):
    """A file of own data with these boxes is refused in one line, or played and scored without a traceback."""
    Image.fromarray(shapes[0].query.image.array()).save(tmp_path / "a.png")

    def attempt(boxes):
        row = {"image": "a.png", "expression": "it", "boxes": boxes, "split": "test"}
        (tmp_path / "own.jsonl").write_text(json.dumps(row) + "\n")
        dataset = open_dataset(str(tmp_path / "own.jsonl"), "test")
        assert len(dataset[0].boxes) == len(boxes)
        env = GroundingEnv(dataset=dataset, clip=tiny_clip, targets="any", reward="iou", max_steps=3, min_steps=1)
        env.reset(seed=0)
        total = 0.0
        for action in (env.engine.actions.record, env.engine.actions.nothing):
            _, reward, ended, *_, info = env.step(action)
            total += reward
        assert ended and math.isfinite(total) and 0 <= info["set_f1"] <= 1

    attack(attempt, SETS, examples, fuzzed)
