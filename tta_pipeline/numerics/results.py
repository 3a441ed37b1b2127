"""Tables of results: the C-index per test part, per fit, per model and per pair of models.

A model is its name with its test parts; every function takes all models of a study.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tta_pipeline.numerics.bootstrap import (
    Sampling,
    bootstrap_pooled_c,
    draw_patients,
    pair_counts,
    percentile_interval,
    ratio,
    weights_of,
)
from tta_pipeline.numerics.comparison import bootstrap_test, corrected_t_test, detectable, holm, verdict
from tta_pipeline.numerics.metrics import Fold, fits, harrell_c, mean_pooled_c, pooled_c
from tta_pipeline.numerics.spread import spread_of_c

Models = Mapping[str, Sequence[Fold]]
_DIFFERENT_PARTS = "not tested on the same patients and folds"
_OPPOSITE = "over the patients one model is higher, over the test parts the other"
_COMPARED = ["model_a", "model_b", "c_difference", "c_low", "c_high"]
_COMPARED += ["p_bootstrap", "p_folds", "p_corrected", "c_detectable", "verdict", "reason"]


def c_per_part(models: Models) -> pd.DataFrame:
    """One row per model, repeat, fold and seed: patients, events, comparable pairs, C-index or the reason why not."""
    rows = []
    for model, parts in models.items():
        for part in parts:
            c = harrell_c(risk=part.risk, time_days=part.time_days, event=part.event)
            rows.append(
                {
                    "model": model,
                    "repeat": part.repeat,
                    "fold": part.fold,
                    "seed": part.seed,
                    "n_test": len(part.event),
                    "n_events": int(part.event.sum()),
                    "n_pairs": c.comparable,
                    "c_index": c.value,
                    "reason": c.reason,
                }
            )
    return pd.DataFrame(rows)


def c_per_fit(models: Models) -> pd.DataFrame:
    """One row per model, repeat and seed: C over the comparable pairs within the folds, summed over the folds."""
    rows = []
    for model, parts in models.items():
        for repeat, seed in fits(parts):
            own = [part for part in parts if part.fit == (repeat, seed)]
            c = pooled_c(own)
            rows.append(
                {
                    "model": model,
                    "repeat": repeat,
                    "seed": seed,
                    "n_test": sum(len(part.event) for part in own),
                    "n_events": sum(int(part.event.sum()) for part in own),
                    "n_pairs": c.comparable,
                    "c_index": c.value,
                    "reason": c.reason,
                }
            )
    return pd.DataFrame(rows)


def c_intervals(models: Models, *, sampling: Sampling) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Bootstrap intervals of the C-index over the patients of each test part, and over those of each repeat and seed.

    Returns
    -------
    Two tables: c_low, c_high and why there is no interval (unbounded), by model, repeat, fold and seed, and by model,
    repeat and seed.
    """
    of_parts, of_fits = [], []
    for model, parts in models.items():
        patient_id, weights = draw_patients(parts, samples=sampling.samples, seed=sampling.seed)
        for repeat, seed in fits(parts):
            fit, total = {"model": model, "repeat": repeat, "seed": seed}, np.zeros((2, sampling.samples))
            for part in (part for part in parts if part.fit == (repeat, seed)):
                counts = pair_counts(part, weights_of(part, patient_id=patient_id, weights=weights))
                of_parts.append(fit | {"fold": part.fold} | _bounds(counts, confidence=sampling.confidence))
                total += counts
            of_fits.append(fit | _bounds(total, confidence=sampling.confidence))
    return pd.DataFrame(of_parts), pd.DataFrame(of_fits)


def _bounds(counts: NDArray[np.float64], *, confidence: float) -> dict[str, object]:
    interval = percentile_interval(ratio(counts), confidence=confidence)
    return {"c_low": interval.low, "c_high": interval.high, "unbounded": interval.reason}


def with_intervals(table: pd.DataFrame, intervals: pd.DataFrame) -> pd.DataFrame:
    """A table of C-indices with the columns c_low and c_high of theirs; the reason says why there is none, too."""
    on = [name for name in intervals if name in table]
    bounded = table.merge(intervals, on=on, how="left", validate="1:1")
    bounded["reason"] = bounded["reason"].where(bounded["reason"] != "", bounded.pop("unbounded"))
    return bounded


