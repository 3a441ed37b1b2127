"""Perceptron on genes, without pathways or images: the tabular baseline of SurvPath."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch, Output, RiskModel
from tta_pipeline.models.blocks import ReLULayer, all_genes


class MLP(RiskModel):
    """Two hidden layers on the standardised genes of all sets, each gene once.

    References
    ----------
    Jaume et al., CVPR 2024, and its code; the published scaling to [-1, 1] by one range of all genes is not repeated.
    """

    modalities = ("genomics",)
    genes: Tensor

    def __init__(
        self, options: model_sections.MLP, *, feature_dim: int, pathways: list[NDArray[np.int64]], outputs: int = 1
    ):
        del feature_dim
        super().__init__()
        genes = all_genes(pathways)
        self.register_buffer("genes", torch.from_numpy(genes), persistent=False)
        self.body = nn.Sequential(
            ReLULayer(len(genes), options.hidden_dim, dropout=options.dropout),
            ReLULayer(options.hidden_dim, options.hidden_dim, dropout=options.dropout),
        )
        self.head = nn.Linear(options.hidden_dim, outputs)

    def forward(self, batch: Batch) -> Output:
        """Scores of each patient."""
        return Output(scores=self.head(self.body(batch.expression[:, self.genes])))
