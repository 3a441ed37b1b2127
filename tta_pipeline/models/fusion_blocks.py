"""Fusion of the vectors of two modalities.

References
----------
Chen et al., "Pathomic Fusion", IEEE Trans. Med. Imaging 2020: gated Kronecker fusion.
Chen et al., "Multimodal Co-Attention Transformer", ICCV 2021: both fusions, and their widths.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tta_pipeline.models.dropout import Dropout

_BILINEAR_WIDTH = 32


class ConcatFusion(nn.Module):
    """Two vectors side by side through two layers of Linear, ReLU: 2 x (batch, width) -> (batch, width)."""

    def __init__(self, width: int = 256):
        super().__init__()
        self.mix = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())

    def forward(self, *, histology: Tensor, genes: Tensor) -> Tensor:
        """Histology stands before genes."""
        fused: Tensor = self.mix(torch.cat([histology, genes], dim=1))
        return fused


class BilinearFusion(nn.Module):
    """Gated Kronecker product of two vectors: 2 x (batch, width) -> (batch, width).

    Each modality u is cut to o = Drop relu(W_o (sigmoid(W_z [histology; genes]) * relu(W_h u))) with 32 entries; a 1 is
    appended to both, so that each passes the outer product alone too.
    """

    def __init__(self, width: int = 256, *, dropout: float = 0.25):
        super().__init__()
        self.histology = _Gated(width, dropout=dropout)
        self.genes = _Gated(width, dropout=dropout)
        self.mix = nn.Sequential(
            Dropout(dropout),
            nn.Linear((_BILINEAR_WIDTH + 1) ** 2, width),
            nn.ReLU(),
            Dropout(dropout),
            nn.Linear(width, width),
            nn.ReLU(),
            Dropout(dropout),
        )

    def forward(self, *, histology: Tensor, genes: Tensor) -> Tensor:
        """The fused vector."""
        both = torch.cat([histology, genes], dim=1)  # (batch, 2 width)
        left = F.pad(self.histology(histology, both), (0, 1), value=1.0)  # (batch, 33)
        right = F.pad(self.genes(genes, both), (0, 1), value=1.0)
        outer = left[:, :, None] * right[:, None, :]  # (batch, 33, 33)
        fused: Tensor = self.mix(outer.flatten(1))
        return fused


def fusion_of(kind: Literal["concat", "bilinear"], *, width: int, dropout: float) -> nn.Module:
    """The fusion of that name; nothing is dropped in a concatenation."""
    return ConcatFusion(width) if kind == "concat" else BilinearFusion(width, dropout=dropout)


class _Gated(nn.Module):
    """A modality's vector cut to 32 entries, gated by both modalities."""

    def __init__(self, width: int, *, dropout: float):
        super().__init__()
        self.cut = nn.Linear(width, _BILINEAR_WIDTH)
        self.gate = nn.Linear(2 * width, _BILINEAR_WIDTH)
        self.out = nn.Sequential(nn.Linear(_BILINEAR_WIDTH, _BILINEAR_WIDTH), nn.ReLU(), Dropout(dropout))

    def forward(self, own: Tensor, both: Tensor) -> Tensor:
        gated: Tensor = self.out(self.gate(both).sigmoid() * self.cut(own).relu())
        return gated
