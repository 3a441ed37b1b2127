"""A bag as a mixture: maximum a posteriori rounds from given prototypes, and sums of tokens transported to them.

Mixture of a bag x_1 .. x_n with C diagonal Gaussians, prior means m_c, prior variance V (one number for all) and prior
strength t. A round takes responsibilities q_ic proportional to pi_c N(x_i; mu_c, Sigma_c), N_c = sum_i q_ic, and sets

    pi_c = (N_c + t) / (n + C t)
    mu_c = (sum_i q_ic x_i + t m_c) / (N_c + t)
    Sigma_c = (sum_i q_ic (x_i - mu_c)^2 + t (V + (m_c - mu_c)^2)) / (N_c + t).

References
----------
Song et al., "Morphological Prototyping for Unsupervised Slide Representation Learning", CVPR 2024 (PANTHER).
Kim, "Differentiable Expectation-Maximization for Set Representation Learning", ICLR 2022: the rounds.
Mialon et al., "A Trainable Optimal Transport Embedding for Feature Aggregation", ICLR 2021: the transported sums.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.transport import solve_joint

_CHUNK_TOKENS = 512  # worked on at a time


@dataclass(frozen=True)
class Mixture:
    """Mixtures of a batch of bags, with C components each, in the dtype of the fit.

    weights: (batch, C), pi, which sum to 1. means: (batch, C, d), mu. variances: (batch, C, d), Sigma, above 0.
    log_likelihood: (batch, rounds), mean over the bag of log sum_c pi_c N(x_i; mu_c, Sigma_c) under the parameters that
        each round began with.
    """

    weights: Tensor
    means: Tensor
    variances: Tensor
    log_likelihood: Tensor


@torch.no_grad()
def fit_mixture(
    tokens: Tensor,
    *,
    mask: Tensor,
    centres: Tensor,
    prior_strength: float,
    prior_variance: float,
    rounds: int = 1,
    dtype: torch.dtype = torch.float64,
) -> Mixture:
    """Rounds of maximum a posteriori from pi = 1 / C, mu = m, Sigma = V, bag by bag. No gradient.

    Parameters
    ----------
    tokens : (batch, tokens, d); what stands under a False of the mask is not read.
    mask : (batch, tokens) bool, at least one True in each row.
    centres : (C, d), the prior means m.
    prior_strength : t >= 0; 0 is maximum likelihood, and a component without tokens then keeps its prior.
    prior_variance : V > 0.
    rounds : at least 1.
    dtype : of the arithmetic. Single precision takes half the time; a token between two components may then be shared
        out otherwise by about 1e-7 |x - mu|^2 / Sigma, which moves no sum by much.

    Raises
    ------
    InputError
        A shape or value that does not fit, or a component whose variance vanishes; names the position in the batch
        where there is one.
    """
    _check(tokens, mask=mask, centres=centres)
    if not prior_strength >= 0 or not 0 < prior_variance < math.inf or rounds < 1:
        raise InputError(
            f"mixture: expected prior_strength of at least 0, prior_variance above 0 and at least 1 round, found "
            f"{prior_strength!r}, {prior_variance!r} and {rounds!r}."
        )
    prior = _Prior(means=centres.to(dtype), variance=prior_variance, strength=prior_strength)
    fitted = [_fit(bag[real].to(dtype), prior, rounds=rounds) for bag, real in zip(tokens, mask, strict=True)]
    weights, means, variances, log_likelihood = (torch.stack(column) for column in zip(*fitted, strict=True))
    sound = (variances > 0).flatten(1).all(dim=1) & log_likelihood.isfinite().all(dim=1)
    for position in (~sound).nonzero().flatten().tolist()[:1]:
        raise InputError(
            f"mixture, position {position} in the batch: expected variances above 0, found a component whose tokens do "
            f"not vary. Set prior_strength (now {prior_strength:g}) above 0."
        )
    return Mixture(weights=weights, means=means, variances=variances, log_likelihood=log_likelihood)


@torch.no_grad()
def transported_sums(tokens: Tensor, *, mask: Tensor, centres: Tensor, epsilon: float = 0.1) -> Tensor:
    """Tokens summed by their transport to centres: token c = sum_i T_ic x_i, (batch, C, d) in the dtype of the tokens.

    T is the balanced entropic plan between the tokens, mass C / n each, and the centres, mass 1 each, for the Euclidean
    distance: a centre takes its nearest tokens. No gradient.

    Parameters
    ----------
    tokens, mask, centres : as in `fit_mixture`.
    epsilon : weight of the entropy in units of the distance, > 0.

    Raises
    ------
    InputError
        A shape or value that does not fit.
    ConvergenceError
        The plan was not reached.
    """
    _check(tokens, mask=mask, centres=centres)
    tokens = tokens.masked_fill(~mask[..., None], 0.0)
    centres = centres.to(tokens).expand(len(tokens), -1, -1)
    distance = torch.cdist(tokens, centres, compute_mode="donot_use_mm_for_euclid_dist")  # (batch, tokens, C)
    plan = solve_joint(distance, mask=mask, rho=1.0, epsilon=epsilon, gamma=math.inf).plan  # rows sum to 1
    mass = centres.shape[1] / mask.sum(dim=1)  # (batch,)
    return mass[:, None, None].to(tokens) * (plan.transpose(1, 2) @ tokens)


@dataclass(frozen=True)
class _Prior:
    means: Tensor
    variance: float
    strength: float


def _fit(tokens: Tensor, prior: _Prior, *, rounds: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights (C,), means (C, d), variances (C, d), log-likelihoods (rounds,) of one bag (tokens, d).

    Tokens are taken about their mean, so that the sums of squares lose no digits; a scatter about mu_c that rounding
    makes negative is 0.
    """
    origin = tokens.mean(dim=0)
    start = prior.means - origin
    n_tokens, n_components, strength = len(tokens), len(start), prior.strength
    weights = tokens.new_full((n_components,), 1 / n_components)
    means, variances = start, torch.full_like(start, prior.variance)
    log_likelihood = []
    for _ in range(rounds):
        mass, sums, squares, evidence = _moments(tokens, origin, weights=weights, means=means, variances=variances)
        log_likelihood.append(evidence / n_tokens)
        weights = (mass[:, 0] + strength) / (n_tokens + n_components * strength)
        total = mass + strength
        means = torch.where(total > 0, (sums + strength * start) / total, start)
        scatter = (squares - 2 * means * sums + mass * means.square()).clamp_min(0)
        pull = strength * (prior.variance + (start - means).square())
        variances = torch.where(total > 0, (scatter + pull) / total, prior.variance)
    return weights, means + origin, variances, torch.stack(log_likelihood)


