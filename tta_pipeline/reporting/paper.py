"""The table of a paper: models by cohorts, from the reports of several studies."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tta_pipeline.io.paper_table import PAPER, Block
from tta_pipeline.reporting.fits import ON_TEST

KAPLAN_MEIER = "Kaplan-Meier (no model)"
Reports = Mapping[str, Mapping[str, pd.DataFrame]]  # cohort -> name of a table -> the table
Row = Mapping[Hashable, Any]


def _mean(row: Row) -> str:
    spread = f" ± {row['c_std_folds']:.3f}" if np.isfinite(row["c_std_folds"]) else ""
    return f"{row['c_mean']:.3f}{spread}"


def _bounded(row: Row, value: str) -> str:
    """A value with its interval, where it has one."""
    low, high = (row[f"{value}_{end}"] for end in ("low", "high"))
    return f"{row[value]:.3f}" + (f" ({low:.3f} to {high:.3f})" if np.isfinite(low) else "")


_BLOCKS: tuple[tuple[str, str, Callable[[Row], str]], ...] = (
    ("C-index, mean ± std over folds", "c_mean", _mean),
    (
        "C-index, pooled within folds (bootstrap interval over patients)",
        "c_pooled",
        lambda row: _bounded(row, "c_pooled"),
    ),
    ("Uno's C, mean over folds (bootstrap interval over patients)", "uno_c", lambda row: _bounded(row, "uno_c")),
    (
        "Integrated Brier score, mean over folds (bootstrap interval over patients; lower is better)",
        "ibs",
        lambda row: _bounded(row, "ibs"),
    ),
    ("Seconds per epoch of the training job", "seconds_per_epoch", lambda row: f"{row['seconds_per_epoch']:.2f}"),
    ("Parameters", "n_parameters", lambda row: f"{row['n_parameters']:,.0f}"),
    ("Peak main memory of the training job, MB", "peak_mb", lambda row: f"{row['peak_mb']:,.0f}"),
)
_COMPARED = "c_pooled"  # the quantity of the comparison, so its winner is bold there alone


def paper_rows(reports: Reports) -> pd.DataFrame:
    """One row per model and cohort, models in the order in which they first appear, and the Kaplan-Meier estimate last.

    Returns
    -------
    Columns `PAPER`. n_patients, n_events, c_mean, c_std_folds, c_pooled: of the summary. uno_c, ibs: means over folds.
    _low, _high: their bootstrap intervals over patients. The Kaplan-Meier estimate of the training part has an ibs
    alone. best: the model has the highest pooled C of its cohort, and the comparison calls it higher than every other
    one; models whose epoch was chosen on the test part neither are best nor stand in the way. note: why there is no
    value, or of how few of the planned folds and test parts it is.
    """
    models = dict.fromkeys(model for report in reports.values() for model in report["summary"]["model"])
    rows = [_row(report, model, cohort) for model in models for cohort, report in reports.items()]
    rows += [_reference(report, cohort) for cohort, report in reports.items()]
    return pd.DataFrame(rows, columns=list(PAPER))


def blocks(rows: pd.DataFrame) -> list[Block]:
    """One block per quantity; a cell without a value is empty."""
    cohorts = list(dict.fromkeys(rows["cohort"]))
    made = []
    for title, column, shown in _BLOCKS:
        every = list(dict.fromkeys(rows["model"]))
        models = every if column == "ibs" else [model for model in every if model != KAPLAN_MEIER]
        by_place = {(row["model"], row["cohort"]): row for row in rows.to_dict("records")}
        table = [[by_place[model, cohort] for cohort in cohorts] for model in models]
        made.append(
            Block(
                title,
                models,
                cohorts,
                cells=[[shown(row) if np.isfinite(row[column]) else "" for row in line] for line in table],
                bold=[[column == _COMPARED and bool(row["best"]) for row in line] for line in table],
            )
        )
    return made


def notes(rows: pd.DataFrame, reports: Reports) -> list[str]:
    """Sizes and endpoints of the cohorts, what is missing, how to read the table, and what each report warns of."""
    said = [
        f"{cohort}: {own['n_patients'].max():.0f} test patients with {own['n_events'].max():.0f} events"
        f"{_endpoint(reports[str(cohort)]['study'])}. {_limits(reports[str(cohort)])}"
        for cohort, own in rows.groupby("cohort", sort=False)
    ]
    said += [f"{row['model']} in {row['cohort']}: {row['note']}." for row in rows.to_dict("records") if row["note"]]
    if rows["model"].str.endswith(ON_TEST).any():
        said.append(f"{ON_TEST.strip()}: the test patients chose the epoch; the value is too high.")
    said.append(
        "Bold: a pooled C-index higher than every other model's of the cohort by the corrected comparison, not merely "
        "first. Means over folds are never bold."
    )
    said.append(
        "Seconds per epoch are those of the whole job by its epochs: its start-up is in them, and so is the scoring of "
        "validation patients after each epoch, where there are any. Memory is without a GPU's. Parameters are those of "
        "networks."
    )
    return said + [
        f"{cohort}, warning: {warning}"
        for cohort, report in reports.items()
        for warning in report["warnings"]["warning"]
    ]


def _endpoint(study: pd.DataFrame) -> str:
    """The row of the endpoint in words; a report that was made without the study's inputs has none."""
    endpoint = _said(study, "Endpoint")
    return f", {endpoint}" if endpoint else ""


