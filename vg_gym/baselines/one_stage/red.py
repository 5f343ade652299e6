"""RED, the Referring Expression Deconfounder (Huang et al., Deconfounded Visual Grounding, AAAI 2022).

This implementation follows the paper, because the official repository contains no code. The confounder of words and
places is unobserved. A substitute for it is estimated from the training expressions alone (Wang & Blei, The Blessings
of Multiple Causes, 2019). A factor model explains the expressions' features by a few latent causes, and the clusters of
the causes, with their frequencies, are the dictionary. The backdoor adjustment is
P(L | do(R), X) = sum over g of P(L | R, X, g) P(g). There are two readings of it:

- ``attention``: the sum is approximated by the expectation of g, an attention of every text token over the dictionary,
  weighted by its prior.
- ``conditioned``: text tokens lose what the factor model explains, and in training they are conditioned on the entry of
  their own expression instead. So what words say of places can enter through g alone. At test time, the code of g is
  averaged with the prior.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn


def factor_model(features: np.ndarray, factors: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit probabilistic principal components (Tipping & Bishop, 1999), the maximum-likelihood factor model.

    Args:
        features: features of expressions, (N, D).
        factors: number F of latent causes.

    Returns:
        Posterior means of the causes (N, F), and the loadings (F, D), which map causes to features.
    """
    centered = features - features.mean(0)
    _, spread, axes = np.linalg.svd(centered, full_matrices=False)
    variance = spread**2 / len(features)
    factors = min(factors, len(variance) - 1)
    noise = max(float(variance[factors:].mean()), 1e-8)
    scale = np.sqrt(np.maximum(variance[:factors] - noise, 1e-8))
    loadings = scale[:, None] * axes[:factors]
    posterior = np.linalg.solve(loadings @ loadings.T + noise * np.eye(factors), loadings @ centered.T).T
    return posterior.astype(np.float32), loadings.astype(np.float32)


FACTORS = 16
"""Number of latent causes of the factor model."""
READINGS = ("attention", "conditioned")
"""Readings of the backdoor adjustment."""


def k_means(points: np.ndarray, count: int, rng: np.random.Generator, rounds: int = 30) -> np.ndarray:
    """Return the cluster of every point by k-means++, (N,).

    Args:
        points: points (N, D).
        count: number of clusters; some may stay empty.
        rng: random generator of the initial centres.
        rounds: number of iterations.
    """
    from scipy.cluster.vq import kmeans2

    _, labels = kmeans2(points, count, iter=rounds, minit="++", rng=rng)
    return labels


