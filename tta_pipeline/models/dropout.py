"""Dropout that is cheap on a CPU, where torch draws a number per entry from a serial generator.

That is a fifth of a training step. Here four entries share one number of 64 bits, so that a probability is rounded to a
multiple of 2^-16. On other devices, and where nothing is dropped, these are torch's own.

References
----------
Klambauer, Unterthiner, Mayr, Hochreiter, "Self-Normalizing Neural Networks", NeurIPS 2017: alpha dropout, section 2.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_ENTRIES = 2**16
_FLOOR = -1.0507009873554805 * 1.6732632423543772  # what SELU tends to far below 0


def dropout(hidden: Tensor, probability: float, *, training: bool) -> Tensor:
    """Dropout of every entry with a probability in [0, 1), the others scaled up so that the mean stays."""
    if not _by_bits(hidden, probability, training=training):
        return F.dropout(hidden, probability, training=training)
    kept, rounded = _kept(hidden, probability)
    return hidden * kept.mul_(1 / (1 - rounded))


def alpha_dropout(hidden: Tensor, probability: float, *, training: bool) -> Tensor:
    """Entries with a probability in [0, 1) set to SELU's floor, then all moved: a N(0, 1) keeps mean and variance.

    With floor f and probability p, x becomes a x or a f, plus b: a = ((1 - p) (1 + p f^2))^(-1/2), b = -a p f.
    """
    if not _by_bits(hidden, probability, training=training):
        return F.alpha_dropout(hidden, probability, training=training)
    kept, rounded = _kept(hidden, probability)
    scale = ((1 - rounded) * (1 + rounded * _FLOOR**2)) ** -0.5
    dropped = scale * _FLOOR * (1 - rounded)  # a f + b
    moved = kept * (-scale * rounded * _FLOOR - dropped) + dropped  # b where kept
    return torch.addcmul(moved, hidden, kept, value=scale)


class Dropout(nn.Dropout):
    """`dropout` as a layer."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Any shape -> the same."""
        return dropout(hidden, self.p, training=self.training)


class AlphaDropout(nn.AlphaDropout):
    """`alpha_dropout` as a layer."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Any shape -> the same."""
        return alpha_dropout(hidden, self.p, training=self.training)


def _by_bits(hidden: Tensor, probability: float, *, training: bool) -> bool:
    return training and probability > 0 and hidden.device.type == "cpu"


def _kept(hidden: Tensor, probability: float) -> tuple[Tensor, float]:
    """1 where an entry stays and 0 where not, in the type of `hidden`; and the probability that was drawn by."""
    dropped = round(probability * _ENTRIES)
    numbers = torch.empty(-(-hidden.numel() // 4), dtype=torch.int64).random_(-(2**63), None)  # all of their 64 bits
    bits = numbers.view(torch.int16)[: hidden.numel()].view(hidden.shape)
    return (bits >= dropped - _ENTRIES // 2).to(hidden.dtype), dropped / _ENTRIES
