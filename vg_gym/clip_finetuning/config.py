"""Options of ``train_clip.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from vg_gym.config import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Range
from vg_gym.fitting.config import DatasetFitConfig, Decay

Blocks = Annotated[int, Range(ge=-1)]


@dataclass
class ClipTrainConfig(DatasetFitConfig):
    """Options of ``train_clip.py``."""

    TRAINS: ClassVar[str] = "clip"
    """``vg-gym train clip`` runs it."""

    out: str = "runs/clip"
    """Folder for checkpoints, TensorBoard logs and the finished model (load it as ``clip=OUT/model``)."""
    clip: str = "refshapes"
    """The CLIP to start from (``ViT-B-32:openai``); ignored where ``model`` is given."""
    model: dict[str, Any] | None = None
    """An open_clip model config to train from scratch, with a word-level vocabulary of RefShapes."""
    crop_size: PositiveInt | None = None
    """Side of crops in pixels (default: the start's own)."""
    dense: str | None = None
    """Kind of dense features, ``tokens`` or ``maskclip`` (default: the start's own)."""
    batch_size: PositiveInt = 16
    """Images per forward pass, in each process; negatives are shared within a forward pass only."""
    crops: NonNegativeInt = 1
    """Crops per image."""
    texts: PositiveInt = 9
    """Texts per image (RefShapes has a mix of its own)."""
    crop_weight: NonNegativeFloat = 1.0
    """Weight of the contrastive loss of crops and texts (0: none)."""
    region_weight: NonNegativeFloat = 1.0
    """Weight of the contrastive loss of dense features of true boxes and texts (0: none)."""
    localize_weight: NonNegativeFloat = 1.0
    """Weight of the loss by which a text's scores over boxes of its image follow their IoU (0: none)."""
    softness: PositiveFloat = 0.1
    """Of the localization target, in IoU: how fast it falls as boxes get worse."""
    lr: NonNegativeFloat = 1e-5
    """Peak learning rate; from scratch take 1e-3."""
    betas: tuple[Decay, Decay] = (0.9, 0.98)
    """Decay of AdamW's running means; CLIP's own."""
    ema: Decay = 0.0
    """Decay of the moving average of the weights (0: no average)."""
    amp: bool | None = None
    """Mixed precision: the towers run under bfloat16 autocast. Default: where the device computes bfloat16 itself; a
    CPU that emulates it takes ten times as long."""
    train_image_blocks: Blocks = -1
    """Unfreeze only the last N blocks of the image tower (0: none, -1: all)."""
    train_text_blocks: Blocks = -1
    """Unfreeze only the last N blocks of the text tower (0: none, -1: all)."""
    validate_samples: PositiveInt = 400
    """Expressions of the validation split, the first so many."""
