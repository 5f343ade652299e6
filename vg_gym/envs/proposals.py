"""Proposals in the observation: boxes of a detector, and what CLIP and the words of the expression say of each.

Boxes are found once per image, the rest once per query. None of it depends on the agent's box; :func:`relative` adds
where the proposals lie as seen from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.dense import box_mean, l2_normalize, summed_area
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.devices import share_out
from vg_gym.errors import VGGymError
from vg_gym.features.image_arrays import ImageArrays
from vg_gym.features.proposals import select
from vg_gym.language.parsing import noun_phrases, parse
from vg_gym.language.resolution import resolve
from vg_gym.registry import proposer as make_proposer
from vg_gym.registry import proposer_spec
from vg_gym.storage.files import place_mark
from vg_gym.types import ImageRef, Proposer, Query

MIN_SCORE = 0.1
"""Least confidence of a proposal."""
MAX_OVERLAP = 0.8
"""Of two proposals that overlap more, the less confident goes."""
FIELDS = ("x1", "y1", "x2", "y2", "confidence", "expression", "head", "anchor", "relational")
"""What is known of a proposal of a query: normalised corners, the detector's confidence, the cosines of its dense
feature with the expression and with its head and its anchor noun phrase, and the probability that it is meant."""
NEAR = 8.0
"""Relative corners are told twice: limited to +-4 sides of the box, and this many times larger, for the last bit."""
LIMIT = 4.0
"""Of relative corners."""
WIDTH = len(FIELDS) + 8
"""Numbers of one proposal in the observation."""


class QueryProposals:
    """Proposals (K, :data:`FIELDS`) of queries, best first; rows beyond those of an image are zero.

    Args:
        name: of a proposer of the registry, or ``NAME:WEIGHTS``, e.g. ``yolo:/path/to/yolov8n.pt``; of one that takes
            a CLIP, ``NAME:CLIP``, by default the encoder.
        count: K, most proposals of an image.
        clip: the encoder. Where no weights are named, the proposer has its built-in ones beside a CLIP that knows the
            words of RefShapes alone, else published ones.

    Raises:
        VGGymError: the proposer is unknown, or its weights or package are missing.
    """

    def __init__(self, name: str, count: int, clip: ClipEncoder):
        self.count, self.clip = count, clip
        name, _, given = name.partition(":")
        spec = proposer_spec(name)
        if spec.takes_clip:
            chosen = {"clip": given or clip.name}
        else:
            weights = given or ("refshapes" if clip.words else spec.published)
            chosen = {"weights": weights} if weights else {}
        try:
            self._proposer = _proposer(name, str(clip.device), place_mark(*chosen.values()), **chosen)
        except VGGymError as error:
            raise VGGymError(
                f"no proposals: {error}. Here local weights are named as proposals={name}:WEIGHTS; proposals= is none"
            ) from error
        identity = f"{self._proposer.fingerprint} {MIN_SCORE} {MAX_OVERLAP}"
        self.images = ImageArrays(f"{name} proposals", identity, (count, 5), np.float32, self._propose)
        self.fingerprint = self.images.fingerprint

    def __call__(self, query: Query, dense: np.ndarray) -> np.ndarray:
        """What is known of the proposals of a query, float32 (K, F).

        Args:
            query: which.
            dense: dense features (g, g, D) of its image.
        """
        found = np.zeros((self.count, len(FIELDS)), dtype=np.float32)
        boxes = self.images(query.image)
        found[:, :5] = boxes
        there = boxes[:, 4] > 0
        if there.any():
            table = summed_area(dense.astype(np.float32)[None])
            features = l2_normalize(box_mean(table, boxes[None, there, :4])[0])
            expression = self.clip.reword(query.expression)
            texts = [expression, *noun_phrases(expression)]
            found[there, 5:8] = np.stack([self._cosines(features, text) for text in texts], axis=1)
            found[there, 8] = self._probabilities(expression, boxes[there, :4], features)
        return found

    def _cosines(self, features: np.ndarray, text: str) -> np.ndarray:
        """Cosines (P,) of features (P, D) with a text; zeros for an empty one."""
        return np.einsum("pd,d->p", features, self.clip.encode_text([text])[0]) if text else np.zeros(len(features))

    def _probabilities(self, expression: str, boxes: np.ndarray, features: np.ndarray) -> np.ndarray:
        """How likely each of P proposals is meant: relations decided over the boxes, all else by CLIP."""

        def logits(text: str) -> np.ndarray:
            return self.clip.logit_scale * self._cosines(features, text)

        parsed = parse(expression)
        weights = logits(expression)
        if parsed.relation:
            weights = np.log(resolve(parsed, boxes, logits) + 1e-6)
        weights = np.exp(weights - weights.max())
        return weights / weights.sum()

    def _propose(self, images: Sequence[ImageRef]) -> np.ndarray:
        found = np.zeros((len(images), self.count, 5), dtype=np.float32)
        proposed = self._proposer.propose(share_out(lambda image: image.array(), images))
        for row, image, proposals in zip(found, images, proposed, strict=True):
            kept = select(proposals, MIN_SCORE, self.count, max_overlap=MAX_OVERLAP)
            row[: len(kept), :4] = box_ops.normalize(kept.boxes, image.size)
            row[: len(kept), 4] = kept.scores
        return found


@lru_cache(2)
def _proposer(name: str, device: str, mark: str, **chosen: str) -> Proposer:
    """A proposer, loaded once for each state (``mark``) of its files: every batch that an agent grounds asks for it."""
    return make_proposer(name, **chosen, device=device)


def relative(proposals: Any, boxes: Any) -> Any:
    """Proposals as an agent sees them: what is known of each, and its corners as seen from the agent's box.

    Args:
        proposals: (B, K, F) of :class:`QueryProposals`, an array or a tensor.
        boxes: normalised (B, 4).

    Returns:
        (B, K, WIDTH): the fields, then left, top, right and bottom less those of the box, in its sides, then the same
        on a finer scale; relative corners of rows without a proposal are zero.
    """
    xp = box_ops.namespace(proposals)
    side = boxes[:, 2:] - boxes[:, :2]
    away = (proposals[..., :4] - boxes[:, None]) / xp.concatenate([side, side], axis=1)[:, None]
    away = away * (proposals[..., 4:5] > 0)
    near = box_ops.clamp(away * NEAR, -LIMIT, LIMIT)
    return xp.concatenate([proposals, box_ops.clamp(away, -LIMIT, LIMIT), near], axis=-1)
