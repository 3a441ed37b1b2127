"""Tokens to one vector, as MCAT does it for either modality."""

import torch
from torch import Tensor, nn

from tta_pipeline import model_sections
from tta_pipeline.models.blocks import GatedAttention, ReLULayer
from tta_pipeline.models.token_blocks import EncoderLayer


class Branch(nn.Module):
    """Tokens of one modality to a vector: Transformer layers, gated attention over the tokens, one hidden layer."""

    def __init__(self, options: model_sections.PathwayTransformer | model_sections.CoAttention):
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
