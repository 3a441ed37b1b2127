"""Pathways and patches in one attention that leaves patches to each other out."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch, Output, RiskModel
from tta_pipeline.models.dropout import Dropout
from tta_pipeline.models.gene_nets import Genes
from tta_pipeline.models.token_blocks import blank, masked_mean


class PathwayAttention(nn.Module):
    """Single-head attention, no output projection, no residual, in which no patch sees a patch.

    Pathways attend to pathways and patches in one softmax, patches to pathways alone: time and memory grow with
    P (P + n) for P pathways and n patches, never with n^2.
    """

    def __init__(self, width: int, out: int):
        super().__init__()
        self.query_key_value = nn.Linear(width, 3 * out, bias=False)

    def forward(self, pathways: Tensor, *, patches: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What either side reads.

        Parameters
        ----------
        pathways : (batch, P, width)
        patches : (batch, n, width), finite
        mask : (batch, n) bool, True where a patch is real; padding is never read.

        Returns
        -------
        (batch, P, out) and (batch, n, out); rows of padding are to be ignored.
        """
        query, key, value = self._heads(pathways)
        patch_query, patch_key, patch_value = self._heads(patches)
        every = mask.new_ones(pathways.shape[:2])
        seen = torch.cat([every, mask], dim=1)[:, None, None]  # (batch, head, query, P + n)
        keys, values = torch.cat([key, patch_key], dim=2), torch.cat([value, patch_value], dim=2)
        read = F.scaled_dot_product_attention(query, keys, values, attn_mask=seen)
        patch_read = F.scaled_dot_product_attention(patch_query, key, value)
        return read[:, 0], patch_read[:, 0]

    def _heads(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, each (batch, 1, tokens, out)."""
        return self.query_key_value(tokens)[:, None].chunk(3, dim=-1)  # type: ignore[no-any-return]


class SurvPath(RiskModel):
    """Pathway tokens and patch tokens through one sparse attention, the means of either side by side.

    Patches that fill up a batch are no tokens: the published code lets them into softmax and mean while it trains.

    References
    ----------
    Jaume et al., "Modeling Dense Multimodal Interactions Between Biological Pathways and Histology for Survival
    Prediction", CVPR 2024. Its scaling of genes to [-1, 1] by one range of all genes is not repeated.
    """

    modalities = ("genomics", "histology")

    def __init__(
        self,
        options: model_sections.SurvPath,
        *,
        feature_dim: int,
        pathways: list[NDArray[np.int64]],
        outputs: int = 1,
    ):
        super().__init__()
        width, inner = options.embedding_dim, options.attention_dim
        self.genes = Genes(pathways, hidden=width, out=width, dropout=options.gene_dropout)
        self.patches = nn.Linear(feature_dim, width)
        self.norm = nn.LayerNorm(width)
        self.attention = PathwayAttention(width, inner)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(inner),
            nn.Linear(inner, inner),
            nn.GELU(),
            Dropout(options.dropout),
            nn.Linear(inner, inner),
            nn.LayerNorm(inner),
        )
        self.hidden = nn.Sequential(nn.Linear(2 * inner, options.hidden_dim), nn.ReLU())
        self.head = nn.Linear(options.hidden_dim, outputs)

    def forward(self, batch: Batch) -> Output:
        """Scores of each patient."""
        pathways = self.norm(self.genes(batch.expression))  # (batch, P, embedding_dim)
        patches = self.norm(self.patches(blank(batch.features, mask=batch.mask)))  # (batch, n, embedding_dim)
        read, patch_read = self.attention(pathways, patches=patches, mask=batch.mask)
        genomics = masked_mean(self.feed_forward(read))
        histology = masked_mean(self.feed_forward(patch_read), mask=batch.mask)
        return Output(scores=self.head(self.hidden(torch.cat([genomics, histology], dim=1))))
