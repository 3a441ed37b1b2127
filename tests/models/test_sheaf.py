"""Diffusion on a hypergraph, against its formula with dense matrices."""

import torch
from torch import Tensor

from tta_pipeline.models.sheaf import Hypergraph, SheafConvolution

MEMBERS = torch.tensor([[0, 1, 2], [3, 0, 0], [1, 3, 0], [4, 2, 0]])
VALID = torch.tensor([[True, True, True], [True, False, False], [True, True, False], [True, True, False]])


def graph() -> Hypergraph:
    return Hypergraph.of(MEMBERS, valid=VALID, nodes=5)


def incidence() -> Tensor:
    dense = torch.zeros(5, 4, dtype=torch.float64)
    for edge, (members, valid) in enumerate(zip(MEMBERS, VALID, strict=True)):
        dense[members[valid], edge] = 1
    return dense


def test_sums_are_products_with_the_incidence() -> None:
    dense, own = incidence(), graph()
    weight = torch.rand(8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weighted = torch.zeros_like(dense)
    weighted[own.node, own.edge] = weight
    assert torch.equal(own.size, dense.sum(dim=0).long())
    assert torch.equal(own.degree, dense.sum(dim=1).long())
    nodes, edges = (torch.randn(count, 3, dtype=torch.float64) for count in (5, 4))
    torch.testing.assert_close(own.to_edges(nodes, weight=weight), weighted.T @ nodes)
    torch.testing.assert_close(own.to_nodes(edges, weight=weight), weighted @ edges)


def test_convolution_is_its_formula() -> None:
    torch.manual_seed(0)
    layer, hidden, dense = SheafConvolution(3).double(), torch.randn(5, 3, dtype=torch.float64), incidence()
    means = dense.T @ hidden / dense.sum(dim=0)[:, None]
    pairs = torch.cat([hidden[:, None].expand(-1, 4, -1), means.expand(5, -1, -1)], dim=2)
    maps = dense * layer.restriction(pairs)[..., 0].sigmoid()
    scale = maps.square().sum(dim=1).rsqrt().diag()
    expected = scale @ maps @ dense.sum(dim=0).reciprocal().diag() @ maps.T @ scale @ hidden
    expected = expected @ layer.linear.weight.T + layer.linear.bias
    torch.testing.assert_close(layer(hidden, graph()), expected)


def test_a_constant_restriction_keeps_what_the_square_roots_of_degrees_span() -> None:
    """With H = h on members, D^-1/2 H B^-1 H^T D^-1/2 has an eigenvector D^1/2 1 of eigenvalue 1."""
    layer = SheafConvolution(2)
    torch.nn.init.zeros_(layer.restriction.weight)
    torch.nn.init.eye_(layer.linear.weight)
    torch.nn.init.zeros_(layer.linear.bias)
    own = graph()
    roots = own.degree.float().sqrt()[:, None].expand(-1, 2)
    torch.testing.assert_close(layer(roots, own), roots)


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    layer, own = SheafConvolution(2).double(), graph()
    hidden = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda nodes: layer(nodes, own), (hidden,))
    weight = layer.restriction.weight

    def by_restriction(value: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(layer, {"restriction.weight": value}, (hidden.detach(), own))
        return out

    assert torch.autograd.gradcheck(by_restriction, (weight.detach().requires_grad_(),))


def test_components_do_not_meet() -> None:
    layer = SheafConvolution(2)
    own = Hypergraph.of(torch.tensor([[0, 1], [1, 0], [2, 3], [3, 2]]), valid=torch.ones(4, 2).bool(), nodes=4)
    hidden = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    other = hidden.clone()
    other[2:] += 1
    before, after = layer(hidden, own), layer(other, own)
    assert torch.equal(before[:2], after[:2])
    assert (before[2:] - after[2:]).abs().min() > 0
