"""Whether a model uses its modalities: its C-index where one of them is another patient's."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tta_pipeline.numerics.bootstrap import bootstrap_pooled_c, draw_patients, percentile_interval
from tta_pipeline.numerics.comparison import SIGNIFICANT, bootstrap_test, holm, samples_for
from tta_pipeline.numerics.metrics import Fold, mean_pooled_c

# Model -> modality -> draws -> the model's test parts with the risks that another patient's modality gave.
Exchanged = Mapping[str, Mapping[str, Sequence[Sequence[Fold]]]]
COLUMNS = [
    "model",
    "modality",
    "draws",
    "n_parts",
    "n_checked",
    "c_index",
    "c_exchanged",
    "c_lost",
    "c_low",
    "c_high",
    "p_bootstrap",
    "p_corrected",
    "verdict",
]


def partners(patients: int, *, generator: np.random.Generator) -> NDArray[np.int64]:
    """For each of at least two patients another one, nobody twice: one random cycle through all."""
    order = generator.permutation(patients)
    partner = np.empty(patients, dtype=np.int64)
    partner[order] = np.roll(order, 1)
    return partner


def modality_check(
    models: Mapping[str, Sequence[Fold]], exchanged: Exchanged, *, samples: int, seed: int, confidence: float
) -> pd.DataFrame:
    """One row per model and modality: how much of the C-index is lost with another patient's modality.

    Parameters
    ----------
    models
        Test parts by model.
    exchanged
        The same test parts with other risks. A part without draws, as one of a single patient is, is left out; a
        modality without any gives no row.
    samples, seed, confidence
        Of the bootstrap over patients, as for the C-index itself; more samples where that many rows need them. The loss
        is that of the mean over draws, on the same samples of patients.

    Returns
    -------
    Columns `COLUMNS`. n_parts, n_checked: test parts of the model, and those with draws, over which all that follows is
    taken. c_lost = c_index - c_exchanged; p_bootstrap is two-sided, of no loss, p_corrected is Holm's over all rows;
    "used" is the verdict where something is lost and p_corrected is below 0.05. Intervals are not adjusted.

    References
    ----------
    Breiman, Machine Learning 45 (2001) 5, section 10: importance by permutation.
    """
    rows = []
    tests = sum(bool(draws) for model in models for draws in exchanged.get(model, {}).values())
    samples = samples_for(tests, least=samples)
    for model, parts in models.items():
        for modality, draws in exchanged.get(model, {}).items():
            drawn = {_fit_of(part) for part in draws[0]} if draws else set()
            own_parts = [part for part in parts if _fit_of(part) in drawn]
            if not own_parts:
                continue
            patient_id, weights = draw_patients(own_parts, samples=samples, seed=seed)
            own = bootstrap_pooled_c(own_parts, patient_id=patient_id, weights=weights)
            other = np.mean([bootstrap_pooled_c(d, patient_id=patient_id, weights=weights) for d in draws], axis=0)
            interval = percentile_interval(own - other, confidence=confidence)
            c = mean_pooled_c(own_parts).value
            c_exchanged = float(np.mean([mean_pooled_c(draw).value for draw in draws]))
            found = (
                len(draws),
                len(parts),
                len(own_parts),
                c,
                c_exchanged,
                c - c_exchanged,
                interval.low,
                interval.high,
                bootstrap_test(own - other).p,
            )
            rows.append((model, modality, *found))
    table = pd.DataFrame(rows, columns=COLUMNS[: COLUMNS.index("p_corrected")])
    table["p_corrected"] = holm(table["p_bootstrap"].to_list())
    table["verdict"] = [_verdict(lost, p) for lost, p in zip(table["c_lost"], table["p_corrected"], strict=True)]
    return table


def _verdict(lost: float, p_corrected: float) -> str:
    if np.isnan(p_corrected):
        return "not defined"
    return "used" if lost > 0 and p_corrected < SIGNIFICANT else "no use shown"


def _fit_of(part: Fold) -> tuple[int, int, int]:
    return part.repeat, part.fold, part.seed
