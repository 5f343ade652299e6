"""Attention over the set of proposals: scores of the proposals, and a summary of the set for the policy."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from vg_gym.features.query_proposals import MEMBERSHIP, RELATIVE, WIDTH

READ_OUTS = 4
"""Number of weighted means of the set that the policy receives."""
PAIR_FEATURES = 16
"""Number of features of a pair of proposals."""
MIN_AREA = 1e-4
"""Smallest area whose logarithm is taken, as a fraction of the image."""
EMPTY_SCORE = -20.0
"""Score of a row without a proposal."""
SINGLE_SCORE = 5.0
"""Score of a proposal without rivals. The network learns to choose by comparing proposals, so that the level of a score
without rivals is untrained; the logit that all jumps share then decides whether to jump."""
RIVALS_DROPPED, WORDS_DROPPED = 0.5, 0.1
"""Largest share of the rivals of a target, and share of the words, that :meth:`LookComparison.thinned` empties."""
MIN_SPLIT_ROWS = 128
"""Smallest minibatch in which rows with few proposals are computed separately from rows with many."""


class SetLayer(nn.Module):
    """Pre-norm self-attention over a set, biased by the features of each pair, and a feed-forward network.

    Args:
        width: width of the tokens.
        heads: number of attention heads.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feedforward = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Transform tokens (B, K, width) with biases (B, heads, K, K)."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.feedforward(self.norm2(x))


