"""Transformer over pathway tokens, without images: whether attention between pathways helps by itself."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch, Output, RiskModel
from tta_pipeline.models.blocks import GatedAttention, ReLULayer
from tta_pipeline.models.gene_nets import Genes
from tta_pipeline.models.token_blocks import EncoderLayer


class Branch(nn.Module):
    """Tokens of one modality to a vector: Transformer layers, gated attention over the tokens, one hidden layer."""

    def __init__(self, options: model_sections.PathwayTransformer):
        super().__init__()
        width, dropout = options.hidden_dim, options.dropout
        self.layers = nn.Sequential(
            *(
                EncoderLayer(width, heads=options.heads, hidden=options.feed_forward_dim, dropout=dropout)
                for _ in range(options.layers)
            )
        )
        self.pooling = GatedAttention(width, options.attention_dim, dropout=dropout)
        self.hidden = ReLULayer(width, width, dropout=dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, width) -> (batch, width)."""
        every = tokens.new_ones(tokens.shape[:2], dtype=torch.bool)
        pooled: Tensor = self.hidden(self.pooling(self.layers(tokens), every))
        return pooled


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
