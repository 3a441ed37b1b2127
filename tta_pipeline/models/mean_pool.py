"""Perceptron on the mean of a patient's patches."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch, Output, RiskModel
from tta_pipeline.models.blocks import ReLULayer


class MeanPool(RiskModel):
    """Two hidden layers on the mean of all patches; their sum, as an option, also tells how many there are."""

    modalities = ("histology",)

    def __init__(
        self, options: model_sections.MeanPool, *, feature_dim: int, pathways: list[NDArray[np.int64]], outputs: int = 1
    ):
        del pathways
        super().__init__()
        self.sums = options.pooling == "sum"
        self.body = nn.Sequential(
            ReLULayer(feature_dim, options.hidden_dim, dropout=options.dropout),
            ReLULayer(options.hidden_dim, options.hidden_dim, dropout=options.dropout),
        )
        self.head = nn.Linear(options.hidden_dim, outputs)

    def forward(self, batch: Batch) -> Output:
        """Scores of each patient."""
        pooled = batch.features.masked_fill(~batch.mask[..., None], 0.0).sum(dim=1)  # (batch, d_in)
        if not self.sums:
            pooled = pooled / batch.mask.sum(dim=1, keepdim=True)
        return Output(scores=self.head(self.body(pooled)))
