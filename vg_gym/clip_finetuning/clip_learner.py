"""Fine-tuning CLIP on box-text pairs, from any open_clip start or from scratch (``train_clip.py``).

Three losses, each with a weight: *crop* (crops against texts), *region* (mean dense features of true boxes against
texts) and *localise* (a text's scores over many boxes of its image should follow their IoU with the box meant). The
last two are what makes dense features usable for an agent: trained on crops alone, nothing tells a CLIP that a box
half or twice too big is a worse match. RegionCLIP (Zhong et al., CVPR 2022) is the published relative.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym.clip.encoder import SIDECAR, ClipEncoder, load_clip
from vg_gym.clip.tokenizer import WordTokenizer
from vg_gym.clip.towers import dense_tokens, embed_image
from vg_gym.clip_finetuning.batches import Batch, BatchSource, DatasetBatches
from vg_gym.clip_finetuning.localization import localization_report
from vg_gym.clip_finetuning.losses import localisation, region_features, symmetric_contrastive
from vg_gym.clip_finetuning.refshapes_batches import RefShapesBatches
from vg_gym.config import save_config
from vg_gym.data.expressions import vocabulary
from vg_gym.data.refshapes import RefShapes
from vg_gym.devices import pick_device
from vg_gym.errors import VGGymError
from vg_gym.registry import open_dataset
from vg_gym.storage.files import replacing, write_json


@dataclass
class ClipTrainConfig:
    """Options of ``train_clip.py``."""

    out: str = "runs/clip"
    """Folder for checkpoints, TensorBoard logs and the finished model (load it as ``clip=OUT/model``)."""
    dataset: str = "refshapes"
    root: str | None = None
    """Folder of a data set that is on disk."""
    dataset_options: dict[str, Any] = field(default_factory=dict)
    """Options of the training split, e.g. ``scenes`` of RefShapes."""
    clip: str = "refshapes"
    """The CLIP to start from (``ViT-B-32:openai``); ignored where ``model`` is given."""
    model: dict[str, Any] | None = None
    """An open_clip model config to train from scratch, with a word-level vocabulary of RefShapes."""
    crop_size: int | None = None
    """Side of crops in pixels; default the start's own."""
    dense: str | None = None
    """Kind of dense features (``tokens``, ``maskclip``); default the start's own."""
    steps: int = 2000
    """Optimiser steps."""
    images: int = 16
    """Images per forward pass."""
    accumulate: int = 1
    """Forward passes per optimiser step; negatives are shared within a forward pass only."""
    crops: int = 1
    """Crops per image."""
    texts: int = 9
    """Texts per image (RefShapes has a mix of its own)."""
    crop_weight: float = 1.0
    region_weight: float = 1.0
    localise_weight: float = 1.0
    softness: float = 0.1
    """Of the localisation target, in IoU."""
    lr: float = 1e-5
    weight_decay: float = 0.05
    warmup: int = 200
    clip_grad: float = 1.0
    amp: bool = True
    """bfloat16 autocast."""
    train_image_blocks: int = -1
    """Unfreeze only the last N blocks of the image tower (0: none, -1: all)."""
    train_text_blocks: int = -1
    """Unfreeze only the last N blocks of the text tower (0: none, -1: all)."""
    seed: int = 0
    device: str = "auto"
    threads: int = 0
    """CPU threads (0: torch's default)."""
    workers: int = 1
    """Processes that prepare batches."""
    validate_every: int = 500
    validate_samples: int = 400
    resume: bool = False
    """Go on from ``OUT/checkpoint.pt``."""