class LookComparison(nn.Module):
    """Comparison of the proposals' dense features with the expression, as a sentence and word by word.

    The cosine of CLIP weighs all directions of the joint space equally; this learns which of them a word asks for. The
    words attend to each other, so that "left of the dog" is read as one, and each proposal attends to the words
    (Vaswani et al., 2017), so that a word reaches the thing that it describes.

    Args:
        dim: width of CLIP's features, D.
        words: number of words of an expression, L.
        width: width of the tokens of the set.
        heads: number of attention heads.
        layers: number of the set's layers, before each of which :meth:`read` adds what a proposal reads in the words.
    """

    settled: torch.Tensor
    """Whether supervised learning has ended. The attention over the proposals then stays as it is: what follows visits
    few expressions often, and would learn them by heart."""

    def __init__(self, dim: int, words: int, width: int, heads: int, layers: int):
        super().__init__()
        self.dim, self.width, self.heads = dim, width, heads
        self.register_buffer("settled", torch.tensor(False))
        self.enter = nn.Linear(dim, width)
        self.look, self.words, self.product = nn.Linear(dim, width), nn.Linear(dim, width), nn.Linear(width, width)
        self.word, self.places = nn.Linear(dim, width), nn.Parameter(torch.zeros(words, width))
        self.context = SetLayer(width, heads)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.reads = nn.ModuleList(nn.MultiheadAttention(width, heads, batch_first=True) for _ in range(layers))

    def forward(self, features: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Map unit features (B, K, D) and texts (B, D) to additions to the tokens of the set (B, K, width)."""
        features, text = features * self.dim**0.5, text * self.dim**0.5
        alike = self.look(features) * self.words(text)[:, None] / self.width**0.5
        return self.enter(features) + self.product(alike)

    def keys(self, words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens (B, l, width) of the words, unit features (B, L * D), and which of them are not read (B, l).

        Zero features are not read, unless all of a row are: attention over nothing is undefined. The longest expression
        of the batch has l words.
        """
        words = words.unflatten(1, (-1, self.dim))
        beyond = words.abs().sum(-1) == 0
        filled = (~beyond).any(0).nonzero()
        length = int(filled[-1]) + 1 if len(filled) else 1
        beyond = (beyond & ~beyond.all(1, keepdim=True))[:, :length]
        tokens = self.word(words[:, :length] * self.dim**0.5) + self.places[:length]
        return self.context(tokens, torch.where(beyond, -1e4, 0.0)[:, None, None]), beyond

    @staticmethod
    def thinned(observations: dict[str, torch.Tensor], referents: torch.Tensor, count: int) -> dict[str, torch.Tensor]:
        """Return observations without a random part of the rivals and of the words, against overfitting.

        A random share of up to half of the proposals other than the target's, and a tenth of the words, are emptied.

        Args:
            observations: parts of observations by name, which stay as they are.
            referents: index of the target's proposal, (B,); -1 for none.
            count: number of proposals, K.
        """
        proposals, words = observations["proposals"], observations["words"]
        rows, device = len(referents), referents.device
        share = torch.rand(rows, 1, device=device) * RIVALS_DROPPED
        stays = torch.rand(rows, count, device=device) >= share
        stays |= torch.arange(count, device=device) == referents[:, None]
        length = words.shape[1] // (observations["proposal_features"].shape[1] // count)
        kept = torch.rand(rows, length, device=device) >= WORDS_DROPPED
        return {
            **observations,
            "proposals": proposals * stays.repeat_interleave(proposals.shape[1] // count, dim=1),
            "words": words * kept.repeat_interleave(words.shape[1] // length, dim=1),
        }

    def read(self, layer: int, x: torch.Tensor, keys: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Return the set x (B, K, width) after its proposals have read the words before a layer."""
        words, beyond = keys
        read = self.reads[layer](self.norms[layer](x), words, words, key_padding_mask=beyond, need_weights=False)[0]
        return x + read


class ProposalAttention(nn.Module):
    """Attention over the proposals, conditioned on the text and on the position of the agent's box.

    "Nearest to" compares pairs, so the distance and relative size of each pair of proposals bias its attention (as in
    relation networks for object detection, Hu et al., CVPR 2018). The text weights these features.

    Args:
        count: number of proposals, K.
        text: width of the expression's embedding.
        width: width of the tokens.
        heads: number of attention heads.
        layers: number of attention layers.
        may_be_none: whether the expression may mean none of the proposals, which then have memberships; otherwise the
            only one of an image is meant.
        words: number of words of an expression, L, if the observation has the features of the proposals and of the
            words, otherwise 0. With them the scores do not depend on the position of the agent's box.
    """

    def __init__(
        self, count: int, text: int, width: int = 64, heads: int = 4, layers: int = 2, may_be_none: bool = False,
        words: int = 0,
    ):  # fmt: skip
        super().__init__()
        self.count, self.may_be_none = count, may_be_none
        self.values = WIDTH + may_be_none
        """Number of values of an observed proposal, V."""
        self.enter = nn.Linear(self.values + 4 + 3 + 1 + may_be_none, width)
        self.text = nn.Sequential(nn.Linear(text, width), nn.ReLU(), nn.Linear(width, width))
        self.pairs = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, PAIR_FEATURES))
        self.counts = nn.Linear(width, PAIR_FEATURES * heads * layers)
        self.layers = nn.ModuleList(SetLayer(width, heads) for _ in range(layers))
        self.score = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        self.read_outs = nn.Linear(width, READ_OUTS)
        self.size = READ_OUTS * (width + self.values)
        """Width of all read-outs together."""
        self.looks = LookComparison(text, words, width, heads, layers) if words else None
        self.inputs = ("proposals", "text", *(("proposal_features", "words") if words else ()))
        """Names of the parts of an observation that are read."""

    def forward(self, observations: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return read-outs (B, size) and scores of the proposals (B, K).

        Args:
            observations: :attr:`inputs` by name: proposals (B, K * V), texts (B, D) and, if words are read, features
                (B, K * D) and words (B, L * D).
        """
        numbers, *others = (observations[name].float() for name in self.inputs)
        numbers = numbers.unflatten(1, (self.count, self.values))
        if not torch.is_grad_enabled() or len(numbers) < MIN_SPLIT_ROWS:
            return self._read(numbers, *others)
        order = (numbers[..., 4] > 0).sum(1).argsort(stable=True)
        few, many = (self._read(numbers[rows], *(part[rows] for part in others)) for rows in order.chunk(2))
        back = order.argsort()
        return torch.cat([few[0], many[0]])[back], torch.cat([few[1], many[1]])[back]

    def _read(
        self, numbers: torch.Tensor, text: torch.Tensor, *looks: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute :meth:`forward` for proposals (B, K, V)."""
        filled = (numbers[..., 4] > 0).any(0).nonzero()
        rows = int(filled[-1]) + 1 if len(filled) else 1
        numbers = numbers[:, :rows]  # the remaining rows are empty in the whole batch, and would have weight 0
        present = numbers[..., 4] > 0
        settled = self.looks is not None and bool(self.looks.settled)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not settled):
            x = self._compared(numbers, present, text, *looks)
            alone = present.sum(1, keepdim=True) == 1
            scores = self.score(x)[..., 0].masked_fill(~present, EMPTY_SCORE)
            if not self.may_be_none:
                scores = scores.masked_fill(alone & present, SINGLE_SCORE)
        weights = self.read_outs(x) + torch.where(present, 0.0, -1e4)[..., None]
        if self.looks is not None:  # the first read-out is that of the proposal with the highest score
            weights = torch.cat([weights[..., :1] + scores[..., None], weights[..., 1:]], dim=-1)
        read = weights.softmax(1).transpose(1, 2) @ torch.cat([x, numbers], dim=-1)
        return read.flatten(1), F.pad(scores, (0, self.count - rows), value=EMPTY_SCORE)

    def _compared(
        self, numbers: torch.Tensor, present: torch.Tensor, text: torch.Tensor, *looks: torch.Tensor
    ) -> torch.Tensor:
        """Return tokens (B, K, width) of the proposals (B, K, V), compared with each other and with the text."""
        boxes = numbers[..., :4]
        centre, side = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
        compared = [10 * _below_best(numbers[..., 5:8], present)]
        if self.may_be_none:
            compared.append(_below_best(numbers[..., MEMBERSHIP : MEMBERSHIP + 1], present))
        area = side.prod(-1, keepdim=True).clamp(min=MIN_AREA).log() + 3
        context = self.text(text * text.shape[-1] ** 0.5)
        absent = torch.where(present, 0.0, -1e4)
        counts = self.counts(context).unflatten(-1, (PAIR_FEATURES, -1))
        bias = torch.einsum("bijm,bmh->bhij", self.pairs(_pairs(centre, side)), counts) + absent[:, None, None]
        parts = bias.chunk(len(self.layers), dim=1)
        values, keys = numbers, None
        if self.looks is not None:  # which thing is meant does not depend on where the agent's box is
            values = numbers * (torch.arange(self.values, device=numbers.device) < self.values - RELATIVE)
        x = self.enter(torch.cat([values, centre, side, *compared, area], -1)) + context[:, None]
        if self.looks is not None:
            features, words = looks
            x = x + self.looks(features.unflatten(1, (self.count, -1))[:, : numbers.shape[1]], text)
            keys = self.looks.keys(words)
        for number, (layer, part) in enumerate(zip(self.layers, parts, strict=True)):
            if self.looks is not None and keys is not None:
                x = self.looks.read(number, x, keys)
            x = layer(x, part)
        return x


def _below_best(values: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Return values (B, K, F) minus the largest ones of the proposals that are present (B, K)."""
    return values - values.masked_fill(~present[..., None], -1).amax(1, keepdim=True)


def _pairs(centre: torch.Tensor, side: torch.Tensor) -> torch.Tensor:
    """Return features of each pair of boxes, (B, K, K, 5): offset (x, y), distance, log distance, log area ratio."""
    away = centre[:, :, None] - centre[:, None]
    distance = away.square().sum(-1, keepdim=True).clamp(min=1e-8).sqrt()  # a norm has no gradient at 0
    area = side.prod(-1).clamp(min=MIN_AREA).log()
    return torch.cat([away, distance, (distance + 0.05).log(), (area[:, :, None] - area[:, None])[..., None]], dim=-1)
