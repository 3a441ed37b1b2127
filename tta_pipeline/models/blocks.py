"""Blocks that the baselines share: self-normalising layers, gated attention, pooling, the head before the scores."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tta_pipeline.models.dropout import AlphaDropout, Dropout


def all_genes(pathways: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Gene columns that stand in any set, each once, ascending."""
    return np.unique(np.concatenate(list(pathways)))


class SNNLayer(nn.Sequential):
    """Linear, ELU, AlphaDropout; weights N(0, 1 / fan-in), no bias at the start.

    The published networks pair the dropout of SELU with ELU.

    References
    ----------
    Klambauer, Unterthiner, Mayr, Hochreiter, NeurIPS 2017, section 2.
    """

    def __init__(self, width_in: int, width_out: int, *, dropout: float):
        linear = nn.Linear(width_in, width_out)
        nn.init.normal_(linear.weight, std=width_in**-0.5)
        nn.init.zeros_(linear.bias)
        super().__init__(linear, nn.ELU(), AlphaDropout(dropout))


class ReLULayer(nn.Sequential):
    """Linear, ReLU, Dropout."""

    def __init__(self, width_in: int, width_out: int, *, dropout: float):
        super().__init__(nn.Linear(width_in, width_out), nn.ReLU(), Dropout(dropout))


class GatedAttention(nn.Module):
    """Pooling of a bag by gated attention: a_i = softmax_i w^T (tanh(V h_i) * sigmoid(U h_i)).

    References
    ----------
    Ilse, Tomczak, Welling, ICML 2018, eq. 9.
    """

    def __init__(self, width: int, attention_dim: int, *, dropout: float):
        super().__init__()
        self.value = nn.Sequential(nn.Linear(width, attention_dim), nn.Tanh(), Dropout(dropout))
        self.gate = nn.Sequential(nn.Linear(width, attention_dim), nn.Sigmoid(), Dropout(dropout))
        self.score = nn.Linear(attention_dim, 1)

    def attention(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """(batch, n, width) and (batch, n) bool -> (batch, n), 0 where masked, of sum 1."""
        scores = self.score(self.value(hidden) * self.gate(hidden))[..., 0]
        attention: Tensor = scores.masked_fill(~mask, -torch.inf).softmax(dim=1)
        return attention

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """(batch, n, width) and (batch, n) bool -> (batch, width)."""
        attention = self.attention(hidden, mask)[:, None]  # (batch, 1, n)
        return (attention @ hidden.masked_fill(~mask[..., None], 0.0))[:, 0]
