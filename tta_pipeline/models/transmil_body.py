"""TransMIL's body: a class token and the tokens of a bag through two Nystrom attentions and convolutions on a grid.

Tokens are a sequence here: their order in the bag matters, and a token's segment depends on the length of its own bag.
Bags of one length are therefore worked on together, and no bag ever sees the padding, or the length, of another.

Large batches are worked on in chunks; in training these are encoded again for the gradient, so that what lies between
input and output, many times their size, is in memory for one chunk at a time.

References
----------
Shao et al., "TransMIL", NeurIPS 2021: algorithms 1 and 2.
Zhou and Chen, "Cross-Modal Translation and Alignment for Survival Analysis", ICCV 2023: as encoder and decoder.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from tta_pipeline.models.nystrom import NystromAttention

_CHUNK_TOKENS = 2**13  # of a chunk, and of the largest batch of which everything is kept for the gradient


class PPEG(nn.Module):
    """Positions by depthwise convolutions on a square grid of tokens: x + dw7(x) + dw5(x) + dw3(x)."""

    def __init__(self, width: int):
        super().__init__()
        self.wide, self.middle, self.narrow = (
            nn.Conv2d(width, width, size, padding=size // 2, groups=width) for size in (7, 5, 3)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, s * s, width) -> the same, row by row; the three kernels add up to one of 7 x 7."""
        side = math.isqrt(tokens.shape[1])
        grid = tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)  # (batch, width, s, s)
        narrow = F.pad(self.narrow.weight, (2, 2, 2, 2))
        kernel = self.wide.weight + F.pad(self.middle.weight, (1, 1, 1, 1)) + narrow  # (width, 1, 7, 7)
        bias = torch.stack([layer.get_parameter("bias") for layer in self.children()]).sum(dim=0)
        around = F.conv2d(grid, kernel, bias, padding=3, groups=len(kernel))
        return tokens + around.flatten(2).transpose(1, 2)


def squared(tokens: Tensor) -> Tensor:
    """Tokens (batch, n, width) and the first of them again, until they are s * s, with s the least that holds n."""
    count = tokens.shape[1]
    side = math.isqrt(count - 1) + 1
    return torch.cat([tokens, tokens[:, : side * side - count]], dim=1)


class TransMILBody(nn.Module):
    """Class token, x + Nystrom(LN x), PPEG, x + Nystrom(LN x), LN.

    Parameters
    ----------
    landmarks, heads, dropout, null_tokens : as in `NystromAttention`.
    grid : fill bags to a square by repetition, and use PPEG; False leaves both out.
    class_std : standard deviation of the class token's start.
    class_tokens : how many there are.
    """

    def __init__(
        self,
        width: int,
        *,
        landmarks: int | None,
        grid: bool = True,
        heads: int = 8,
        dropout: float = 0.1,
        null_tokens: bool = False,
        class_std: float = 1.0,
        class_tokens: int = 1,
    ):
        super().__init__()
        self.class_token = nn.Parameter(torch.randn(class_tokens * width) * class_std)
        self.class_tokens = class_tokens
        self.grid = PPEG(width) if grid else None
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attentions = nn.ModuleList(
            NystromAttention(width, landmarks=landmarks, heads=heads, dropout=dropout, null_tokens=null_tokens)
            for _ in range(2)
        )
        self.norm_out = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, *, mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Encode bags of unequal length.

        Parameters
        ----------
        tokens : (batch, tokens, width)
        mask : (batch, tokens) bool; None where all tokens are real.

        Returns
        -------
        summary, encoded, mask
            The class tokens side by side (batch, class_tokens * width); the others (batch, longest, width), 0 on
            padding, where `longest` counts the repeated ones too; the mask of those (batch, longest).
        """
        if mask is None:
            mask = tokens.new_ones(tokens.shape[:2], dtype=torch.bool)
        lengths, first = mask.sum(dim=1).tolist(), self.class_tokens
        encode = self._encode_again if sum(lengths) > _CHUNK_TOKENS and torch.is_grad_enabled() else self._encode
        encoded: list[Tensor] = [tokens] * len(lengths)
        for length in sorted(set(lengths)):
            alike = [row for row, found in enumerate(lengths) if found == length]
            width = max(1, _CHUNK_TOKENS // length)
            for start in range(0, len(alike), width):
                rows = alike[start : start + width]
                bags = tokens[rows][mask[rows]].view(len(rows), length, -1)  # (rows, length, width)
                for row, bag in zip(rows, encode(bags), strict=True):
                    encoded[row] = bag
        sizes = torch.tensor([len(bag) - first for bag in encoded], device=mask.device)
        padded = pad_sequence(encoded, batch_first=True)  # (batch, class_tokens + longest, width)
        present = torch.arange(padded.shape[1] - first, device=mask.device) < sizes[:, None]
        return padded[:, :first].flatten(1), padded[:, first:], present

    def _encode_again(self, tokens: Tensor) -> Tensor:
        """`_encode` once now and once, with the same dropout, for the gradient."""
        encoded: Tensor = checkpoint(self._encode, tokens, use_reentrant=False)
        return encoded

    def _encode(self, tokens: Tensor) -> Tensor:
        """(bags, tokens, width) -> (bags, class_tokens + tokens to the square, width), the class tokens first."""
        if self.grid is not None:
            tokens = squared(tokens)
        hidden = torch.cat([self.class_token.view(self.class_tokens, -1).expand(len(tokens), -1, -1), tokens], dim=1)
        hidden = hidden + self.attentions[0](self.norms[0](hidden))
        if self.grid is not None:
            first = self.class_tokens
            hidden = torch.cat([hidden[:, :first], self.grid(hidden[:, first:])], dim=1)
        hidden = hidden + self.attentions[1](self.norms[1](hidden))
        encoded: Tensor = self.norm_out(hidden)
        return encoded
