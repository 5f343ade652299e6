"""Proposals in the observation: boxes of a detector, with the values that CLIP and the words of the expression give.

Boxes are computed once per image, their values once per query. Neither depends on the agent's box; :func:`relative`
adds the positions of the proposals relative to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.existence import Logits, lexicon_of, memberships
from vg_gym.clip.region_features import box_mean, l2_normalize, summed_area
from vg_gym.config import UnitInterval
from vg_gym.errors import VGGymError
from vg_gym.features.image_arrays import ImageArrays
from vg_gym.features.proposals import MIN_CONFIDENCE, select
from vg_gym.language.parsing import noun_phrases, parse
from vg_gym.language.resolution import resolve
from vg_gym.registry import proposer as make_proposer
from vg_gym.registry import proposer_spec
from vg_gym.registry.photographs import world_of_weights
from vg_gym.runtime.devices import share_out
from vg_gym.storage.assets import built_in
from vg_gym.storage.files import place_mark
from vg_gym.types import ImageRef, Proposer, Query

MAX_OVERLAP = 0.8
"""Largest IoU of two proposals; of two that overlap more, the less confident one is dropped."""
FIELDS = ("x1", "y1", "x2", "y2", "confidence", "expression", "head", "anchor", "relational")
"""Names of a proposal's values: normalised corners, the detector's confidence, the cosines of its dense feature with
the expression and with its head and anchor noun phrase, and the probability that the expression refers to it."""
MEMBERSHIP = len(FIELDS)
"""Place of the value that follows with ``targets="any"``: how well the proposal fits, whatever the others are
(:mod:`vg_gym.clip.existence`)."""
FINE_FACTOR = 8.0
"""Magnification of the second copy of the relative corners, which shows small offsets."""
MAX_OFFSET = 4.0
"""Largest absolute value of relative corners; in the first copy it is a distance in sides of the box."""
RELATIVE = 8
"""Number of relative corners of a proposal, in both copies; they are the last of its observed values."""
WIDTH = len(FIELDS) + RELATIVE
"""Number of values of one proposal in the observation; one more with memberships."""


class QueryProposals:
    """Proposals (K, F) of queries, best first; rows beyond the proposals of an image are zero.

    Their values are :data:`FIELDS`, the membership if ``memberships`` says so, and their dense features (D) if
    ``features`` says so.

    Args:
        name: name of a proposer of the registry, or ``NAME:WEIGHTS``, e.g. ``yolo:/path/to/yolov8n.pt``. A proposer
            that takes a CLIP has ``NAME:CLIP``; the default CLIP is the encoder.
        count: largest number of proposals of an image, K.
        clip: encoder. Unless weights are named, the proposer has the built-in weights of the world of a built-in CLIP,
            if they exist, and published ones otherwise.
        min_confidence: smallest confidence of a proposal.
        memberships: whether to compute memberships.
        features: whether the unit dense features of CLIP follow the other values.

    Raises:
        VGGymError: the proposer is unknown, or its weights or package are missing.
    """

    def __init__(
        self,
        name: str,
        count: int,
        clip: ClipEncoder,
        min_confidence: UnitInterval = MIN_CONFIDENCE,
        memberships: bool = False,
        features: bool = False,
    ):
        self.count, self.clip, self.min_confidence, self.memberships = count, clip, min_confidence, memberships
        self.observed = len(FIELDS) + memberships
        """Number of values of a proposal before its features."""
        self.size = self.observed + features * clip.dim
        """Number of values of a proposal, F."""
        name, _, suffix = name.partition(":")
        spec = proposer_spec(name)
        if spec.takes_clip:
            chosen = {"clip": suffix or clip.name}
        else:
            weights = suffix or (_world(clip) if built_in(name, _world(clip)) else spec.published)
            chosen = {"weights": weights} if weights else {}
        try:
            self._proposer = _proposer(name, str(clip.device), place_mark(*chosen.values()), **chosen)
        except VGGymError as error:
            raise VGGymError(
                f"no proposals: {error}. Name local weights as proposals={name}:WEIGHTS; proposals= turns proposals off"
            ) from error
        identity = f"{self._proposer.fingerprint} {min_confidence} {MAX_OVERLAP}"
        self.images = ImageArrays(f"{name} proposals", identity, (count, 5), np.float32, self._propose)
        self.fingerprint = self.images.fingerprint + memberships * " memberships" + features * " features"

    def __call__(self, query: Query, dense: np.ndarray) -> np.ndarray:
        """Return the values of a query's proposals, float32 (K, F).

        Args:
            query: query of the proposals.
            dense: dense features (g, g, D) of its image.
        """
        values = np.zeros((self.count, self.size), dtype=np.float32)
        boxes = self.images(query.image)
        values[:, :5] = boxes
        filled = boxes[:, 4] > 0
        if filled.any():
            table = summed_area(dense.astype(np.float32)[None])
            features = l2_normalize(box_mean(table, boxes[None, filled, :4])[0])
            expression = self.clip.reword(query.expression)
            texts = [expression, *noun_phrases(expression)]
            values[filled, 5:8] = np.stack([self._cosines(features, text) for text in texts], axis=1)
            logits = partial(self._logits, features)
            values[filled, 8] = _probabilities(expression, boxes[filled, :4], logits)
            if self.memberships:
                lexicon = lexicon_of(self.clip)
                values[filled, MEMBERSHIP] = memberships(expression, boxes[filled, :4], logits, lexicon)
            if self.size > self.observed:
                values[filled, self.observed :] = features
        return values

    def _cosines(self, features: np.ndarray, text: str) -> np.ndarray:
        """Return cosines (P,) of features (P, D) with a text; zeros for an empty text."""
        return np.einsum("pd,d->p", features, self.clip.encode_text([text])[0]) if text else np.zeros(len(features))

    def _logits(self, features: np.ndarray, text: str) -> np.ndarray:
        """Return CLIP's logits (P,) of features (P, D) for a text."""
        return self.clip.logit_scale * self._cosines(features, text)

    def _propose(self, images: Sequence[ImageRef]) -> np.ndarray:
        rows = np.zeros((len(images), self.count, 5), dtype=np.float32)
        proposed = self._proposer.propose(share_out(lambda image: image.array(), images))
        for row, image, proposals in zip(rows, images, proposed, strict=True):
            selected = select(proposals, self.min_confidence, self.count, max_overlap=MAX_OVERLAP)
            row[: len(selected), :4] = box_ops.normalize(selected.boxes, image.size)
            row[: len(selected), 4] = selected.scores
        return rows


