"""Gene sets query the bag: multimodal co-attention."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch, Output, RiskModel
from tta_pipeline.models.blocks import ReLULayer
from tta_pipeline.models.branch import Branch
from tta_pipeline.models.fusion_blocks import fusion_of
from tta_pipeline.models.gene_nets import Genes
from tta_pipeline.models.token_blocks import CrossAttention


class Branches(nn.Module):
    """Two branches and their fusion: tokens of either modality to the vector that the scores are linear in."""

    def __init__(self, options: model_sections.CoAttention):
        super().__init__()
        self.histology, self.genomics = Branch(options), Branch(options)
        self.fusion = fusion_of(options.fusion, width=options.hidden_dim, dropout=options.dropout)

    def forward(self, *, histology: Tensor, genes: Tensor, bag: Tensor | None = None) -> Tensor:
        """Vectors (parts, width).

        Parameters
        ----------
        histology : (parts, sets, width)
        genes : (batch, sets, width)
        bag : (parts,) row of `genes` that stands beside each part; None where each patient is one part.
        """
        beside = self.genomics(genes)
        fused: Tensor = self.fusion(histology=self.histology(histology), genes=beside if bag is None else beside[bag])
        return fused


class MCAT(RiskModel):
    """Multimodal Co-Attention Transformer: each gene set reads the bag once, and what it read replaces the bag.

    References
    ----------
    Chen et al., "Multimodal Co-Attention Transformer for Survival Prediction in Gigapixel Whole Slide Images", ICCV
    2021: eq. 2, co-attention. Its six gene families with copy numbers and mutations are the study's gene sets here.
    """

    modalities = ("genomics", "histology")

    def __init__(
        self,
        options: model_sections.CoAttention,
        *,
        feature_dim: int,
        pathways: list[NDArray[np.int64]],
        outputs: int = 1,
    ):
        super().__init__()
        width, dropout = options.hidden_dim, options.dropout
        self.patches = ReLULayer(feature_dim, width, dropout=dropout)
        self.genes = Genes(pathways, hidden=width, out=width, dropout=dropout)
        self.co_attention = CrossAttention(width)
        self.branches = Branches(options)
        self.head = nn.Linear(width, outputs)

    def forward(self, batch: Batch) -> Output:
        """Scores of each patient."""
        return Output(scores=self.scores(batch, genes=self.genes(batch.expression)))

    def scores(self, batch: Batch, *, genes: Tensor) -> Tensor:
        """Scores (batch, outputs) by tokens of gene sets (batch, sets, width), wherever these are from."""
        read, _ = self.co_attention(genes, tokens=self.patches(batch.features), mask=batch.mask)
        scores: Tensor = self.head(self.branches(histology=read, genes=genes))
        return scores
