"""Options of the environment, except its data and its CLIP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from vg_gym.config import NonNegativeInt, PositiveInt, Range, UnitInterval
from vg_gym.envs.action_set import ActionSet
from vg_gym.envs.actions import STEPS, make_actions
from vg_gym.envs.rewards import Reward
from vg_gym.errors import VGGymError
from vg_gym.features.proposals import MIN_CONFIDENCE

Step = Annotated[float, Range(gt=0, lt=1)]


Price = Annotated[float, Range(ge=0, lt=1e6)]
"""Part of a reward, which is float32 and therefore limited."""


@dataclass
class EnvOptions:
    """Options of the environment; the part that an option configures checks its names."""

    action: str = "multi-edges"
    """Action set: ``classic``, ``edges``, ``multi-edges``, ``fine-edges``, ``jump-edges`` (needs ``proposals``) or
    ``continuous`` (:mod:`vg_gym.envs.actions`)."""
    targets: str = "one"
    """Number of objects that an expression may mean: ``one``, or ``any``, with which the agent may record several boxes
    or say that nothing fits (:mod:`vg_gym.envs.answers`)."""
    coarse: Step = STEPS[0]
    """Size of the big step, as a fraction of the box's side."""
    fine: Step = STEPS[1]
    """Size of the small step, as a fraction of the box's side."""
    finest: Step = STEPS[2]
    """Size of the smallest step, in the action sets ``fine-edges`` and ``jump-edges``."""
    reward: str = Reward.name
    """Potential of the reward: ``clip``, ``iou``, ``clip+iou`` (:mod:`vg_gym.envs.rewards`)."""
    score: str = "context"
    """CLIP score: ``cosine``, ``context``, ``surround``, ``contrast`` (:mod:`vg_gym.clip.scores`), or
    ``relational``, the expected IoU with the proposals (:mod:`vg_gym.envs.scoring.relational`)."""
    scoring: str = "dense"
    """Source of the CLIP score: ``dense`` features of the image, ``crop`` embeddings from every step, or a ``lattice``
    of boxes whose crops are encoded once per query (:mod:`vg_gym.envs.scoring`)."""
    lattice: Annotated[int, Range(ge=1, le=64)] = 8
    """Number of cells per axis of the lattice of ``scoring=lattice``."""
    step_cost: Price = Reward.step_cost
    """Price of every step, the trigger included."""
    trigger_bonus: Price = Reward.trigger_bonus
    """Share of the potential that is paid when the trigger, or "nothing more", ends the episode."""
    false_nothing_price: Price = 0.2
    """``targets=any``, rewards with ``iou``: price of the empty answer if something is meant."""
    false_box_price: Price = 0.1
    """``targets=any``: price of a recorded box that repeats another one (IoU of at least 0.5) and, for rewards with
    ``iou``, of one that has an IoU below 0.5 with every target."""
    nothing_score: Annotated[float, Range(ge=-10, le=10)] = 0.0
    """``targets=any``, rewards with ``clip``: score at which a box is worth as much as no box. 0 suits
    ``score=contrast``, which is positive if the box looks more like the expression than like other texts."""
    zoom: bool = False
    """Add the action "look closer", after which the box is scored at the encoder's full resolution, and observe the
    view (:mod:`vg_gym.envs.closer_looks`); needs ``scoring=dense``, a ``score`` of CLIP, and another ``action`` than
    ``continuous``."""
    zoom_price: Price = 0.01
    """``zoom=true``: price of a closer look, besides ``step_cost``."""
    initial_box: str = "full"
    """Initial box: ``full``, ``center``, ``random``, ``jitter`` (needs labels), the name of a grounder, or a
    comma-separated list of these, of which each episode draws one."""
    max_steps: PositiveInt = 10
    """Number of steps after which an episode is truncated."""
    min_steps: NonNegativeInt = 8
    """Number of the step from which the trigger counts, at most the last step. A trigger pulled earlier neither moves
    the box nor ends the episode. With 1, half of all first actions end the episode, and an untrained policy learns to
    stop at once."""
    image_pool: NonNegativeInt = 8
    """Number of images whose episodes are mixed before other images follow (:mod:`vg_gym.envs.episode_order`). With 0,
    each episode is drawn from all images, which is slow unless features are prepared."""
    observation: str = "features"
    """``features``, or ``pixels``, which adds the image and the crop inside the box, uint8 (84, 84, 3) each."""
    precision: str = "float32"
    """Precision of the observation: ``float32``, or ``float16``, which halves the memory of rollouts."""
    tokens: bool = False
    """Also observe the unit features of the expression's tokens."""
    glimpse_features: bool = False
    """Also observe dense features averaged on a 4 x 4 grid in each window; implies ``tokens``."""
    phrases: bool = False
    """Also observe score maps of the head and anchor noun phrases."""
    proposals: str = ""
    """Also observe the proposals of a proposer of the registry, e.g. ``ssd`` or ``yolo:/path/to/yolov8n.pt``
    (:mod:`vg_gym.features.query_proposals`)."""
    num_proposals: PositiveInt = 12
    """Number of proposals of an image; the most confident ones are used."""
    min_confidence: UnitInterval = MIN_CONFIDENCE
    """Smallest confidence of a proposal."""
    proposal_features: bool = False
    """Also observe CLIP's dense feature of each proposal and of each word of the expression, so that the policy itself
    compares looks and words."""
    edge_profiles: bool = False
    """Also observe how strongly pixels change across each edge of the box (:mod:`vg_gym.features.edge_profiles`)."""
    memory: Annotated[float, Range(ge=0, le=2**20)] = 4.0
    """Memory for tables of images in GiB. Tables that do not fit are read again when needed."""
    cache: bool = True
    """Store features in the user's cache folder for the next run."""
    features: str = ""
    """Folder of a feature store that ``vg-gym features`` made, or empty. Features that the store lacks are computed
    when first needed, but a store without the features of the first episode is an error."""

    @property
    def needs_tokens(self) -> bool:
        """True if the observation includes the tokens of the expression."""
        return self.tokens or self.glimpse_features

    def action_set(self) -> ActionSet:
        """Return the action set.

        Raises:
            VGGymError: see :func:`vg_gym.envs.actions.make_actions`.
        """
        jumps = self.num_proposals if self.proposals else 0
        return make_actions(self.action, self.coarse, self.fine, self.finest, jumps, self.targets == "any", self.zoom)

    def potential(self, labeled: bool = True) -> Reward:
        """Return the reward.

        Args:
            labeled: whether the data have boxes.

        Raises:
            VGGymError: its name is unknown, or it needs boxes that the data lack.
        """
        reward = Reward(self.reward, self.step_cost, self.trigger_bonus)
        if reward.needs_labels and not labeled:
            raise VGGymError(f"reward={self.reward!r} needs box labels, which bare queries lack; use reward='clip'")
        return reward
