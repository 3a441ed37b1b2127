import numpy as np
import pytest
import torch
from torch import nn

from tta_pipeline.models.gene_nets import Genes, PrivateLinear

MEMBERS = [np.array([4, 0, 2]), np.array([1]), np.array([2, 3, 5, 6, 7])]
SELU_FLOOR = (
    -1.7580993408473766
)  # -scale * alpha: what AlphaDropout puts in the place of an entry, before its affine map


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (Genes([np.arange(100)] * 6), 6 * 91_648),
        (Genes([np.arange(size) for size in (1, 30)]), 256 * 31 + 2 * 66_048),
        (Genes([np.arange(100)] * 6, hidden=1024), 600 * 1024 + 6 * 263_424),
        (PrivateLinear(22, 144, 144), 22 * (144 * 144 + 144)),
    ],
)
def test_parameters_are_as_many_as_published(module: nn.Module, expected: int) -> None:
    assert sum(parameter.numel() for parameter in module.parameters()) == expected


def test_gene_nets_are_separate_nets() -> None:
    torch.manual_seed(0)
    genes = Genes(MEMBERS, hidden=6, out=4).eval()
    expression = torch.randn(3, 8)
    found = genes(expression)
    first, second = genes[0], genes[3]
    weights = first.weight.split([len(columns) for columns in MEMBERS])
    for number, columns in enumerate(MEMBERS):
        alone = nn.Sequential(nn.Linear(len(columns), 6), nn.ELU(), nn.Linear(6, 4), nn.ELU())
        alone[0].weight.data, alone[0].bias.data = weights[number].T, first.bias[number]
        alone[2].weight.data, alone[2].bias.data = second.weight[number].T, second.bias[number]
        torch.testing.assert_close(found[:, number], alone(expression[:, torch.from_numpy(columns)]))


@torch.no_grad()
def test_gene_nets_start_within_the_bounds_of_their_own_fan_in() -> None:
    torch.manual_seed(0)
    genes = Genes([np.arange(4), np.arange(400)], hidden=300, out=200)
    for weight, size in zip(genes[0].weight.split([4, 400]), (4, 400), strict=True):
        assert float(weight.abs().max()) == pytest.approx(size**-0.5, rel=0.02)
    reference = nn.Linear(300, 200)
    for found, wanted in ((genes[3].weight, reference.weight), (genes[3].bias, reference.bias)):
        assert float(found.abs().max()) == pytest.approx(float(wanted.abs().max()), rel=0.05)
        assert float(found.std()) == pytest.approx(float(wanted.std()), rel=0.1)


def test_alpha_dropout_draws_each_entry_of_each_set_by_itself() -> None:
    torch.manual_seed(0)
    genes = Genes([np.arange(1)] * 40, hidden=5, out=50, dropout=0.25)
    with torch.no_grad():
        for parameter in genes.parameters():
            parameter.zero_()
    dropped = genes(torch.zeros(60, 1)) < 0  # all entries are 0 but for AlphaDropout: it puts a negative number
    q = 0.75
    scale = (q + SELU_FLOOR**2 * q * (1 - q)) ** -0.5
    low = scale * SELU_FLOOR * (1 - (1 - q))  # scale * (floor - (1 - q) floor)
    found = genes(torch.zeros(60, 1))
    torch.testing.assert_close(found[found < 0], torch.full_like(found[found < 0], low))
    share = dropped.float()
    assert float(share.mean()) == pytest.approx(0.25, abs=0.01)
    for axis in range(3):  # were a whole net, unit or patient dropped together, these would spread by 0.4
        means = share.mean(dim=axis)
        assert float(means.std()) == pytest.approx((0.25 * 0.75 / share.shape[axis]) ** 0.5, rel=0.15)
