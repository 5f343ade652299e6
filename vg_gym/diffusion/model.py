"""Box diffusion as a trainable grounder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from vg_gym.diffusion.choose import heaviest, region_weights, weighted_mode
from vg_gym.diffusion.denoiser import Denoiser
from vg_gym.diffusion.options import BoxDiffusionOptions, Sampling
from vg_gym.diffusion.roi_denoiser import RoIDenoiser
from vg_gym.diffusion.samplers import Denoise, Draw, Trace, sample, seeded_draw
from vg_gym.diffusion.schedule import Schedule
from vg_gym.diffusion.vector_denoiser import VectorDenoiser
from vg_gym.learned.batch import Batch
from vg_gym.learned.frozen_clip import FrozenClip, TextFeatures
from vg_gym.learned.model import GroundingModel
from vg_gym.learned.tokenization import Tokens

DENOISERS: dict[str, type[Denoiser]] = {"roi": RoIDenoiser, "vector": VectorDenoiser}


class BoxDiffusion(GroundingModel):
    """Denoiser of boxes that is conditioned on a frozen CLIP.

    The canvas is CLIP's: images are stretched to a square, so that boxes normalised by the canvas are also normalised
    by the image.
    """

    Options = BoxDiffusionOptions
    refines = True

    def __init__(self, options: BoxDiffusionOptions):
        super().__init__(options)
        options.check()
        self.schedule = Schedule(options.schedule, options.timesteps, options.scale)
        self.clip = FrozenClip(options.clip)
        self.canvas = self.clip.canvas
        self.denoiser = DENOISERS[options.shape](options, self.clip, self.schedule)

    @property
    def frozen_parts(self) -> dict[str, str]:
        """See :attr:`vg_gym.learned.model.GroundingModel.frozen_parts`."""
        return {"CLIP": self.options.clip}

    def tokenize(self, texts: Sequence[str]) -> Tokens:  # type: ignore[override]
        """Return CLIP's tokens of expressions; the end token has the highest id."""
        return self.clip.tokenize(texts)

    def frozen_image_features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the frozen features of images, CLIP's among them, (B, K)."""
        return self.denoiser.frozen_image_features(images)

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the denoiser's losses at random times, for true boxes with noise."""
        assert batch.boxes is not None
        o, device = self.options, batch.boxes.device
        dropped = torch.rand(len(batch), device=device) < o.drop
        features = self.frozen_image_features(batch.images) if batch.features is None else batch.features
        images, texts = self.denoiser.encode_image(features), self.clip.encode_text(batch.tokens)
        query = self.denoiser.encode_query(images, batch.image_of, texts, dropped)
        t = torch.randint(o.timesteps, (len(batch),), device=device)
        noise = torch.randn(len(batch), o.train_boxes, 4, device=device)
        x_t = self.schedule.add_noise(self._clean_signals(batch.boxes, batch.image_of), noise, t)
        previous = torch.zeros_like(noise)
        if torch.rand(()) < o.self_condition:
            with torch.no_grad():
                signal = self.denoiser(query, x_t, t, previous)[-1].signal
                previous = signal.clamp(-self.schedule.scale, self.schedule.scale)
        return self.denoiser.losses(self.denoiser(query, x_t, t, previous), batch.boxes, noise, t)

    def _clean_signals(self, true_boxes: torch.Tensor, image_of: torch.Tensor) -> torch.Tensor:
        """Return the signals (N, P, 4) before noise: true boxes, and for a share of the RoI boxes other boxes."""
        o = self.options
        clean = self.schedule.to_signal(true_boxes)[:, None].expand(-1, o.train_boxes, -1)
        if o.shape != "roi":
            return clean
        stray = torch.rand(clean.shape[:2], device=clean.device) < o.strays
        together = (image_of[:, None] == image_of).double()
        chance = together / together.sum(1, keepdim=True) + 1 / len(true_boxes)
        others = true_boxes[torch.multinomial(chance, o.train_boxes, replacement=True)]
        return torch.where(stray[..., None], self.schedule.to_signal(others), clean)

    def predict(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Return sampled boxes, their confidences, and details.

        The details are ``proposals`` (N, P, 4), the boxes of the last step, and their ``confidences``. On a CPU
        expressions run one at a time, so that the last bits of an answer do not depend on the rest of the batch.
        """
        one_by_one = batch.images.device.type == "cpu"
        chunks = batch.images.split(1) if one_by_one else (batch.images,)
        parts = zip(*(self.encode_image(chunk) for chunk in chunks), strict=True)
        images = tuple(torch.cat(part) for part in parts)
        keys = [content_key(image) for image in batch.images]
        rows = torch.arange(len(batch), device=batch.image_of.device)
        samples = [self._sample(batch, images, keys, part) for part in (rows.split(1) if one_by_one else (rows,))]
        boxes, scores, proposals, confidences = (torch.cat(part) for part in zip(*samples, strict=True))
        return boxes, scores, {"proposals": proposals, "confidences": confidences}

    def encode_image(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the denoiser's encoding of images, followed by CLIP's dense features if CLIP chooses the box."""
        encoded = self.denoiser.encode_image(self.frozen_image_features(images))
        return encoded if self.options.sampling.choose == "confidence" else (*encoded, self.clip.encode_dense(images))

    def _sample(
        self, batch: Batch, images: tuple[torch.Tensor, ...], keys: list[int], rows: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Return boxes, scores, proposals and confidences of some rows of a batch."""
        o: Sampling = self.options.sampling
        image_of, tokens = batch.image_of[rows], batch.tokens[rows]
        texts = self.clip.encode_text(tokens)
        seeds = [(o.seed, keys[i], content_key(ids)) for i, ids in zip(image_of.tolist(), tokens.ids, strict=True)]
        draw = seeded_draw(seeds, o.boxes, tokens.ids.device)
        x, times = self._first_signals(draw, None if batch.initial_boxes is None else batch.initial_boxes[rows])
        denoise = self._denoise(images, image_of, texts)
        trace = sample(denoise, x, times, self.schedule, draw, o.sampler, o.eta, o.renewal)
        boxes, confidences = self._boxes(trace, slice(None) if o.ensemble == "all" else slice(-1, None))
        weights = self._weights(images[-1][image_of], texts, boxes, confidences)
        answer = heaviest(boxes, weights) if o.ensemble == "none" else weighted_mode(boxes, weights)
        score = heaviest(confidences[..., None], weights)[:, 0]
        return answer, score, *self._boxes(trace, slice(-1, None))

    def _first_signals(self, draw: Draw, initial_boxes: torch.Tensor | None) -> tuple[torch.Tensor, list[int]]:
        """Return the first noisy signals (N, P, 4) and the times of the sampler from there on."""
        o: Sampling = self.options.sampling
        x = draw()
        if initial_boxes is None:
            return x, self.schedule.times(o.steps)
        first = max(1, round(o.refine_from * self.schedule.timesteps)) - 1
        clean = self.schedule.to_signal(initial_boxes)[:, None].expand_as(x)
        noised = self.schedule.add_noise(clean, x, torch.full((len(x),), first, device=x.device))
        near = max(1, round(o.near * o.boxes))
        return torch.cat([noised[:, :near], x[:, near:]], dim=1), self.schedule.times(o.steps, first)

    def _denoise(self, images: tuple[torch.Tensor, ...], image_of: torch.Tensor, texts: TextFeatures) -> Denoise:
        """Return the guided denoiser of some expressions; everything that does not depend on boxes is computed here."""
        guidance, count = self.options.sampling.guidance, len(image_of)
        copies = 1 if guidance == 1 else 2
        dropped = torch.arange(copies * count, device=image_of.device) >= count
        query = self.denoiser.encode_query(images, image_of.repeat(copies), texts.repeat(copies), dropped)

        def denoise(x: torch.Tensor, t: int, previous: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
            if previous is None or not self.options.self_condition:
                previous = torch.zeros_like(x)
            time = torch.full((copies * count,), t, device=x.device)
            estimate = self.denoiser(query, x.repeat(copies, 1, 1), time, previous.repeat(copies, 1, 1))[-1]
            signal, confidence = estimate.signal.double(), estimate.logits.sigmoid()
            if copies == 1:
                return signal, confidence
            conditional, unconditional = signal.chunk(2)
            return unconditional + guidance * (conditional - unconditional), confidence[:count]

        return denoise

    def _boxes(self, trace: Trace, steps: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Return boxes inside the image, float32 (N, K, 4), and confidences (N, K) of some steps."""
        signals = torch.cat(trace.signals[steps], dim=1)
        boxes = self.schedule.to_boxes(signals).float().clamp(0, 1)
        return boxes, torch.cat(trace.confidences[steps], dim=1).float()

    def _weights(
        self, dense: torch.Tensor, texts: TextFeatures, boxes: torch.Tensor, confidences: torch.Tensor
    ) -> torch.Tensor:
        """Return the weights (N, K) of boxes by the option ``choose``.

        Args:
            dense: CLIP's features (N, D, g, g); not used for ``confidence``.
            texts: features of N expressions.
            boxes: normalised ``xyxy`` (N, K, 4).
            confidences: confidence of each box, (N, K).
        """
        if self.options.sampling.choose == "confidence":
            return confidences
        maps, embeddings, places = (v.cpu().numpy() for v in (dense.permute(0, 2, 3, 1), texts.expression, boxes))
        regions = region_weights(maps, embeddings, places, self.clip.encoder.logit_scale)
        similarity = torch.from_numpy(regions).to(boxes.device)
        return similarity if self.options.sampling.choose == "clip" else similarity * confidences


def content_key(tensor: torch.Tensor) -> int:
    """Return a 64-bit hash of the content of a tensor."""
    raw = tensor.detach().cpu().contiguous().numpy().tobytes()
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")
