"""MDETR's matching and losses, as in its published code.

Two properties of that code are kept, because its weights were tuned with them. The positive map is 0/1, so the
soft-token loss sums over an object's tokens. The contrastive alignment normalises over all tokens, including padding.
One property differs: the published code looks up spans that begin between tokens in the batch's first text, and this
code in the text of the span.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment

from vg_gym.boxes import from_cxcywh, giou

LOSS_WEIGHTS = {"ce": 1.0, "bbox": 5.0, "giou": 2.0, "contrastive_align": 1.0}
"""Weights of the loss terms; the weights of the matching costs are 1 (class), 5 (L1), 2 (GIoU)."""
NO_OBJECT_WEIGHT = 0.1
"""Weight of queries without an object in the soft-token loss."""
TEMPERATURE = 0.07
"""Temperature of the contrastive alignment."""


@dataclass(frozen=True)
class Layer:
    """Outputs of the heads for one decoder layer."""

    logits: torch.Tensor
    """Class logits, the last of them "no object", (N, Q, 256)."""
    boxes: torch.Tensor
    """Boxes, centre and size normalised by the image, (N, Q, 4)."""
    queries: torch.Tensor
    """Unit projections of the object tokens, (N, Q, D)."""
    tokens: torch.Tensor
    """Unit projections of the text tokens, (N, L, D)."""

    def float(self) -> Layer:
        """Return the layer in float32."""
        return Layer(self.logits.float(), self.boxes.float(), self.queries.float(), self.tokens.float())


Matching = list[tuple[torch.Tensor, torch.Tensor]]
"""Matched queries in ascending order and their targets, for each text."""


@torch.no_grad()
def match(layer: Layer, targets: list[torch.Tensor], positive: torch.Tensor) -> Matching:
    """Match queries and targets by the Hungarian algorithm.

    Args:
        layer: predictions of a decoder layer.
        targets: true boxes of each text, normalised centre and size, (n, 4) each.
        positive: tokens of every target, (sum n, 256).
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
    """Return the cross-entropy of queries with their targets' tokens, or with "no object", summed over queries.

    Args:
        logits: class logits (N, Q, 256).
        matching: matched queries and targets.
        positive: tokens of the targets of each text, 0/1, (n, 256) each.
    """
    target = torch.zeros_like(logits)
    target[..., -1] = 1
    weight = torch.full(logits.shape[:2], NO_OBJECT_WEIGHT, device=logits.device)
    for row, (queries, which) in enumerate(matching):
        target[row, queries] = positive[row][which]
        weight[row, queries] = 1
    return -((logits.log_softmax(-1) * target).sum(-1) * weight).sum()


def align_loss(queries: torch.Tensor, tokens: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Return the contrastive alignment loss of queries and tokens, the mean of both directions, summed over the batch.

    Args:
        queries: unit projections of the object tokens, (N, Q, D).
        tokens: unit projections of the text tokens, (N, L, D).
        positive: True at pairs that belong together, bool (N, Q, L).
    """
    similarity = queries @ tokens.transpose(1, 2) / TEMPERATURE

    def direction(dim: int) -> torch.Tensor:
        has = positive.any(dim)
        attract = -similarity.masked_fill(~positive, 0).sum(dim) / (positive.sum(dim) + 1e-6)
        return (attract + similarity.logsumexp(dim)).masked_fill(~has, 0).sum()

    return (direction(2) + direction(1)) / 2


def layer_losses(
    layer: Layer, targets: list[torch.Tensor], positive: torch.Tensor, aligned: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """Return the four unweighted losses of one decoder layer, divided by the number of targets.

    Args:
        layer: predictions of the decoder layer.
        targets: true boxes of each text, (n, 4) each.
        positive: tokens of every target, 0/1, (sum n, 256).
        aligned: True at the tokens of a query, bool (N, Q, L); default: from ``positive``.
    """
    matching = match(layer, targets, positive)
    parts = list(positive.split([len(t) for t in targets]))
    count = max(sum(len(t) for t in targets), 1)
    boxes = torch.cat([layer.boxes[row, queries] for row, (queries, _) in enumerate(matching)])
    truth = torch.cat([target[which] for target, (_, which) in zip(targets, matching, strict=True)])
    if aligned is None:
        aligned = aligned_tokens(matching, parts, layer)
    return {
        "ce": soft_token_loss(layer.logits, matching, parts) / count,
        "bbox": (boxes - truth).abs().sum() / count,
        "giou": (1 - giou(from_cxcywh(boxes), from_cxcywh(truth))).sum() / count,
        "contrastive_align": align_loss(layer.queries, layer.tokens, aligned) / count,
    }


def aligned_tokens(matching: Matching, positive: list[torch.Tensor], layer: Layer) -> torch.Tensor:
    """Return the tokens of the target that a query is matched with, bool (N, Q, L)."""
    length = layer.tokens.shape[1]
    aligned = torch.zeros(*layer.logits.shape[:2], length, dtype=torch.bool, device=layer.logits.device)
    for row, (queries, which) in enumerate(matching):
        tokens = positive[row][which][:, :length] > 0
        aligned[row, queries, : tokens.shape[1]] = tokens
    return aligned


def set_losses(layers: list[Layer], targets: list[torch.Tensor], positive: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the weighted losses, each summed over the decoder layers."""
    each = [layer_losses(layer, targets, positive) for layer in layers]
    return {name: weight * torch.stack([terms[name] for terms in each]).sum() for name, weight in LOSS_WEIGHTS.items()}
