"""Options of box diffusion: sizes, which training fixes, and sampling, which can change at every use."""

from __future__ import annotations

from dataclasses import dataclass, field

from vg_gym.diffusion.schedule import BETAS, TARGETS
from vg_gym.errors import VGGymError, unknown

SHAPES = ("roi", "vector")
CHOICES: dict[str, tuple[str, ...]] = {
    "sampler": ("ddim", "ddpm"),
    "choose": ("confidence", "clip", "both"),
    "ensemble": ("none", "last", "all"),
}


@dataclass
class Sampling:
    """Options of drawing boxes from a trained denoiser."""

    sampler: str = "ddim"
    """``ddim``, or ``ddpm`` (ancestral sampling, equal to ``ddim`` with eta 1)."""
    steps: int = 4
    """Steps of the sampler; 1 takes the first estimate, ``timesteps`` is the whole chain."""
    boxes: int = 8
    """Number of noisy boxes of a query, denoised in parallel."""
    eta: float = 1.0
    """New noise in every DDIM step: 0 adds none, 1 as much as DDPM (DiffusionDet)."""
    guidance: float = 1.0
    """Weight of classifier-free guidance on the expression (Ho & Salimans, 2022): the estimate is the one without an
    expression plus this many times its difference to the one with it. 1 means no guidance, and takes half the time."""
    choose: str = "confidence"
    """Weights of the boxes at the end: ``confidence`` (the IoU that the denoiser expects), ``clip`` (cosine of
    expression and region, softmax over the boxes) or ``both`` (their product)."""
    ensemble: str = "last"
    """``none``: the box of the largest weight; ``last``: the weighted mode of the last step's boxes; ``all``: the
    mode of the boxes of all steps."""
    renewal: float = 0.0
    """Boxes with at most this confidence are replaced by new noise between steps (DiffusionDet: 0.5; 0: none)."""
    seed: int = 0
    """Seed of the noise. A query's noise depends only on it, on the image and on the expression."""
    refine_from: float = 0.3
    """Noise that is added to initial boxes, as a fraction of the schedule."""
    near: float = 0.75
    """Share of the boxes that start at the initial box. The others start as noise, since the initial box may be on the
    wrong object."""

    def check(self) -> None:
        """Reject impossible values.

        Raises:
            VGGymError: an option is out of range; the message names it and its range.
        """
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise unknown(name, getattr(self, name), choices)
        for name, least in (("steps", 1), ("boxes", 1), ("eta", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise VGGymError(f"option {name!r} is {getattr(self, name)}; it must be at least {least}")
        for name in ("eta", "renewal", "refine_from", "near"):
            if not 0 <= getattr(self, name) <= 1:
                raise VGGymError(f"option {name!r} is {getattr(self, name)}; it must be between 0 and 1")


@dataclass
class BoxDiffusionOptions:
    """Sizes and training options; the options under ``sampling`` can be changed later."""

    clip: str = "refshapes"
    """Name of the CLIP that conditions the denoiser. It stays frozen and is not saved."""
    shape: str = "roi"
    """``roi`` (DiffusionDet: features under the noisy boxes) or ``vector`` (four numbers, from global features)."""
    target: str = "x0"
    """Prediction target of the ``vector`` denoiser: ``x0``, ``epsilon`` or ``v``. ``roi`` always predicts ``x0``."""
    schedule: str = "cosine"
    """Noise schedule: ``cosine`` or ``linear``."""
    timesteps: int = 1000
    """Steps from a clean box to pure noise."""
    scale: float = 2.0
    """Boxes are scaled to signals between minus and plus this."""
    dim: int = 128
    """Width of all tokens and hidden layers."""
    heads: int = 4
    """Number of attention heads."""
    feedforward: int = 256
    """Width of the hidden layer of every feed-forward network."""
    layers: int = 3
    """Number of layers of the encoder over image and expression (``roi``) or of the FiLM network (``vector``)."""
    grid: int = 8
    """``roi``: cells a side to which CLIP's grid is reduced before it is joined with the expression."""
    channels: int = 32
    """``roi``: channels of the map under the boxes."""
    maps: int = 16
    """``roi``: number of similarity maps of the expression, of its head, and of its anchor."""
    stem: int = 32
    """``roi``: channels of the convolutions that add edges to that map, which CLIP's patches lose (0: none)."""
    roi: int = 7
    """``roi``: cells a side of the features under a box."""
    context: float = 1.5
    """``roi``: side of the window around a box, in sides of the box."""
    stages: int = 2
    """``roi``: number of denoising heads; each corrects the boxes of the one before."""
    train_boxes: int = 6
    """Number of noisy boxes of an expression in training."""
    strays: float = 0.5
    """``roi``: share of them that are noised copies of other boxes, half of them of the same image, since at test time
    boxes may be on the wrong object."""
    drop: float = 0.1
    """Share of expressions that are withheld in training, for guidance."""
    self_condition: float = 0.5
    """Share of the training steps that show the denoiser its own first estimate (Chen et al., Analog Bits, 2023)."""
    sampling: Sampling = field(default_factory=Sampling)
    """Options of drawing boxes; they are saved with the weights and can be changed at every use."""

    def check(self) -> None:
        """Reject impossible values.

        Raises:
            VGGymError: an option is out of range; the message names it and its range.
        """
        for name, choices in (("shape", SHAPES), ("target", TARGETS), ("schedule", tuple(BETAS))):
            if getattr(self, name) not in choices:
                raise unknown(name, getattr(self, name), choices)
        if self.shape == "roi" and self.target != "x0":
            raise VGGymError(
                f"target {self.target!r} needs shape=vector: the heads of 'roi' predict boxes, which are x0"
            )
        if self.dim % (4 * self.heads):
            raise VGGymError(f"dim {self.dim} must be a multiple of 4 * heads ({4 * self.heads})")
        self.sampling.check()
