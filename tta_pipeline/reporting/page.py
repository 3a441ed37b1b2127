"""What the page shows: the tables as rows, the figures, and the words between them."""

import json
from collections.abc import Mapping, Sequence

import pandas as pd

from tta_pipeline import __version__
from tta_pipeline.config import Inputs, Report
from tta_pipeline.io import report_tables
from tta_pipeline.numerics import coverage as genes
from tta_pipeline.numerics import findings
from tta_pipeline.numerics.scores import cut_at_tau
from tta_pipeline.reporting.fits import ON_TEST, Checkpoints
from tta_pipeline.reporting.result_tables import samples_drawn

MOST_SETS = 10  # gene sets in the page's table of missing genes
MOST_PAIRED = 4  # models up to which the page shows every pair


def pairs_shown(comparisons: pd.DataFrame, *, models: Sequence[str]) -> pd.DataFrame:
    """The pairs that the page shows: all, or those with the first model where there are many models."""
    return comparisons if len(models) <= MOST_PAIRED else comparisons[comparisons["model_a"] == models[0]]


def content(
    made: Mapping[str, pd.DataFrame],
    *,
    cohort: pd.DataFrame,
    sets: pd.DataFrame,
    pictures: Mapping[str, bytes],
    config: Report,
) -> dict[str, object]:
    """What the template reads, but for provenance and the time of jobs.

    Parameters
    ----------
    made
        Every table of `report_tables.TABLES`.
    cohort, sets
        The patients, and the coverage of gene sets.
    """
    detectable = made["comparisons"]["c_detectable"].dropna()
    shown = pairs_shown(made["comparisons"], models=list(made["summary"]["model"]))
    return {name: made[name].to_dict("records") for name in report_tables.TABLES} | {
        "comparisons": shown.to_dict("records"),
        "detectable": detectable.median() if len(detectable) else None,
        "pairs_in_file": len(made["comparisons"]) - len(shown),
        "n_patients": len(cohort),
        "n_events": int(cohort["event"].sum()),
        "truth": config.truth is not None,
        "level": f"{config.confidence:.0%}",
        "bootstrap": samples_drawn(len(made["summary"]), config),
        "few_events": findings.FEW_EVENTS,
        "scores_by_model": _scores_by_model(made["scores_summary"]),
        "beyond": cut_at_tau(made["scores"], tested=made["metrics"]),
        "on_test": ON_TEST,
        "slide_totals": made["slides"].sum(numeric_only=True).to_dict(),
        "genes": genes.sentence(sets),
        "missing_genes": genes.most_missing(sets, most=MOST_SETS).to_dict("records"),
        "left_out_sets": sets[~sets["kept"]].to_dict("records"),
        "has_training": any(name.startswith("training_") for name in pictures),
        "pictures": pictures,
        "version": __version__,
    }


def study_of(inputs: Inputs | None, *, models: int, config: Report) -> pd.DataFrame:
    """What a study reads, where it is known, and how its intervals were made.

    Of files the names; their folders are of a machine, not of a study.

    Returns
    -------
    Columns what and value; the endpoint comes first.
    """
    drawn = f"{config.confidence:.0%}, percentiles of {samples_drawn(models, config):,} bootstrap samples of patients"
    if config.bootstrap != samples_drawn(models, config):
        drawn += f" (C-index of models and pairs) or {config.bootstrap:,} (all others)"
    rows = [] if inputs is None else list(_files(inputs).items())
    return pd.DataFrame([*rows, ("Intervals", drawn)], columns=list(report_tables.STUDY))


def _files(inputs: Inputs) -> dict[str, str]:
    meaning = "observed" if inputs.event_means == "event" else "censored"
    columns = f"{inputs.time_column} ({inputs.time_unit}), {inputs.event_column} (1 = {meaning})"
    return {
        "Endpoint": inputs.endpoint or columns,
        "Clinical table": inputs.clinical.name,
        "Slides": inputs.slides.name,
        "Expression": f"{inputs.expression.name} ({inputs.expression_unit})",
        "Gene sets": inputs.gene_sets.name,
    }


def options(checkpoints: Checkpoints, config: Report) -> list[dict[str, object]]:
    """Rows of the provenance for each model's section and for this report's."""
    sections = {name: (len(own), own[0].attributes.get("model", {})) for name, own in checkpoints.items()}
    rows = [(f"model {name}: options", count, options) for name, (count, options) in sections.items()]
    rows.append(("report: options", 1, config.model_dump(mode="json", exclude={"truth"})))
    return [
        {"what": what, "artifacts": count, "value": json.dumps(value, sort_keys=True)} for what, count, value in rows
    ]


def _scores_by_model(summary: pd.DataFrame) -> list[dict[str, object]]:
    """One row of the page's table per model: the metrics in their order, each with its horizon."""
    return [{"model": model, "metrics": own.to_dict("records")} for model, own in summary.groupby("model", sort=False)]
