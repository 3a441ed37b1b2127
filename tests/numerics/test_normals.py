import pytest
import torch
from torch.distributions import Normal, kl_divergence

from tta_pipeline.numerics.normals import product_of_experts, standard_normal_kl


def test_equal_experts_give_themselves() -> None:
    mean, variance = torch.randn(3, 5), torch.rand(3, 5) + 0.1
    found = product_of_experts(
        mean[:, None].expand(-1, 2, -1), variances=variance[:, None].expand(-1, 2, -1), weights=torch.tensor([0.3, 0.7])
    )
    torch.testing.assert_close(found, (mean, variance))


def test_the_product_of_densities_is_the_density_of_the_product() -> None:
    means, variances = torch.tensor([[[0.0], [2.0]]]).double(), torch.tensor([[[1.0], [0.25]]]).double()
    weights = torch.tensor([0.4, 0.6]).double()
    mean, variance = product_of_experts(means, variances=variances, weights=weights)
    grid = torch.linspace(-3, 5, 101).double()
    experts = Normal(means[0, :, 0, None], variances[0, :, 0, None].sqrt()).log_prob(grid)  # (2, 101)
    gap = (weights[:, None] * experts).sum(dim=0) - Normal(mean[0, 0], variance[0, 0].sqrt()).log_prob(grid)
    assert float(gap.max() - gap.min()) < 1e-12  # but for a constant


def test_distance_from_the_standard_normal() -> None:
    assert float(standard_normal_kl(torch.zeros(7), deviations=torch.ones(7))) == 0
    means, deviations = torch.randn(4, 7).double(), torch.rand(4, 7).double() + 0.1
    expected = kl_divergence(Normal(means, deviations), Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(standard_normal_kl(means, deviations=deviations), expected)
    assert float(expected.min()) == pytest.approx(float(standard_normal_kl(means, deviations=deviations).min()))
