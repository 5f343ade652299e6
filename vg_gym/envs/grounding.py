"""Single environment of Gymnasium, after the pattern of its ``cartpole.py``."""

from __future__ import annotations

import sys
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import TimeLimit

from vg_gym.boxes import to_numpy
from vg_gym.data import drawing
from vg_gym.envs.engine import StepResult
from vg_gym.envs.factory import make_engine
from vg_gym.envs.keyboard import keys_to_action
from vg_gym.envs.rng import CounterRNG, checked_seed
from vg_gym.envs.spec import HasGroundingSpec
from vg_gym.envs.window import Window
from vg_gym.errors import VGGymError, unknown
from vg_gym.types import Query

MAX_CALLERS = 32
"""Largest number of callers that are searched for the ``reset`` of a wrapper."""


class GroundingEnv(HasGroundingSpec, gym.Env):  # type: ignore[misc]
    """Visual grounding as an episode: move and resize a box until it fits the object that the expression refers to.

    ## Registered ids
    `RefCOCOg-Ground-v0`, `RefCOCO-Ground-v0`, `RefCOCOPlus-Ground-v0`, `RefShapes-Ground-v0`, `RefScenes-Ground-v0`:
    the training splits of those data sets. `RefShapes-GroundAny-v0`, `RefCOCOg-GroundAny-v0` and
    `RefScenes-GroundAny-v0` have `targets="any"`. If a RefCOCO is not on the machine, RefShapes replaces it, with a
    warning.

    ## Task
    An episode is one image with one referring expression ("the small cross left of the blue heart"). The agent starts
    with a box (the whole image by default), changes it step by step, and pulls the trigger when it is satisfied.

    With `targets="any"` the expression may mean none, one or several objects, and the answer is a set of boxes. The
    agent may also say "this one, and on", which records the box and goes on from the initial box, or "nothing more",
    which ends the episode without the current box. The trigger means "this one, and stop". With `targets="one"`
    (default), samples that do not mean exactly one object are left out.

    ## Action space
    `action="multi-edges"` (default): `MultiDiscrete([5, 5, 5, 5, 2])`. The first four move the left, top, right and
    bottom edge at once: 0 out by 30 % of the box's side, 1 out by 8 %, 2 stay, 3 in by 8 %, 4 in by 30 %. The last is
    the trigger: 1 ends the episode and the moves are ignored. Other sets: `fine-edges` (a third step of 2 %),
    `jump-edges` (the last part also jumps to a proposal), `edges` (`Discrete(21)`), `classic` (`Discrete(9)`, the
    published nine) and `continuous` (`Box(5)`); see :mod:`vg_gym.envs.actions`. Boxes stay inside the image, with sides
    of at least 4 % of it. With `targets="any"` Discrete sets have two more actions, and the last part of MultiDiscrete
    ones two more choices: "this one, and on", then "nothing more". `action_masks()` returns the choices that change
    something.

    ## Observation space
    A flat `Dict`, where D is CLIP's width and A the length of an encoded action. All parts are float32 (float16 with
    `precision="float16"`), except the images:

    | key                         | shape               | content                                               |
    |-----------------------------|---------------------|-------------------------------------------------------|
    | `text`                      | (D,)                | unit embedding of the expression                      |
    | `image`, `region`           | (D,)                | unit features of the image, and of the box            |
    | `glimpses`                  | (4 * (M+1) * 64,)   | M score maps and coverage, 8 x 8 grids in windows of  |
    |                             |                     | 1x, 2x, 4x the box and the whole image                |
    | `box`                       | (8,)                | x1, y1, x2, y2, cx, cy, w, h in [0, 1]                |
    | `score`                     | (2,)                | the CLIP score of the box, and its last change        |
    | `history`                   | (3 * A,)            | the last three actions                                |
    | `step`                      | (1,)                | share of `max_steps` used                             |
    | `tokens`                    | (L * D,)            | `tokens=True`: unit features of the tokens            |
    | `glimpse_features`          | (4 * 16 * D,)       | `glimpse_features=True`: features, 4 x 4 grids        |
    | `proposals`                 | (K * 17,)           | `proposals="ssd"`: boxes of a detector, their scores  |
    |                             |                     | by CLIP and words, corners relative to the box        |
    | `proposal_features`         | (K * D,)            | `proposal_features=True`: unit features of proposals  |
    | `words`                     | (L * D,)            | the same: unit features of the words, each by itself  |
    | `edge_profiles`             | (4 * 24,)           | `edge_profiles=True`: edge strength across each edge  |
    | `answer`                    | (3 + K,)            | `targets="any"`: boxes recorded / 8, plural, number   |
    |                             |                     | in words / 8; IoU of each proposal with what is       |
    |                             |                     | recorded                                              |
    | `pixels_image`, `pixels_crop` | (84, 84, 3)       | `observation="pixels"`: image and crop, uint8         |

    ## Rewards
    The reward is the change of a potential, minus `step_cost`, plus `trigger_bonus` times the potential if the trigger
    is pulled (:mod:`vg_gym.envs.rewards`). `reward="clip"` (default) uses a CLIP score; `iou` the IoU with the target;
    `clip+iou` their mean. With `clip`, neither rewards nor observations nor the end of an episode depend on a box
    label; if the source has labels, they are read only for `info`. `score` names the CLIP score, `scoring` its source:
    `dense` features of the image, computed once; `crop`s encoded in every step, and cached; or a `lattice` of crops,
    encoded once (:mod:`vg_gym.envs.scoring`). With `targets="any"` the potential is that of a set of boxes, a false box
    costs `false_box_price`, and a false "nothing" `false_nothing_price` (:mod:`vg_gym.envs.answers`).

    ## Starting state
    `initial_box`: `full`, `center`, `random`, `jitter` (around the target; training only) or the name of any grounder,
    whose boxes are computed once.

    ## Episode end
    The trigger terminates an episode, but counts only from step `min_steps` (8) on; `max_steps` (10) truncates it. An
    untrained policy pulls the trigger in half of all steps, and would learn to stop at once if the trigger counted from
    the start. A trained agent does not need this: `min_steps=1`. No episode ends because of the true box.

    ## Info
    `box` (normalised), `clip_score`, `key`, `expression`, `dataset`, `kind`, `ref_id`, `sent_id`; also `iou` and
    `is_success` (IoU >= 0.5) if the source has labels. With `targets="any"`: `boxes` (C, 4), the recorded ones and
    zeros beyond `num_boxes`; with labels `iou`, the largest with a target, `set_f1`, the F1 at an IoU of 0.5 of the
    answer if the episode ended now, and `is_success` (`set_f1` is 1).

    Wrappers that make rewards reach more by `env.unwrapped`: `query` with the image, and `true_boxes()`; see
    "Your own reward" on the page "Extending".

    ## Reset options
    `options={"index": i}` plays the episode with this index, `{"initial_box": [x1, y1, x2, y2]}` (normalised) starts
    from this box, `{"query": Query(...)}` plays your own query.

    ## Arguments
    ```python
    import gymnasium, vg_gym

    env = gymnasium.make("RefShapes-Ground-v0", reward="iou", action="edges", initial_box="random", max_steps=20)
    ```

    Args:
        dataset: name of a data set, a list of samples, or a list of queries (without labels).
        split: split of a named data set.
        root: folder of a named data set that is on disk.
        clip: name of a CLIP (see :func:`vg_gym.clip.load_clip`) or an encoder; default: ``refshapes`` for RefShapes and
            lists, ``refscenes-regions`` for RefScenes, ``ViT-B-32:openai`` for other data sets.
        device: torch device of the CLIP and of its features.
        fallback: built-in data set that replaces ``dataset`` if it is not on this machine and ``root`` is None.
        dataset_options: options of the data set.
        bank: a :class:`~vg_gym.features.bank.FeatureBank` to share.
        render_mode: ``rgb_array``, ``human`` (a window) or ``ansi`` (a line of text).
        **options: fields of :class:`~vg_gym.envs.options.EnvOptions`.

    Raises:
        VGGymError: the render mode, an option, data set or CLIP is unknown, or files are missing.

    ## Vectorized environment
    `gymnasium.make_vec("RefShapes-Ground-v0", num_envs=256, reward="iou")` makes a
    :class:`~vg_gym.envs.GroundingVectorEnv`: the same episodes as 256 single environments with the same seeds, in one
    batched engine. For learners on a GPU use :class:`~vg_gym.envs.GroundingTensorEnv`, whose observations stay on the
    device.

    ## References
    Caicedo & Lazebnik, *Active Object Localization with Deep Reinforcement Learning*, ICCV 2015; Mao et al.,
    *Generation and Comprehension of Unambiguous Object Descriptions* (RefCOCOg), CVPR 2016; Radford et al., CLIP, 2021.

    ## Version history
    * v0: first release.
    """

    metadata = {"render_modes": ["rgb_array", "human", "ansi"], "render_fps": 4}
    show_target = True
    """True if frames show the target box and the IoU, which requires labels."""

    def __init__(self, render_mode: str | None = None, **arguments: Any):
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise unknown("render mode", str(render_mode), self.metadata["render_modes"])
        self.engine = make_engine(1, **arguments)
        self.action_space = self.engine.actions.space
        self.observation_space = self.engine.observation_space
        self.render_mode = render_mode
        self._rng: CounterRNG | None = None
        self._trail: list[np.ndarray] = []
        self._end: tuple[bool, bool] | None = None
        """End of the episode (terminated, truncated); None while it continues."""
        self._window: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Start an episode; see the class for ``options``.

        Raises:
            WrongValue: the seed is not an integer of at least 0.
            VGGymError: an option is unknown or out of range.
        """
        super().reset(seed=(seed := checked_seed(seed)))
        self.engine.limit_steps(_time_limit(self))
        if self._rng is None or seed is not None:
            self._rng = CounterRNG.from_generators([self.np_random], self.engine.device)
        self.engine.reset_rows([0], self._rng, options)
        self._trail, self._end = [self._box()], None
        if self.render_mode == "human":
            self.render()
        return self._observation(), self._info()

    def step(self, action: Any):
        """Act, and return the usual five values.

        After the end of an episode a step changes nothing, pays nothing, and logs a warning.

        Raises:
            VGGymError: no episode was started, or the action is not in the space.
        """
        return self._stay() if self._is_over() else self._after(self.engine.step(np.asarray(action)[None]))

    def place(self, box: np.ndarray):
        """Take a step that places the box, normalised (4,), at any position; it returns the values of :meth:`step`."""
        return self._stay() if self._is_over() else self._after(self.engine.place(np.asarray(box)[None]))

    def _is_over(self) -> bool:
        """Return True if the episode has ended.

        Raises:
            VGGymError: no episode was started.
        """
        self._check_begun("step()")
        return self._end is not None

    def _check_begun(self, what: str) -> None:
        if not self._trail:
            raise VGGymError(f"{what} before reset(): call reset() first")

    def _stay(self):
        """Return the result of a step after the end: the last observation, reward 0, and the same end."""
        assert self._end is not None
        gym.logger.warn("step() after the end of an episode changes nothing and pays nothing: call reset() first")
        return self._observation(), 0.0, *self._end, self._info()

    def _after(self, result: StepResult):
        terminated, truncated = bool(result.terminated[0]), bool(result.truncated[0])
        self._end = (terminated, truncated) if terminated or truncated else None
        self._trail.append(self._box())
        if self.render_mode == "human":
            self.render()
        return self._observation(), float(result.reward[0]), terminated, truncated, self._info()

    @property
    def query(self) -> Query:
        """Query of the current episode, with its image and expression.

        Raises:
            VGGymError: no episode was started.
        """
        self._check_begun("query")
        return self.engine.query(0)

    def true_boxes(self) -> np.ndarray | None:
        """Return the true boxes of the current episode, normalised (k, 4); None without labels. They are for rewards.

        Raises:
            VGGymError: no episode was started.
        """
        self._check_begun("true_boxes()")
        return self.engine.true_boxes(0)

    def action_masks(self) -> np.ndarray:
        """Return which choices change something, bool (n,), in the format of sb3-contrib's MaskablePPO.

        Raises:
            VGGymError: no episode was started, or the action space is continuous.
        """
        self._check_begun("action_masks()")
        return self.engine.masks()[0]

    def get_keys_to_action(self) -> dict[tuple[int, ...], Any]:
        """Return keys and their actions, see :mod:`vg_gym.envs.keyboard`.

        With Gymnasium's own loop: ``play(env, wait_on_player=True, noop=env.unwrapped.engine.actions.noop)``.
        """
        return keys_to_action(self.engine.actions)

    def render(self) -> np.ndarray | str | None:
        """Return the frame, uint8 (h, w, 3), or a line of text in mode ``ansi``; mode ``human`` shows a window.

        Raises:
            VGGymError: no episode was started, or mode ``human`` is used without a display.
        """
        if self.render_mode is None:
            gym.logger.warn('render() does nothing without a render mode; make(..., render_mode="rgb_array")')
            return None
        if not self._trail:
            raise VGGymError("nothing to render: call reset() first")
        engine = self.engine
        query, targets = engine.query(0), engine.true_boxes(0)
        drawn_targets = targets if self.show_target else None
        caption: dict[str, Any] = {
            "expression": query.expression,
            "score": float(engine.score[0]),
            "iou": None if drawn_targets is None else float(engine.iou()[0]),
            "step": f"{int(engine.steps[0])}/{engine.options.max_steps}",
        }
        if self.render_mode == "ansi":
            return drawing.describe(self._trail[-1], **caption)
        frame = drawing.draw_frame(
            query.image.array(),
            self._trail[-1],
            target=drawn_targets,
            trail=self._trail[:-1],
            recorded=engine.recorded_boxes(0),
            **caption,
        )
        if self.render_mode == "rgb_array":
            return frame
        self._window = self._window or Window((frame.shape[1], frame.shape[0]))
        self._window.show(frame, self.metadata["render_fps"])
        return None

    def close(self) -> None:
        """Close the window of mode ``human``, and the file of the cache."""
        self.engine.close()
        if self._window is not None:
            self._window.close()
            self._window = None

    def _observation(self) -> dict[str, np.ndarray]:
        observation = self.engine.observe()
        if self.engine.device is not None:
            observation = {name: to_numpy(values) for name, values in observation.items()}
        return {name: values[0] for name, values in observation.items()}

    def _box(self) -> np.ndarray:
        return to_numpy(self.engine.boxes)[0].copy()

    def _info(self) -> dict[str, Any]:
        engine, index = self.engine, self.engine.index[0]
        info = {
            "box": self._trail[-1].copy(),
            "clip_score": float(engine.score[0]),
            "dataset": engine.episodes.dataset,
            **{name: values[index] for name, values in engine.catalog.identity.items()},
        }
        info |= {name: values[0] for name, values in engine.recorded().items()}
        outcome = engine.outcome()
        if not np.isnan(float(outcome["iou"][0])):
            info |= {name: values[0].item() for name, values in outcome.items()}
        return info


def _time_limit(env: gym.Env) -> int | None:
    """Return the limit of a ``TimeLimit`` around an environment that is being reset; None without such a wrapper.

    Gymnasium passes the limit only to the wrapper, but the ``reset`` of the wrapper is among the callers.
    """
    frame: Any = sys._getframe(1)
    for _ in range(MAX_CALLERS):
        if (frame := frame.f_back) is None:
            return None
        caller = frame.f_locals.get("self") if frame.f_code.co_name == "reset" else None
        if isinstance(caller, TimeLimit) and caller.unwrapped is env:
            return caller._max_episode_steps
    return None
