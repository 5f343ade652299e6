"""Training of a grounder (``train_grounder.py``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.clip.known_words import warn_of_dataset
from vg_gym.config import NonNegativeFloat, PositiveInt
from vg_gym.errors import VGGymError
from vg_gym.evaluation import metrics
from vg_gym.fitting.config import DatasetFitConfig, FitConfig
from vg_gym.fitting.learner import Learner, decay_groups
from vg_gym.fitting.origin import START, weights_mark
from vg_gym.fitting.splits import open_splits, splits_made_of
from vg_gym.fitting.train import train
from vg_gym.learned.batch import Batch
from vg_gym.learned.grounder import LearnedGrounder
from vg_gym.learned.model import GroundingModel, build
from vg_gym.learned.training_batches import GroundingBatches, annotated_images
from vg_gym.learned.weights import load_model, save_model
from vg_gym.registry.photographs import DRAWN_CLIP, clip_for, drawn_clips
from vg_gym.storage.assets import ASSETS
from vg_gym.types import Grounder, Sample, best_boxes


@dataclass
class GrounderConfig(DatasetFitConfig):
    """Options of ``train_grounder.py``."""

    TRAINS: ClassVar[str] = "grounder"
    """Name in ``vg-gym train grounder``, which runs this training."""

    out: str = "runs/grounder"
    """Folder for checkpoints, TensorBoard logs and the finished grounder (``OUT/model``)."""
    model: str = "transvg"
    """Network: ``transvg``, ``red``, ``mdetr``, ``dynamic-mdetr``, ``dynamic-mdetr-clip`` or ``diffusion``."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the network; unset options have the published values."""
    images: PositiveInt | None = None
    """Number of training images to use, from the start (null: all)."""
    batch_size: PositiveInt = 16
    """Images per forward pass in each process; each image adds up to ``expressions`` examples."""
    expressions: PositiveInt = 4
    """Largest number of expressions of an image in one step; the network encodes an image once for all of them."""
    flip: bool = True
    """Mirror half of the images and swap left and right in their expressions."""
    learning_rate: NonNegativeFloat = 5e-4
    """Peak learning rate."""
    slow_lr: NonNegativeFloat = 1.0
    """Factor of the learning rate for parts that start pretrained (backbone, text encoder)."""
    init_from: str | None = None
    """Trained grounder to start from: a folder, a built-in one (``mdetr-refshapes``), or a published checkpoint of the
    same kind. From another kind of network only the shared parts are copied: backbone, text encoder, joint encoder."""
    validate_samples: PositiveInt = 400
    """Number of expressions of the validation split to use, from its start."""

    def network_options(self) -> dict[str, Any]:
        """Return the options of the network, with the default CLIP of the data set."""
        by_default = getattr(registry.network_class(self.model).Options, "clip", None) == DRAWN_CLIP
        clip = clip_for(self.dataset)
        return {"clip": clip} | self.options if by_default and clip != DRAWN_CLIP else self.options


class GrounderLearner(Learner):
    """Grounder with its training data, for :func:`vg_gym.fitting.loop.fit`.

    Raises:
        VGGymError: the model or an option is unknown, or a data set cannot be opened.
    """

    metric = "mean_iou"

    def __init__(self, config: GrounderConfig):
        self.config = config
        data, val = open_splits(config)
        torch.manual_seed(config.seed)
        options = config.network_options()
        warn_of_dataset(drawn_clips(str(options.get("clip", "")), config.dataset), config.dataset, data)
        self.module = self.model = build(config.model, options)
        self.model.init_weights()
        train_images = annotated_images(data, config.images)
        self.made_of = splits_made_of(data, val)
        if config.init_from:
            self._start(config.init_from)
        self.model.learn_from_expressions([text for image in train_images for text in image.expressions])
        self.val = [val[i] for i in range(min(config.validate_samples, len(val)))]
        self.batches = GroundingBatches(
            train_images, self.model, config.batch_size, config.expressions, config.flip, config.seed
        )

    def _start(self, weights: str) -> None:
        """Start from trained weights, except in a resumed run, which has its own."""
        if not self.config.resume:
            init_from_weights(self.model, weights, self.config)
        if (path := _weights_path(weights)).exists():
            self.made_of = {**self.made_of, START: weights_mark(path)}

    def batch(self, step: int) -> Batch:
        """Return a batch of training images with their expressions."""
        return self.batches(step)

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the losses of the network."""
        return self.model.losses(batch.to(next(self.module.parameters()).device))

    def groups(self, config: FitConfig) -> list[dict[str, Any]]:
        """Return parameter groups: only matrices have weight decay, and pretrained parts have their learning rate."""
        slow, fast = nn.ParameterList(), nn.ParameterList()
        for name, parameter in self.module.named_parameters():
            (slow if name.startswith(self.model.pretrained_prefixes) else fast).append(parameter)
        rates = ((slow, config.learning_rate * self.config.slow_lr), (fast, config.learning_rate))
        return [
            {**g, "lr": rate} for part, rate in rates for g in decay_groups(part, config.weight_decay) if g["params"]
        ]

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Return the evaluator's measures on the validation samples."""
        device = str(next(module.parameters()).device)
        return judge(LearnedGrounder(self.config.model, module, device), self.val)  # type: ignore[arg-type]

    def save(self, module: nn.Module, folder: Path) -> None:
        """Write a folder that ``weights=FOLDER`` loads."""
        save_model(self.config.model, module, folder)  # type: ignore[arg-type]


def judge(grounder: Grounder, samples: Sequence[Sample]) -> dict[str, float]:
    """Return mean IoU and Acc@0.5 of a grounder, and Acc@0.5 by kind of expression (``acc@0.5/size``)."""
    queries = [s.query for s in samples]
    ious = box_ops.pixel_iou(best_boxes(grounder.ground(queries), queries), np.stack([s.box for s in samples]))
    figures = {"mean_iou": float(ious.mean()), "acc@0.5": metrics.accuracy(ious, 0.5)}
    for kind in sorted({s.kind for s in samples} - {""}):
        figures[f"acc@0.5/{kind}"] = metrics.accuracy(ious[[s.kind == kind for s in samples]], 0.5)
    return figures


def init_from_weights(module: GroundingModel, weights: str, config: GrounderConfig) -> None:
    """Copy the weights that a network shares with a trained one (:meth:`GroundingModel.copy_shared_weights`).

    Args:
        module: network to initialise.
        weights: name of a built-in grounder, folder of a trained one, or published checkpoint of the same kind.
        config: options of the training.

    Raises:
        VGGymError: the trained grounder does not exist, or shares no weights with the network.
    """
    if Path(weights).is_file():
        grounder: Any = registry.grounder(config.model, weights=weights, **config.options)
        name, other = config.model, grounder.model
    else:
        name, other = load_model(_weights_path(weights))
    copied = module.copy_shared_weights(other)
    if not copied:
        raise VGGymError(f"init_from={weights!r}: a {name} shares no weights with this network")
    tqdm.write(f"{copied} of {len(module.state_dict())} tensors start as those of {weights}")


def _weights_path(weights: str) -> Path:
    """Return the folder of a built-in grounder, or the path unchanged."""
    return ASSETS / weights if (ASSETS / weights).is_dir() else Path(weights)


def train_grounder(config: GrounderConfig) -> Path:
    """Train a grounder, write it to ``OUT/model`` for ``weights=``, and return that folder."""
    return train(GrounderLearner, config)
