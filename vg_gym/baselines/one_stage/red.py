"""RED, the Referring Expression Deconfounder (Huang et al., Deconfounded Visual Grounding, AAAI 2022).

Written from the paper: its official repository holds no code. The confounder of words and places is unobserved; a
substitute for it is found in the expressions of the training set alone (Wang & Blei, The Blessings of Multiple Causes,
2019): a factor model explains the expressions' features by a few latent causes, whose clusters, with their frequencies,
are the dictionary. The backdoor adjustment P(L | do(R), X) = sum over g of P(L | R, X, g) P(g) is then approximated
inside the network, by the expectation of g: an attention of every text token over the dictionary, weighted by its
prior.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn


def factor_model(features: np.ndarray, factors: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilistic principal components (Tipping & Bishop, 1999), the maximum-likelihood factor model.

    Args:
        features: (N, D) of expressions.
        factors: number of latent causes.

    Returns:
        Posterior means of the causes (N, F), and the loadings (F, D) that give the features back from them.
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


def k_means(points: np.ndarray, count: int, rng: np.random.Generator, rounds: int = 30) -> np.ndarray:
    """The cluster of every point (N,): k-means++.

    Args:
        points: (N, D).
        count: clusters; some may stay empty.
        rng: of the first centres.
        rounds: of the algorithm.
    """
    from scipy.cluster.vq import kmeans2

    _, labels = kmeans2(points, count, iter=rounds, minit="++", rng=rng)
    return labels


def dictionary(features: np.ndarray, entries: int, factors: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Substitute confounders of expressions.

    Args:
        features: (N, D), one row per expression of the training set.
        entries: of the dictionary.
        factors: latent causes of the factor model.
        seed: of the clustering.

    Returns:
        The entries (K, D), what a cluster's causes explain of the features, and their frequencies (K,); K is
        ``entries`` or less, as empty clusters are left out.
    """
    causes, loadings = factor_model(features, factors)
    labels = k_means(causes, entries, np.random.default_rng(seed))
    kept, counts = np.unique(labels, return_counts=True)
    centers = np.stack([causes[labels == label].mean(0) for label in kept])
    return (centers @ loadings).astype(np.float32), (counts / counts.sum()).astype(np.float32)


class Deconfounder(nn.Module):
    """Language attention: every text token, joined with what it attends to in the dictionary.

    Args:
        dim: width of the text tokens.
        entries: of the dictionary.
        width: of the entries.
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
        """Fill the dictionary from the training expressions, encoded by a CLIP."""
        found, prior = dictionary(_features(expressions, clip), len(self.prior), seed=seed)
        found /= max(float(np.sqrt((found**2).mean())), 1e-6)
        self.entries[: len(found)] = torch.from_numpy(found)
        self.prior[: len(prior)] = torch.from_numpy(prior)

    def forward(self, text_tokens: torch.Tensor) -> torch.Tensor:
        """Text tokens (N, L, D) to adjusted text tokens (N, L, D)."""
        logits = self.query(text_tokens) @ self.key(self.entries).T / text_tokens.shape[-1] ** 0.5
        weights = logits.softmax(-1) * self.prior
        weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-9)
        return self.norm(self.join(torch.cat([text_tokens, weights @ self.value(self.entries)], dim=-1)))


def _features(texts: Sequence[str], clip: str, chunk: int = 512) -> np.ndarray:
    """Features (N, D) of expressions."""
    from vg_gym.clip import load_clip

    encoder = load_clip(clip)
    return np.concatenate([encoder.encode_text(texts[at : at + chunk]) for at in range(0, len(texts), chunk)])
