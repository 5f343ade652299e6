"""Options of ``train_clip.py``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self

from vg_gym.config import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Range, UnitInterval
from vg_gym.fitting.config import DatasetFitConfig, Decay
from vg_gym.registry.photographs import clip_for

Blocks = Annotated[int, Range(ge=-1)]


@dataclass
class ClipTrainConfig(DatasetFitConfig):
    """Options of ``train_clip.py``."""

    TRAINS: ClassVar[str] = "clip"
    """Name in ``vg-gym train clip``, which runs this training."""

    out: str = "runs/clip"
    """Folder for checkpoints, TensorBoard logs and the finished model (load it as ``clip=OUT/model``)."""
    clip: str = ""
    """CLIP to start from; default: that of the world for built-in data, and ``ViT-B-32:openai`` for other data. Ignored
    if ``model`` is set."""
    model: dict[str, Any] | None = None
    """open_clip model config to train from scratch. Its vocabulary is that of the training split's texts, and
    ``vocab_size`` may be left out."""
    min_count: PositiveInt = 5
    """Smallest number of occurrences of a word in the vocabulary; all other words are one token."""
    learn_from: str = "boxes"
    """``boxes``: of expressions. ``captions``: pictures and captions alone, contrastively, as CLIP was trained; of
    RefScenes, whole pictures and random crops, of other data sets, whole pictures with their expressions."""
    word_weight: NonNegativeFloat = 0.0
    """Weight of the loss that makes pictures, or dense features of true boxes, tell the words of their texts, for a
    CLIP with a vocabulary of whole words (0: no loss)."""
    picture_sizes: tuple[PositiveInt, ...] | None = None
    """Sides in pixels of the pictures of ``learn_from=captions``, which the steps take turns with. Larger pictures are
    fewer, so that all steps take about as long (default: ``crop_size``)."""
    photometric: UnitInterval = 0.0
    """Strength of the augmentation of brightness, contrast, white balance and noise (0: none)."""
    flip: bool = False
    """Mirror half of the images of ``learn_from=boxes``, and swap left and right in their texts. Those of RefScenes are
    always mirrored, with either source."""
    border: UnitInterval = 0.0
    """Largest width of a plain border around the images of ``learn_from=boxes``, as a fraction of the image's side: it
    makes objects smaller (0: none)."""
    crop_size: PositiveInt | None = None
    """Side of crops in pixels (default: that of the initial CLIP)."""
    dense: str | None = None
    """Kind of dense features, ``tokens`` or ``maskclip`` (default: that of the initial CLIP)."""
    batch_size: PositiveInt = 16
    """Images per forward pass in each process; negatives are shared only within a forward pass."""
    crops: NonNegativeInt = 1
    """Crops per image."""
    texts: PositiveInt = 9
    """Texts per image (ignored for RefShapes, which has a fixed mix of kinds)."""
    crop_weight: NonNegativeFloat = 1.0
    """Weight of the contrastive loss of crops and texts (0: no loss)."""
    region_weight: NonNegativeFloat = 1.0
    """Weight of the contrastive loss of dense features of true boxes and texts (0: no loss)."""
    localize_weight: NonNegativeFloat = 1.0
    """Weight of the loss that makes a text's scores over boxes of its image follow their IoU (0: no loss)."""
    softness: PositiveFloat = 0.1
    """Softness of the localization target in IoU; the smaller, the faster the target falls as boxes get worse."""
    learning_rate: NonNegativeFloat = 1e-5
    """Peak learning rate; use 1e-3 to train from scratch."""
    betas: tuple[Decay, Decay] = (0.9, 0.98)
    """Decay of AdamW's running means, as for CLIP."""
    ema: Decay = 0.0
    """Decay of the moving average of the weights (0: no average)."""
    amp: bool | None = None
    """Mixed precision: the towers run under bfloat16 autocast. Default: true if the device supports bfloat16 natively;
    a CPU that emulates it takes ten times as long."""
    train_image_blocks: Blocks = -1
    """Number of last blocks of the image tower to train (0: none, -1: the whole tower)."""
    train_text_blocks: Blocks = -1
    """Number of last blocks of the text tower to train (0: none, -1: the whole tower)."""
    validate_samples: PositiveInt = 400
    """Number of expressions of the validation split to use, from its start."""

    def completed(self) -> Self:
        """Return the options with the default CLIP of the data set."""
        return replace(self, clip=self.clip or clip_for(self.dataset))
