"""The environment, in two faces over one engine, after the pattern of Gymnasium's ``cartpole.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from vg_gym.boxes import to_numpy
from vg_gym.envs import rendering
from vg_gym.envs.engine import StepResult
from vg_gym.envs.factory import make_engine
from vg_gym.envs.keyboard import keys_to_action
from vg_gym.envs.rng import CounterRNG
from vg_gym.envs.spec import HasGroundingSpec
from vg_gym.envs.window import Window
from vg_gym.errors import VGGymError, unknown

SUCCESS_IOU = 0.5
"""IoU from which ``info["is_success"]`` is true, as in the Acc@0.5 of the literature."""


class GroundingEnv(HasGroundingSpec, gym.Env):  # type: ignore[misc]
    """Visual grounding as an episode: move and resize a box until it fits what the expression means.

    ## Registered ids
    `RefCOCOg-Ground-v0`, `RefCOCO-Ground-v0`, `RefCOCOPlus-Ground-v0`, `RefShapes-Ground-v0`: the training splits of
    those data sets. Where the first three are not on the machine, RefShapes stands in, and a warning says so.

    ## Task
    An episode is one image with one referring expression ("the small cross left of the blue heart"). The agent starts
    with a box (the whole image by default), changes it step by step, and pulls the trigger when it is satisfied.

    ## Action space
    `action="multi-edges"` (default): `MultiDiscrete([5, 5, 5, 5, 2])`. The first four move the left, top, right and
    bottom edge at once: 0 out by 30 % of the box's side, 1 out by 8 %, 2 stay, 3 in by 8 %, 4 in by 30 %. The last is
    the trigger: 1 ends the episode and the moves are ignored. Other sets: `fine-edges` (a third step of 2 %),
    `jump-edges` (the last part also jumps to a proposal), `edges` (`Discrete(21)`), `classic` (`Discrete(9)`, the
    published nine) and `continuous` (`Box(5)`); see :mod:`vg_gym.envs.actions`. Boxes stay inside
    the image and keep a side of at least 4 % of it. `action_masks()` says which choices change something.

    ## Observation space
    A flat `Dict`, D being CLIP's width, A the length of an encoded action; all float32 (float16 with
    `precision="float16"`) but the images:

    | key                         | shape               | what                                                  |
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
    | `proposals`                 | (K * 17,)           | `proposals="ssd"`: boxes of a detector, what CLIP and |
    |                             |                     | the words say of each, corners seen from the box      |
    | `edge_profiles`             | (4 * 24,)           | `edge_profiles=True`: edge strength across each edge  |
    | `pixels_image`, `pixels_crop` | (84, 84, 3)       | `observation="pixels"`: image and crop, uint8         |

    ## Rewards
    The change of a potential, minus `step_cost`, plus `trigger_bonus` times the potential when the trigger is pulled
    (:mod:`vg_gym.envs.rewards`). `reward="clip"` (default) uses a CLIP score; `iou` the IoU with the target; `clip+iou`
    their mean. With `clip`, neither rewards nor observations nor the end of an episode depend on a box label; where the
    source has labels they are still read, for `info`. `score` names the CLIP score, `scoring` where it comes from:
    `dense` features of the image, computed once; `crop`s encoded at every step, and cached; or a
    `lattice` of crops, encoded once (:mod:`vg_gym.envs.scoring`).

    ## Starting state
    `initial_box`: `full`, `center`, `random`, `jitter` (around the target; training only) or the name of any grounder,
    whose boxes are computed once.

    ## Episode end
    Terminated by the trigger, which counts from step `min_steps` (8) on, truncated after `max_steps` (10). An untrained
    policy pulls the trigger in half of all steps; were it heard at once, "stop at once" would be what is learned. A
    trained agent needs no such help: `min_steps=1`. Nothing ends an episode by looking at the answer.

    ## Info
    `box` (normalised), `clip_score`, `key`, `dataset`, `kind`, `ref_id`, `sent_id`; `iou` and
    `is_success` (IoU >= 0.5) where the source has labels.

    ## Reset options
    `options={"index": i}` plays a given episode, `{"initial_box": [x1, y1, x2, y2]}` (normalised) starts from a given
    box, `{"query": Query(...)}` plays a query of your own.

    ## Arguments
    ```python
    import gymnasium, vg_gym

    env = gymnasium.make("RefShapes-Ground-v0", reward="iou", action="edges", initial_box="random", max_steps=20)
    ```

    Args:
        dataset: name of a data set, or a list of samples, or a list of queries (then there are no labels).
        split: of a named data set.
        root: folder of a named data set that is on disk.
        clip: name of a CLIP (see :func:`vg_gym.clip.load_clip`) or an encoder.
        device: where the CLIP runs, and what it knows is kept.
        fallback: the built-in data set to use where ``dataset`` is not on this machine and ``root`` is None.
        dataset_options: options of the data set.
        bank: a :class:`~vg_gym.envs.feature_bank.FeatureBank` to share.
        render_mode: ``rgb_array``, ``human`` (a window) or ``ansi`` (a line of text).
        **options: fields of :class:`~vg_gym.envs.options.EnvOptions`.

    Raises:
        VGGymError: the render mode, an option, data set or CLIP is unknown, or files are missing.

    ## Vectorized environment
    `gymnasium.make_vec("RefShapes-Ground-v0", num_envs=256, reward="iou")` makes a :class:`GroundingVectorEnv`: the
    same episodes as 256 single environments with the same seeds, in one batched engine. For learners on a GPU there is
    :class:`~vg_gym.envs.GroundingTensorEnv`, whose observations never leave the device.

    ## References
    Caicedo & Lazebnik, *Active Object Localization with Deep Reinforcement Learning*, ICCV 2015; Mao et al.,
    *Generation and Comprehension of Unambiguous Object Descriptions* (RefCOCOg), CVPR 2016; Radford et al., CLIP, 2021.

    ## Version history
    * v0: first release.
    """

    metadata = {"render_modes": ["rgb_array", "human", "ansi"], "render_fps": 4}
    show_target = True
    """Whether frames show the target box and the IoU, where the source has labels."""

    def __init__(self, render_mode: str | None = None, **arguments: Any):
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise unknown("render mode", str(render_mode), self.metadata["render_modes"])
        self.engine = make_engine(1, **arguments)
        self.action_space = self.engine.actions.space
        self.observation_space = self.engine.observation_space
        self.render_mode = render_mode
        self._rng: CounterRNG | None = None
        self._trail: list[np.ndarray] = []
        self._window: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Start an episode; see the class for ``options``."""
        super().reset(seed=seed)
        if self._rng is None or seed is not None:
            self._rng = CounterRNG.from_generators([self.np_random], self.engine.device)
        self.engine.reset_rows([0], self._rng, options)
        self._trail = [self._box()]
        if self.render_mode == "human":
            self.render()
        return self._observation(), self._info()

    def step(self, action: Any):
        """Act; the usual five."""
        return self._after(self.engine.step(np.asarray(action)[None]))

    def place(self, box: np.ndarray):
        """A step that puts the box, normalised (4,), somewhere else; the usual five."""
        return self._after(self.engine.place(np.asarray(box)[None]))

    def _after(self, result: StepResult):
        terminated, truncated = bool(result.terminated[0]), bool(result.truncated[0])
        self._trail.append(self._box())
        if self.render_mode == "human":
            self.render()
        return self._observation(), float(result.reward[0]), terminated, truncated, self._info()

    def action_masks(self) -> np.ndarray:
        """Booleans: which choices would change something, as sb3-contrib's MaskablePPO reads them."""
        return self.engine.masks()[0]

    def get_keys_to_action(self) -> dict[tuple[int, ...], Any]:
        """Keys and what they do; see :mod:`vg_gym.envs.keyboard`.

        With Gymnasium's own loop: ``play(env, wait_on_player=True, noop=env.unwrapped.engine.actions.noop)``.
        """
        return keys_to_action(self.engine.actions)

    def render(self) -> np.ndarray | str | None:
        """The frame, uint8 (h, w, 3), in mode ``rgb_array``; a line in mode ``ansi``; a window in mode ``human``.

        Raises:
            VGGymError: no episode was started, or a window is asked for where there is no display.
        """
        if self.render_mode is None:
            gym.logger.warn('render() does nothing without a render mode; make(..., render_mode="rgb_array")')
            return None
        if not self._trail:
            raise VGGymError("nothing to render: call reset() first")
        engine = self.engine
        query, target = engine.query(0), to_numpy(engine.targets)[0]
        labeled = bool(np.isfinite(target).all()) and self.show_target
        said: dict[str, Any] = {
            "expression": query.expression,
            "score": float(engine.score[0]),
            "iou": float(engine.iou()[0]) if labeled else None,
            "step": f"{int(engine.steps[0])}/{engine.options.max_steps}",
        }
        if self.render_mode == "ansi":
            return rendering.describe(self._trail[-1], **said)
        frame = rendering.draw_frame(
            query.image.array(), self._trail[-1], target=target if labeled else None, trail=self._trail[:-1], **said
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
        seen = self.engine.observe()
        if self.engine.device is not None:
            seen = {name: to_numpy(values) for name, values in seen.items()}
        return {name: values[0] for name, values in seen.items()}

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
        target = to_numpy(engine.targets)[0]
        if not np.isnan(target[0]):
            info["iou"] = iou = float(engine.iou()[0])
            info["is_success"] = iou >= SUCCESS_IOU
        return info


class GroundingVectorEnv(HasGroundingSpec, VectorEnv):  # type: ignore[misc]
    """N grounding environments in one batched engine: the same episodes as N single ones with the same seeds.

    >>> import gymnasium, vg_gym
    >>> envs = gymnasium.make_vec("RefShapes-Ground-v0", num_envs=3, max_steps=5)
    >>> observations, infos = envs.reset(seed=0)
    >>> observations["box"].shape, infos["dataset"].tolist()
    ((3, 8), ['refshapes', 'refshapes', 'refshapes'])

    Args:
        num_envs: N.
        autoreset_mode: next-step (Gymnasium's default) or same-step.
        render_mode: ``rgb_array``: :meth:`render` returns one frame per environment.
        max_episode_steps: also truncate after so many, as Gymnasium's ``TimeLimit`` does around a single environment:
            the observation's ``step`` remains the share of ``max_steps``.
        **arguments: those of :class:`GroundingEnv`.

    Raises:
        VGGymError: as for :class:`GroundingEnv`; ``max_episode_steps`` is below 1.
    """

    metadata = {
        "render_modes": ["rgb_array"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        **arguments: Any,
    ):
        if max_episode_steps is not None and max_episode_steps < 1:
            raise VGGymError(f"max_episode_steps={max_episode_steps} must be at least 1")
        self.engine, self.max_episode_steps = make_engine(num_envs, **arguments), max_episode_steps
        self.num_envs, self.render_mode = num_envs, render_mode
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_action_space = self.engine.actions.space
        self.single_observation_space = self.engine.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._everywhere = np.ones(num_envs, dtype=bool)
        self._dataset = np.full(num_envs, self.engine.episodes.dataset)
        self._rng: CounterRNG | None = None
        self._done = np.zeros(num_envs, dtype=bool)

    def reset(self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None):
        """Start episodes everywhere, or where ``options["reset_mask"]`` is true; an int seeds env i with seed + i.

        Raises:
            VGGymError: the mask has another length or is true nowhere, or an option is wrong.
        """
        options = dict(options or {})
        mask = np.asarray(options.pop("reset_mask", np.ones(self.num_envs, dtype=bool)), dtype=bool)
        if mask.shape != (self.num_envs,) or not mask.any():
            raise VGGymError(f"options['reset_mask'] must be {self.num_envs} booleans, at least one of them true")
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        self._rng = self._seeded(seeds or [None] * self.num_envs, mask)
        self.engine.reset_rows(np.flatnonzero(mask), self._rng, options)
        self._done[mask] = False
        return self._observations(), self._infos()

    def _seeded(self, seeds: Sequence[int | None], mask: np.ndarray) -> CounterRNG:
        """The random numbers, once rows of a mask have their seeds; without one, a row goes on where it is."""
        if self._rng is None:
            return CounterRNG.from_seeds(seeds, self.engine.device)
        for row, (seed, chosen) in enumerate(zip(seeds, mask, strict=True)):
            if chosen and seed is not None:
                self._rng.reseed(row, seed)
        return self._rng

    def step(self, actions: np.ndarray):
        """Act everywhere; episodes that ended are reset as ``autoreset_mode`` says.

        Raises:
            VGGymError: no episode was started, or an action is not of the space.
        """
        if self._rng is None:
            raise VGGymError("step() before reset(): call reset() first")
        actions = self.engine.checked_shape(actions)
        if self.autoreset_mode == AutoresetMode.NEXT_STEP and self._done.any():
            return self._step_and_reset(actions)
        reward, terminated, truncated = self._act(actions)
        done = terminated | truncated
        if self.autoreset_mode != AutoresetMode.SAME_STEP or not done.any():
            self._done = done
            return self._observations(), reward, terminated, truncated, self._infos()
        final_obs, final_info = self._observations(), self._infos()
        rows = np.flatnonzero(done)
        self.engine.reset_rows(rows, self._rng)
        first = self.engine.observe(rows)
        observations = {name: values.copy() for name, values in final_obs.items()}
        for name, values in observations.items():
            values[rows] = to_numpy(first[name])
        last = np.full(self.num_envs, None, dtype=object)
        for row in rows:
            last[row] = {name: values[row] for name, values in final_obs.items()}
        infos = {**self._infos(), "final_obs": last, "_final_obs": done, "final_info": final_info,
                 "_final_info": done}  # fmt: skip
        return observations, reward, terminated, truncated, infos

    def _act(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rewards, terminations and truncations of a step, as arrays."""
        result = self.engine.step(actions)
        reward, terminated, truncated = map(to_numpy, (result.reward, result.terminated, result.truncated))
        if self.max_episode_steps is not None:
            truncated = truncated | (to_numpy(self.engine.steps) >= self.max_episode_steps)
        return reward, terminated, truncated

    def _step_and_reset(self, actions: np.ndarray):
        """Next-step autoreset: rows that ended start anew and ignore their action, the others act."""
        engine, ended = self.engine, self._done
        actions = np.array(actions)
        actions[ended] = engine.actions.trigger  # any valid action: the row is overwritten by its reset
        reward, terminated, truncated = (values.copy() for values in self._act(actions))
        assert self._rng is not None
        engine.reset_rows(np.flatnonzero(ended), self._rng)
        for values in (reward, terminated, truncated):
            values[ended] = 0
        self._done = terminated | truncated
        return self._observations(), reward, terminated, truncated, self._infos()

    def _observations(self) -> dict[str, np.ndarray]:
        return {name: to_numpy(values) for name, values in self.engine.observe().items()}

    def action_masks(self) -> np.ndarray:
        """Booleans (N, n); see :meth:`GroundingEnv.action_masks`."""
        return self.engine.masks()

    def render(self) -> tuple[np.ndarray, ...] | None:
        """One frame per environment in mode ``rgb_array``."""
        if self.render_mode is None:
            return None
        engine = self.engine
        return tuple(
            rendering.draw_frame(query.image.array(), box, expression=query.expression)
            for query, box in zip(engine.queries, to_numpy(engine.boxes), strict=True)
        )

    def close_extras(self, **kwargs: Any) -> None:
        """Close the file of the cache."""
        self.engine.close()

    def _infos(self) -> dict[str, Any]:
        """Infos as arrays with masks, in Gymnasium's vector style."""
        engine, everywhere = self.engine, self._everywhere
        infos: dict[str, Any] = engine.identity()
        infos["dataset"] = self._dataset
        infos["box"], infos["clip_score"] = to_numpy(engine.boxes).copy(), to_numpy(engine.score).astype(np.float64)
        infos |= {f"_{name}": everywhere for name in tuple(infos)}
        iou = to_numpy(engine.iou())
        labeled = ~np.isnan(iou)
        if labeled.any():
            infos["iou"], infos["_iou"] = iou, labeled
            infos["is_success"], infos["_is_success"] = labeled & (iou >= SUCCESS_IOU), labeled
        return infos
