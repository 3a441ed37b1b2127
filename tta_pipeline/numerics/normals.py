"""Normal distributions with independent entries: their product, and their distance from the standard normal."""

import torch
from torch import Tensor


def product_of_experts(means: Tensor, *, variances: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of prod_m N(mu_m, s_m)^{w_m}: (1 / s) = sum_m w_m / s_m, mu = s sum_m w_m mu_m / s_m.

    Parameters
    ----------
    means, variances
        (batch, experts, d) each; variances above 0.
    weights
        (experts,), of sum 1 where equal experts are to give themselves.

    Returns
    -------
    mean, variance
        (batch, d) each.

    References
    ----------
    Hinton, "Training Products of Experts by Minimizing Contrastive Divergence", Neural Comput. 14 (2002), section 2.
    """
    precision = weights[:, None] / variances  # (batch, experts, d)
    variance = precision.sum(dim=1).reciprocal()
    return variance * (precision * means).sum(dim=1), variance


def standard_normal_kl(means: Tensor, *, deviations: Tensor) -> Tensor:
    """KL(N(mu, s^2) || N(0, 1)), summed over the last axis: (..., d) -> (...).

    References
    ----------
    Kingma, Welling, "Auto-Encoding Variational Bayes", ICLR 2014, appendix B.
    """
    return 0.5 * (means.square() + deviations.square() - 1 - 2 * torch.log(deviations)).sum(dim=-1)
