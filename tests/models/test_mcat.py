from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch
from tta_pipeline.models.mcat import MCAT

SETS = [np.arange(0, 4), np.array([2, 5, 6]), np.array([8])]
SMALL = {"hidden_dim": 8, "heads": 2, "feed_forward_dim": 12, "attention_dim": 4}


def build(sets: list[Any] = SETS, *, feature_dim: int = 7, **options: Any) -> MCAT:
    torch.manual_seed(0)
    section = model_sections.MCAT(architecture="mcat", **SMALL | options)
    return MCAT(section, feature_dim=feature_dim, pathways=sets).eval()


def batch(lengths: tuple[int, ...] = (9, 4)) -> Batch:
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    features = torch.randn(*mask.shape, 7, generator=generator)
    return Batch(features, mask, torch.randn(len(lengths), 9, generator=generator))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("fusion", "fixed"), [("concat", 3_226_627), ("bilinear", 3_425_731)])
def test_parameters_grow_with_sets_and_genes(fusion: str, fixed: int) -> None:
    sets = [np.arange(size) for size in (16, 80, 33)]
    section = model_sections.MCAT(architecture="mcat", fusion=fusion)
    model = MCAT(section, feature_dim=1024, pathways=sets)
    assert count(model) == 256 * 129 + 66_048 * 3 + fixed


def test_scores_are_those_of_the_formulas() -> None:
    """One patient at a time, from the weights alone, with torch's own functions of attention and of nothing else."""
    model, whole = build(), batch()
    for row, length in enumerate((9, 4)):
        hidden = F.relu(_linear(model.patches[0], whole.features[row, :length]))  # (n, 8)
        genes = _gene_tokens(model, whole.expression[row])  # (3, 8)
        inner = model.co_attention.attention
        wq, wk, wv = inner.in_proj_weight.chunk(3)
        attention = ((genes @ wq.T) @ (hidden @ wk.T).T / 8**0.5).softmax(dim=1)
        read = _linear(inner.out_proj, attention @ hidden @ wv.T)
        parts = [
            _branch(branch, tokens)
            for branch, tokens in ((model.branches.histology, read), (model.branches.genomics, genes))
        ]
        first, second = model.branches.fusion.mix[0], model.branches.fusion.mix[2]
        expected = _linear(model.head, F.relu(_linear(second, F.relu(_linear(first, torch.cat(parts))))))
        torch.testing.assert_close(model(whole).scores[row], expected)


def _linear(layer: nn.Module, rows: Tensor) -> Tensor:
    return rows @ layer.weight.T + layer.bias


def _gene_tokens(model: MCAT, expression: Tensor) -> Tensor:
    first, second = model.genes[0], model.genes[3]
    weights = first.weight.split([len(one) for one in SETS])
    tokens = []
    for number, (genes, weight) in enumerate(zip(SETS, weights, strict=True)):
        hidden = F.elu(expression[genes] @ weight + first.bias[number])
        tokens.append(F.elu(hidden @ second.weight[number] + second.bias[number]))
    return torch.stack(tokens)


def _branch(branch: nn.Module, tokens: Tensor) -> Tensor:
    for module in branch.layers:
        layer = module.layer
        mixed, _ = layer.self_attn(tokens, tokens, tokens)
        tokens = layer.norm1(tokens + mixed)
        tokens = layer.norm2(tokens + _linear(layer.linear2, F.relu(_linear(layer.linear1, tokens))))
    pool = branch.pooling
    logits = _linear(pool.score, _linear(pool.value[0], tokens).tanh() * _linear(pool.gate[0], tokens).sigmoid())
    return F.relu(_linear(branch.hidden[0], logits[:, 0].softmax(dim=0) @ tokens))


def test_equal_patches_are_read_alike_by_every_set() -> None:
    model, whole = build(), batch((9,))
    equal = model.patches(whole.features[:, :1]).expand(-1, 9, -1)
    read, attention = model.co_attention(model.genes(whole.expression), tokens=equal, mask=whole.mask)
    torch.testing.assert_close(read[0], read[0, :1].expand(3, 8))
    torch.testing.assert_close(attention, torch.full((1, 3, 9), 1 / 9))


def test_a_patch_replaced_changes_the_risk() -> None:
    model, whole = build(), batch()
    before = model(whole).scores
    whole.features[0, 5] += 1
    after = model(whole).scores
    assert not torch.allclose(after[0], before[0], atol=1e-5)
    assert torch.equal(after[1], before[1])


@pytest.mark.parametrize("fusion", ["concat", "bilinear"])
def test_one_set_and_one_patch_are_enough(fusion: str) -> None:
    model = build([np.array([3])], fusion=fusion)
    assert model(batch((1,))).scores.isfinite().all()


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValidationError, match="heads must divide hidden_dim, found 3 and 8"):
        build(heads=3)
