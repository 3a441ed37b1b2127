"""Self-normalising network on genes, without pathways or images."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch, Output, RiskModel
from tta_pipeline.models.blocks import SNNLayer, all_genes


class SNN(RiskModel):
    """Two self-normalising layers on the standardised genes of all sets, each gene once.

    References
    ----------
    Klambauer, Unterthiner, Mayr, Hochreiter, NeurIPS 2017; for survival as in PathomicFusion, MCAT and SurvPath.
    """

    modalities = ("genomics",)
    genes: Tensor

    def __init__(
        self, options: model_sections.SNN, *, feature_dim: int, pathways: list[NDArray[np.int64]], outputs: int = 1
    ):
        del feature_dim
        super().__init__()
        genes = all_genes(pathways)
        self.register_buffer("genes", torch.from_numpy(genes), persistent=False)
        self.body = nn.Sequential(
            SNNLayer(len(genes), options.hidden_dim, dropout=options.dropout),
            SNNLayer(options.hidden_dim, options.hidden_dim, dropout=options.dropout),
        )
        self.head = nn.Linear(options.hidden_dim, outputs)

    def forward(self, batch: Batch) -> Output:
        """Scores of each patient."""
        return Output(scores=self.head(self.body(batch.expression[:, self.genes])))
