from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from tta_pipeline import model_sections
from tta_pipeline.models.batch import Batch
from tta_pipeline.models.cmta import CMTA
from tta_pipeline.models.gene_nets import Genes

SETS = [np.arange(0, 4), np.array([2, 5, 6]), np.array([8])]
SMALL = {"hidden_dim": 8, "heads": 2, "gene_hidden_dim": 12, "landmarks": 4}
CERTAIN = {"dropout": 0.0, "attention_dropout": 0.0}
LENGTHS = (9, 1, 5, 9)


def build(sets: list[Any] = SETS, *, feature_dim: int = 7, **options: Any) -> CMTA:
    torch.manual_seed(0)
    section = model_sections.CMTA(architecture="cmta", **SMALL | options)
    return CMTA(section, feature_dim=feature_dim, pathways=sets).eval()


def batch(lengths: tuple[int, ...] = LENGTHS) -> Batch:
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    features = torch.randn(*mask.shape, 7, generator=generator)
    return Batch(features, mask, torch.randn(len(lengths), 9, generator=generator))


@pytest.mark.parametrize("released", [False, True])
def test_parameters_grow_with_sets_and_genes(released: bool) -> None:
    sets = [np.arange(size) for size in (16, 80, 33)]
    model = CMTA(model_sections.CMTA(architecture="cmta", released=released), feature_dim=1024, pathways=sets)
    assert sum(weights.numel() for weights in model.parameters()) == 1024 * 129 + 263_424 * 3 + 3_204_417


@pytest.mark.parametrize("released", [False, True])
def test_scores_and_alignment_are_those_of_the_formulas(released: bool) -> None:
    model, whole = build(released=released, alignment_weight=3.0, **CERTAIN).train(), batch()
    encoders, decoders = model.encoders, model.decoders
    to_genes, to_patches = model.patches_read_genes.attention, model.genes_read_patches.attention
    found, distances = model(whole), []
    for row, length in enumerate(LENGTHS):
        p, patches, _ = encoders.histology(model.patches(whole.features[row, None, :length]))
        g, genes, _ = encoders.genomics(model.genes(whole.expression[row, None]))
        assert patches.shape[1] == np.ceil(np.sqrt(length)) ** 2
        p_hat, decoded, _ = decoders.histology(to_genes(patches, genes, genes)[0])
        g_hat, _, _ = decoders.genomics(to_patches(genes, patches, patches)[0])
        assert decoded.shape == patches.shape
        mixed = torch.cat([(p + p_hat) / 2, (g + g_hat) / 2], dim=1)
        expected = model.head(model.fusion.mix(mixed))
        torch.testing.assert_close(found.scores[[row]], expected, rtol=1e-4, atol=1e-6)
        distances.append((p - p_hat).abs().mean() + (g - g_hat).abs().mean())
    torch.testing.assert_close(found.losses["alignment"], 3 * torch.stack(distances).mean())
    assert model.eval()(whole).losses == {}


def test_alignment_moves_the_translations_and_not_what_they_are_held_to() -> None:
    model, summaries = build(**CERTAIN).train(), {}
    for name, bodies in (("own", model.encoders), ("translated", model.decoders)):
        for modality, body in bodies.named_children():

            def keep(_module: nn.Module, _inputs: Any, found: tuple[Tensor, ...], key: str = name + modality) -> None:
                found[0].retain_grad()
                summaries[key] = found[0]

            body.register_forward_hook(keep)
    model(batch()).losses["alignment"].backward()
    assert sorted(summaries) == ["owngenomics", "ownhistology", "translatedgenomics", "translatedhistology"]
    for key, summary in summaries.items():
        assert (summary.grad is None) == key.startswith("own")


def test_without_alignment_the_decoders_learn_through_the_fusion() -> None:
    model = build(alignment_weight=0.0).train()
    output = model(batch())
    assert output.losses == {}
    output.scores.square().sum().backward()
    assert all(weights.grad.abs().max() > 0 for weights in model.decoders.parameters())


def test_released_gene_attention_is_exact_with_null_tokens() -> None:
    """As many landmarks as tokens with those that are missing: zeros among keys and values."""
    body = build(landmarks=12, released=True).double().encoders.genomics
    tokens = torch.randn(2, 6, 8, dtype=torch.float64)
    nn.init.normal_(body.class_token)
    for attention in body.attentions:
        attention.rounds = 40
    hidden = torch.cat([body.class_token.expand(2, 1, -1), tokens], dim=1)
    for norm, attention in zip(body.norms, body.attentions, strict=True):
        hidden = hidden + _with_null_tokens(attention, norm(hidden), missing=5)
    expected = body.norm_out(hidden)
    summary, encoded, _ = body(tokens)
    torch.testing.assert_close(summary, expected[:, 0], rtol=0, atol=1e-6)
    torch.testing.assert_close(encoded, expected[:, 1:], rtol=0, atol=1e-6)


def _with_null_tokens(attention: nn.Module, tokens: Tensor, *, missing: int) -> Tensor:
    query, key, value = (
        part.unflatten(2, (2, 4)).transpose(1, 2) for part in attention.query_key_value(tokens).chunk(3, dim=2)
    )  # (batch, heads, tokens, 4)
    key, value = (F.pad(part, (0, 0, missing, 0)) for part in (key, value))
    mixed = (query @ key.mT / 2).softmax(dim=-1) @ value + attention.convolution(value)[:, :, missing:]
    return attention.out(mixed.transpose(1, 2).flatten(2))


def test_gene_attention_has_no_null_tokens_by_default() -> None:
    """Equal tokens are each others' mean; with zeros among the values they are not."""
    for released in (False, True):
        attention = build(released=released, landmarks=64).encoders.genomics.attentions[0]
        nn.init.zeros_(attention.convolution.weight)
        tokens = torch.randn(1, 1, 8).expand(1, 7, 8)
        own = attention.out(attention.query_key_value(tokens)[..., 16:])
        assert torch.allclose(attention(tokens), own, atol=1e-5) != released


@pytest.mark.parametrize("released", [False, True])
def test_one_set_and_one_patch_are_enough(released: bool) -> None:
    model, whole = build([np.array([3])], released=released, **CERTAIN).train(), batch((1,))
    output = model(whole)
    output.losses["alignment"].backward()
    assert output.scores.isfinite().all()


def test_the_order_of_patches_matters() -> None:
    model, whole = build(), batch((9,))
    shuffled = Batch(whole.features.flip(1), whole.mask, whole.expression)
    assert not torch.allclose(model(shuffled).scores, model(whole).scores, rtol=0, atol=1e-5)


def test_linear_layers_start_as_xavier_says_and_class_tokens_near_zero() -> None:
    sets = [np.arange(300), np.arange(20)]
    model = build(sets, feature_dim=500, hidden_dim=64, gene_hidden_dim=200)
    first, second = model.genes[0], model.genes[3]
    assert isinstance(model.genes, Genes)
    starts = [
        (model.patches[0][0].weight, 500 + 64),
        (first.weight[:300], 300 + 200),
        (first.weight[300:], 20 + 200),
        (second.weight, 200 + 64),
        (model.encoders.genomics.attentions[0].query_key_value.weight, 64 + 192),
    ]
    for weights, fans in starts:
        assert float(weights.detach().std()) == pytest.approx((2 / fans) ** 0.5, rel=0.05)
    token = torch.cat([body.class_token.detach() for body in model.decoders.children()])
    assert float(token.std()) == pytest.approx(1e-6, rel=0.2)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValidationError, match="heads must divide hidden_dim, found 3 and 8"):
        build(heads=3)
