"""Training of the head that tells whether an expression means anything (``vg-gym train presence``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from vg_gym.config import PositiveInt
from vg_gym.errors import VGGymError
from vg_gym.evaluation.set_metrics import auroc
from vg_gym.fitting.config import DatasetFitConfig
from vg_gym.fitting.learner import Learner
from vg_gym.fitting.splits import open_splits, splits_made_of
from vg_gym.fitting.train import train
from vg_gym.learned.grounder import LearnedGrounder, query_batch
from vg_gym.learned.model import GroundingModel
from vg_gym.learned.presence_head import PresenceHead
from vg_gym.learned.weights import load_model
from vg_gym.storage.assets import ASSETS
from vg_gym.storage.shards import ShardedArray, computed
from vg_gym.types import GroundingDataset, Sample

SAMPLES_PER_PASS = 64
"""Number of expressions whose joint tokens are computed in one forward pass."""
SAMPLES_PER_WRITE = 512
"""Number of expressions whose joint tokens are written at a time; an interruption loses the unwritten ones."""


@dataclass
class PresenceConfig(DatasetFitConfig):
    """Options of ``vg-gym train presence``."""

    TRAINS: ClassVar[str] = "presence"
    """Name in ``vg-gym train presence``, which runs this training."""

    out: str = "runs/presence"
    """Folder for checkpoints, TensorBoard logs and the finished head (``OUT/model/presence.safetensors``)."""
    weights: str = "mdetr-refshapes"
    """Trained grounder that the head is for: a built-in one, or a folder that ``train_grounder.py`` wrote. It does not
    change."""
    dataset: str = "refshapes-any"
    """Name of the data set, which has expressions that mean nothing."""
    samples: PositiveInt = 10_000
    """Number of expressions of the training split to use, from its start."""
    validate_samples: PositiveInt = 1000
    """Number of expressions of the validation split to use, from its start."""


class PresenceLearner(Learner):
    """Presence head with the joint tokens of its network, which are computed once and cached on disk.

    Raises:
        VGGymError: the grounder does not exist or lacks joint tokens, or a data set cannot be opened or has only
            expressions that mean something.
    """

    metric = "auroc"

    def __init__(self, config: PresenceConfig):
        self.config = config
        data, val = open_splits(config)
        self.made_of = splits_made_of(data, val)
        folder = ASSETS / config.weights
        name, self.network = load_model(folder if folder.is_dir() else Path(config.weights))
        self.network.presence = None
        self.mark = LearnedGrounder(name, self.network).fingerprint
        torch.manual_seed(config.seed)
        self.module = self.head = PresenceHead(self.network.options.dim)
        self.tokens, self.present = self._inputs(data, config.samples)
        self.val_tokens, self.val_present = self._inputs(val, config.validate_samples)

    def _inputs(self, data: GroundingDataset, count: int) -> tuple[ShardedArray, np.ndarray]:
        """Return the joint tokens and masks of expressions, fp16 (N, S, D + 1), and whether each is meant (N,)."""
        samples = [data[i] for i in range(min(count, len(data)))]
        present = np.array([len(sample.boxes) > 0 for sample in samples])
        if present.all():
            raise VGGymError(
                f"{data.name}/{data.split} has no expression that means nothing; use dataset=refshapes-any"
            )
        shape = joint_rows(self.network, samples[:1]).shape[1:]

        def rows(start: int, stop: int) -> np.ndarray:
            starts = range(start, stop, SAMPLES_PER_PASS)
            return np.concatenate(
                [joint_rows(self.network, samples[i : min(i + SAMPLES_PER_PASS, stop)]) for i in starts]
            )

        identity = [self.mark, *(sample.query.key for sample in samples)]
        return computed(identity, shape, len(samples), rows, "joint tokens", most=SAMPLES_PER_WRITE), present

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return tokens, masks and whether something is meant, of the expressions of a step."""
        size, count = self.config.batch_size, len(self.present)
        places = range(step * size, (step + 1) * size)
        orders = {
            epoch: np.random.default_rng([self.config.seed, epoch]).permutation(count)
            for epoch in {place // count for place in places}
        }
        rows = np.array([orders[place // count][place % count] for place in places])
        return *_split(self.tokens[rows]), torch.from_numpy(self.present[rows]).float()

    def losses(self, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the binary cross-entropy."""
        tokens, mask, present = (part.to(self.head.queries.device) for part in batch)
        return {"presence": F.binary_cross_entropy_with_logits(self.module(tokens, mask), present)}

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Return the AUROC on the validation samples."""
        device, starts = next(module.parameters()).device, range(0, len(self.val_present), SAMPLES_PER_PASS)
        chunks = [
            _split(self.val_tokens[np.arange(i, min(i + SAMPLES_PER_PASS, len(self.val_present)))]) for i in starts
        ]
        with torch.inference_mode():
            logits = torch.cat([module(tokens.to(device), mask.to(device)).cpu() for tokens, mask in chunks]).numpy()
        return {"auroc": auroc(logits, self.val_present) or 0.0}

    def save(self, module: nn.Module, folder: Path) -> None:
        """Write the head's weights, to be laid beside those of its network."""
        module.save(folder)  # type: ignore[operator]


def joint_rows(network: GroundingModel, samples: Sequence[Sample]) -> np.ndarray:
    """Return the joint tokens of expressions with their masks as the last channel, fp16 (N, S, D + 1)."""
    batch = query_batch(network, [sample.query for sample in samples])
    with torch.inference_mode():
        tokens, mask = network.joint_tokens(batch)
        rows = torch.cat([tokens, mask[..., None]], dim=-1)
    padded = F.pad(rows, (0, 0, 0, network.options.max_tokens - batch.tokens.ids.shape[1]))
    padded[:, rows.shape[1] :, -1] = 1
    return padded.numpy().astype(np.float16)


def _split(rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens (N, S, D) and masks (N, S) of the rows of :func:`joint_rows`."""
    values = torch.from_numpy(np.asarray(rows, dtype=np.float32))
    return values[..., :-1], values[..., -1] > 0


def train_presence(config: PresenceConfig) -> Path:
    """Train a presence head, write it to ``OUT/model``, and return that folder."""
    return train(PresenceLearner, config)
