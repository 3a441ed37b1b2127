import math

import numpy as np
import ot
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from tta_pipeline.errors import InputError
from tta_pipeline.numerics.mixture import Mixture, fit_mixture, transported_sums

LENGTHS = (40, 1, 23)


def bags(
    *, garbage: float = 0.0, spread: float = 1.0, d: int = 5, components: int = 4
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens (3, 42, d) of float32 about centres (C, d), and their mask."""
    generator = torch.Generator().manual_seed(0)
    centres = 3 * torch.randn(components, d, generator=generator)
    mask = torch.arange(42) < torch.tensor(LENGTHS)[:, None]
    labels = torch.randint(components, mask.shape, generator=generator)
    tokens = centres[labels] + spread * torch.randn(*mask.shape, d, generator=generator)
    return tokens.masked_fill(~mask[..., None], garbage), mask, centres


def fit(
    tokens: Tensor, mask: Tensor, centres: Tensor, *, strength: float = 1.0, variance: float = 0.5, rounds: int = 1
) -> Mixture:
    return fit_mixture(
        tokens, mask=mask, centres=centres, prior_strength=strength, prior_variance=variance, rounds=rounds
    )


def by_hand(x: Tensor, m: Tensor, *, t: float, v: float) -> tuple[Tensor, Tensor, Tensor]:
    """The first round, as it is written, with the raw second moment."""
    x, m = x.double(), m.double()
    q = (-0.5 * (x[:, None] - m).square().sum(dim=2) / v).softmax(dim=1)
    mass = q.sum(dim=0)
    mean = (q.T @ x + t * m) / (mass + t)[:, None]
    second = (q.T @ x.square() + t * (v + m.square())) / (mass + t)[:, None]
    return (mass + t) / (len(x) + len(m) * t), mean, second - mean.square()


@pytest.mark.parametrize("strength", [0.001, 1.0, 30.0])
def test_a_round_is_its_formula(strength: float) -> None:
    tokens, mask, centres = bags()
    found = fit(tokens, mask, centres, strength=strength)
    for row, length in enumerate(LENGTHS):
        weights, means, variances = by_hand(tokens[row, :length], centres, t=strength, v=0.5)
        torch.testing.assert_close(found.weights[row], weights)
        torch.testing.assert_close(found.means[row], means, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(found.variances[row], variances, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.weights.sum(dim=1), torch.ones(3, dtype=torch.float64))
    assert (found.variances > 0).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_a_long_bag_is_its_formula_in_either_precision(dtype: torch.dtype, tolerance: float) -> None:
    generator = torch.Generator().manual_seed(0)
    tokens, centres = 5 + torch.randn(1300, 6, generator=generator), 5 + torch.randn(3, 6, generator=generator)
    found = fit_mixture(
        tokens[None],
        mask=torch.ones(1, 1300, dtype=torch.bool),
        centres=centres,
        prior_strength=1.0,
        prior_variance=0.5,
        dtype=dtype,
    )
    assert found.weights.dtype == found.means.dtype == found.variances.dtype == dtype
    for value, expected in zip(
        (found.weights[0], found.means[0], found.variances[0]), by_hand(tokens, centres, t=1.0, v=0.5), strict=True
    ):
        torch.testing.assert_close(value.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.filterwarnings("ignore", category=ConvergenceWarning)  # it stops after one round, as told
def test_a_round_without_prior_is_one_of_scikit_learn() -> None:
    tokens, mask, centres = bags()
    x = tokens[0, : LENGTHS[0]].double().numpy()
    theirs = GaussianMixture(
        len(centres),
        covariance_type="diag",
        max_iter=1,
        reg_covar=0.0,
        weights_init=np.full(len(centres), 1 / len(centres)),
        means_init=centres.double().numpy(),
        precisions_init=np.full(centres.shape, 1 / 0.5),
    ).fit(x)
    found = fit(tokens[:1], mask[:1], centres, strength=0.0)
    np.testing.assert_allclose(found.weights[0], theirs.weights_, rtol=1e-9)
    np.testing.assert_allclose(found.means[0], theirs.means_, rtol=1e-9)
    np.testing.assert_allclose(found.variances[0], theirs.covariances_, rtol=1e-9)
    np.testing.assert_allclose(found.log_likelihood[0, 0], theirs.lower_bound_, rtol=1e-9)
    near = fit(tokens[:1], mask[:1], centres, strength=1e-9)
    torch.testing.assert_close(near.variances, found.variances, rtol=1e-6, atol=1e-8)


def test_likelihood_never_falls_without_a_prior() -> None:
    tokens, mask, centres = bags(spread=2.0)
    likelihood = fit(tokens[:1], mask[:1], centres, strength=0.0, rounds=40).log_likelihood[0]
    assert (likelihood.diff() > -1e-10).all()
    assert likelihood[-1] > likelihood[0] + 0.5


@pytest.mark.parametrize("rounds", [1, 5])
def test_an_endless_prior_is_returned(rounds: int) -> None:
    tokens, mask, centres = bags()
    found = fit(tokens, mask, centres, strength=1e12, rounds=rounds)
    torch.testing.assert_close(found.weights, torch.full_like(found.weights, 0.25), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.means, centres.double().expand(3, -1, -1), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found.variances, torch.full_like(found.variances, 0.5), rtol=1e-8, atol=1e-8)


def test_a_component_without_tokens_keeps_its_prior() -> None:
    tokens, mask, centres = bags()
    far = torch.cat([centres, torch.full((1, 5), 1e4)])
    found = fit(tokens[:1], mask[:1], far, strength=0.0)
    assert found.weights[0, 4] == 0
    torch.testing.assert_close(found.means[0, 4], far[4].double())
    torch.testing.assert_close(found.variances[0, 4], torch.full((5,), 0.5, dtype=torch.float64))


def test_tokens_far_from_the_origin_lose_no_digits() -> None:
    tokens, mask, centres = bags()
    tokens, shift = tokens.double(), 1e6
    here, there = fit(tokens, mask, centres), fit(tokens + shift, mask, centres.double() + shift)
    torch.testing.assert_close(here.weights, there.weights, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(here.variances, there.variances, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("summary", ["mixture", "transport"])
def test_neither_padding_nor_order_nor_batch_mates_matter(summary: str) -> None:
    def run(tokens: Tensor, mask: Tensor) -> Tensor:
        if summary == "transport":
            return transported_sums(tokens, mask=mask, centres=centres, epsilon=0.5).double()
        found = fit(tokens, mask, centres, rounds=3)
        return torch.cat([found.weights[..., None], found.means, found.variances], dim=2)

    tokens, mask, centres = bags(garbage=1e30)
    together = run(tokens, mask)
    for row, length in enumerate(LENGTHS):
        shuffled = tokens[row : row + 1, torch.randperm(length, generator=torch.Generator().manual_seed(1))]
        alone = run(shuffled, torch.ones(1, length, dtype=torch.bool))
        torch.testing.assert_close(together[row], alone[0], rtol=1e-4, atol=1e-4)


def test_transported_sums_are_those_of_the_balanced_plan() -> None:
    tokens, mask, centres = bags()
    found = transported_sums(tokens, mask=mask, centres=centres, epsilon=0.5)
    for row, length in enumerate(LENGTHS):
        x = tokens[row, :length].double().numpy()
        cost = ot.dist(x, centres.double().numpy(), metric="euclidean")
        row_mass, column_mass = np.full(length, 4 / length), np.ones(4)
        plan = ot.sinkhorn(row_mass, column_mass, cost, 0.5, method="sinkhorn_log", stopThr=1e-10, numItermax=20_000)
        np.testing.assert_allclose(found[row], plan.T @ x, rtol=1e-4, atol=1e-4)


def test_a_centre_takes_its_nearest_tokens() -> None:
    centres = torch.tensor([[0.0, 0.0], [90.0, 90.0]])  # exponents of thousands
    tokens = torch.tensor([[[0.0, 1.0], [1.0, 0.0], [90.0, 91.0], [91.0, 90.0]]])
    found = transported_sums(tokens, mask=torch.ones(1, 4, dtype=torch.bool), centres=centres)
    torch.testing.assert_close(found[0], torch.tensor([[0.5, 0.5], [90.5, 90.5]]), rtol=1e-4, atol=1e-4)


def test_neither_carries_a_gradient() -> None:
    tokens, mask, centres = bags()
    tokens.requires_grad_()
    assert not fit(tokens, mask, centres).means.requires_grad
    assert not transported_sums(tokens, mask=mask, centres=centres, epsilon=0.5).requires_grad


def test_errors_name_the_position() -> None:
    tokens, mask, centres = bags()
    with pytest.raises(InputError, match=r"tokens \(batch, tokens, d\) and centres \(C, d\)"):
        fit(tokens, mask, centres[:, :4])
    with pytest.raises(InputError, match=r"bool mask of shape \(3, 42\)"):
        fit(tokens, mask.long(), centres)
    with pytest.raises(InputError, match=r"position 1 in the batch.*without any"):
        fit(tokens, mask & (torch.arange(3) != 1)[:, None], centres)
    with pytest.raises(InputError, match=r"position 2 in the batch.*NaN"):
        fit(tokens.index_put((torch.tensor(2), torch.tensor(0)), torch.tensor(math.nan)), mask, centres)
    with pytest.raises(InputError, match="prior_strength of at least 0"):
        fit(tokens, mask, centres, strength=-1.0)
    with pytest.raises(InputError, match=r"position 1 in the batch.*Set prior_strength \(now 0\) above 0"):
        fit(tokens, mask, centres, strength=0.0)
