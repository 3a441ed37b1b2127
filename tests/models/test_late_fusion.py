"""Late fusion: its three forms, their sizes, and what a sum of scores is."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.models.test_baselines import batch, build
from tta_pipeline import model_sections
from tta_pipeline.models.abmil import ABMIL
from tta_pipeline.models.batch import Batch
from tta_pipeline.models.gene_perceptrons import SNN
from tta_pipeline.models.late_fusion import LateFusion

FUSIONS = ["concat", "bilinear", "sum"]


def late_fusion(**options: Any) -> LateFusion:
    model = build("late-fusion", **options)
    assert isinstance(model, LateFusion)
    return model


@pytest.mark.parametrize(
    ("fusion", "parameters"),
    [
        ("concat", 1_336_066),
        ("bilinear", 1_535_170),
        ("sum", 919_298 + 219_905 - 1),  # of ABMIL and SNN, with one bias for both
    ],
)
def test_as_many_parameters_as_published(fusion: Any, parameters: int) -> None:
    """Six hundred genes, patches of 1024 features, one output."""
    section = model_sections.LateFusion(architecture="late-fusion", fusion=fusion)
    model = LateFusion(section, feature_dim=1024, pathways=[np.arange(600)])
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@torch.no_grad()
@pytest.mark.parametrize("fusion", FUSIONS)
def test_vectors_of_abmil_and_snn_are_fused_histology_first(fusion: str) -> None:
    model, whole = late_fusion(fusion=fusion), batch((9, 5))
    histology, genes = model.histology(whole), model.genomics(whole.expression[:, model.genes])
    fused = torch.cat([histology, genes], dim=1)
    if model.fusion is not None:
        fused = model.fusion(histology=histology, genes=genes)
    torch.testing.assert_close(model(whole).scores, fused @ model.head.weight.T + model.head.bias)


@torch.no_grad()
def test_a_sum_is_the_risk_of_abmil_plus_that_of_snn() -> None:
    model, whole = late_fusion(fusion="sum", outputs=4), batch((9, 5))
    patches, genes = build("abmil", outputs=4), build("snn", outputs=4)
    assert isinstance(patches, ABMIL)
    assert isinstance(genes, SNN)
    patches.body.load_state_dict(model.histology.state_dict())
    for module, weights in zip(_linears(genes)[:-1], _linears(model.genomics), strict=True):
        module.load_state_dict(weights.state_dict())
    for head, part in zip((patches.head, _linears(genes)[-1]), model.head.weight.chunk(2, dim=1), strict=True):
        head.weight.copy_(part)
        head.bias.copy_(model.head.bias / 2)
    torch.testing.assert_close(model(whole).scores, patches(whole).scores + genes(whole).scores)


def _linears(module: nn.Module) -> list[nn.Linear]:
    return [part for part in module.modules() if isinstance(part, nn.Linear)]


@torch.no_grad()
@pytest.mark.parametrize("fusion", FUSIONS)
def test_one_modality_changes_what_the_other_one_says_unless_they_are_summed(fusion: str) -> None:
    model, whole = late_fusion(fusion=fusion), batch((9, 5))

    def change(expression: Tensor) -> Tensor:
        with_other_patches = Batch(whole.features + 1, whole.mask, expression)
        return model(with_other_patches).scores - model(Batch(whole.features, whole.mask, expression)).scores

    alike = torch.isclose(change(whole.expression), change(whole.expression + 1), rtol=0, atol=1e-6)
    assert alike.all() if fusion == "sum" else not alike.any()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_gradients_reach_both_modalities(fusion: str) -> None:
    model = late_fusion(fusion=fusion)
    model(batch((9, 5))).scores.sum().backward()
    for part in (model.histology, model.genomics):
        assert all(
            p.grad is not None and p.grad.any()
            for p in part.parameters()
            if p is not model.histology.pooling.score.bias
        )