class ClipTrainer:
    """The training loop: ``ClipTrainer(config).run()``.

    Raises:
        VGGymError: nothing to resume from, or a checkpoint of another model.
    """

    def __init__(self, config: ClipTrainConfig):
        self.config, self.out = config, Path(config.out)
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.device = pick_device(config.device)
        self.encoder = _start(config, self.device)
        self.model = self.encoder.model
        freeze(self.model, config.train_image_blocks, config.train_text_blocks)
        self.optimizer = torch.optim.AdamW(_groups(self.model, config.weight_decay), lr=config.lr, betas=(0.9, 0.98))
        self.step = 0
        self.out.mkdir(parents=True, exist_ok=True)
        if config.resume:
            self._restore()

    def run(self) -> dict[str, dict[str, float]]:
        """Train to the last step and save the model; returns the last validation report. Ctrl-C saves a checkpoint."""
        save_config(self.config, self.out / "config.yaml")
        writer = SummaryWriter(str(self.out))
        batches = self._batches()
        bar = tqdm(total=self.config.steps, initial=self.step, desc="train_clip", unit="step")
        try:
            while self.step < self.config.steps:
                losses = self._update([next(batches) for _ in range(self.config.accumulate)])
                self.step += 1
                bar.update()
                if self.step % 20 == 0:
                    bar.set_postfix({k: f"{v:.3f}" for k, v in losses.items()})
                    for name, value in losses.items():
                        writer.add_scalar(f"loss/{name}", value, self.step)
                if self.step % self.config.validate_every == 0 and self.step < self.config.steps:
                    self._validate(writer)
                    self._checkpoint()
        except KeyboardInterrupt:
            self._checkpoint()
            raise VGGymError(f"interrupted at step {self.step}; go on with: resume=true out={self.out}") from None
        report = self._validate(writer)
        self._checkpoint()
        save_model(self.encoder, self.out / "model", model_config(self.config))
        writer.close()
        return report

    def _batches(self):
        """An endless stream of batches from the current step on, prepared in other processes."""
        source = _source(self.config, self.encoder)
        steps = range(self.step * self.config.accumulate, self.config.steps * self.config.accumulate)
        loader = torch.utils.data.DataLoader(
            _Steps(source, steps), batch_size=None, num_workers=self.config.workers, prefetch_factor=None
        )
        return iter(loader)

    def _update(self, batches: list[Batch]) -> dict[str, float]:
        """One optimiser step over micro-batches; returns the mean losses."""
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr * schedule(self.step, self.config.warmup, self.config.steps)
        totals: dict[str, float] = {}
        for batch in batches:
            losses = self.losses(batch)
            (losses["total"] / len(batches)).backward()
            for name, value in losses.items():
                totals[name] = totals.get(name, 0.0) + float(value.detach()) / len(batches)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_grad)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(100))
        return totals

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The weighted losses of a batch and their ``total``."""
        c, encoder = self.config, self.encoder
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=c.amp):
            ids = encoder.tokenizer(batch.texts).to(self.device)
            text = torch.nn.functional.normalize(self.model.encode_text(ids).float(), dim=-1)
            tokens = dense_tokens(self.model.visual, encoder.pixels(batch.images), encoder.dense)
            crops = embed_image(self.model.visual, encoder.pixels(batch.crops)) if len(batch.crops) else None
        scale = self.model.logit_scale.exp()
        match = torch.from_numpy(batch.match).to(self.device)
        parts = self._region_losses(batch, text, tokens, scale, match)
        if crops is not None and c.crop_weight:
            crops = torch.nn.functional.normalize(crops.float(), dim=-1)
            rows = torch.from_numpy(batch.by_looks).to(self.device)
            pairs = match[:, batch.crop_image, batch.crop_object][rows]
            parts["crop"] = c.crop_weight * symmetric_contrastive(scale * text[rows] @ crops.T, pairs)
        return {"total": torch.stack(list(parts.values())).sum(), **parts}

    def _region_losses(self, batch: Batch, text, tokens, scale, match) -> dict[str, torch.Tensor]:
        c = self.config
        objects, regions = (torch.from_numpy(x).to(self.device) for x in (batch.objects, batch.regions))
        valid = torch.from_numpy(batch.valid).to(self.device)
        boxes = torch.cat([objects, regions], dim=1)
        features = region_features(tokens, boxes)
        image, target = (torch.from_numpy(x).to(self.device) for x in (batch.text_image, batch.text_object))
        parts = {}
        if c.region_weight:
            true = features[:, : objects.shape[1]].flatten(0, 1)
            known = torch.where(valid[None], match, -1).flatten(1)
            parts["region"] = c.region_weight * symmetric_contrastive(scale * text @ true.T, known)
        if c.localise_weight:
            scores = scale * torch.einsum("td,tkd->tk", text, features[image])
            overlap = box_ops.iou(boxes[image], objects[image, target][:, None])
            everywhere = torch.cat([valid, torch.ones_like(regions[..., 0], dtype=torch.bool)], dim=1)[image]
            parts["localise"] = c.localise_weight * localisation(scores, overlap, everywhere, c.softness)
        return parts

    def _validate(self, writer: SummaryWriter) -> dict[str, dict[str, float]]:
        options = {"root": self.config.root} if self.config.root else {}
        dataset = open_dataset(self.config.dataset, "val", **options)
        encoder = self.encoder.copy()
        report = localization_report(encoder, dataset, self.config.validate_samples)
        for kind, row in report.items():
            for name, value in row.items():
                writer.add_scalar(f"val_{name}/{kind}", value, self.step)
        text = "  ".join(
            f"{kind}: " + " ".join(f"{name} {value:.3f}" for name, value in row.items() if name != "n")
            for kind, row in report.items()
        )
        tqdm.write(f"step {self.step}  scale {self.encoder.logit_scale:.1f}  {text}")
        write_json(self.out / "report.json", {"step": self.step, "val": report})
        return report

    def _checkpoint(self) -> None:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step}
        with replacing(self.out / "checkpoint.pt") as part:
            torch.save(state, part)

    def _restore(self) -> None:
        path = self.out / "checkpoint.pt"
        if not path.is_file():
            raise VGGymError(f"nothing to resume: no {path}; leave resume out, or name the run with out=")
        state = torch.load(path, map_location=self.device, weights_only=True)
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise VGGymError(f"{path} is of another model: {str(error).splitlines()[0]}; use another out=") from error
        self.step = int(state["step"])


class _Steps(torch.utils.data.Dataset):
    """The batches of given steps, as torch's loader wants them."""

    def __init__(self, source: BatchSource, steps: range):
        self.source, self.steps = source, steps

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Batch:
        torch.set_num_threads(1)
        return self.source.batch(self.steps[index])