def _said(study: pd.DataFrame, what: str) -> str:
    own = study[study["what"] == what]["value"]
    return str(own.iloc[0]) if len(own) else ""


def _limits(report: Mapping[str, pd.DataFrame]) -> str:
    """How intervals were made, and up to where Uno's C and the integrated Brier score go."""
    scores = report["scores"].drop_duplicates(["repeat", "fold", "metric"])
    tau, ibs = scores["tau_days"], scores.loc[scores["metric"] == "ibs", "at_days"]
    limits = [f"Uno's C up to {tau.min():,.0f} to {tau.max():,.0f} days (tau), by test part."]
    limits += [f"Brier scores up to {ibs.min():,.0f} to {ibs.max():,.0f} days."] if ibs.notna().any() else []
    return " ".join([f"Intervals: {_said(report['study'], 'Intervals')}.", *limits])


def _row(report: Mapping[str, pd.DataFrame], model: str, cohort: str) -> dict[str, object]:
    empty: dict[str, object] = {name: np.nan for name, dtype in PAPER.items() if dtype == "float64"}
    row = empty | {"model": model, "cohort": cohort, "best": False, "note": "not in this study"}
    own = report["summary"][report["summary"]["model"] == model]
    if own.empty:
        return row
    summary = own.iloc[0]
    taken = ("n_patients", "n_events", "c_mean", "c_std_folds", "c_pooled")
    row |= {name: float(summary[name]) for name in taken}
    row |= {f"c_pooled_{end}": float(summary[f"c_{end}"]) for end in ("low", "high")}
    said = [str(summary["reason"])] if summary["reason"] else []
    if summary["n_defined"] < summary["n_parts"]:
        said.append(f"C-index of {summary['n_defined']} of {summary['n_parts']} test parts")
    said += _missing(summary, folds=len(report["events"]), seeds=report["summary"]["n_seeds"].max())
    for metric, title in (("uno_c", "Uno's C"), ("ibs", "integrated Brier score")):
        score = _score(report, metric, model=model)
        if score is None:
            continue
        row |= {metric: score["mean"], f"{metric}_low": score["low"], f"{metric}_high": score["high"]}
        if score["n_defined"] < score["n_parts"]:
            why = f" ({score['reason']})" if score["reason"] else ""
            said.append(f"{title} of {score['n_defined']} of {score['n_parts']} test parts{why}")
    costs = report["costs"][report["costs"]["model"] == model]
    for name in ("seconds_per_epoch", "n_parameters", "peak_mb"):
        row[name] = float(costs[name].iloc[0]) if len(costs) else np.nan
    return row | {"best": _is_best(report, model), "note": "; ".join(said)}


def _missing(summary: "pd.Series", *, folds: int, seeds: int) -> list[str]:
    """What the results lack of the planned folds of all repeats, of the seeds that another model has, and of fits."""
    said = []
    if summary["n_folds"] < folds:
        said.append(f"results of {summary['n_folds']} of {folds} folds")
    if summary["n_seeds"] < seeds:
        said.append(f"results of {summary['n_seeds']} of {seeds} seeds")
    fits = summary["n_folds"] * summary["n_seeds"]
    if summary["n_parts"] < fits:
        said.append(f"results of {summary['n_parts']} of {fits} fits by seed in its folds")
    return said


def _score(report: Mapping[str, pd.DataFrame], metric: str, *, model: str) -> "pd.Series | None":
    scores = report["scores_summary"]
    own = scores[(scores["model"] == model) & (scores["metric"] == metric)]
    return own.iloc[0] if len(own) else None


def _reference(report: Mapping[str, pd.DataFrame], cohort: str) -> dict[str, object]:
    empty: dict[str, object] = {name: np.nan for name, dtype in PAPER.items() if dtype == "float64"}
    row = empty | {"model": KAPLAN_MEIER, "cohort": cohort, "best": False, "note": ""}
    scores = report["scores_summary"]
    own = scores[(scores["metric"] == "ibs") & scores["reference"].notna()]
    return row if own.empty else row | {"ibs": own.loc[own["n_defined"].idxmax(), "reference"]}


def _is_best(report: Mapping[str, pd.DataFrame], model: str) -> bool:
    """Whether the comparison calls the model higher than every honest other one."""
    others = [one for one in report["summary"]["model"] if one != model and not one.endswith(ON_TEST)]
    return bool(others) and not model.endswith(ON_TEST) and _beaten(report["comparisons"], model) >= set(others)


def _beaten(comparisons: pd.DataFrame, model: str) -> set[str]:
    won = comparisons[comparisons["verdict"] == f"{model} higher"]
    pairs: Sequence[str] = [*won["model_a"], *won["model_b"]]
    return set(pairs) - {model}
