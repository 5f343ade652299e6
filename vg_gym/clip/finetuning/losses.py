"""Losses of CLIP fine-tuning on box-text pairs: contrastive over crops, contrastive and localizing over regions."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from vg_gym.boxes import cell_overlaps


def region_features(tokens: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Return unit features (I, K, D) of normalised boxes (I, K, 4), weighted means of dense tokens (I, g, g, D)."""
    covered = cell_overlaps(boxes, tokens.shape[1])
    columns, rows = (covered / covered.sum(-1, keepdim=True).clamp(min=1e-6)).unbind(-2)
    weights = (rows[..., :, None] * columns[..., None, :]).flatten(2)
    return F.normalize(weights @ tokens.flatten(1, 2).float(), dim=-1)


def multi_positive(logits: torch.Tensor, match: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of rows over their positives (SupCon, Khosla et al., NeurIPS 2020).

    Args:
        logits: logits (R, C).
        match: 1 for positives, 0 for negatives, -1 for ignored entries, (R, C). Rows without a positive are ignored.
    """
    log_p = logits.masked_fill(match < 0, -1e4).log_softmax(-1)
    positive = (match > 0).float()
    count = positive.sum(-1)
    rows = count > 0
    if not bool(rows.any()):
        return logits.sum() * 0
    return (-(log_p * positive).sum(-1) / count.clamp(min=1))[rows].mean()


def symmetric_contrastive(logits: torch.Tensor, match: torch.Tensor) -> torch.Tensor:
    """Return CLIP's loss with many positives, the mean of both directions of (texts, regions)."""
    return (multi_positive(logits, match) + multi_positive(logits.T, match.T)) / 2


def word_loss(images: torch.Tensor, words: torch.Tensor, counts: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of pictures over the words of their captions, rare words counting more.

    It is the loss of SuperClass (Huang et al., NeurIPS 2024), whose classifier is here the embeddings of single words.

    Args:
        images: unit embeddings of pictures, (P, D).
        words: unit embeddings of the vocabulary, (V, D).
        counts: number of occurrences of each word in the caption of each picture, (P, V).
        scale: factor of the cosines.
    """
    present = (counts > 0).float()
    rarity = torch.log((1 + len(present)) / (1 + present.sum(0)))  # inverse document frequency in the batch
    target = present * rarity
    target = target / target.sum(-1, keepdim=True).clamp(min=1e-6)
    return -(target * (scale * images @ words.T).log_softmax(-1)).sum(-1).mean()


def localization_loss(
    logits: torch.Tensor, overlap: torch.Tensor, valid: torch.Tensor, softness: float
) -> torch.Tensor:
    """Return the cross-entropy of a text's scores over regions of its image with a target that follows IoU.

    Args:
        logits: scaled similarities of texts and regions of the same image, (T, K).
        overlap: IoU of each region with the true box, (T, K); one region must have an IoU of 1.
        valid: True at valid regions, bool (T, K).
        softness: softness of the target, which is proportional to ``exp((IoU - 1) / softness)``.
    """
    target = ((overlap - 1) / softness).masked_fill(~valid, -1e4).softmax(-1)
    log_p = logits.masked_fill(~valid, -1e4).log_softmax(-1)
    return -(target * log_p).sum(-1).mean()
