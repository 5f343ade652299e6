"""Every option of the environment that is not its data or its CLIP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from vg_gym.config import NonNegativeInt, PositiveInt, Range

Step = Annotated[float, Range(gt=0, lt=1)]


Price = Annotated[float, Range(ge=0, lt=1e6)]
"""Part of a reward, which is float32."""


@dataclass
class EnvOptions:
    """Options of the environment; each name is checked by the part it configures."""

    action: str = "multi-edges"
    """Action set: ``classic``, ``edges``, ``multi-edges``, ``fine-edges``, ``jump-edges`` (needs ``proposals``) or
    ``continuous`` (:mod:`vg_gym.envs.actions`)."""
    coarse: Step = 0.3
    """Big step, as a fraction of the box's side."""
    fine: Step = 0.08
    """Small step, as a fraction of the box's side."""
    finest: Step = 0.02
    """Smallest step, of the action sets ``fine-edges`` and ``jump-edges``."""
    reward: str = "clip"
    """Potential of the reward: ``clip``, ``iou``, ``clip+iou`` (:mod:`vg_gym.envs.rewards`)."""
    score: str = "context"
    """The CLIP score: ``cosine``, ``context``, ``surround``, ``contrast`` (:mod:`vg_gym.clip.scores`), or
    ``relational``, the expected IoU with the proposals (:mod:`vg_gym.envs.scoring.relational`)."""
    scoring: str = "dense"
    """How it is computed: from ``dense`` features of the image, from ``crop``s encoded at every step, or from crops of
    the boxes of a ``lattice``, encoded once per query (:mod:`vg_gym.envs.scoring`)."""
    lattice: Annotated[int, Range(ge=1, le=64)] = 8
    """Cells a side of that lattice."""
    step_cost: Price = 0.01
    """Price of every step, the trigger included."""
    trigger_bonus: Price = 0.1
    """Share of the potential that is paid when the trigger ends the episode."""
    initial_box: str = "full"
    """``full``, ``center``, ``random``, ``jitter`` (needs labels), the name of a grounder, or several with commas
    between, of which each episode draws one."""
    max_steps: PositiveInt = 10
    """Steps after which an episode is truncated."""
    min_steps: NonNegativeInt = 8
    """The trigger counts from this step on, the last at the latest; pulled earlier it moves and ends nothing. With 1,
    where half of all first actions end the episode, an untrained policy learns to stop at once."""
    image_pool: NonNegativeInt = 8
    """Images whose episodes are mixed before others follow (:mod:`vg_gym.envs.episode_order`); 0: each episode is drawn
    from all, which is slow where features are not prepared."""
    observation: str = "features"
    """``features``, or ``pixels``, which adds the image and the crop under the box, uint8 (84, 84, 3) each."""
    precision: str = "float32"
    """Of the observation: ``float32``, or ``float16`` for half the memory of rollouts."""
    tokens: bool = False
    """Also observe the unit features of the expression's tokens."""
    glimpse_features: bool = False
    """Also observe dense features averaged on a 4 x 4 grid in each window; implies ``tokens``."""
    phrases: bool = False
    """Also observe score maps of the head and anchor noun phrases."""
    proposals: str = ""
    """Also observe the proposals of a proposer of the registry, e.g. ``ssd`` or ``yolo:/path/to/yolov8n.pt``
    (:mod:`vg_gym.envs.proposals`)."""
    num_proposals: PositiveInt = 12
    """Proposals of an image, the most confident ones."""
    edge_profiles: bool = False
    """Also observe how strongly pixels change across each edge of the box (:mod:`vg_gym.envs.edge_profiles`)."""
    memory: Annotated[float, Range(ge=0, le=2**20)] = 4.0
    """GiB for tables of images; where they do not all fit, they are read again."""
    cache: bool = True
    """Keep features in the user's cache folder, for the next run."""
    features: str = ""
    """Folder of a feature store, made by ``vg-gym features``; empty for none. What the store lacks is computed when
    first needed, but a store that lacks the first episode is an error."""

    @property
    def needs_tokens(self) -> bool:
        """Whether the observation has the tokens of the expression."""
        return self.tokens or self.glimpse_features
