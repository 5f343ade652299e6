"""Fine-tuning of CLIP on box-text pairs, from any open_clip model or from scratch (``train_clip.py``).

There are three weighted losses. *crop* contrasts crops with texts. *region* contrasts mean dense features of true boxes
with texts. *localize* makes a text's scores over many boxes of its image follow their IoU with the true box. An agent
needs the last two to use dense features: a CLIP trained on crops alone does not learn that a box of half or twice the
right size is a worse match. RegionCLIP (Zhong et al., CVPR 2022) is the closest published method.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from vg_gym import boxes as box_ops
from vg_gym.clip.finetuning.box_text_batches import Batch, DatasetBatches
from vg_gym.clip.finetuning.config import ClipTrainConfig
from vg_gym.clip.finetuning.localization import measures
from vg_gym.clip.finetuning.losses import localization_loss, region_features, symmetric_contrastive, word_loss
from vg_gym.clip.finetuning.model import freeze, save_model, starting_encoder, with_model
from vg_gym.clip.finetuning.refscenes_batches import RefScenesBatches
from vg_gym.clip.finetuning.refshapes_batches import RefShapesBatches
from vg_gym.clip.finetuning.training_words import training_words
from vg_gym.clip.tokenizer import START as START_TOKEN
from vg_gym.clip.towers import dense_tokens, embed_image
from vg_gym.data.worlds.refscenes.samples import RefScenes
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.fitting.learner import Learner
from vg_gym.fitting.origin import START
from vg_gym.fitting.processes import training_device
from vg_gym.fitting.splits import open_splits, splits_made_of
from vg_gym.storage.files import fingerprint
from vg_gym.types import GroundingDataset

MAX_LOG_SCALE = math.log(100)
"""Upper bound of the logit scale in CLIP's training (Radford et al., ICML 2021)."""


