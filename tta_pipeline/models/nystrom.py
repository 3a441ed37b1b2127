"""Nystrom attention: attention of long sequences through the means of their segments.

References
----------
Xiong et al., "Nystromformer", AAAI 2021: landmarks (section 3.2), iterated pseudo-inverse (eq. 14).
Shao et al., "TransMIL", NeurIPS 2021: for bags of patches.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tta_pipeline.models.dropout import dropout

_NEIGHBOURS = 33  # length of the convolution along the sequence


class NystromAttention(nn.Module):
    """Multi-head attention through landmarks, plus a convolution of the values along the sequence; no residual.

    With m landmarks q~, k~, the means of m segments of equal length, a head gives
    softmax(q k~^T) pinv(softmax(q~ k~^T)) softmax(q~ k^T) v + conv(v), its logits scaled by (width / heads)^-1/2.
    Where the length is no multiple of m, tokens are missing in front: a landmark is the mean of the tokens that it has,
    and one that has none is left out.

    Parameters
    ----------
    landmarks : m, at least 1; None is attention without landmarks, softmax(q k^T) v.
    rounds : iterations of the pseudo-inverse.
    null_tokens : zeros stand for the missing tokens and enter means and softmaxes, as in the published code.
    """

    def __init__(
        self,
        width: int,
        *,
        landmarks: int | None,
        heads: int = 8,
        rounds: int = 6,
        dropout: float = 0.1,
        null_tokens: bool = False,
    ):
        super().__init__()
        self.landmarks, self.heads, self.rounds = landmarks, heads, rounds
        self.dropout, self.null_tokens = dropout, null_tokens
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.convolution = nn.Conv2d(
            heads, heads, (_NEIGHBOURS, 1), padding=(_NEIGHBOURS // 2, 0), groups=heads, bias=False
        )
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, width) -> (batch, tokens, width); every bag has all of the tokens."""
        length = tokens.shape[1]
        if self.null_tokens and self.landmarks is not None:
            tokens = F.pad(tokens, (0, 0, -length % self.landmarks, 0))
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (batch, heads, tokens, width / heads)
            for part in self.query_key_value(tokens).chunk(3, dim=-1)
        )
        mixed = self._attend(query, key, value) + self.convolution(value)
        joined = mixed[:, :, -length:].transpose(1, 2).flatten(2)  # (batch, tokens, width)
        return dropout(self.out(joined), self.dropout, training=self.training)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if self.landmarks is None:
            return F.scaled_dot_product_attention(query, key, value)
        few_queries = segment_means(query, segments=self.landmarks)  # (batch, heads, landmarks, width / heads)
        few_keys = segment_means(key, segments=self.landmarks)
        logits = few_queries @ few_keys.mT * query.shape[-1] ** -0.5
        inverse = pseudo_inverse(logits.softmax(dim=-1), rounds=self.rounds)
        read = F.scaled_dot_product_attention(few_queries, key, value)
        return F.scaled_dot_product_attention(query, few_keys, inverse @ read)


def segment_means(tokens: Tensor, *, segments: int) -> Tensor:
    """Means of consecutive segments, (..., tokens, width) -> (..., at most `segments`, width).

    All segments but the first are of one length; tokens may be missing in the first.
    """
    count = tokens.shape[-2]
    length = -(-count // segments)
    filled = -(-count // length)
    missing = filled * length - count
    padded = F.pad(tokens, (0, 0, missing, 0))  # (..., filled length, width)
    sums = padded.view(*tokens.shape[:-2], filled, length, tokens.shape[-1]).sum(dim=-2)
    sizes = sums.new_full((filled, 1), length)
    sizes[0] -= missing
    return sums / sizes


def pseudo_inverse(matrix: Tensor, *, rounds: int) -> Tensor:
    """Moore-Penrose inverse of matrices (..., m, m) of numbers >= 0, by iteration.

    Z <- Z (13 I - A Z (15 I - A Z (7 I - A Z))) / 4 from A^T / (largest row sum * largest column sum). The sums are
    those of each matrix, so that it does not depend on the others.

    References
    ----------
    Xiong et al., AAAI 2021, eq. 14; Razavi et al., J. Appl. Math. 2014, whose iteration it is.
    """
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    largest = matrix.sum(dim=-1).amax(dim=-1) * matrix.sum(dim=-2).amax(dim=-1)
    inverse: Tensor = matrix.mT / largest[..., None, None]
    for _ in range(rounds):
        product = matrix @ inverse
        inner = 15 * identity - product @ (7 * identity - product)
        inverse = inverse @ (13 * identity - product @ inner) / 4
    return inverse
