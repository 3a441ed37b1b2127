"""Transformer over pathway tokens, without images: whether attention between pathways helps by itself."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch, Output, RiskModel
from tta_pipeline.models.branch import Branch
from tta_pipeline.models.gene_nets import Genes


class PathwayTransformer(RiskModel):
    """A token per gene set by a net of its own, attention between the tokens, one vector.

    References
    ----------
    The gene branch of MCAT (Chen et al., "Multimodal Co-Attention Transformer", ICCV 2021), alone.
    """

    modalities = ("genomics",)

    def __init__(
        self,
        options: model_sections.PathwayTransformer,
        *,
        feature_dim: int,
        pathways: list[NDArray[np.int64]],
        outputs: int = 1,
    ):
        del feature_dim
        super().__init__()
        width = options.hidden_dim
        self.genes = Genes(pathways, hidden=width, out=width, dropout=options.dropout)
        self.body = Branch(options)
        self.head = nn.Linear(width, outputs)

    def forward(self, batch: Batch) -> Output:
        """Scores of each patient."""
        return Output(scores=self.head(self.body(self.genes(batch.expression))))
