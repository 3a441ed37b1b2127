"""A risk that is written into one modality is found by the models that see it, in patients that they have not met."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models.test_baselines import GENES, NO_DROPOUT, SETS, WIDTH, build, scattered
from tta_pipeline.models import MODELS
from tta_pipeline.models.batch import Batch, RiskModel
from tta_pipeline.numerics.metrics import harrell_c
from tta_pipeline.numerics.survival import cox_loss

PATIENTS, FRESH, PATCHES, STEPS = 64, 256, 6, 40
# Without censoring, Kendall's tau of n patients has the variance 2 (2 n + 5) / (9 n (n - 1)), and C = (tau + 1) / 2.
CHANCE = 0.5 * (2 * (2 * FRESH + 5) / (9 * FRESH * (FRESH - 1))) ** 0.5

OPTIONS: dict[str, dict[str, Any]] = {
    "tta": {"shared_dim": 8, "heads": 2},
    "pibd": {"part_patches": PATCHES},
    # At a width of 8 the agreement and the prior keep from the rebuilt tokens what patches do not know of genes.
    "ld-cvae": {"hidden_dim": 64, "encoder_dim": 64, "decoder_dim": 64},
}


def cohort(planted: str, *, patients: int, seed: int) -> tuple[Batch, Tensor]:
    """Noise, with a risk in all patches of a patient or in the genes of a set; and times, e to the minus risk."""
    generator = torch.Generator().manual_seed(seed)
    risk = torch.randn(patients, generator=generator)
    features = torch.randn(patients, PATCHES, WIDTH, generator=generator)
    expression = torch.randn(patients, GENES, generator=generator)
    if planted == "histology":
        features[..., 0] += 2 * risk[:, None]
    else:
        expression[:, SETS[0]] += 2 * risk[:, None]
    mask = torch.ones(patients, PATCHES, dtype=torch.bool)
    return Batch(features, mask, expression, places=scattered(mask, generator=generator)), torch.exp(-risk)


def train(model: RiskModel, whole: Batch, time_days: Tensor) -> None:
    event = torch.ones(len(time_days), dtype=torch.bool)
    if model.outcome_bins is not None:
        rank = time_days.argsort().argsort()
        whole = replace(whole, event=event, time_bin=rank * model.outcome_bins // len(rank))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    model.train()
    for step in range(STEPS):
        model.begin_step(10 * step / STEPS)
        optimiser.zero_grad()
        output = model(whole)
        loss = cox_loss(output.scores[:, 0], time_days=time_days, event=event)
        torch.stack([loss, *output.losses.values()]).sum().backward()
        optimiser.step()


@pytest.mark.parametrize("planted", ["genomics", "histology"])
@pytest.mark.parametrize("architecture", MODELS)
def test_a_signal_is_found_by_those_who_see_its_modality_and_by_nobody_else(architecture: str, planted: str) -> None:
    model = build(architecture, **NO_DROPOUT | OPTIONS.get(architecture, {}))
    train(model, *cohort(planted, patients=PATIENTS, seed=1))
    whole, time_days = cohort(planted, patients=FRESH, seed=2)
    risk = model.eval()(whole).scores[:, 0].detach().double().numpy()
    c = harrell_c(risk=risk, time_days=time_days.double().numpy(), event=np.ones(FRESH, dtype=bool)).value
    if planted in model.modalities:
        assert c > 0.65
    else:
        assert c == pytest.approx(0.5, abs=3 * CHANCE)