def bootstrap_models(models: Models, *, samples: int, seed: int) -> dict[str, NDArray[np.float64]]:
    """Pooled C of each bootstrap sample, (samples,) per model; models with the same test parts share the samples."""
    values = {}
    for model, parts in models.items():
        patient_id, weights = draw_patients(parts, samples=samples, seed=seed)
        values[model] = bootstrap_pooled_c(parts, patient_id=patient_id, weights=weights)
    return values


def summarise(
    models: Models,
    bootstrap: Mapping[str, NDArray[np.float64]],
    *,
    confidence: float,
    true_risk: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """One row per model.

    c_mean: mean over repeats and folds of C averaged over seeds.
    c_std_folds: standard deviation (ddof 1) over the folds of a repeat, of C averaged over seeds; over repeats the
    variances are averaged.
    c_std_seeds: standard deviation (ddof 1) over the seeds within a fold, the same patients: the chance in the training
    alone; over folds the variances are averaged.
    c_std_repeats: standard deviation (ddof 1) over repeats of C averaged over seeds, then over folds.
    c_pooled, c_low, c_high: mean over repeats and seeds of the pooled C, and its bootstrap interval over patients,
    which is for the fitted models at hand and too narrow where training is unstable (see `bootstrap_pooled_c`).
    c_true_risk: the pooled C of the true risk on the same test parts; NaN where it is not known.
    """
    part_table, rows = c_per_part(models), []
    for model, parts in models.items():
        table = part_table[part_table["model"] == model]
        defined = table.dropna(subset=["c_index"])
        folds, spread = defined.groupby(["repeat", "fold"])["c_index"].mean(), spread_of_c(parts)
        pooled, interval = mean_pooled_c(parts), percentile_interval(bootstrap[model], confidence=confidence)
        rows.append(
            {
                "model": model,
                **_sizes(parts),
                "n_parts": len(table),
                "n_defined": len(defined),
                "c_mean": folds.mean(),
                "c_std_folds": spread.over_folds,
                "c_std_seeds": spread.over_seeds,
                "c_std_repeats": spread.over_repeats,
                "c_pooled": pooled.value,
                "c_low": interval.low,
                "c_high": interval.high,
                "undefined_samples": interval.undefined,
                "c_true_risk": np.nan if true_risk is None else mean_pooled_c(with_risk(parts, true_risk)).value,
                "reason": pooled.reason or interval.reason,
            }
        )
    return pd.DataFrame(rows)


def with_risk(parts: Sequence[Fold], risk: Mapping[str, float]) -> list[Fold]:
    """The same test parts, one per repeat and fold, with another risk of each patient."""
    one = {(part.repeat, part.fold): part for part in reversed(parts)}
    return [
        replace(part, seed=0, risk=np.array([risk[str(name)] for name in part.patient_id], dtype=np.float64))
        for _, part in sorted(one.items())
    ]


def compare(
    models: Models, bootstrap: Mapping[str, NDArray[np.float64]], *, confidence: float, n_train: float
) -> pd.DataFrame:
    """One row per pair of models: C of the first minus C of the second, with its paired bootstrap interval.

    p_bootstrap is of the test patients, the fitted models as they are; p_folds, of the corrected t-test over test
    parts, of training as well. The bootstrap alone calls equal models different too often (in 7 to 15 % of simulated
    cohorts instead of 5 %, `benchmarks/RESULTS.md`), and its interval leaves out 0 as often: the verdict rests on the
    larger p, corrected by Holm over all pairs that have both (p_corrected). Intervals are not adjusted. Models with
    different test parts, or of which fewer than two have a difference, are not compared. A pair that is equal in every
    part has a p of 1, and one of which the two tests point to different models a corrected p of 1.
    c_detectable: difference over parts from which the t-test would have called this pair, were it the clearest of all.

    Parameters
    ----------
    n_train
        Patients of a training part, mean over the parts.
    """
    rows, apart, opposite = [], [], []  # differences over parts, by pair; whether they are against the pooled one
    over_parts, pooled = {}, {}
    n_test = float(np.mean([len(part.event) for parts in models.values() for part in parts]))
    for name, parts in models.items():
        over_parts[name], pooled[name] = _c_of_parts(parts), mean_pooled_c(parts).value
    for first, second in combinations(models, 2):
        if _test_parts(models[first]) != _test_parts(models[second]):
            undefined = dict.fromkeys(("c_difference", "c_low", "c_high", "p_bootstrap", "p_folds"), np.nan)
            rows.append({"model_a": first, "model_b": second, **undefined, "reason": _DIFFERENT_PARTS})
            apart.append(np.empty(0))
            opposite.append(False)
            continue
        differences = bootstrap[first] - bootstrap[second]
        interval = percentile_interval(differences, confidence=confidence)
        apart.append(over_parts[first] - over_parts[second])
        tests = bootstrap_test(differences), corrected_t_test(apart[-1], n_test=n_test, n_train=n_train)
        defined = apart[-1][np.isfinite(apart[-1])]
        equal = len(defined) > 0 and not defined.any()
        opposite.append(bool(defined.sum() * (pooled[first] - pooled[second]) < 0))
        rows.append(
            {
                "model_a": first,
                "model_b": second,
                "c_difference": pooled[first] - pooled[second],
                "c_low": interval.low,
                "c_high": interval.high,
                "p_bootstrap": tests[0].p,
                "p_folds": 1.0 if equal else tests[1].p,
                "reason": interval.reason or ("" if equal else tests[1].reason),
            }
        )
    later = {"p_corrected", "c_detectable", "verdict"}
    table = pd.DataFrame(rows, columns=[name for name in _COMPARED if name not in later])
    worse = table[["p_bootstrap", "p_folds"]].max(axis=1, skipna=False)
    worse = worse.mask(np.array(opposite, dtype=bool) & worse.notna(), 1.0)
    table["reason"] = table["reason"].mask(np.array(opposite, dtype=bool), _OPPOSITE)
    table["p_corrected"] = holm(worse.to_list())
    count = max(1, int(worse.notna().sum()))
    table["c_detectable"] = [detectable(one, n_test=n_test, n_train=n_train, tests=count) for one in apart]
    table["verdict"] = [
        verdict(row["model_a"], row["model_b"], difference=row["c_difference"], p_corrected=row["p_corrected"])
        for row in table.to_dict("records")
    ]
    return table[_COMPARED]


def _c_of_parts(parts: Sequence[Fold]) -> NDArray[np.float64]:
    """C in each repeat and fold, in their order, averaged over seeds; NaN where undefined."""
    c: NDArray[np.float64] = (
        c_per_part({"": parts}).groupby(["repeat", "fold"])["c_index"].mean().sort_index().to_numpy(float)
    )
    return c


def ablations(
    summary: pd.DataFrame, comparisons: pd.DataFrame, options: Mapping[str, Mapping[str, object]]
) -> pd.DataFrame:
    """One row per variant of the first model: the same architecture with other options.

    changes: the options in which a variant differs from the first model, as `key=value`; empty for the first.
    c_mean, c_std_folds, c_pooled, c_low, c_high: as in the summary.
    c_difference, difference_low, difference_high: C of the variant minus C of the first model, with the paired
    bootstrap interval; NaN for the first. p_corrected, verdict: of the comparison, among all pairs of models.

    Returns
    -------
    Empty where there is no variant, or no options are known.
    """
    columns = ["model", "changes", "c_mean", "c_std_folds", "c_pooled", "c_low", "c_high"]
    differences, said = ["c_difference", "difference_low", "difference_high"], ["p_corrected", "verdict"]
    models = [model for model in summary["model"] if "architecture" in options.get(model, {})]
    family = [one for one in models if options[one]["architecture"] == options[models[0]]["architecture"]]
    if len(family) < 2:
        return pd.DataFrame(columns=columns + differences + said)
    first = options[family[0]]
    table = summary[summary["model"].isin(family)].copy()
    table["changes"] = [
        ", ".join(f"{key}={_plain(value)}" for key, value in options[one].items() if first.get(key) != value)
        for one in table["model"]
    ]
    against = comparisons[comparisons["model_a"] == family[0]].set_index("model_b")
    turned = -against[["c_difference", "c_high", "c_low"]].set_axis(differences, axis=1)
    table = table[columns].merge(turned.join(against[said]), left_on="model", right_index=True, how="left")
    return table.fillna({"verdict": ""}).reset_index(drop=True)


def _plain(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _sizes(parts: Sequence[Fold]) -> dict[str, int]:
    died = {str(name): bool(event) for part in parts for name, event in zip(part.patient_id, part.event, strict=True)}
    return {
        "n_patients": len(died),
        "n_events": sum(died.values()),
        "n_repeats": len({part.repeat for part in parts}),
        "n_folds": len({(part.repeat, part.fold) for part in parts}),
        "n_seeds": len({part.seed for part in parts}),
    }


def _test_parts(parts: Sequence[Fold]) -> set[tuple[int, int, int, tuple[str, ...]]]:
    return {(part.repeat, part.fold, part.seed, tuple(sorted(map(str, part.patient_id)))) for part in parts}
