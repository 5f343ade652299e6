"""Training of CLIP on pictures and captions alone, contrastively, as OpenAI's was; no box is read in training.

Captions in which one colour or noun is wrong are additional negatives of the pictures (NegCLIP, Yuksekgonul et al.,
ICLR 2023). Pictures may also tell the single words of their captions (``word_weight``). The weights are chosen by the
retrieval of captions, which reads no box either. Localization is only reported.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.finetuning.caption_batches import CaptionBatches, SceneCaptionBatches
from vg_gym.clip.finetuning.clip_learner import ClipLearner
from vg_gym.clip.finetuning.localization import measures
from vg_gym.clip.finetuning.losses import multi_positive
from vg_gym.clip.finetuning.model import with_model
from vg_gym.clip.towers import embed_image
from vg_gym.data.worlds.refscenes.samples import RefScenes
from vg_gym.types import GroundingDataset, MayLack

VALIDATION_PICTURES = 64
"""Number of pictures that a caption is retrieved among."""
VALIDATION_BATCHES = 4
"""Number of such sets of pictures."""


class CaptionLearner(ClipLearner):
    """CLIP with pictures and captions, and the contrastive loss.

    The saved weights are those with the best ``caption_r1``, the R@1 of pictures and captions among 64, in the mean of
    both directions.
    """

    metric = "caption_r1"
    needs_boxes = False

    def _batches(self, dataset: GroundingDataset) -> CaptionBatches:
        c = self.config
        sizes = c.picture_sizes or (self.encoder.crop_size,)
        return self._batches_of(dataset, c.batch_size, sizes, c.photometric)

    def _batches_of(self, dataset: GroundingDataset, count: int, sizes: Any, strength: float) -> CaptionBatches:
        batches = SceneCaptionBatches if isinstance(dataset, RefScenes) else CaptionBatches
        seed, interpolation = self.config.seed, self.encoder.interpolation
        return batches(dataset, count, sizes, strength=strength, seed=seed, interpolation=interpolation)  # type: ignore[arg-type]

    def losses(self, batch: Any) -> dict[str, torch.Tensor]:
        """Return the loss of captions to pictures, and of pictures to captions and wrong captions."""
        model: Any = self.module
        device = self.encoder.device
        ids = self.encoder.tokenizer([*batch.captions, *batch.wrong]).to(device)
        texts = F.normalize(model.encode_text(ids).float(), dim=-1)
        images = F.normalize(embed_image(model.visual, self.encoder.pixels(batch.pictures)).float(), dim=-1)
        same = torch.tensor([[first == second for second in batch.captions] for first in batch.captions], device=device)
        with torch.autocast(device.type, enabled=False):
            logits = model.logit_scale.exp() * texts @ images.T
            match = F.pad(same.int(), (0, 0, 0, len(batch.wrong)))
            to_pictures = multi_positive(logits[: len(same)], match[: len(same)])
            parts = {"to_pictures": to_pictures / 2, "to_captions": multi_positive(logits.T, match.T) / 2}
            if self.config.word_weight:
                parts["words"] = self.config.word_weight * self.word_loss(images, ids[: len(same)])
        return parts

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Return the R@1 of captions, and measures of :func:`localization_report` where the data set has boxes."""
        encoder = with_model(self.encoder, module)
        figures = {self.metric: self._caption_recall(encoder), "logit_scale": self.encoder.logit_scale}
        if isinstance(self.val, MayLack) and not self.val.labeled:
            return figures
        return {**figures, **measures(encoder, self.val, self.config.validate_samples)}

    def _caption_recall(self, encoder: ClipEncoder) -> float:
        batches, hits = self._batches_of(self.val, VALIDATION_PICTURES, (encoder.crop_size,), 0.0), []
        for step in range(VALIDATION_BATCHES):
            batch = batches.batch(step)
            scores = encoder.encode_text(batch.captions) @ encoder.encode_crops(list(batch.pictures)).T
            diagonal = np.arange(len(scores))
            hits += [scores.argmax(0) == diagonal, scores.argmax(1) == diagonal]
        return float(np.concatenate(hits).mean())
