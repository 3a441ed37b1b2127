"""ABMIL and SNN side by side, trained end to end."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tta_pipeline import model_sections
from tta_pipeline.models.abmil import AttentionPool
from tta_pipeline.models.batch import Batch, Output, RiskModel
from tta_pipeline.models.blocks import SNNLayer, all_genes
from tta_pipeline.models.fusion_blocks import fusion_of


class LateFusion(RiskModel):
    """The vectors of either modality through one fusion, or a sum of scores.

    A sum is a score that is linear in the vector of the patches plus one that is linear in that of the genes, trained
    together: neither modality changes what the other one says.

    References
    ----------
    The multimodal baseline of MCAT (Chen et al., ICCV 2021), there "AMIL + genes", with both of its fusions.
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
        self.fusion: nn.Module | None = None
        if options.fusion != "sum":
            self.fusion = fusion_of(options.fusion, width=width, dropout=options.dropout)
        self.head = nn.Linear(2 * width if self.fusion is None else width, outputs)

    def forward(self, batch: Batch) -> Output:
        """Scores of each patient."""
        histology, genes = self.histology(batch), self.genomics(batch.expression[:, self.genes])
        if self.fusion is None:  # linear in both side by side: the sum of what is linear in each
            return Output(scores=self.head(torch.cat([histology, genes], dim=1)))
        return Output(scores=self.head(self.fusion(histology=histology, genes=genes)))