def schedule(step: int, warmup: int, steps: int) -> float:
    """Linear warm-up, then a half cosine to zero; a factor in [0, 1]."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def freeze(model: Any, image_blocks: int, text_blocks: int) -> None:
    """Leave only the last blocks (and the projections) of each tower trainable; -1 trains a whole tower.

    Raises:
        VGGymError: the image tower has no transformer blocks and only some were asked for.
    """
    text = model if hasattr(model, "token_embedding") else model.text
    for prefix, tower, blocks in (("image", model.visual, image_blocks), ("text", text, text_blocks)):
        if blocks < 0:
            continue
        if not hasattr(tower, "transformer"):
            raise VGGymError(f"train_{prefix}_blocks={blocks}: this tower has no blocks; use -1")
        owned = tower.parameters() if prefix == "image" else _text_parameters(text)
        for parameter in owned:
            parameter.requires_grad = False
        if blocks:
            for block in tower.transformer.resblocks[-blocks:]:
                block.requires_grad_(True)
            for name in ("proj", "ln_post", "text_projection", "ln_final"):
                if isinstance(getattr(tower, name, None), (torch.nn.Module, torch.nn.Parameter)):
                    getattr(tower, name).requires_grad_(True)


def _text_parameters(text: Any) -> list[torch.nn.Parameter]:
    return [p for name, p in text.named_parameters() if not name.startswith(("visual.", "logit_"))]


def _groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups with decay on matrices only."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def model_config(config: ClipTrainConfig) -> dict[str, Any]:
    """The open_clip model config of a run."""
    if config.model is not None:
        return config.model
    asset = load_clip(config.clip).config
    if asset is None:
        raise VGGymError(f"clip {config.clip!r} has no open_clip config to save with the model")
    return asset


def _start(config: ClipTrainConfig, device: str) -> ClipEncoder:
    """The encoder to train: from scratch where ``model`` is given, else a copy of a loaded one."""
    if config.model is None:
        encoder = load_clip(config.clip, device).copy()
        encoder.crop_size = config.crop_size or encoder.crop_size
        encoder.dense = config.dense or encoder.dense
        encoder.model.requires_grad_(True)
        return encoder
    model = open_clip.model.CLIP(**copy.deepcopy(config.model))
    open_clip.factory.set_model_preprocess_cfg(model, {"mean": open_clip.OPENAI_DATASET_MEAN,
                                                       "std": open_clip.OPENAI_DATASET_STD})  # fmt: skip
    tokenizer = WordTokenizer(vocabulary(), model.context_length)
    if tokenizer.vocab_size != model.vocab_size:
        raise VGGymError(f"model.text_cfg.vocab_size is {model.vocab_size}, the vocabulary has {tokenizer.vocab_size}")
    return ClipEncoder("scratch", model, tokenizer, config.crop_size, config.dense or "tokens", device)


def _source(config: ClipTrainConfig, encoder: ClipEncoder) -> BatchSource:
    options = {"root": config.root} if config.root else {}
    dataset = open_dataset(config.dataset, "train", **options, **config.dataset_options)
    sizes = (config.images, encoder.image_size, encoder.crop_size, config.crops, config.texts)
    if isinstance(dataset, RefShapes):
        return RefShapesBatches(dataset, *sizes, seed=config.seed)
    return DatasetBatches(dataset, *sizes, seed=config.seed)


def save_model(encoder: ClipEncoder, folder: Path, config: dict[str, Any]) -> None:
    """Write a model folder that :func:`vg_gym.clip.load_clip` and open_clip's ``local-dir:`` read; weights in fp16."""
    part = folder.with_name(folder.name + ".part")
    part.mkdir(parents=True, exist_ok=True)
    preprocess = {k: list(encoder.model.visual.preprocess_cfg[k]) for k in ("mean", "std")}
    write_json(part / "open_clip_config.json", {"model_cfg": config, "preprocess_cfg": preprocess})
    sidecar: dict[str, Any] = {"crop_size": encoder.crop_size, "dense": encoder.dense}
    if isinstance(encoder.tokenizer, WordTokenizer):
        sidecar["vocabulary"] = list(encoder.tokenizer.ids)
    write_json(part / SIDECAR, sidecar)
    weights = {name: tensor.half().contiguous() for name, tensor in encoder.model.state_dict().items()}
    save_file(weights, part / "open_clip_model.safetensors")
    folder.mkdir(exist_ok=True)
    for file in part.iterdir():
        file.replace(folder / file.name)
    part.rmdir()
