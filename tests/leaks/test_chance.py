"""Outcomes dealt out at random are foretold by chance, by models that know those of their training patients by heart.

Outcomes written into an input are found.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from tests.builders import Study
from tests.leaks import study as made
from tests.leaks.test_poison import leak_patients
from tests.models.test_baselines import NO_DROPOUT
from tta_pipeline.io import tables
from tta_pipeline.io.artifacts import Predictions
from tta_pipeline.model_sections import ARCHITECTURES
from tta_pipeline.models.tabular.elastic_net import ElasticNet
from tta_pipeline.numerics.metrics import harrell_c
from tta_pipeline.stages import evaluate

REPEATS = 20
REPEATS_LEAK = 12  # enough for an interval that a leak is outside of
FALSE_ALARM = 0.001  # probability that any of the architectures fails without a leak
CHEAP = ["mlp", "mean-pool"]
OTHERS = [one for one in ARCHITECTURES if one not in CHEAP]
MAY_LEAK = [one for one in OTHERS if one not in made.STACKED]  # those that read risks refuse to train on test patients
LEARN = {"learning_rate": 0.02, "warmup_fraction": 0.0, "weight_decay": 0.0, "batch_size": 16}
# A model that has learnt little foretells nobody, leak or not: dealt outcomes are trained on until they are known.
BY_HEART = LEARN | {"epochs": 40, "batch_size": 64, "patches": 100, "schedule": "constant", "bins": 8}
KNOWN = 0.7  # C of the training patients that is asked for
# Options that a model needs for that besides.
OWN: dict[str, dict[str, Any]] = {
    # Its head is shown the bin of a training patient's time, and with several bins learns little beside it.
    "pibd": {"bins": 1},
    # It is tested on rebuilt gene tokens, and remembers those that it was trained on.
    "ld-cvae": {"true_epochs": 0},
    "survival-forest": {"trees": 50, "min_samples_split": 2, "min_samples_leaf": 1, "max_features": "all"},
}
# As many independent scores as there are genes.
MANY_SETS = {f"S{one:02d}": [f"G{(one + other) % made.GENES:02d}" for other in range(5)] for one in range(made.GENES)}


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


def of_noise(folder: Path, architecture: str) -> Study:
    """A study whose inputs say nothing of outcomes, and in which every model can tell any patient from any other.

    The linear models are given as many covariates, or scores, as they need for that. Bags are of one size: models that
    take those of one size together are quick then.
    """
    raw = made.draw(patches=(4, 4), noise=made.GENES)
    return made.prepare(replace(raw, sets=MANY_SETS) if architecture == "elastic-net" else raw, folder)


def fit_by_heart(study: Study, architecture: str, **options: Any) -> Path:
    """The artifact of a training without anything that keeps a model from learning its patients by heart.

    The elastic net takes its smallest penalty. It chooses among them by parts of the training patients, and where
    outcomes were dealt out finds, as it should, that nothing is to be learnt: an empty model, of which no leak shows.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ElasticNet, "_held_out", lambda *_, penalties, **__: np.arange(len(penalties), dtype=float))
        own = NO_DROPOUT | OWN.get(architecture, {})
        return made.fit(study, architecture, own=own, **BY_HEART | options)


def recalled(study: Study, trained: Path) -> Predictions:
    """What the evaluate stage says of the training patients, as if they were the test patients."""
    read = evaluate.study.read_role
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate.study, "read_role", lambda *a, role, **k: read(*a, role="train", **k))
        return made.predict(study, trained)


def check_chance(study: Study, architecture: str, *, repeats: int = REPEATS, **options: Any) -> None:
    """Dealt outcomes are known of the training patients; of others C is 1/2 within an interval that says something."""
    parts, known = [], []
    for repeat in range(repeats):
        deal(study, seed=repeat)
        trained = fit_by_heart(study, architecture, **options)
        parts.append(made.predict(study, trained))
        known.append(recalled(study, trained))
    low, high = chance(parts)
    assert high - low < 0.3
    assert pooled(known) > KNOWN, "the training patients are not known by heart"
    assert low <= pooled(parts) <= high, "the test patients are foretold"


def check_alarm(study: Study, architecture: str, patch: pytest.MonkeyPatch) -> None:
    """That check fails where the test patients are trained on."""
    leak_patients(patch, study)
    with pytest.raises(AssertionError, match="the test patients are foretold"):
        check_chance(study, architecture, repeats=REPEATS_LEAK)


def check_planted(folder: Path, architecture: str) -> None:
    """C of a study with the time written into its inputs is above that interval."""
    parts = [predicted(made.prepare(made.draw(patients=120, planted=True), folder), architecture, epochs=30)]
    assert pooled(parts) > chance(parts)[1]


@pytest.mark.parametrize("architecture", CHEAP)
def test_dealt_outcomes_that_are_known_by_heart_are_foretold_by_chance(tmp_path: Path, architecture: str) -> None:
    check_chance(of_noise(tmp_path, architecture), architecture)


@pytest.mark.parametrize("architecture", CHEAP)
def test_dealt_outcomes_of_test_patients_who_are_trained_on_are_foretold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    check_alarm(of_noise(tmp_path, architecture), architecture, monkeypatch)


@pytest.mark.parametrize("architecture", CHEAP)
def test_a_copy_of_the_time_in_an_input_is_found(tmp_path: Path, architecture: str) -> None:
    check_planted(tmp_path, architecture)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "loss"), [*((each, "cox") for each in OTHERS), *((each, "nll") for each in CHEAP)]
)
def test_dealt_outcomes_that_are_known_by_heart_are_foretold_by_chance_in_every_model(
    tmp_path: Path, architecture: str, loss: str
) -> None:
    check_chance(of_noise(tmp_path, architecture), architecture, loss=loss)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", MAY_LEAK)
def test_dealt_outcomes_of_test_patients_who_are_trained_on_are_foretold_by_every_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    check_alarm(of_noise(tmp_path, architecture), architecture, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_copy_of_the_time_in_an_input_is_found_by_every_model(tmp_path: Path, architecture: str) -> None:
    check_planted(tmp_path, architecture)
