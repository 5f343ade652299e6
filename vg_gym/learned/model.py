"""What a trainable grounder is, how it is kept on disk, and the grounder that everyone calls."""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from vg_gym import boxes as box_ops
from vg_gym.config import options_from
from vg_gym.errors import VGGymError
from vg_gym.learned.batch import Batch, Canvas
from vg_gym.learned.tokenization import Tokens
from vg_gym.registry import network_class
from vg_gym.storage.assets import built_in
from vg_gym.storage.files import fingerprint, write_json
from vg_gym.types import Prediction, Query, refuse_initial_boxes


class GroundingModel(nn.Module, ABC):
    """A network that grounds batches.

    A subclass has a dataclass of options (:attr:`Options`), whose defaults are the published sizes, and is built from
    one; ``canvas`` and ``tokenize`` say what its batches look like.
    """

    Options: ClassVar[type]
    canvas: Canvas
    tokenize: Callable[[Sequence[str]], Tokens]
    refines: ClassVar[bool] = False
    """Whether :meth:`predict` makes use of ``starts``."""
    slow: ClassVar[tuple[str, ...]] = ()
    """Prefixes of parameters that are trained at ``slow_lr``: pretrained parts."""

    def __init__(self, options: Any):
        super().__init__()
        self.options = options

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Weighted terms of the training loss; the batch has ``boxes``."""

    @abstractmethod
    def predict(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Boxes (N, 4) ``xyxy`` normalised by their pictures, scores (N,), and details with N rows each."""

    def observe(self, images: torch.Tensor) -> torch.Tensor | None:
        """What of pictures (B, 3, H, W) never changes in training, (B, ...); None where there is no such thing.

        Training computes it once per picture and passes it as ``batch.features``.
        """
        return None

    common: ClassVar[dict[str, str]] = {}
    """Prefix of parameters -> what the part is called in all networks that have it."""

    def take(self, other: GroundingModel) -> int:
        """Copy from another network the tensors that both have; returns their number.

        Of the same class, or one that this is made from: those of the same name; of another: those of the parts named
        in :attr:`common`.
        """
        own = self.state_dict()
        if isinstance(self, type(other)):
            theirs = other.state_dict()
        else:
            back = {part: prefix for prefix, part in self.common.items()}
            theirs = {
                back[part] + key[len(prefix) :]: value
                for prefix, part in other.common.items()
                if part in back
                for key, value in other.state_dict().items()
                if key.startswith(prefix)
            }
        fitting = {k: v for k, v in theirs.items() if k in own and v.shape == own[k].shape}
        self.load_state_dict({**own, **fitting})
        return len(fitting)

    def prepare(self, expressions: Sequence[str]) -> None:
        """Learn what is to be learnt from the training expressions alone; called before training."""

    def start(self) -> None:
        """Give the parts that do not start at random the weights they start from; called before training."""


def build(name: str, options: dict[str, Any]) -> GroundingModel:
    """An untrained network of :data:`vg_gym.registry.LEARNED`.

    Raises:
        VGGymError: unknown name or option.
    """
    cls = network_class(name)
    return cls(options_from(cls.Options, options))


