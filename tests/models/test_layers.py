import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tta_pipeline.models.layers import Attention, Block, PathwayLinear, mean_units

MEMBERS = [np.array([4, 0, 2]), np.array([1]), np.array([2, 3, 5, 6, 7])]


def test_pathway_layer_is_one_linear_layer_per_set() -> None:
    torch.manual_seed(0)
    layer = PathwayLinear(MEMBERS, 6)
    expression = torch.randn(3, 8)
    found = layer(expression)
    assert found.shape == (3, 3, 6)
    start = 0
    for number, genes in enumerate(MEMBERS):
        weight = layer.weight[start : start + len(genes)]
        expected = expression[:, torch.as_tensor(genes)] @ weight + layer.bias[number]
        torch.testing.assert_close(found[:, number], expected)
        start += len(genes)


def test_each_set_starts_within_the_bound_of_its_own_fan_in() -> None:
    torch.manual_seed(0)
    sizes = [4, 400]
    layer = PathwayLinear([np.arange(size) for size in sizes], 300)
    for weight, size, number in zip(layer.weight.split(sizes), sizes, (0, 1), strict=True):
        reference = nn.Linear(size, 300).weight
        assert float(weight.detach().abs().max()) <= size**-0.5
        assert float(weight.detach().std()) == pytest.approx(float(reference.detach().std()), rel=0.05)
        assert float(layer.bias[number].detach().abs().max()) <= size**-0.5


def test_attention_equals_torch() -> None:
    torch.manual_seed(0)
    layer, tokens = Attention(8), torch.randn(2, 5, 8)
    query, key, value = layer.query_key_value(tokens).chunk(3, dim=-1)
    expected = layer.out(nn.functional.scaled_dot_product_attention(query, key, value))
    torch.testing.assert_close(layer(tokens), expected)


def test_a_block_of_logits_through_softmax_twice_changes_its_queries_alone() -> None:
    torch.manual_seed(0)
    layer, tokens = Attention(8), torch.randn(2, 5, 8)
    once, twice = layer(tokens), layer(tokens, twice=(slice(2, None), slice(0, 2)))
    torch.testing.assert_close(once[:, :2], twice[:, :2])
    assert not torch.isclose(once[:, 2:], twice[:, 2:]).any(dim=-1).all()


def test_a_block_does_not_see_the_size_of_its_tokens() -> None:
    torch.manual_seed(0)
    block, tokens = Block(8, 0.3).eval(), torch.randn(2, 5, 8)
    torch.testing.assert_close(block(tokens * 10), block(tokens * 1000), rtol=1e-4, atol=1e-5)


def unit_means(hidden: Tensor, weight: Tensor, bias: Tensor, views: Tensor) -> Tensor:
    """The plain formula: (heads, batch, views, s)."""
    units = normalize(torch.einsum("bnd,hsd->hbns", hidden, weight) + bias[:, None, None], dim=-1)
    return torch.einsum("bvn,hbns->hbvs", views, units)


def test_means_of_unit_vectors_and_their_gradients() -> None:
    torch.manual_seed(0)
    shapes = ((3, 7, 4), (2, 5, 4), (2, 5))
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    views = torch.rand(3, 2, 7, dtype=torch.float64)
    views[0, :, 5:] = 0  # padding

    def ours(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return mean_units(hidden, weight=weight, bias=bias, views=views)

    torch.testing.assert_close(ours(*inputs), unit_means(*inputs, views))
    assert torch.autograd.gradcheck(ours, inputs)
