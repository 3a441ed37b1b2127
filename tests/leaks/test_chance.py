"""Outcomes dealt out at random are foretold by chance; outcomes written into an input are found."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from tests.builders import Study
from tests.leaks import study as made
from tta_pipeline.io import tables
from tta_pipeline.io.artifacts import Predictions
from tta_pipeline.model_sections import ARCHITECTURES
from tta_pipeline.numerics.metrics import harrell_c

REPEATS = 20
FALSE_ALARM = 0.001  # probability that any of the architectures fails without a leak
CHEAP = ["mlp", "mean-pool"]
LEARN = {"learning_rate": 0.02, "warmup_fraction": 0.0, "weight_decay": 0.0, "batch_size": 16}


def pooled(parts: Sequence[Predictions]) -> float:
    """C over the comparable pairs within each part."""
    each = [harrell_c(risk=one.risk, time_days=one.time_days, event=one.event) for one in parts]
    return sum(one.concordant for one in each) / sum(one.comparable for one in each)


def chance(parts: Sequence[Predictions]) -> tuple[float, float]:
    """The interval around 1/2 that C stays in without a leak.

    Without a leak every order of a part's risks is as likely as any other, given its outcomes and the model: C has the
    mean 1/2. Its variance is that of the concordant pairs under random orders, summed over parts, whose labels are
    dealt out independently. The quantile is such that one alarm among all architectures has FALSE_ALARM.
    """
    generator = np.random.default_rng(0)
    variance, comparable = 0.0, 0
    for part in parts:
        time_days, event = part.time_days, part.event
        later = (time_days[:, None] < time_days) | ((time_days[:, None] == time_days) & ~event)
        first, second = np.nonzero(event[:, None] & later)
        orders = generator.permuted(np.tile(part.risk, (2000, 1)), axis=1)
        lead = orders[:, first] - orders[:, second]  # (orders, pairs)
        variance += float(((np.sign(lead) + 1) / 2).sum(axis=1).var())
        comparable += len(first)
    half = float(norm.isf(FALSE_ALARM / 2 / len(ARCHITECTURES))) * variance**0.5 / comparable
    return 0.5 - half, 0.5 + half


def deal(study: Study, *, seed: int) -> None:
    """Give the outcomes of all patients to each other."""
    table = tables.read_table(study.folder / "patients.tsv", columns=tables.PATIENTS).set_index("patient_id")
    order = np.random.default_rng([7, seed]).permutation(len(table))
    outcome = table[["time_days", "event"]].iloc[order]
    made.change_outcomes(study, pd.DataFrame(outcome.to_dict("list"), index=table.index))


def predicted(study: Study, architecture: str, **options: Any) -> Predictions:
    """Predictions of the first fold."""
    return made.predict(study, made.fit(study, architecture, **LEARN | options))


def check_chance(folder: Path, architecture: str, **options: Any) -> None:
    """C of dealt outcomes is 1/2 within its interval, which is narrow enough to say something."""
    study, parts = made.prepare(made.draw(), folder), []
    for repeat in range(REPEATS):
        deal(study, seed=repeat)
        parts.append(predicted(study, architecture, **options))
    low, high = chance(parts)
    assert high - low < 0.3
    assert low <= pooled(parts) <= high  # equal where a penalty leaves one risk for all


def check_planted(folder: Path, architecture: str) -> None:
    """C of a study with the time written into its inputs is above that interval."""
    parts = [predicted(made.prepare(made.draw(patients=120, planted=True), folder), architecture, epochs=30)]
    assert pooled(parts) > chance(parts)[1]


@pytest.mark.parametrize("architecture", CHEAP)
def test_dealt_outcomes_are_foretold_by_chance(tmp_path: Path, architecture: str) -> None:
    check_chance(tmp_path, architecture, epochs=3)


@pytest.mark.parametrize("architecture", CHEAP)
def test_a_copy_of_the_time_in_an_input_is_found(tmp_path: Path, architecture: str) -> None:
    check_planted(tmp_path, architecture)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "loss"), [*((each, "cox") for each in ARCHITECTURES), *((each, "nll") for each in CHEAP)]
)
def test_dealt_outcomes_are_foretold_by_chance_in_every_model(tmp_path: Path, architecture: str, loss: str) -> None:
    check_chance(tmp_path, architecture, epochs=8, loss=loss, checkpoint="validation")


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_copy_of_the_time_in_an_input_is_found_by_every_model(tmp_path: Path, architecture: str) -> None:
    check_planted(tmp_path, architecture)
