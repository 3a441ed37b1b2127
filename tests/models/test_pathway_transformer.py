from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch
from tta_pipeline.models.pathway_transformer import PathwayTransformer

SETS = [np.arange(0, 4), np.array([2, 5, 6]), np.array([8])]
SMALL = {"hidden_dim": 8, "heads": 2, "feed_forward_dim": 12, "attention_dim": 4}


def build(sets: list[NDArray[np.int64]] = SETS, **options: Any) -> PathwayTransformer:
    torch.manual_seed(0)
    section = model_sections.PathwayTransformer(architecture="pathway-transformer", **SMALL | options)
    return PathwayTransformer(section, feature_dim=7, pathways=sets).eval()


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(torch.zeros(2, 1, 7), torch.ones(2, 1, dtype=torch.bool), torch.randn(2, 9, generator=generator))


def with_sets(model: PathwayTransformer, kept: list[int]) -> PathwayTransformer:
    """A model of some of the sets, in another order perhaps, with the weights that the sets had."""
    other = build([SETS[number] for number in kept])
    weights = model.state_dict()
    blocks = weights["genes.0.weight"].split([len(genes) for genes in SETS])
    weights["genes.0.weight"] = torch.cat([blocks[number] for number in kept])
    for name in ("genes.0.bias", "genes.3.weight", "genes.3.bias"):
        weights[name] = weights[name][kept]
    other.load_state_dict(weights)
    return other


@torch.no_grad()
def test_the_order_of_the_sets_does_not_matter() -> None:
    model = build()
    found = with_sets(model, [2, 0, 1])(batch()).scores
    torch.testing.assert_close(found, model(batch()).scores, rtol=0, atol=1e-6)


@torch.no_grad()
def test_a_set_of_zeros_still_speaks_and_a_removed_one_does_not() -> None:
    model, whole = build(), batch()
    whole.expression[:, 8] = 0  # the only gene of the last set
    zeros, removed = model(whole).scores, with_sets(model, [0, 1])(whole).scores
    assert not torch.isclose(zeros, removed, rtol=0, atol=1e-5).any()
    whole.expression[:, 8] = 5
    torch.testing.assert_close(with_sets(model, [0, 1])(whole).scores, removed, rtol=0, atol=0)
    assert not torch.isclose(model(whole).scores, zeros, rtol=0, atol=1e-5).any()


@torch.no_grad()
def test_scores_are_those_of_the_formulas() -> None:
    """One patient at a time, from the weights alone."""
    model, whole = build(), batch()
    for row in range(2):
        tokens = _gene_tokens(model, whole.expression[row])  # (3, 8)
        for module in model.body.layers:
            tokens = _encoded(module.layer, tokens)
        pool = model.body.pooling
        gated = _linear(pool.value[0], tokens).tanh() * _linear(pool.gate[0], tokens).sigmoid()
        attention = _linear(pool.score, gated)[:, 0].softmax(dim=0)
        expected = _linear(model.head, F.relu(_linear(model.body.hidden[0], attention @ tokens)))
        torch.testing.assert_close(model(whole).scores[row], expected)


def _linear(layer: nn.Module, rows: Tensor) -> Tensor:
    return rows @ layer.weight.T + layer.bias


def _gene_tokens(model: PathwayTransformer, expression: Tensor) -> Tensor:
    first, second = model.genes[0], model.genes[3]
    weights = first.weight.split([len(genes) for genes in SETS])
    hidden = [
        F.elu(expression[genes] @ weight + bias) for genes, weight, bias in zip(SETS, weights, first.bias, strict=True)
    ]
    return torch.stack([F.elu(one @ second.weight[number] + second.bias[number]) for number, one in enumerate(hidden)])


def _encoded(layer: nn.TransformerEncoderLayer, tokens: Tensor) -> Tensor:
    parts = (tokens @ layer.self_attn.in_proj_weight.T + layer.self_attn.in_proj_bias).chunk(3, dim=1)
    query, key, value = (part.unflatten(1, (2, 4)).transpose(0, 1) for part in parts)  # (heads, tokens, 4)
    mixed = (query @ key.mT / 2).softmax(dim=-1) @ value
    tokens = layer.norm1(tokens + _linear(layer.self_attn.out_proj, mixed.transpose(0, 1).flatten(1)))
    return layer.norm2(tokens + _linear(layer.linear2, F.relu(_linear(layer.linear1, tokens))))


def test_one_set_is_enough() -> None:
    assert build([np.array([3])])(batch()).scores.isfinite().all()


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValidationError, match="heads must divide hidden_dim, found 3 and 8"):
        build(heads=3)
