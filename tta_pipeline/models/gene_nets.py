"""Private layers: a net of its own for each gene set or token, run as batched products.

References
----------
Klambauer et al., "Self-Normalizing Neural Networks", NeurIPS 2017: AlphaDropout.
Chen et al., "Multimodal Co-Attention Transformer", ICCV 2021: one net per gene set, and its widths.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tta_pipeline.models.dropout import AlphaDropout
from tta_pipeline.models.layers import PathwayLinear


class PrivateLinear(nn.Module):
    """A linear layer of its own for each token, as one batched product; each starts as `nn.Linear` does."""

    def __init__(self, tokens: int, width: int, out: int):
        super().__init__()
        bound = width**-0.5
        self.weight = nn.Parameter((2 * torch.rand(tokens, width, out) - 1) * bound)
        self.bias = nn.Parameter((2 * torch.rand(tokens, out) - 1) * bound)

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, tokens, width) -> (batch, tokens, out)."""
        product = torch.baddbmm(self.bias[:, None], hidden.transpose(0, 1), self.weight)  # (tokens, batch, out)
        return product.transpose(0, 1)


class PrivateNorm(nn.LayerNorm):
    """LayerNorm of each token, with a scale and shift of its own: (batch, tokens, width) -> the same."""

    def __init__(self, tokens: int, width: int):
        super().__init__((tokens, width))

    def forward(self, hidden: Tensor) -> Tensor:
        """Mean and variance are those of one token."""
        return F.layer_norm(hidden, hidden.shape[-1:], eps=self.eps) * self.weight + self.bias


class Genes(nn.Sequential):
    """A private net SNN, SNN for each gene set: standardised expression (batch, genes) -> tokens (batch, sets, out).

    `members` holds the columns of each set's genes. AlphaDropout draws every entry by itself, as separate nets would.
    """

    def __init__(self, members: list[NDArray[np.int64]], *, hidden: int = 256, out: int = 256, dropout: float = 0.25):
        super().__init__(
            PathwayLinear(members, hidden),
            nn.ELU(),
            AlphaDropout(dropout),
            PrivateLinear(len(members), hidden, out),
            nn.ELU(),
            AlphaDropout(dropout),
        )