def _world(clip: ClipEncoder) -> str:
    """Return the world whose words a CLIP knows, and an empty text for a published CLIP."""
    if clip.knows_shapes_alone:
        return "refshapes"
    return world_of_weights(clip.name) if built_in("clip", clip.name) else ""


def _probabilities(expression: str, boxes: np.ndarray, logits: Logits) -> np.ndarray:
    """Return the probability that the expression refers to each of P proposals.

    Boxes decide relations; CLIP decides the rest of the expression.
    """
    parsed = parse(expression)
    weights = logits(expression)
    if parsed.relation:
        weights = np.log(resolve(parsed, boxes, logits) + 1e-6)
    weights = np.exp(weights - weights.max())
    return weights / weights.sum()


@lru_cache(2)
def _proposer(name: str, device: str, mark: str, **chosen: str) -> Proposer:
    """Return a proposer, loaded once for each state (``mark``) of its files; every batch of an agent needs it."""
    return make_proposer(name, **chosen, device=device)


def relative(proposals: Any, boxes: Any) -> Any:
    """Return proposals as an agent observes them: their values, and their corners relative to the agent's box.

    Args:
        proposals: output of :class:`QueryProposals` (B, K, F), an array or a tensor.
        boxes: boxes of the agent, normalised (B, 4).

    Returns:
        Observed proposals (B, K, F + RELATIVE): the values, then left, top, right and bottom minus those of the box in
        sides of the box, then these differences magnified by :data:`FINE_FACTOR`. Relative corners of empty rows are
        zero.
    """
    xp = box_ops.namespace(proposals)
    side = boxes[:, 2:] - boxes[:, :2]
    away = (proposals[..., :4] - boxes[:, None]) / xp.concatenate([side, side], axis=1)[:, None]
    away = away * (proposals[..., 4:5] > 0)
    near = box_ops.clamp(away * FINE_FACTOR, -MAX_OFFSET, MAX_OFFSET)
    return xp.concatenate([proposals, box_ops.clamp(away, -MAX_OFFSET, MAX_OFFSET), near], axis=-1)
