"""Perceptrons on genes, without pathways or images: MLP, the tabular baseline of SurvPath, and SNN."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch, Output, RiskModel
from tta_pipeline.models.blocks import ReLULayer, SNNLayer, all_genes


class _Perceptron(RiskModel):
    """Two hidden layers, of a kind that the model names, on the standardised genes of all sets, each gene once."""

    modalities = ("genomics",)
    layer: type[ReLULayer] | type[SNNLayer]
    genes: Tensor

    def __init__(
        self,
        options: model_sections.MLP | model_sections.SNN,
        *,
        feature_dim: int,
        pathways: list[NDArray[np.int64]],
        outputs: int = 1,
    ):
        del feature_dim
        super().__init__()
        genes, width = all_genes(pathways), options.hidden_dim
        self.register_buffer("genes", torch.from_numpy(genes), persistent=False)
        self.body = nn.Sequential(
            self.layer(len(genes), width, dropout=options.dropout), self.layer(width, width, dropout=options.dropout)
        )
        self.head = nn.Linear(width, outputs)

    def forward(self, batch: Batch) -> Output:
        """Scores of each patient."""
        return Output(scores=self.head(self.body(batch.expression[:, self.genes])))


class MLP(_Perceptron):
    """Two hidden layers with ReLU on the standardised genes of all sets, each gene once.

    References
    ----------
    Jaume et al., CVPR 2024, and its code; the published scaling to [-1, 1] by one range of all genes is not repeated.
    """

    layer = ReLULayer


class SNN(_Perceptron):
    """Two self-normalising layers on the standardised genes of all sets, each gene once.

    References
    ----------
    Klambauer, Unterthiner, Mayr, Hochreiter, NeurIPS 2017; for survival as in PathomicFusion, MCAT and SurvPath.
    """

    layer = SNNLayer
