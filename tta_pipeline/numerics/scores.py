"""Tables of metrics over time: one row per test part and metric, and per model and metric."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tta_pipeline.numerics.bootstrap import Sampling, draw_patients, percentile_interval, weights_of
from tta_pipeline.numerics.metrics import Fold
from tta_pipeline.numerics.spread import spread
from tta_pipeline.numerics.time_bootstrap import Weights, auc_samples, brier_samples, uno_samples
from tta_pipeline.numerics.time_metrics import Floats, Outcomes, Score, auc_at, brier_at, integrated_brier, uno_c

_PART = ["model", "repeat", "fold", "seed"]
PARTS = [*_PART, "metric", "from_days", "at_days", "tau_days", "n_beyond"]
PARTS += ["value", "low", "high", "reference", "reason"]
MODELS = ["model", "metric", "at_days", "mean", "low", "high", "std_folds", "std_seeds"]
MODELS += ["reference", "n_parts", "n_defined", "reason"]


@dataclass(frozen=True)
class Prediction:
    """A test part with its predicted survival.

    survival: (patients, horizons) at `horizons_days`; curves: (patients, times) at `curve_days`; NaN beyond support.
    """

    part: Fold
    survival: NDArray[np.float64]
    horizons_days: NDArray[np.float64]
    curves: NDArray[np.float64]
    curve_days: NDArray[np.float64]


def score_parts(
    models: Mapping[str, Sequence[Prediction]], *, training: Mapping[tuple[int, int], Outcomes], sampling: Sampling
) -> tuple[pd.DataFrame, Floats]:
    """Uno's C, AUC and Brier score at the horizons, and the integrated Brier score of each test part.

    Parameters
    ----------
    models
        Test parts with predictions, by model.
    training
        Repeat and fold -> outcomes of the patients who trained.

    Returns
    -------
    table
        Columns `PARTS`; see `time_metrics.Score`. tau_days: longest follow-up of the training part, where the test part
        is cut. n_beyond: test patients who are followed longer, and count as censored there. low, high: bootstrap
        interval over the patients of the part.
    drawn
        (rows, samples), the value of each row in each bootstrap sample of patients; NaN where it is undefined.
    """
    rows, samples = [], []
    for model, predictions in models.items():
        patient_id, weights = draw_patients(
            [one.part for one in predictions], samples=sampling.samples, seed=sampling.seed
        )
        for one in predictions:
            part, train = one.part, training[one.part.repeat, one.part.fold]
            own = weights_of(part, patient_id=patient_id, weights=weights)
            tau = float(train.time_days.max())
            place = model, part.repeat, part.fold, part.seed
            for s in _scores(one, train=train):
                samples.append(_drawn_scores(s, one, train=train, weights=own))
                interval = percentile_interval(samples[-1], confidence=sampling.confidence)
                cut = s.metric, s.from_days, s.at_days, tau, int((part.time_days > tau).sum())
                values = s.value, interval.low, interval.high, s.reference, s.reason or interval.reason
                rows.append((*place, *cut, *values))
    return pd.DataFrame(rows, columns=PARTS), np.array(samples).reshape(len(rows), sampling.samples)


def summarise_scores(parts: pd.DataFrame, drawn: Floats, *, confidence: float) -> pd.DataFrame:
    """One row per model, metric and horizon: mean over folds, seeds averaged first, and its interval over patients.

    low, high: percentile interval of that mean over bootstrap samples of patients, the fitted models as they are.
    std_folds: over the folds of a repeat (ddof 1); over repeats the variances are averaged, as of the C-index.
    std_seeds: over the seeds within a fold (ddof 1); over folds the variances are averaged.
    at_days is NaN where it differs from part to part. n_defined: test parts in which the metric is defined; reason: why
    it is not in the first of the others, or why there is no interval.

    Parameters
    ----------
    parts, drawn
        Of `score_parts`.
    """
    horizon = parts["at_days"].where(parts["metric"].isin(["auc", "brier"]))
    rows = []
    for place, own in parts.assign(at_days=horizon).groupby(["model", "metric", "at_days"], sort=False, dropna=False):
        defined = own.dropna(subset=["value"])
        folds = [of for _, of in defined.groupby(["repeat", "fold"])]
        interval = percentile_interval(_mean_over_folds(folds, drawn), confidence=confidence)
        spreads = spread({(of["repeat"].iloc[0], of["fold"].iloc[0]): of["value"].to_list() for of in folds})
        found = np.mean([of["value"].mean() for of in folds]) if folds else np.nan
        values = found, interval.low, interval.high, spreads.over_folds, spreads.over_seeds, defined["reference"].mean()
        reasons = [*own.loc[own["value"].isna(), "reason"], interval.reason]
        rows.append((*place, *values, len(own), len(defined), reasons[0]))
    return pd.DataFrame(rows, columns=MODELS)


def _mean_over_folds(folds: Sequence[pd.DataFrame], drawn: Floats) -> Floats:
    """(samples,), seeds averaged first; `folds` are the rows of each, numbered as `drawn`."""
    if not folds:
        return np.full(drawn.shape[1], np.nan)
    means: Floats = np.mean([drawn[of.index].mean(axis=0) for of in folds], axis=0)
    return means


def _drawn_scores(score: Score, prediction: Prediction, *, train: Outcomes, weights: Weights) -> Floats:
    """(samples,) of a score; NaN where it is undefined for the part itself."""
    part = prediction.part
    if np.isnan(score.value):
        return np.full(len(weights), np.nan)
    if score.metric == "uno_c":
        return uno_samples(part, train=train, weights=weights)
    if score.metric == "auc":
        return auc_samples(part, horizon_days=score.at_days, train=train, weights=weights)
    survival, days = prediction.survival, prediction.horizons_days
    if score.metric == "ibs":
        survival, days = prediction.curves, prediction.curve_days
    first = score.from_days if score.metric == "ibs" else score.at_days
    inside = (days >= first) & (days <= score.at_days)
    return brier_samples(part, survival=survival[:, inside], days=days[inside], train=train, weights=weights)


def cut_at_tau(parts: pd.DataFrame, *, tested: pd.DataFrame) -> dict[str, float]:
    """How test parts are cut at the longest follow-up of their training parts.

    Parameters
    ----------
    parts
        Columns `PARTS`.
    tested
        repeat, fold, n_test; rows of further models and seeds repeat those of the first.

    Returns
    -------
    low, high: range of tau over the test parts, days. patients: those followed beyond it, of: all who are tested, both
    in the first repeat, in which each is tested once. ibs_low, ibs_high: widest range of an integrated score, days.
    """
    cuts = parts.drop_duplicates(["repeat", "fold"])
    first = cuts["repeat"].min()
    sizes = tested[tested["repeat"] == first].drop_duplicates("fold")
    ibs = parts[parts["metric"] == "ibs"]
    return {
        "low": cuts["tau_days"].min(),
        "high": cuts["tau_days"].max(),
        "patients": int(cuts.loc[cuts["repeat"] == first, "n_beyond"].sum()),
        "of": int(sizes["n_test"].sum()),
        "ibs_low": ibs["from_days"].min(),
        "ibs_high": ibs["at_days"].max(),
    }


def training_outcomes(roles: pd.DataFrame, cohort: pd.DataFrame) -> dict[tuple[int, int], Outcomes]:
    """Outcomes of the patients who trained, by repeat and fold.

    Parameters
    ----------
    roles
        repeat, fold, patient_id, role.
    cohort
        patient_id, time_days, event.
    """
    train = roles[roles["role"] == "train"].merge(cohort, on="patient_id")
    outcomes = {}
    for repeat, fold in train[["repeat", "fold"]].drop_duplicates().itertuples(index=False):
        own = train[(train["repeat"] == repeat) & (train["fold"] == fold)]
        outcomes[repeat, fold] = Outcomes(own["time_days"].to_numpy(float), own["event"].to_numpy(bool))
    return outcomes


def _scores(prediction: Prediction, *, train: Outcomes) -> Iterator[Score]:
    part, horizons = prediction.part, prediction.horizons_days.tolist()
    test = Outcomes(part.time_days, part.event)
    yield uno_c(risk=part.risk, test=test, train=train)
    yield from auc_at(horizons, risk=part.risk, test=test, train=train)
    yield from brier_at(horizons, survival=prediction.survival, test=test, train=train)
    yield integrated_brier(curves=prediction.curves, curve_days=prediction.curve_days, test=test, train=train)
