"""Options of box diffusion: sizes, which training fixes, and sampling, which may be changed at every use."""

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
    """How boxes are drawn from a trained denoiser."""

    sampler: str = "ddim"
    """``ddim``, or ``ddpm``: ancestral, the same as ``ddim`` with eta 1."""
    steps: int = 4
    """Steps of the sampler; 1 takes the first estimate, ``timesteps`` is the whole chain."""
    boxes: int = 8
    """Noisy boxes of a query, denoised side by side."""
    eta: float = 1.0
    """New noise of every DDIM step: 0 none, 1 as much as DDPM (DiffusionDet)."""
    guidance: float = 1.0
    """Classifier-free guidance on the expression: estimates move from the one without an expression to this many times
    the way to the one with it (Ho & Salimans, 2022); 1 is none, and half the work."""
    choose: str = "confidence"
    """What weighs the boxes at the end: ``confidence`` (the IoU that the denoiser expects), ``clip`` (cosine of
    expression and region, softmax over the boxes) or ``both`` (their product)."""
    ensemble: str = "last"
    """``none``: the box of most weight; ``last``: the weighted mode of the last step's boxes; ``all``: of all steps."""
    renewal: float = 0.0
    """Boxes of no more confidence than this become noise anew between steps (DiffusionDet: 0.5; 0: none)."""
    seed: int = 0
    """Of the noise; a query's noise depends on it, on the image and on the expression, on nothing else."""
    refine_from: float = 0.3
    """Where the sampler starts from given boxes, as a fraction of the schedule: how noisy they are made."""
    near: float = 0.75
    """Share of the boxes that start at the given one; the others start as noise, in case it is the wrong object."""

    def check(self) -> None:
        """Refuse values that have no meaning.

        Raises:
            VGGymError: the message names the option and what it may be.
        """
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        for name, least in (("steps", 1), ("boxes", 1), ("eta", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise VGGymError(f"option {name!r} is {getattr(self, name)}; it must be at least {least}")
        for name in ("eta", "renewal", "refine_from", "near"):
            if not 0 <= getattr(self, name) <= 1:
                raise VGGymError(f"option {name!r} is {getattr(self, name)}; it must be between 0 and 1")


@dataclass
class BoxDiffusionOptions:
    """Sizes and training; those under ``sampling`` may be changed afterwards."""

    clip: str = "refshapes"
    """The CLIP that conditions the denoiser, by name; it stays frozen and is not saved."""
    shape: str = "roi"
    """``roi`` (DiffusionDet: features under the noisy boxes) or ``vector`` (four numbers, from global features)."""
    target: str = "x0"
    """What the ``vector`` denoiser predicts: ``x0``, ``epsilon`` or ``v``; ``roi`` predicts ``x0`` alone."""
    schedule: str = "cosine"
    """Noise schedule: ``cosine`` or ``linear``."""
    timesteps: int = 1000
    """Steps from a clean box to pure noise."""
    scale: float = 2.0
    """Boxes are signals between minus and plus this."""
    dim: int = 128
    """Width of all tokens and hidden layers."""
    heads: int = 4
    """Of the attention."""
    feedforward: int = 256
    """Width of the hidden layer of every feed-forward network."""
    layers: int = 3
    """``roi``: of the encoder over image and expression. ``vector``: of the FiLM network."""
    grid: int = 8
    """``roi``: CLIP's grid is reduced to about so many cells a side before it is joined with the expression."""
    channels: int = 32
    """``roi``: channels of the map that features under boxes are taken from."""
    maps: int = 16
    """``roi``: similarity maps of the expression, and as many each of its head and its anchor."""
    stem: int = 32
    """``roi``: channels of the convolutions that give that map the edges CLIP's patches have lost (0: none)."""
    roi: int = 7
    """``roi``: cells a side of the features under a box."""
    context: float = 1.5
    """``roi``: side of the window around a box that they are taken from, in sides of the box."""
    stages: int = 2
    """``roi``: denoising heads, one after the other; each corrects the boxes of the one before."""
    train_boxes: int = 6
    """Noisy boxes of an expression in training."""
    strays: float = 0.5
    """``roi``: share of them that are noised copies of other boxes than the answer, half of those of other expressions
    about the same image: at test time, boxes may be on the wrong object."""
    drop: float = 0.1
    """Share of expressions withheld in training, for guidance."""
    self_condition: float = 0.5
    """Share of the training steps that show the denoiser its own first estimate (Chen et al., Analog Bits, 2023)."""
    sampling: Sampling = field(default_factory=Sampling)
    """How boxes are drawn; saved with the weights, and may be changed at every use."""

    def check(self) -> None:
        """Refuse values that have no meaning.

        Raises:
            VGGymError: the message names the option and what it may be.
        """
        for name, known in (("shape", SHAPES), ("target", TARGETS), ("schedule", tuple(BETAS))):
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        if self.shape == "roi" and self.target != "x0":
            raise VGGymError(
                f"target {self.target!r} needs shape=vector: the heads of 'roi' correct boxes, which are x0"
            )
        if self.dim % (4 * self.heads):
            raise VGGymError(f"dim {self.dim} must be a multiple of 4 * heads ({4 * self.heads})")
        self.sampling.check()
