import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tta_pipeline.config import TTA as Options  # noqa: N811
from tta_pipeline.errors import InputError
from tta_pipeline.models import MODELS
from tta_pipeline.models.batch import Batch, Output
from tta_pipeline.models.tta import TTA
from tta_pipeline.numerics.alignment import rho_at
from tta_pipeline.numerics.survival import cox_loss

PATHWAYS = [np.arange(5), np.arange(3, 9), np.arange(8, 12)]
SMALL: dict[str, Any] = {"hidden_dim": 16, "shared_dim": 12, "prototypes": 4, "heads": 3}
BOTH = ("histology", "genomics")


def build(seed: int = 0, **options: Any) -> TTA:
    torch.manual_seed(seed)
    model = MODELS["tta"](Options(**SMALL | options), feature_dim=6, pathways=PATHWAYS)
    assert isinstance(model, TTA)
    return model


def batch(lengths: tuple[int, ...] = (9, 4, 7, 2), seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(len(lengths), max(lengths), 6, generator=generator)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    expression = torch.randn(len(lengths), 12, generator=generator)
    return Batch(features, mask, expression, tuple(f"P{number}" for number in range(len(lengths))))


def rows(whole: Batch, select: slice, patches: slice = slice(None)) -> Batch:
    return Batch(whole.features[select, patches], whole.mask[select, patches], whole.expression[select])


def cox(output: Output) -> torch.Tensor:
    count = len(output.scores)
    time_days = torch.arange(count, 0, -1)
    return cox_loss(output.scores[:, 0], time_days=time_days, event=torch.arange(count) % 3 != 2)


ABLATIONS: list[dict[str, Any]] = [
    {},
    {"preset": "released"},
    {"together": False},
    {"anchors": False},
    {"together": False, "anchors": False},
    {"contrast_weight": 0.0},
    {"replace_tokens": False},
    {"sharing": "separate-banks", "prototypes": 2},
    {"sharing": "separate-transport", "prototypes": 2},
    {"transport": "fixed"},
    {"transport": "balanced"},
    {"transport": "k-means"},
    {"transport_weight": 1.0},
    {"similarity_weight": 0.0},
    {"consistency_weight": 0.0},
    {"fusion": "concat"},
    {"fusion": "sum"},
    {"fusion": "mlp"},
    {"anchors": False, "fusion": "mlp"},
    {"modalities": ("histology",), "prototypes": 2},
    {"modalities": ("genomics",), "prototypes": 3},
]
NAMES = ["-".join(f"{key}={value}" for key, value in one.items()) or "paper" for one in ABLATIONS]


@pytest.mark.parametrize("options", ABLATIONS, ids=NAMES)
def test_risk_does_not_depend_on_padding_batch_mates_or_order_of_patches(options: dict[str, Any]) -> None:
    model, whole = build(**options).eval(), batch()
    model.begin_step(4.0)
    with torch.no_grad():
        expected = model(whole).scores
        garbage = dataclasses.replace(whole, features=whole.features.masked_fill(~whole.mask[..., None], 1e4))
        torch.testing.assert_close(model(garbage).scores, expected, rtol=0, atol=1e-6)
        singles = [model(rows(whole, slice(i, i + 1), slice(0, int(whole.mask[i].sum())))).scores for i in range(4)]
        torch.testing.assert_close(torch.cat(singles), expected, rtol=0, atol=2e-6)
        order = torch.randperm(whole.mask.shape[1])
        shuffled = dataclasses.replace(whole, features=whole.features[:, order], mask=whole.mask[:, order])
        torch.testing.assert_close(model(shuffled).scores, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("options", ABLATIONS, ids=NAMES)
def test_every_parameter_learns(options: dict[str, Any]) -> None:
    model, whole = build(**options | {"consistency_every": 1}), batch()
    model.begin_step(4.0)
    output = model(whole)
    (cox(output) + sum(output.losses.values())).backward()
    without = {name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()}
    # A constant added to all log-risks leaves the partial likelihood unchanged; that is all this bias does.
    assert without <= {"fusion.mix.norm_out.bias", "fusion.mix.bias"}


@pytest.mark.parametrize(
    ("options", "terms"),
    [
        ({}, {"assignment", "contrast", "consistency"}),
        ({"together": False}, {"contrast"}),
        ({"anchors": False}, {"assignment", "consistency"}),
        ({"contrast_weight": 0.0, "consistency_weight": 0.0}, {"assignment"}),
        ({"together": False, "anchors": False}, set()),
    ],
)
def test_losses_are_those_of_the_options(options: dict[str, Any], terms: set[str]) -> None:
    model = build(**options)
    assert set(model(batch()).losses) == {f"{term}_{name}" for term in terms for name in BOTH}
    assert model.eval()(batch()).losses == {}


@pytest.mark.parametrize("modality", BOTH)
def test_one_modality_has_no_contrast_and_does_not_see_the_other(modality: str) -> None:
    model, whole = build(modalities=(modality,), prototypes=2), batch()
    assert set(model(whole).losses) == {f"{term}_{modality}" for term in ("assignment", "consistency")}
    other = "expression" if modality == "histology" else "features"
    changed = dataclasses.replace(whole, **{other: getattr(whole, other) + 5})
    assert torch.equal(model.eval()(whole).scores, model(changed).scores)


def test_consistency_comes_every_third_step_and_chooses_the_head_of_least_loss() -> None:
    model = build()
    terms = []
    for _ in range(6):
        model.begin_step(0.0)
        terms.append("consistency_histology" in model(batch()).losses)
    assert terms == [False, False, True, False, False, True]
    model.head_loss.copy_(torch.tensor([[3.0, 1.0, 2.0], [1.0, 2.0, 0.5]]))
    model.end_epoch()
    assert model.working_heads.tolist() == [1, 2]
    assert not model.head_loss.any()
    model.end_epoch()  # an epoch without a multi-head step keeps the heads
    assert model.working_heads.tolist() == [1, 2]


def test_mass_and_heads_are_stored_and_used() -> None:
    trained, whole = build(), batch()
    trained.begin_step(4.0)
    trained.working_heads.copy_(torch.tensor([2, 1]))
    trained.eval()
    restored = build(seed=1).eval()
    before = restored(whole)
    restored.load_state_dict(trained.state_dict())
    assert restored(whole).scores.equal(trained(whole).scores)
    assert restored(whole).diagnostics["rho"] == pytest.approx(rho_at(4.0, start=0.1, epochs=10, sharpness=5))
    assert before.diagnostics["rho"] == pytest.approx(rho_at(0.0, start=0.1, epochs=10, sharpness=5))
    reference = trained(whole).scores
    trained.rho.fill_(1.0)
    assert not torch.allclose(trained(whole).scores, reference, atol=1e-6)
    trained.load_state_dict(restored.state_dict())
    trained.working_heads.zero_()
    assert not torch.allclose(trained(whole).scores, reference, atol=1e-6)


def test_released_preset_evaluates_at_the_mass_of_step_0_whatever_training_reached() -> None:
    model = build(preset="released")
    model.begin_step(20.0)
    assert model(batch()).diagnostics["rho"] == 1
    assert model.eval()(batch()).diagnostics["rho"] == pytest.approx(0.106, abs=1e-4)


def test_the_presets_share_weights_and_differ_in_risk() -> None:
    paper, released = build(seed=3).eval(), build(seed=3, preset="released").eval()
    released.load_state_dict(paper.state_dict())
    assert not torch.allclose(paper(batch()).scores, released(batch()).scores, atol=1e-5)


def test_transport_modes_give_their_masses() -> None:
    for transport, mass in {"fixed": 0.3, "balanced": 1.0}.items():
        model = build(transport=transport, rho_fixed=0.3).eval()
        assert model(batch()).diagnostics["rho"] == mass


def test_it_learns_eight_patients_by_heart() -> None:
    model, whole = build(dropout=0.0), batch((5,) * 8)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(80):
        model.begin_step(step / 8)
        output = model(whole)
        optimiser.zero_grad()
        (cox(output) + sum(output.losses.values())).backward()
        optimiser.step()
    assert float(cox(model.eval()(whole)).detach()) < 0.1


def test_a_patient_with_nan_is_named() -> None:
    whole = batch()
    features = whole.features.clone()
    features[2, 0, 0] = torch.nan
    with pytest.raises(InputError, match="1 of 4 patients: P2"):
        build()(dataclasses.replace(whole, features=features))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modalities": ("histology", "histology")}, "named once"),
        ({"view_fraction": 0.9, "view_overlap": 0.1}, "two views must fit"),
        ({"transport": "sinkhorn"}, "unbalanced"),
    ],
)
def test_options_outside_their_limits(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Options(**options)


@pytest.mark.parametrize(
    ("options", "lengths", "message"),
    [
        ({}, (9, 0), "at least one valid patch per patient, found none for 1 of 2 patients: P1"),
        ({}, (9, 0, 4), "P1. Leave them out"),
        ({"prototypes": 5}, (9, 1), r"prototypes \(now 5\), found fewer \(down to 4\) for 1 of 2 patients: P1"),
        ({"modalities": ("histology",)}, (9, 3), r"prototypes \(now 4\), .* to 3\) .* P1. Lower"),
        ({"sharing": "separate-transport", "prototypes": 4}, (9, 4), r"to 3\) for 2 of 2 patients: P0, P1"),
    ],
)
def test_a_patient_with_too_few_tokens_is_named(
    options: dict[str, Any], lengths: tuple[int, ...], message: str
) -> None:
    model, whole = build(**options), batch(lengths)
    with pytest.raises(InputError, match=message):
        model(whole)
    with pytest.raises(InputError, match=message):
        model.check_patients(whole.patient_id, n_patches=lengths)


def test_without_transport_fewer_tokens_than_prototypes_will_do() -> None:
    for options in ({"together": False}, {"transport": "k-means"}):
        assert build(modalities=("histology",), **options)(batch((9, 1))).scores.isfinite().all()
