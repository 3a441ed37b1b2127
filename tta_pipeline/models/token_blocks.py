"""Attention between tokens, and their mean, that the baselines share.

Tokens may be padding: a mask is (batch, tokens) bool, True where a token is real, at least one in each row. What stands
under a False changes neither a result nor a gradient.

References
----------
Vaswani et al., "Attention Is All You Need", NeurIPS 2017: the Transformer layer.
Chen et al., "Multimodal Co-Attention Transformer", ICCV 2021: where the widths come from.
"""

from torch import Tensor, nn


class EncoderLayer(nn.Module):
    """Post-norm Transformer layer: x = LN(x + Drop MHA(x)), x = LN(x + Drop W2 Drop relu(W1 x)).

    torch's layer, which drops entries of the attention too; the models that publish this block use that layer.
    """

    def __init__(self, width: int = 256, *, heads: int = 8, hidden: int = 512, dropout: float = 0.25):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(width, heads, hidden, dropout, batch_first=True)

    def forward(self, tokens: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """(batch, tokens, width) -> (batch, tokens, width), all tokens attend to the real ones; 0 on padding."""
        padding = None if mask is None else ~mask
        encoded: Tensor = self.layer(blank(tokens, mask=mask), src_key_padding_mask=padding)
        return blank(encoded, mask=mask)


class CrossAttention(nn.Module):
    """Single-head attention of queries to other tokens: torch's layer, with biases, no dropout, no residual."""

    def __init__(self, width: int = 256):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 1, batch_first=True)

    def forward(self, queries: Tensor, *, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Read `tokens`, the keys and values, once per query.

        Parameters
        ----------
        queries : (batch, queries, width)
        tokens : (batch, tokens, width)
        mask : (batch, tokens) bool, of the tokens; queries that are padding give rows to be ignored.

        Returns
        -------
        read, attention
            (batch, queries, width), and (batch, queries, tokens): rows sum to 1 and are 0 on padding.
        """
        tokens = blank(tokens, mask=mask)
        padding = None if mask is None else ~mask
        read, attention = self.attention(queries, tokens, tokens, key_padding_mask=padding)
        return read, attention


def masked_mean(tokens: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Mean over the real tokens: (batch, tokens, width) -> (batch, width)."""
    if mask is None:
        return tokens.mean(dim=1)
    return blank(tokens, mask=mask).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def blank(tokens: Tensor, *, mask: Tensor | None) -> Tensor:
    """Tokens (batch, tokens, width) with 0 in the rows of padding."""
    return tokens if mask is None else tokens.masked_fill(~mask[..., None], 0.0)
