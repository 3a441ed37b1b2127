"""Attention over a patient's patches."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch, Output, RiskModel
from tta_pipeline.models.blocks import GatedAttention, ReLULayer


class AttentionPool(nn.Module):
    """Embedding of patches, gated attention over them, one hidden layer: (batch, n, d_in) -> (batch, hidden_dim)."""

    def __init__(self, options: model_sections.ABMIL | model_sections.LateFusion, *, feature_dim: int):
        super().__init__()
        width, dropout = options.embedding_dim, options.dropout
        self.embedding = ReLULayer(feature_dim, width, dropout=dropout)
        self.pooling = GatedAttention(width, options.attention_dim, dropout=dropout)
        self.hidden = ReLULayer(width, options.hidden_dim, dropout=dropout)

    def forward(self, batch: Batch) -> Tensor:
        """The vector of each patient."""
        pooled: Tensor = self.hidden(self.pooling(self.embedding(batch.features), batch.mask))
        return pooled


class ABMIL(RiskModel):
    """Multiple instance learning by gated attention, in its form for survival.

    References
    ----------
    Ilse, Tomczak, Welling, ICML 2018; for survival as in MCAT (Chen et al., ICCV 2021).
    """

    modalities = ("histology",)

    def __init__(
        self, options: model_sections.ABMIL, *, feature_dim: int, pathways: list[NDArray[np.int64]], outputs: int = 1
    ):
        del pathways
        super().__init__()
        self.body = AttentionPool(options, feature_dim=feature_dim)
        self.head = nn.Linear(options.hidden_dim, outputs)

    def forward(self, batch: Batch) -> Output:
        """Scores of each patient."""
        return Output(scores=self.head(self.body(batch)))
