"""TransMIL: patches of a bag attend to each other, approximately, and to their neighbours in the bag's order."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch, Output, RiskModel
from tta_pipeline.models.token_blocks import blank
from tta_pipeline.models.transmil_body import TransMILBody


class TransMIL(RiskModel):
    """Embedded patches through the body of TransMIL; the risk is linear in its class token.

    All of it: tables of survival models also call "TransMIL" one attention layer without class token, without
    convolutions on the grid and without residual, then a mean.

    References
    ----------
    Shao et al., "TransMIL: Transformer based Correlated Multiple Instance Learning for Whole Slide Image
    Classification", NeurIPS 2021: algorithms 1 and 2; there for classes.
    """

    modalities = ("histology",)

    def __init__(
        self, options: model_sections.TransMIL, *, feature_dim: int, pathways: list[NDArray[np.int64]], outputs: int = 1
    ):
        del pathways
        super().__init__()
        width = options.hidden_dim
        self.embedding = nn.Sequential(nn.Linear(feature_dim, width), nn.ReLU())
        self.body = TransMILBody(
            width,
            landmarks=options.landmarks,
            heads=options.heads,
            dropout=options.dropout,
            null_tokens=options.null_tokens,
        )
        self.head = nn.Linear(width, outputs)

    def forward(self, batch: Batch) -> Output:
        """Scores of each patient."""
        patches = self.embedding(blank(batch.features, mask=batch.mask))  # (batch, n, width)
        summary, _, _ = self.body(patches, mask=batch.mask)
        return Output(scores=self.head(summary))
