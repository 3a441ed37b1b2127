"""What a reader must know before the numbers of a report: sentences, found in its tables."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from tta_pipeline.numerics.comparison import SIGNIFICANT, holm
from tta_pipeline.numerics.coverage import share
from tta_pipeline.numerics.metrics import TIED_RISK, Fold
from tta_pipeline.numerics.risk_checks import ALL_COVARIATES, NOT_BEYOND

FEW_EVENTS = 10  # in a test part: with fewer, one patient moves the C-index by several hundredths
_MOST_NAMED = 6
_LARGE_DIFFERENCE = 0.1  # of two C-indices: what is published as progress is a few hundredths
_LARGEST_DIFFERENCE = 0.5  # between a perfect model and one that guesses
_MOST_OUTSIDE = 0.5  # of the bins of a calibration; 95 % intervals leave out one of twenty by chance


def of_choice(models: Sequence[str]) -> list[str]:
    """Models whose weights were chosen on the patients that they are tested on."""
    return [
        f"{model}: the epoch was chosen by the test patients themselves (train.checkpoint: published). Its C-index is "
        "too high, and no estimate for new patients."
        for model in models
    ]


def of_mixed_settings(models: Sequence[str]) -> list[str]:
    """Models whose fits are not all of one model."""
    return [
        f"{model}: its fits have different options or recipes, so its numbers are of no single model. Run "
        "snakemake --forcerun train."
        for model in models
    ]


def of_test_parts(metrics: pd.DataFrame) -> list[str]:
    """Test parts with few events, by the model that has fewest there, and those without a C-index."""
    found = []
    by_fold = metrics.groupby(["repeat", "fold"])["n_events"].agg(["min", "max"])  # over models and seeds
    few = by_fold[by_fold["min"] < FEW_EVENTS]
    if len(few):
        named = _named(
            f"repeat {repeat} fold {fold}: {fewest}{' for some models' if fewest < most else ''}"
            for repeat, fold, fewest, most in few.reset_index().itertuples(index=False)
        )
        found.append(
            f"{len(few)} of {len(by_fold)} test parts have fewer than {FEW_EVENTS} events ({named}): "
            "their C-indices say little on their own."
        )
    undefined = metrics[metrics["c_index"].isna()]
    if len(undefined):
        named = _named(
            f"{row['model']} repeat {row['repeat']} fold {row['fold']} seed {row['seed']}: {row['reason']}"
            for row in undefined.to_dict("records")
        )
        found.append(
            f"{len(undefined)} of {len(metrics)} C-indices are undefined ({named}). Means are over the defined ones."
        )
    return found


def of_shared_sites(events: pd.DataFrame) -> list[str]:
    """Test parts with patients of sites that train as well: a model may know the site's stain and scanner.

    events: repeat, fold, n_test_sites, n_shared_sites of `flow.events_per_fold`.
    """
    shared = events[events["n_shared_sites"] > 0]
    if shared.empty:
        return []
    most = shared.loc[shared["n_shared_sites"].idxmax()]
    return [
        f"{len(shared)} of {len(events)} test parts have tissue source sites that train as well (up to "
        f"{most['n_shared_sites']} of {most['n_test_sites']}, in repeat {most['repeat']} fold {most['fold']}): a risk "
        "may have learnt sites. splits.group_by_site keeps them apart."
    ]


def of_unknown_sites(events: pd.DataFrame) -> list[str]:
    """Patients whose site is not known: it cannot be told whether it trains and is tested.

    events: repeat, fold, n_train, n_test, n_unknown_sites of `flow.events_per_fold`.
    """
    most = events.loc[events["n_unknown_sites"].idxmax()]
    if most["n_unknown_sites"] == 0:
        return []
    patients = most["n_train"] + most["n_test"]
    return [
        f"The site of {most['n_unknown_sites']} of {patients} training and test patients is not known (repeat "
        f"{most['repeat']} fold {most['fold']}), so that it cannot be told how many sites of test parts train as well. "
        "inputs.site_column names the column of sites."
    ]


def of_risks(models: Mapping[str, Sequence[Fold]]) -> list[str]:
    """Models that give every patient of a test part the same risk."""
    constant = [
        f"{model} repeat {part.repeat} fold {part.fold} seed {part.seed}"
        for model, parts in models.items()
        for part in parts
        if len(part.risk) > 1 and np.ptp(part.risk) <= TIED_RISK
    ]
    if not constant:
        return []
    return [f"All test patients have the same risk in {_named(constant)}: the model has learnt nothing there."]


def of_empty_models(fits: Mapping[str, Sequence[str]]) -> list[str]:
    """Fits that chose to use nothing of their input, by the reason that they give."""
    return [
        f"{reason} in {_named(names)}: no gene set was selected or split on, so all patients have one risk, and a "
        "C-index of 0.5."
        for reason, names in fits.items()
    ]


def of_unchecked_modalities(models: Sequence[str]) -> list[str]:
    """Models of two modalities that were never scored with one of them from another patient."""
    if not models:
        return []
    return [
        f"{_named(models)}: not checked whether both modalities are used. Set evaluate.exchanges to 1 or more, and "
        "evaluate again; a test part of one patient cannot be checked."
    ]


def of_modalities(table: pd.DataFrame) -> list[str]:
    """Checks of modalities that leave test parts out."""
    partly = table[table["n_checked"] < table["n_parts"]].drop_duplicates(["model", "n_checked"])
    return [
        f"{row['model']}: the check of its modalities is over {row['n_checked']} of {row['n_parts']} test parts; the "
        "others have one patient, for whom nobody stands in, or were evaluated with evaluate.exchanges: 0."
        for row in partly.to_dict("records")
    ]


def of_direction(summary: pd.DataFrame) -> list[str]:
    """Models whose risks order patients worse than chance, which points to an inverted risk or indicator."""
    worse = summary.loc[summary["c_high"] < 0.5, "model"]
    return [
        f"{model}: the whole interval of the C-index is below 0.5. Check inputs.event_means and the time column first; "
        "risks are higher for worse outcomes."
        for model in worse
    ]


def of_absent_models(names: Sequence[str]) -> list[str]:
    """Models of the study that the report was told to do without."""
    return [f"Without {', '.join(names)} (report.without): models of this study that are not shown."] if names else []


def of_missing_patients(models: Mapping[str, Sequence[Fold]], *, splits: pd.DataFrame) -> list[str]:
    """Test patients of the splits for whom a model has no risk, and folds that a model lacks."""
    test = splits[splits["role"] == "test"]
    planned: dict[tuple[int, int], set[str]] = {}
    for repeat, fold, name in zip(test["repeat"], test["fold"], test["patient_id"], strict=True):
        planned.setdefault((repeat, fold), set()).add(name)
    lost: dict[tuple[str, ...], list[str]] = {}
    absent: dict[tuple[str, ...], list[str]] = {}
    for model, parts in models.items():
        tested = {(part.repeat, part.fold): set(map(str, part.patient_id)) for part in parts}
        without = sorted(set().union(*(planned[key] - patients for key, patients in tested.items())))
        lost.setdefault(tuple(without), []).append(model)
        unseen = tuple(f"repeat {repeat} fold {fold}" for repeat, fold in sorted(set(planned) - set(tested)))
        absent.setdefault(unseen, []).append(model)
    return [
        f"{len(names)} test patients of the splits have no risk in {', '.join(of)} ({_named(names)})."
        for names, of in lost.items()
        if names
    ] + [
        f"{len(names)} of {len(planned)} test parts have no results in {', '.join(of)} ({_named(names)})."
        for names, of in absent.items()
        if names
    ]


def of_comparisons(comparisons: pd.DataFrame) -> list[str]:
    """Pairs of models that cannot be compared, and a comparison that could only have shown large differences.

    comparisons: model_a, model_b, verdict, reason, c_detectable of `results.compare`.
    """
    said = []
    for reason, own in comparisons[comparisons["verdict"] == "not compared"].groupby("reason", sort=False):
        pairs = [f"{row['model_a']} and {row['model_b']}" for row in own.to_dict("records")]
        said.append(f"{_named(pairs)} {'are' if len(pairs) == 1 else 'each are'} not compared: {reason}.")
    none = comparisons[comparisons["verdict"] == "no difference shown"]
    spread = none["c_detectable"].dropna()
    if len(spread) and spread.median() > _LARGE_DIFFERENCE:
        least = f"below about {spread.median():.2f} in C" if spread.median() < _LARGEST_DIFFERENCE else "of any size"
        said.append(
            f"No difference is shown in {len(none)} of {len(comparisons)} pairs of models, and in half of them one "
            f"{least} could not have been: the test parts are too few for so many pairs, or differ too much. "
            "More repeats (splits.repeats) and fewer models (report.without) tell more."
        )
    return said


def of_binned_follow_up(models: Sequence[str]) -> list[str]:
    """Models that are trained by the likelihood of hazards in bins of follow-up."""
    if not models:
        return []
    return [
        f"{_named(models)}: trained with loss nll, which takes patients who are censored within a bin of follow-up for "
        "survivors of the whole bin. That biases predicted survival, its Brier scores and its calibration: do not hold "
        "these against those of models with loss cox. The C-index is not concerned."
    ]


def of_calibration(calibration: pd.DataFrame) -> list[str]:
    """Models whose predicted survival lies outside most intervals of what is observed.

    calibration: model, bin, predicted, low, high of `risk_checks.calibration_table`.
    """
    bins = calibration[(calibration["bin"] > 0) & (calibration["low"] < calibration["high"])]  # where one has a width
    outside = (bins["predicted"] < bins["low"]) | (bins["predicted"] > bins["high"])
    wrong = [
        f"{model}: {own.sum()} of {len(own)}"
        for model, own in outside.groupby(bins["model"], sort=False)
        if own.mean() > _MOST_OUTSIDE
    ]
    if not wrong:
        return []
    return [
        f"Predicted survival lies outside the interval of the observed one in most bins of patients ({_named(wrong)}): "
        "read these risks as an order, not as probabilities."
    ]


def of_hazards(hazards: pd.DataFrame) -> list[str]:
    """Models whose hazard ratio changes over time: one C-index or log-rank p then hides when they are of use.

    hazards: model, correlation, p of `risk_checks.hazards_table`; p is corrected by Holm over the models here.
    """
    corrected = hazards.assign(p=holm(hazards["p"].to_list()))
    changing = corrected[corrected["p"] < SIGNIFICANT]
    return [
        f"{row['model']}: the hazards of its risk are not proportional (corrected p {shown_p(row['p'])}): it tells "
        f"{'less' if row['correlation'] < 0 else 'more'} of late deaths than of early ones."
        for row in changing.to_dict("records")
    ]


def of_added_value(added: pd.DataFrame) -> list[str]:
    """Risks that go with survival by themselves, but beside a clinical covariate are not shown to say more.

    added: model, covariate, scale, p_risk, verdict of `risk_checks.added_table`.
    """
    said = []
    for covariate, own in added[added["verdict"] == NOT_BEYOND].groupby("covariate", sort=False):
        beside = f"the covariates {own['scale'].iloc[0]}" if covariate == ALL_COVARIATES else str(covariate)
        named = _named(f"{row['model']}: p {shown_p(row['p_risk'])}" for row in own.to_dict("records"))
        said.append(
            f"Risks that go with survival by themselves are not shown to add anything beside {beside} ({named}): that "
            "may be all that they tell."
        )
    return said


def shown_p(p: float) -> str:
    """A p value behind the letter: "= 0.031", "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def of_attrition(steps: pd.DataFrame) -> list[str]:
    """Patients and slides that were lost after the cohort was drawn up."""
    late = steps[(steps["left"] > 0) & (steps["stage"] != "cohort")]
    return [
        f"Left out at the {row['stage']} stage: {row['left']} {row['kind']}{'s' if row['left'] > 1 else ''} "
        f"({row['reason']})."
        for row in late.to_dict("records")
    ]


def of_coverage(sets: pd.DataFrame) -> list[str]:
    """Gene sets that stand for their pathways by a minority of their genes."""
    kept = sets[sets["kept"]]
    part = share(kept)
    if not part < 0.5:
        return []
    return [
        f"Only {part:.0%} of the genes of the {len(kept)} gene sets that are kept were measured: a pathway's token "
        "stands for a small part of its set."
    ]


def _named(names: Iterable[str]) -> str:
    every = list(names)
    rest = len(every) - _MOST_NAMED
    return "; ".join(every[:_MOST_NAMED]) + (f"; and {rest} more" if rest > 0 else "")
