"""TTA beside a NumPy network that takes its weights by name: every stage, every loss term."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.models.test_tta import PATHWAYS, batch, build
from tests.models.tta_reference import Reference
from tta_pipeline.models.batch import Batch
from tta_pipeline.models.tta import TTA, Stages
from tta_pipeline.numerics import alignment
from tta_pipeline.numerics.alignment import rho_at

LENGTHS = (9, 4, 7, 3)
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


def trained(*, training: bool, **options: Any) -> TTA:
    """A network without dropout whose biases, norms, heads and mass are not those of the start."""
    model = build(seed=5, dropout=0.0, **options).train(training)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.2 * torch.randn(value.shape, generator=generator))
    model.begin_step(6.0)
    model.working_heads.copy_(torch.arange(1, 1 + len(model.modalities)))
    return model


def patients(model: TTA, whole: Batch, *, rho: float) -> tuple[Reference, list[dict[str, Any]]]:
    reference = Reference(model.options, model.state_dict(), pathways=PATHWAYS, rho=rho)
    expression = whole.expression.double().numpy()
    bags = [features[own].double().numpy() for features, own in zip(whole.features, whole.mask, strict=True)]
    return reference, [reference.stages(bag, genes) for bag, genes in zip(bags, expression, strict=True)]


def assert_same_stages(found: Stages, expected: list[dict[str, Any]]) -> None:
    for patient, own in enumerate(expected):
        for name in ("tokens", "logits", "plans", "pooled", "refined"):
            for ours, theirs in zip(getattr(found, name), own[name], strict=True):
                rows = ours[patient, : len(theirs)].detach().numpy()
                np.testing.assert_allclose(rows, theirs, **CLOSE, err_msg=f"{name} of patient {patient}")
        np.testing.assert_allclose(found.fused[patient].detach(), own["fused"], **CLOSE)
        assert float(found.scores[patient, 0].detach()) == pytest.approx(own["log_risk"], abs=2e-5)


@pytest.mark.parametrize("modalities", [("histology", "genomics"), ("histology",)], ids=["both", "histology"])
def test_every_stage_of_the_paper_preset_equals_the_reference(modalities: tuple[str, ...]) -> None:
    model, whole = trained(training=False, modalities=modalities, prototypes=3), batch(LENGTHS)
    rho = rho_at(6.0, start=0.1, epochs=10, sharpness=5)
    assert_same_stages(model.stages(whole), patients(model, whole, rho=rho)[1])


def test_every_stage_of_the_released_preset_equals_the_reference_at_the_mass_of_step_0() -> None:
    model, whole = trained(training=False, preset="released"), batch(LENGTHS)
    rho = rho_at(0.0, start=0.1, epochs=10, sharpness=5)
    assert_same_stages(model.stages(whole), patients(model, whole, rho=rho)[1])


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_every_loss_term_equals_the_reference(preset: str) -> None:
    model, whole = trained(training=True, preset=preset, consistency_every=1), batch(LENGTHS)
    reference, expected = patients(model, whole, rho=rho_at(6.0, start=0.1, epochs=10, sharpness=5))
    stages = model.stages(whole)
    assert_same_stages(stages, expected)
    torch.manual_seed(7)
    losses = model.losses(stages)
    torch.manual_seed(7)
    options = model.options
    for index, name in enumerate(reference.order):
        views = alignment.two_views(stages.masks[index], fraction=options.view_fraction, overlap=options.view_overlap)
        terms = {
            "assignment": options.assignment_weight
            * np.mean([reference.assignment(one["logits"][index], one["plans"][index]) for one in expected]),
            "contrast": options.contrast_weight
            * np.mean([reference.contrast(one["refined"][index], modality=index) for one in expected]),
            "consistency": options.consistency_weight
            * reference.consistency([one["tokens"][index] for one in expected], views.numpy(), modality=index),
        }
        for term, value in terms.items():
            assert float(losses[f"{term}_{name}"].detach()) == pytest.approx(value, rel=1e-4, abs=1e-6), term
    assert len(losses) == 6


def test_the_double_softmax_is_seen_by_the_comparison() -> None:
    """The two presets differ by far more than the comparison allows: it could fail."""
    paper, released = (trained(training=True, preset=preset) for preset in ("paper", "released"))
    whole = batch(LENGTHS)
    with torch.no_grad():
        gap = (paper.stages(whole).fused - released.stages(whole).fused).abs().max()
    assert float(gap) > 50 * CLOSE["atol"]