class ClipLearner(Learner):
    """CLIP with its training data and losses.

    The saved weights are those with the best ``window_iou`` over all kinds of expression. It is the IoU of the window
    whose dense feature is most similar to the text. It separates good boxes from near misses, unlike R@1 among true
    boxes.

    Raises:
        VGGymError: the CLIP or a data set cannot be opened, or the CLIP lacks the blocks to train.
    """

    metric = "window_iou"
    needs_boxes: ClassVar[bool] = True
    """True if the training reads boxes."""

    def __init__(self, config: ClipTrainConfig):
        self.config = config
        torch.manual_seed(config.seed)
        dataset, self.val = open_splits(config, needs_boxes=self.needs_boxes)
        device = str(training_device(config))
        self.encoder = starting_encoder(config, device, lambda: training_words(dataset, config.min_count))
        self.module: nn.Module = self.encoder.model
        freeze(self.module, config.train_image_blocks, config.train_text_blocks)
        self.made_of = splits_made_of(dataset, self.val)
        if config.model is None:
            self.made_of = {**self.made_of, START: f"content {self.encoder.fingerprint[:12]}"}
        elif self.encoder.words is not None:
            self.made_of = {**self.made_of, "vocabulary": fingerprint(" ".join(self.encoder.words).encode())[:12]}
        self.batches = self._batches(dataset)

    def _batches(self, dataset: GroundingDataset) -> Any:
        """Return the training batches."""
        c, encoder = self.config, self.encoder
        sizes = (c.batch_size, encoder.image_size, encoder.crop_size, c.crops, c.texts)
        worlds = ((RefShapes, RefShapesBatches), (RefScenes, RefScenesBatches))
        batches = next((batches for world, batches in worlds if isinstance(dataset, world)), DatasetBatches)
        augmentation: dict[str, Any] = {"strength": c.photometric, "flip": c.flip, "border": c.border}
        return batches(dataset, *sizes, seed=c.seed, interpolation=encoder.interpolation, **augmentation)

    def batch(self, step: int) -> Any:
        """Return a batch of training images with texts, boxes and crops."""
        return self.batches.batch(step)

    def losses(self, batch: Any) -> dict[str, torch.Tensor]:
        """Return the weighted losses; the towers may run in mixed precision, and similarities are always float32."""
        model: Any = self.module
        device = self.encoder.device
        ids = self.encoder.tokenizer(batch.texts).to(device)
        text = F.normalize(model.encode_text(ids).float(), dim=-1)
        tokens = dense_tokens(model.visual, self.encoder.pixels(batch.images), self.encoder.dense)
        crops = embed_image(model.visual, self.encoder.pixels(batch.crops)) if len(batch.crops) else None
        with torch.autocast(device.type, enabled=False):
            scale = model.logit_scale.exp()
            parts = self._region_losses(batch, ids, text, tokens, scale)
            if crops is not None and self.config.crop_weight:
                parts["crop"] = self.config.crop_weight * self._crop_loss(batch, text, crops, scale)
        return parts

    def _crop_loss(self, batch: Batch, text: torch.Tensor, crops: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        rows, match = self._tensors(batch.by_appearance, batch.match)
        pairs = match[:, batch.crop_image, batch.crop_object][rows]
        return symmetric_contrastive(scale * text[rows] @ F.normalize(crops.float(), dim=-1).T, pairs)

    def _region_losses(
        self, batch: Batch, ids: torch.Tensor, text: torch.Tensor, tokens: torch.Tensor, scale: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return the losses of dense features of boxes and texts (T, D), whose token ids are (T, L)."""
        c = self.config
        objects, regions, valid, match = self._tensors(batch.objects, batch.regions, batch.valid, batch.match)
        image, target = self._tensors(batch.text_image, batch.text_object)
        boxes = torch.cat([objects, regions], dim=1)
        features = region_features(tokens, boxes)
        parts = {}
        if c.region_weight:
            true = features[:, : objects.shape[1]].flatten(0, 1)
            valid_match = torch.where(valid[None], match, -1).flatten(1)
            parts["region"] = c.region_weight * symmetric_contrastive(scale * text @ true.T, valid_match)
        if c.word_weight:
            parts["words"] = c.word_weight * self.word_loss(features[image, target], ids)
        if c.localize_weight:
            scores = scale * torch.einsum("td,tkd->tk", text, features[image])
            overlap = box_ops.iou(boxes[image], objects[image, target][:, None])
            everywhere = torch.cat([valid, torch.ones_like(regions[..., 0], dtype=torch.bool)], dim=1)[image]
            parts["localize"] = c.localize_weight * localization_loss(scores, overlap, everywhere, c.softness)
        return parts

    def word_loss(self, features: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return the loss of the words of texts, whose ids are (T, L), to unit features (T, D) that they describe."""
        model: Any = self.module
        words = slice(START_TOKEN + 1, START_TOKEN + 1 + len(self.encoder.words or ()))
        counts = F.one_hot(ids, model.token_embedding.num_embeddings).sum(1)[:, words]
        embeddings = model.ln_final(model.token_embedding.weight[words].float()) @ model.text_projection
        return word_loss(features, F.normalize(embeddings, dim=-1), counts, model.logit_scale.exp())

    def _tensors(self, *arrays: Any) -> list[torch.Tensor]:
        return [torch.from_numpy(array).to(self.encoder.device) for array in arrays]

    @torch.no_grad()
    def after_step(self) -> None:
        """Clamp the logit scale to CLIP's bounds."""
        self.encoder.model.logit_scale.clamp_(0, MAX_LOG_SCALE)

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Return the measures of :func:`~.localization.measures`."""
        figures = measures(with_model(self.encoder, module), self.val, self.config.validate_samples)
        return {**figures, "logit_scale": self.encoder.logit_scale}

    def save(self, module: nn.Module, folder: Path) -> None:
        """Write a model folder that ``clip=FOLDER`` and open_clip load."""
        save_model(with_model(self.encoder, module), folder)