def _moments(
    tokens: Tensor, origin: Tensor, *, weights: Tensor, means: Tensor, variances: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums over the bag of q_ic (C, 1), q_ic y_i and q_ic y_i^2 (C, d), and of the log-evidence, for y = x - origin.

    A few tokens at a time, so that what is between the products stays in the cache.
    """
    precision = variances.reciprocal()
    pull = 2 * means * precision
    constant = weights.log() - 0.5 * ((2 * math.pi * variances).log() + means.square() * precision).sum(dim=1)  # (C,)
    mass, evidence = tokens.new_zeros(len(means), 1), tokens.new_zeros(())
    sums, squares = torch.zeros_like(means), torch.zeros_like(means)
    for part in torch.split(tokens, _CHUNK_TOKENS):
        centred = part - origin
        squared = centred.square()
        joint = constant - 0.5 * (squared @ precision.T - centred @ pull.T)  # (tokens, C), log pi_c N(x_i)
        of_token = joint.logsumexp(dim=1, keepdim=True)
        shares = (joint - of_token).exp()
        mass += shares.sum(dim=0)[:, None]
        sums.addmm_(shares.T, centred)
        squares.addmm_(shares.T, squared)
        evidence += of_token.sum()
    return mass, sums, squares, evidence


def _check(tokens: Tensor, *, mask: Tensor, centres: Tensor) -> None:
    if tokens.ndim != 3 or centres.ndim != 2 or centres.shape[-1] != tokens.shape[-1] or len(centres) < 1:
        raise InputError(
            f"mixture: expected tokens (batch, tokens, d) and centres (C, d) of one width, found {tuple(tokens.shape)} "
            f"and {tuple(centres.shape)}."
        )
    if mask.dtype != torch.bool or mask.shape != tokens.shape[:2]:
        raise InputError(
            f"mixture: expected a bool mask of shape {tuple(tokens.shape[:2])} like the tokens, found {mask.dtype} "
            f"{tuple(mask.shape)}."
        )
    low, high = tokens.aminmax(dim=2)  # NaN and infinity show in them
    finite = ((low.isfinite() & high.isfinite()) | ~mask).all(dim=1)
    for position in (~(mask.any(dim=1) & finite)).nonzero().flatten().tolist()[:1]:
        found = "NaN or infinity" if bool(mask[position].any()) else "a mask without any"
        raise InputError(
            f"mixture, position {position} in the batch: expected at least one valid token, and finite ones, found "
            f"{found}."
        )
