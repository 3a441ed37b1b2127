"""ABMIL and SNN side by side, trained end to end."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tta_pipeline import model_sections
from tta_pipeline.models.abmil import AttentionPool
from tta_pipeline.models.batch import Batch, Output, RiskModel
from tta_pipeline.models.blocks import SNNLayer, all_genes


class LateFusion(RiskModel):
    """The vectors of either modality, concatenated, through two layers.

    References
    ----------
    The multimodal baseline of MCAT (Chen et al., ICCV 2021), there "AMIL + genes".
    """

    modalities = ("genomics", "histology")
    genes: Tensor

    def __init__(
        self,
        options: model_sections.LateFusion,
        *,
        feature_dim: int,
        pathways: list[NDArray[np.int64]],
        outputs: int = 1,
    ):
        super().__init__()
        genes, width = all_genes(pathways), options.hidden_dim
        self.register_buffer("genes", torch.from_numpy(genes), persistent=False)
        self.histology = AttentionPool(options, feature_dim=feature_dim)
        self.genomics = nn.Sequential(
            SNNLayer(len(genes), width, dropout=options.dropout), SNNLayer(width, width, dropout=options.dropout)
        )
        self.fusion = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.head = nn.Linear(width, outputs)

    def forward(self, batch: Batch) -> Output:
        """Scores of each patient."""
        beside = torch.cat([self.histology(batch), self.genomics(batch.expression[:, self.genes])], dim=1)
        return Output(scores=self.head(self.fusion(beside)))
