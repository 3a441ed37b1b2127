"""Attention between tokens, and their mean, that the baselines share.

Tokens may be padding: a mask is (batch, tokens) bool, True where a token is real, at least one in each row. What stands
under a False changes neither a result nor a gradient.

References
----------
Vaswani et al., "Attention Is All You Need", NeurIPS 2017: the Transformer layer.
Chen et al., "Multimodal Co-Attention Transformer", ICCV 2021: where the widths come from.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tta_pipeline.models.dropout import dropout

_CACHED = 2**20  # entries of attention at a time, of 4 bytes


class EncoderLayer(nn.Module):
    """Post-norm Transformer layer: x = LN(x + Drop MHA(x)), x = LN(x + Drop W2 Drop relu(W1 x)).

    The weights and the result of torch's layer, which the models that publish this block use; entries of the attention
    are dropped too. Training on a CPU reads a few patients at a time, whose attention stays in the cache: torch's fast
    kernel drops nothing, and its slow one writes the attention of the whole batch to memory.
    `activation` may stand for the ReLU.
    """

    def __init__(
        self,
        width: int = 256,
        *,
        heads: int = 8,
        hidden: int = 512,
        dropout: float = 0.25,
        activation: Literal["relu", "gelu"] = "relu",
    ):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(width, heads, hidden, dropout, activation=activation, batch_first=True)
        self.heads, self.dropout = heads, dropout

    def forward(self, tokens: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """(batch, tokens, width) -> (batch, tokens, width), all tokens attend to the real ones; 0 on padding."""
        layer, tokens = self.layer, blank(tokens, mask=mask)
        projected = F.linear(tokens, layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias)
        hidden = layer.norm1(tokens + self._drop(layer.self_attn.out_proj(self._read(projected, mask=mask))))
        forward = layer.linear2(self._drop(layer.activation(layer.linear1(hidden))))
        return blank(layer.norm2(hidden + self._drop(forward)), mask=mask)

    def _read(self, projected: Tensor, *, mask: Tensor | None) -> Tensor:
        """Queries, keys and values side by side (batch, tokens, 3 width) -> what each token reads."""
        parts = projected.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # type: ignore[no-untyped-call]
        query, key, value = parts  # each (batch, heads, tokens, width / heads)
        real = None if mask is None else mask[:, None, None]
        if self.training and self.dropout > 0 and projected.device.type == "cpu":
            read = self._read_in_parts(query, key=key, value=value, real=real)
        else:
            probability = self.dropout if self.training else 0.0
            read = F.scaled_dot_product_attention(query, key, value, attn_mask=real, dropout_p=probability)
        return read.transpose(1, 2).flatten(2)

    def _read_in_parts(self, query: Tensor, *, key: Tensor, value: Tensor, real: Tensor | None) -> Tensor:
        size = max(1, _CACHED // (self.heads * query.shape[2] ** 2))  # patients
        read = []
        parts = [torch.split(one, size) for one in (query * query.shape[3] ** -0.5, key, value)]
        for index, (queries, keys, values) in enumerate(zip(*parts, strict=True)):
            logits = queries @ keys.mT  # (patients, heads, tokens, tokens)
            if real is not None:
                logits = logits.masked_fill(~real[index * size : (index + 1) * size], -torch.inf)
            read.append(self._drop(logits.softmax(dim=-1)) @ values)
        return torch.cat(read)

    def _drop(self, hidden: Tensor) -> Tensor:
        return dropout(hidden, self.dropout, training=self.training)


class CrossAttention(nn.Module):
    """Single-head attention of queries to other tokens: torch's layer, with biases, no dropout, no residual.

    Where there are more tokens than queries, keys and values are not made: with k_j = W_k h_j + b_k the logits of a
    query are those of W_k^T q against the tokens h_j, up to a constant that the softmax does not see, and the mean of
    values is W_v times the mean of tokens, plus b_v.
    """

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
        if tokens.shape[1] > queries.shape[1]:
            return self._read_through_queries(queries, tokens=tokens, padding=padding)
        read, attention = self.attention(queries, tokens, tokens, key_padding_mask=padding)
        return read, attention

    def _read_through_queries(
        self, queries: Tensor, *, tokens: Tensor, padding: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        to_query, to_key, to_value = self.attention.in_proj_weight.chunk(3)
        query_bias, _, value_bias = self.attention.in_proj_bias.chunk(3)
        queries = F.linear(queries, to_query, query_bias) @ to_key * queries.shape[-1] ** -0.5
        logits = queries @ tokens.mT  # (batch, queries, tokens)
        if padding is not None:
            logits = logits.masked_fill(padding[:, None], -torch.inf)
        attention = logits.softmax(dim=-1)
        read: Tensor = self.attention.out_proj(F.linear(attention @ tokens, to_value, value_bias))
        return read, attention


def masked_mean(tokens: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Mean over the real tokens: (batch, tokens, width) -> (batch, width)."""
    if mask is None:
        return tokens.mean(dim=1)
    return blank(tokens, mask=mask).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def blank(tokens: Tensor, *, mask: Tensor | None) -> Tensor:
    """Tokens (batch, tokens, width) with 0 in the rows of padding."""
    return tokens if mask is None else tokens.masked_fill(~mask[..., None], 0.0)
