"""Tables of metrics over time: one row per test part and metric, and per model and metric."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tta_pipeline.numerics.metrics import Fold
from tta_pipeline.numerics.spread import root_mean_variance
from tta_pipeline.numerics.time_metrics import Outcomes, Score, auc_at, brier_at, integrated_brier, uno_c

_PART = ["model", "repeat", "fold", "seed"]
PARTS = [*_PART, "metric", "from_days", "at_days", "tau_days", "n_beyond", "value", "reference", "reason"]
MODELS = ["model", "metric", "at_days", "mean", "std_folds", "reference", "n_parts", "n_defined"]


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
    models: Mapping[str, Sequence[Prediction]], *, training: Mapping[tuple[int, int], Outcomes]
) -> pd.DataFrame:
    """Uno's C, AUC and Brier score at the horizons, and the integrated Brier score of each test part.

    Parameters
    ----------
    models
        Test parts with predictions, by model.
    training
        Repeat and fold -> outcomes of the patients who trained.

    Returns
    -------
    Columns `PARTS`; see `time_metrics.Score`. tau_days: longest follow-up of the training part, where the test part is
    cut. n_beyond: test patients who are followed longer, and count as censored there.
    """
    rows = []
    for model, predictions in models.items():
        for p in predictions:
            train = training[p.part.repeat, p.part.fold]
            place = p.part.repeat, p.part.fold, p.part.seed
            tau = float(train.time_days.max())
            beyond = int((p.part.time_days > tau).sum())
            rows += [
                (model, *place, s.metric, s.from_days, s.at_days, tau, beyond, s.value, s.reference, s.reason)
                for s in _scores(p, train=train)
            ]
    return pd.DataFrame(rows, columns=PARTS)


def summarise_scores(parts: pd.DataFrame) -> pd.DataFrame:
    """One row per model, metric and horizon: mean and standard deviation over folds, seeds averaged first.

    std_folds: over the folds of a repeat (ddof 1); over repeats the variances are averaged, as of the C-index.
    at_days is NaN where it differs from part to part. n_defined: test parts in which the metric is defined.
    """
    horizon = parts["at_days"].where(parts["metric"].isin(["auc", "brier"]))
    rows = []
    for (model, metric, at_days), own in parts.assign(at_days=horizon).groupby(
        ["model", "metric", "at_days"], sort=False, dropna=False
    ):
        defined = own.dropna(subset=["value"])
        folds = defined.groupby(["repeat", "fold"])["value"].mean()
        spread = root_mean_variance([of.tolist() for _, of in folds.groupby(level="repeat")])
        found = folds.mean(), spread, defined["reference"].mean()
        rows.append((model, metric, at_days, *found, len(own), len(defined)))
    return pd.DataFrame(rows, columns=MODELS)


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