def save_model(name: str, model: GroundingModel, folder: Path, **about: Any) -> None:
    """Write a network into a folder, by way of a temporary one: options as ``config.json``, weights in fp16."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    write_json(part / "config.json", {"model": name, "options": asdict(model.options)})
    if about:
        write_json(part / "metrics.json", about)
    half = {k: (v.half() if v.is_floating_point() else v).cpu().contiguous() for k, v in model.state_dict().items()}
    save_file({k: v.clone() for k, v in half.items()}, part / "model.safetensors")
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)


def load_model(folder: Path) -> tuple[str, GroundingModel]:
    """Read what :func:`save_model` wrote; returns its name and the network in eval mode.

    Raises:
        VGGymError: there is no such thing in the folder.
    """
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise VGGymError(f"no trained grounder in {folder}: it needs config.json and model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    model = build(config["model"], config["options"])
    load_strictly(model, load_file(folder / "model.safetensors"), str(folder))
    return config["model"], model.eval()


def find_model(name: str, weights: str) -> GroundingModel | None:
    """The network called ``name`` in a folder, or among the built-in ones; None where ``weights`` is no folder.

    Raises:
        VGGymError: the folder holds another network.
    """
    folder = built_in(name, weights) or Path(weights)
    if not folder.is_dir():
        return None
    found, model = load_model(folder)
    if found != name:
        raise VGGymError(f"{weights} is a {found}, not a {name}; use the grounder {found!r}")
    return model


def load_strictly(model: nn.Module, state: dict[str, torch.Tensor], source: str) -> None:
    """Fill a network with weights that must match it key by key.

    Raises:
        VGGymError: keys are missing, left over, or of another shape; the message counts and names them.
    """
    wanted = model.state_dict()
    missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    shapes = [
        f"{k} is {tuple(state[k].shape)}, not {tuple(wanted[k].shape)}"
        for k in sorted(wanted.keys() & state.keys())
        if state[k].shape != wanted[k].shape
    ]
    problems = [
        f"{len(found)} {what} ({', '.join(found[:3])}{', ...' if len(found) > 3 else ''})"
        for what, found in (("missing", missing), ("unexpected", extra), ("of another shape", shapes))
        if found
    ]
    if problems:
        raise VGGymError(f"{source} is not the checkpoint of this model: {'; '.join(problems)}")
    model.load_state_dict({k: v.to(wanted[k].dtype) for k, v in state.items()})


class LearnedGrounder:
    """A trained network as a grounder.

    Args:
        name: of the grounder.
        model: the network.
        device: torch device.
        batch_size: expressions a forward pass.
    """

    def __init__(self, name: str, model: GroundingModel, device: str = "cpu", batch_size: int = 64):
        self.name, self.batch_size, self.device = name, batch_size, torch.device(device)
        self.model = model.eval().to(self.device)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of options and weights."""
        state = sorted(self.model.state_dict().items())
        hashes = [fingerprint(name, v.float().cpu().numpy().tobytes()) for name, v in state]
        return fingerprint(self.name, sorted(asdict(self.model.options).items(), key=str), hashes)

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Ground every query; a picture that several are about is looked at once.

        Args:
            queries: what to ground.
            initial_boxes: (N, 4) ``xyxy`` pixels to refine, for networks that do.
        """
        if not self.model.refines:
            refuse_initial_boxes(self.name, initial_boxes)
        found: list[Prediction] = []
        for at in range(0, len(queries), self.batch_size):
            rows = slice(at, at + self.batch_size)
            found += self._batch(queries[rows], None if initial_boxes is None else initial_boxes[rows])
        return found

    def _batch(self, queries: Sequence[Query], starts: np.ndarray | None) -> list[Prediction]:
        batch = query_batch(self.model, queries, starts).to(self.device)
        with torch.inference_mode():
            boxes, scores, details = self.model.predict(batch)
        kept = {k: v.float().cpu().numpy() for k, v in details.items()}
        return [
            Prediction(
                _pixels(boxes[row].float().cpu().numpy(), query.image.size),
                float(scores[row]),
                {k: _pixels(v[row], query.image.size) if k == "proposals" else v[row] for k, v in kept.items()},
            )
            for row, query in enumerate(queries)
        ]


def query_batch(model: GroundingModel, queries: Sequence[Query], starts: np.ndarray | None = None) -> Batch:
    """Queries as a batch of a network; ``starts`` are ``xyxy`` pixels (N, 4)."""
    images = {query.image.key: query.image for query in queries}
    rows = {key: row for row, key in enumerate(images)}
    placed = model.canvas.place([image.array() for image in images.values()])
    normalised = None
    if starts is not None:
        sized = [box_ops.normalize(box, query.image.size) for box, query in zip(starts, queries, strict=True)]
        normalised = torch.from_numpy(np.stack(sized))
    image_of = torch.tensor([rows[query.image.key] for query in queries])
    return Batch(*placed, image_of, model.tokenize([query.expression for query in queries]), starts=normalised)


def _pixels(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Normalised boxes (..., 4) as valid pixel boxes."""
    return box_ops.denormalize(box_ops.fit_inside(boxes, min_side=1e-3), size)
