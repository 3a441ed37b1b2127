"""What TTA computes from logits and transport plans: pooling weights, losses, views of a bag, the mass curriculum.

Shapes: logits and plans are (batch, tokens, prototypes); a mask is (batch, tokens) bool, True where a token is real.
References: arXiv 2511.18089, sections 3.2 (Together) and 3.3 (Apart).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def rho_at(epoch: float, *, start: float, epochs: float, sharpness: float) -> float:
    """Mass that the prototypes receive at a fractional epoch: start + (1 - start) exp(-sharpness (1 - t/T)^2), then 1.

    Parameters
    ----------
    epoch
        t >= 0.
    start
        rho_0 in [0, 1]; the value at t = 0 is slightly above it.
    epochs
        T >= 0, from which on everything is transported.
    sharpness
        Steepness of the rise.
    """
    if epoch >= epochs:
        return 1.0
    return start + (1 - start) * math.exp(-sharpness * (1 - epoch / epochs) ** 2)


def pooling_weights(logits: Tensor, plan: Tensor | None, *, mask: Tensor, plan_weight: float) -> Tensor:
    """Weight of each token for each prototype: (1 - beta) softmax(l) + beta Q, its rows scaled to sum to 1.

    The gradient flows through the softmax part. Padded tokens weigh 0. Without a plan, beta is 0.
    """
    weights = logits.softmax(dim=-1)
    if plan is not None:
        weights = (1 - plan_weight) * weights + plan_weight * plan
    weights = row_normalised(weights)
    return weights.masked_fill(~mask[..., None], 0.0)


def row_normalised(plan: Tensor) -> Tensor:
    """Rows scaled to sum to 1; a row of zeros stays zero."""
    return plan / plan.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(plan.dtype).tiny)


def assignment_loss(logits: Tensor, plan: Tensor, *, mask: Tensor) -> Tensor:
    """Cross-entropy of softmax(l) against the row-normalised plan: mean over a bag's tokens, then over the batch."""
    entropy = -(row_normalised(plan) * logits.log_softmax(dim=-1)).sum(dim=-1)  # (batch, tokens)
    per_bag = entropy.masked_fill(~mask, 0.0).sum(dim=1) / mask.sum(dim=1)
    return per_bag.mean()


def contrast_loss(summary: Tensor, anchors: Tensor, *, own: int, temperature: float) -> Tensor:
    """-log softmax over the anchors of the cosine to the own anchor, mean over the batch.

    Parameters
    ----------
    summary
        (batch, dim), one vector per patient.
    anchors
        (modalities, dim).
    own
        Row of the anchor that belongs to the summary's modality.
    temperature
        Divisor of the cosines, > 0.
    """
    cosine = F.normalize(summary, dim=-1) @ F.normalize(anchors, dim=-1).T  # (batch, modalities)
    return -(cosine / temperature).log_softmax(dim=-1)[:, own].mean()


def two_views(mask: Tensor, *, fraction: float, overlap: float) -> Tensor:
    """Two random views of each bag, as averaging weights.

    A view holds `fraction` of a bag's tokens (at least one); `overlap` of them are also in the other view.

    Returns
    -------
    (batch, 2, tokens): 1/size of the view for its tokens, 0 elsewhere, so that a product with it is a mean.
    """
    order = torch.rand(mask.shape, device=mask.device).masked_fill(~mask, torch.inf)
    rank = order.argsort(dim=1).argsort(dim=1)  # (batch, tokens): real tokens first, in random order
    tokens = mask.sum(dim=1, keepdim=True)  # (batch, 1)
    size = (fraction * tokens).round().clamp_min(1)
    shift = torch.minimum(size - (overlap * size).round(), tokens - size)
    inside = torch.stack([rank < size, (rank >= shift) & (rank < shift + size)], dim=1)  # (batch, 2, tokens)
    inside &= mask[:, None]
    return inside / inside.sum(dim=2, keepdim=True)


def consistency_loss(logits: Tensor, plans: Tensor) -> Tensor:
    """Soft cross-entropy of each view's logits against the other view's row-normalised plan, per head.

    Parameters
    ----------
    logits, plans
        (2 views, heads, patients, prototypes).

    Returns
    -------
    (heads,): mean over patients and the two directions.
    """
    other = row_normalised(plans).flip(0)
    return -(other * logits.log_softmax(dim=-1)).sum(dim=-1).mean(dim=(0, 2))