def dictionary(
    features: np.ndarray, entries: int, factors: int = FACTORS, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return substitute confounders of expressions.

    Args:
        features: features of the training expressions, (N, D).
        entries: largest number of entries of the dictionary.
        factors: number of latent causes of the factor model.
        seed: seed of the clustering.

    Returns:
        Entries (K, D), which are the features explained by the causes of each cluster, and their frequencies (K,). K is
        at most ``entries``, because empty clusters are dropped.
    """
    causes, loadings = factor_model(features, factors)
    labels = k_means(causes, entries, np.random.default_rng(seed))
    clusters, counts = np.unique(labels, return_counts=True)
    centers = np.stack([causes[labels == label].mean(0) for label in clusters])
    return (centers @ loadings).astype(np.float32), (counts / counts.sum()).astype(np.float32)


class Deconfounder(nn.Module):
    """Language attention that joins every text token with the attended entries of the dictionary.

    Args:
        dim: width of the text tokens.
        entries: number of entries of the dictionary.
        width: width of the entries.
    """

    def __init__(self, dim: int, entries: int, width: int):
        super().__init__()
        self.entries: torch.Tensor
        self.prior: torch.Tensor
        self.register_buffer("entries", torch.zeros(entries, width))
        self.register_buffer("prior", torch.zeros(entries))
        self.query, self.key, self.value = nn.Linear(dim, dim), nn.Linear(width, dim), nn.Linear(width, dim)
        self.join, self.norm = nn.Linear(2 * dim, dim), nn.LayerNorm(dim)

    def learn(self, expressions: Sequence[str], clip: str, seed: int = 0) -> None:
        """Fill the dictionary from training expressions that a CLIP encodes."""
        entries, prior = dictionary(_features(expressions, clip), len(self.prior), seed=seed)
        entries /= max(float(np.sqrt((entries**2).mean())), 1e-6)
        self.entries[: len(entries)] = torch.from_numpy(entries)
        self.prior[: len(prior)] = torch.from_numpy(prior)

    def forward(self, text_tokens: torch.Tensor) -> torch.Tensor:
        """Return adjusted text tokens (N, L, D)."""
        logits = self.query(text_tokens) @ self.key(self.entries).T / text_tokens.shape[-1] ** 0.5
        weights = logits.softmax(-1) * self.prior
        weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-9)
        return self.norm(self.join(torch.cat([text_tokens, weights @ self.value(self.entries)], dim=-1)))


class ConditionedDeconfounder(nn.Module):
    """Factor model of the expressions whose causes are conditioned on in training, and averaged out at test time.

    Args:
        dim: width of the text tokens.
        entries: number of entries of the dictionary.
        width: width of the entries, and of the text features.
    """

    def __init__(self, dim: int, entries: int, width: int):
        super().__init__()
        self.mean: torch.Tensor
        self.axes: torch.Tensor
        self.entries: torch.Tensor
        self.prior: torch.Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("axes", torch.zeros(FACTORS, width))
        self.register_buffer("entries", torch.zeros(entries, width))
        self.register_buffer("prior", torch.zeros(entries))
        self.code = nn.Linear(width, dim)

    def learn(self, expressions: Sequence[str], clip: str, seed: int = 0) -> None:
        """Fit the factor model and the dictionary to training expressions that a CLIP encodes."""
        features = _features(expressions, clip)
        _, loadings = factor_model(features, FACTORS)
        entries, prior = dictionary(features, len(self.prior), seed=seed)
        self.mean.copy_(torch.from_numpy(features.mean(0)))
        self.axes[: len(loadings)] = torch.from_numpy(loadings / np.linalg.norm(loadings, axis=1, keepdims=True))
        self.entries[: len(entries)], self.prior[: len(prior)] = torch.from_numpy(entries), torch.from_numpy(prior)

    def unexplained(self, text_features: torch.Tensor) -> torch.Tensor:
        """Return text features (N, L, D) without the part that the causes explain."""
        return text_features - text_features @ self.axes.T @ self.axes

    def own_entries(self, sentences: torch.Tensor) -> torch.Tensor:
        """Return the indices (N,) of the entries that are nearest to unit features of expressions (N, D)."""
        distances = torch.cdist(sentences - self.mean, self.entries)
        return distances.masked_fill(self.prior == 0, torch.inf).argmin(1)

    def forward(self, text_tokens: torch.Tensor, sentences: torch.Tensor) -> torch.Tensor:
        """Return text tokens (N, L, D) with a code of the confounder: their own in training, else its expectation.

        Args:
            text_tokens: projected tokens of :meth:`unexplained` features.
            sentences: unit features of the expressions (N, D).
        """
        codes = self.code(self.entries / self.entries.square().mean().sqrt().clamp(min=1e-6))
        if not self.training:
            return text_tokens + self.prior @ codes
        return text_tokens + codes[self.own_entries(sentences)][:, None]


def _features(texts: Sequence[str], clip: str, chunk: int = 512) -> np.ndarray:
    """Return CLIP's features (N, D) of expressions."""
    from vg_gym.clip import load_clip

    encoder = load_clip(clip)
    return np.concatenate([encoder.encode_text(texts[at : at + chunk]) for at in range(0, len(texts), chunk)])
