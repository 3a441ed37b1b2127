import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch
from tta_pipeline.models.transmil import TransMIL

SMALL = {"hidden_dim": 8, "heads": 2, "landmarks": 4}


def build(**options: Any) -> TransMIL:
    torch.manual_seed(0)
    section = model_sections.TransMIL(architecture="transmil", **SMALL | options)
    return TransMIL(section, feature_dim=7, pathways=[]).eval()


def batch(lengths: tuple[int, ...]) -> Batch:
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return Batch(torch.randn(*mask.shape, 7, generator=generator), mask, torch.zeros(len(lengths), 1))


def test_scores_are_those_of_the_formulas() -> None:
    """A bag of 5 patches, from the weights alone; with as many landmarks as tokens attention is exact in the limit."""
    model, features = build(landmarks=10).double(), batch((5,)).features.double()
    body, patches = model.body, F.relu(features @ model.embedding[0].weight.T + model.embedding[0].bias)
    for attention in body.attentions:
        attention.rounds = 40
    hidden = torch.cat([body.class_token[None, None], patches, patches[:, :4]], dim=1)  # (1, 1 + 9, 8)
    hidden = hidden + _attention(body.attentions[0], body.norms[0](hidden))
    hidden = torch.cat([hidden[:, :1], body.grid(hidden[:, 1:])], dim=1)
    hidden = hidden + _attention(body.attentions[1], body.norms[1](hidden))
    expected = model.head(body.norm_out(hidden)[:, 0])
    whole = Batch(features, torch.ones(1, 5, dtype=torch.bool), torch.zeros(1, 1))
    torch.testing.assert_close(model(whole).scores, expected, rtol=0, atol=1e-6)


def _attention(module: torch.nn.Module, tokens: Tensor) -> Tensor:
    parts = (tokens @ module.query_key_value.weight.T).chunk(3, dim=2)
    query, key, value = (part.unflatten(2, (2, 4)).transpose(1, 2) for part in parts)  # (1, heads, tokens, 4)
    mixed = (query @ key.mT / 2).softmax(dim=-1) @ value + module.convolution(value)
    return module.out(mixed.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("length", [1, 2, 5, 10, 17])
def test_bags_of_any_length_run(length: int, training: bool) -> None:
    model = build().train(training)
    assert model(batch((length,))).scores.isfinite().all()


def test_zeros_of_the_published_code_change_the_risk_where_segments_are_not_full() -> None:
    """With the class token 3 x 3 and 4 x 4 patches are 10 and 17 tokens: 4 landmarks leave 2 and 3 places empty."""
    ours, published = build(), build(null_tokens=True)
    assert not torch.isclose(ours(batch((9, 16))).scores, published(batch((9, 16))).scores, rtol=0, atol=1e-4).any()
    full = build(landmarks=5), build(landmarks=5, null_tokens=True)
    scores = [model(batch((9,))).scores for model in full]
    torch.testing.assert_close(*scores, rtol=0, atol=1e-6)


def test_a_batch_of_many_lengths_is_its_patients_in_training_too() -> None:
    lengths = (1, 2, 5, 10, 17, 5)
    model, whole = build(dropout=0.0).train(), batch(lengths)
    found = model(whole).scores
    for row, length in enumerate(lengths):
        alone = Batch(whole.features[row, None, :length], whole.mask[row, None, :length], whole.expression[row, None])
        torch.testing.assert_close(model(alone).scores, found[[row]], rtol=0, atol=1e-6)


def test_neighbours_in_the_bag_are_neighbours_on_the_grid() -> None:
    """The grid alone, without residual or attention: a patch is heard at most three rows and columns away."""
    model, side = build(), 9
    tokens = torch.randn(1, side**2, 8, requires_grad=True)
    middle = side * (side // 2) + side // 2
    (heard,) = torch.autograd.grad(model.body.grid(tokens)[0, middle].sum(), tokens)
    rows, columns = torch.nonzero(heard[0].any(dim=1).view(side, side), as_tuple=True)
    assert math.prod(int(axis.max() - axis.min()) + 1 for axis in (rows, columns)) == 49


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValidationError, match="heads must divide hidden_dim, found 3 and 8"):
        build(heads=3)
