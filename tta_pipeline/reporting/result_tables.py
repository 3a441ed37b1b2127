"""Tables of what the models' risks are worth."""

import math
from collections.abc import Mapping

import pandas as pd

from tta_pipeline.config import Report
from tta_pipeline.numerics import results
from tta_pipeline.numerics.bootstrap import Sampling
from tta_pipeline.numerics.comparison import samples_for
from tta_pipeline.numerics.groups import RiskGroups, group_row, split_by_risk
from tta_pipeline.numerics.modalities import modality_check
from tta_pipeline.numerics.risk_checks import added_table, calibration_table, hazards_table
from tta_pipeline.numerics.scores import score_parts, summarise_scores
from tta_pipeline.numerics.time_metrics import Outcomes
from tta_pipeline.reporting.fits import FIT, Checkpoints, Evaluated, train_medians

_OF_COVARIATES = "clinical-cox"  # the architecture whose risk is made of the covariates alone


def make_results(
    found: Evaluated,
    *,
    checkpoints: Checkpoints,
    training: Mapping[tuple[int, int], Outcomes],
    covariates: pd.DataFrame,
    truth: Mapping[str, float] | None,
    config: Report,
) -> dict[str, pd.DataFrame]:
    """C-indices, comparisons, variants, scores over time, the worth of modalities and checks of the risks, by table.

    Parameters
    ----------
    training
        Repeat and fold -> outcomes of the patients who trained.
    covariates
        patient_id, covariate, value of the clinical covariates; may be empty.
    truth
        patient_id -> true risk, where it is known.
    """
    models = found.models
    samples = samples_drawn(len(models), config)
    bootstrap = results.bootstrap_models(models, samples=samples, seed=config.seed)
    sampling = Sampling(config.bootstrap, seed=config.seed, confidence=config.confidence)
    parts = results.c_per_part(models)
    of_parts, of_fits = results.c_intervals(models, sampling=sampling)
    scores, drawn = score_parts(found.predictions, training=training, sampling=sampling)
    n_train = float(found.sizes["n_train"].mean())
    sections = {name: own[0].attributes.get("model", {}) for name, own in checkpoints.items()}
    beside = {name: own for name, own in models.items() if sections.get(name, {}).get("architecture") != _OF_COVARIATES}
    made = {
        "metrics": results.with_intervals(parts, of_parts).merge(found.sizes, on=["model", *FIT], validate="1:1"),
        "pooled": results.with_intervals(results.c_per_fit(models), of_fits),
        "summary": results.summarise(models, bootstrap, confidence=config.confidence, true_risk=truth),
        "comparisons": results.compare(models, bootstrap, confidence=config.confidence, n_train=n_train),
        "scores": scores,
        "scores_summary": summarise_scores(scores, drawn, confidence=config.confidence),
        "modalities": modality_check(
            models, found.exchanged, samples=config.bootstrap, seed=config.seed, confidence=config.confidence
        ),
        "calibration": calibration_table(found.predictions, confidence=config.confidence),
        "hazards": hazards_table(models),
        "added_value": added_table(beside, covariates),
    }
    made["ablations"] = results.ablations(made["summary"], made["comparisons"], sections)
    return made


def samples_drawn(models: int, config: Report) -> int:
    """Bootstrap samples of patients for the C-indices of so many models, all pairs of which are compared."""
    return samples_for(math.comb(models, 2), least=config.bootstrap)


def risk_groups(found: Evaluated, checkpoints: Checkpoints) -> dict[str, RiskGroups]:
    """High and low risk among the test patients of each model, by cut-offs of the training parts."""
    return {
        model: split_by_risk(parts, train_median=train_medians(checkpoints.get(model, [])))
        for model, parts in found.models.items()
    }


def group_table(groups: Mapping[str, RiskGroups]) -> pd.DataFrame:
    """One row per model: the two groups and their log-rank test."""
    return pd.DataFrame([{"model": model} | group_row(own) for model, own in groups.items()])
