"""MDETR's matching and losses, as its published code computes them.

Two habits of that code are kept, since its weights were tuned with them: the positive map is 0/1, so the soft-token
loss sums over an object's tokens; and the contrastive alignment normalises over all tokens, padding included. One is
not: spans that begin between tokens are looked up in their own text here, in the batch's first text there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional as F  # noqa: N812

from vg_gym.boxes import from_cxcywh, giou

WEIGHTS = {"ce": 1.0, "bbox": 5.0, "giou": 2.0, "contrastive_align": 1.0}
"""Of the loss terms; those of the matching costs are 1 (class), 5 (L1), 2 (GIoU)."""
NO_OBJECT = 0.1
"""Weight of queries without an object in the soft-token loss."""
TEMPERATURE = 0.07


@dataclass(frozen=True)
class Layer:
    """Answers of the heads to one decoder layer."""

    logits: torch.Tensor
    """(N, Q, 256), the last of them "no object"."""
    boxes: torch.Tensor
    """(N, Q, 4), centre and size normalised by the image."""
    queries: torch.Tensor
    """(N, Q, D), projections of the object tokens, unit length."""
    tokens: torch.Tensor
    """(N, L, D), projections of the text tokens, unit length."""

    def float(self) -> Layer:
        """The layer in float32."""
        return Layer(self.logits.float(), self.boxes.float(), self.queries.float(), self.tokens.float())


Matching = list[tuple[torch.Tensor, torch.Tensor]]
"""Per text: matched queries, ascending, and the targets they are matched with."""


@torch.no_grad()
def match(layer: Layer, targets: list[torch.Tensor], positive: torch.Tensor) -> Matching:
    """Hungarian matching of queries and targets.

    Args:
        layer: predictions.
        targets: per text, boxes (n, 4), centre and size normalised.
        positive: (sum n, 256) tokens of every target.
    """
    count, queries = layer.logits.shape[:2]
    boxes, truth = layer.boxes.flatten(0, 1), torch.cat(targets)
    cost = (
        5 * torch.cdist(boxes, truth, p=1)
        - layer.logits.flatten(0, 1).softmax(-1) @ positive.T
        - 2 * giou(from_cxcywh(boxes)[:, None], from_cxcywh(truth)[None])
    ).view(count, queries, -1)
    parts = cost.cpu().split([len(t) for t in targets], dim=-1)
    pairs = [linear_sum_assignment(part[row]) for row, part in enumerate(parts)]
    return [(torch.as_tensor(q, device=boxes.device), torch.as_tensor(t, device=boxes.device)) for q, t in pairs]


def soft_token_loss(logits: torch.Tensor, matching: Matching, positive: list[torch.Tensor]) -> torch.Tensor:
    """Sum over queries of the cross-entropy with their targets' tokens, or with "no object".

    Args:
        logits: (N, Q, 256).
        matching: of queries and targets.
        positive: per text, (n, 256) tokens of its targets, 0/1.
    """
    wanted = torch.zeros_like(logits)
    wanted[..., -1] = 1
    weight = torch.full(logits.shape[:2], NO_OBJECT, device=logits.device)
    for row, (queries, which) in enumerate(matching):
        wanted[row, queries] = positive[row][which]
        weight[row, queries] = 1
    return -((logits.log_softmax(-1) * wanted).sum(-1) * weight).sum()


def align_loss(queries: torch.Tensor, tokens: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Contrastive alignment of queries and tokens, the mean of both directions, summed over the batch.

    Args:
        queries: (N, Q, D), unit length.
        tokens: (N, L, D), unit length.
        positive: bool (N, Q, L).
    """
    similarity = queries @ tokens.transpose(1, 2) / TEMPERATURE

    def direction(dim: int) -> torch.Tensor:
        has = positive.any(dim)
        attract = -similarity.masked_fill(~positive, 0).sum(dim) / (positive.sum(dim) + 1e-6)
        return (attract + similarity.logsumexp(dim)).masked_fill(~has, 0).sum()

    return (direction(2) + direction(1)) / 2


def contrastive_loss(text: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Image-text contrastive loss of pooled features (N, D), normalised here; the mean of both directions."""
    similarity = F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T / TEMPERATURE
    wanted = torch.arange(len(similarity), device=similarity.device)
    return (F.cross_entropy(similarity, wanted) + F.cross_entropy(similarity.T, wanted)) / 2


def layer_losses(
    layer: Layer, targets: list[torch.Tensor], positive: torch.Tensor, aligned: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """The four unweighted losses of one decoder layer, per target box.

    Args:
        layer: predictions.
        targets: per text, boxes (n, 4).
        positive: (sum n, 256) tokens of every target, 0/1.
        aligned: bool (N, Q, L), queries and their tokens; default from ``positive``.
    """
    matching = match(layer, targets, positive)
    parts = list(positive.split([len(t) for t in targets]))
    count = max(sum(len(t) for t in targets), 1)
    found = torch.cat([layer.boxes[row, queries] for row, (queries, _) in enumerate(matching)])
    truth = torch.cat([target[which] for target, (_, which) in zip(targets, matching, strict=True)])
    if aligned is None:
        aligned = aligned_tokens(matching, parts, layer)
    return {
        "ce": soft_token_loss(layer.logits, matching, parts) / count,
        "bbox": (found - truth).abs().sum() / count,
        "giou": (1 - giou(from_cxcywh(found), from_cxcywh(truth))).sum() / count,
        "contrastive_align": align_loss(layer.queries, layer.tokens, aligned) / count,
    }


def aligned_tokens(matching: Matching, positive: list[torch.Tensor], layer: Layer) -> torch.Tensor:
    """Bool (N, Q, L): the tokens of the target that a query is matched with."""
    length = layer.tokens.shape[1]
    aligned = torch.zeros(*layer.logits.shape[:2], length, dtype=torch.bool, device=layer.logits.device)
    for row, (queries, which) in enumerate(matching):
        tokens = positive[row][which][:, :length] > 0
        aligned[row, queries, : tokens.shape[1]] = tokens
    return aligned


def set_losses(layers: list[Layer], targets: list[torch.Tensor], positive: torch.Tensor) -> dict[str, torch.Tensor]:
    """Weighted losses, each summed over the decoder layers."""
    each = [layer_losses(layer, targets, positive) for layer in layers]
    return {name: weight * torch.stack([found[name] for found in each]).sum() for name, weight in WEIGHTS.items()}
