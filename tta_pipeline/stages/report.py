"""Metrics, figures and the HTML page."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from tta_pipeline.config import Inputs, Report
from tta_pipeline.io import hdf5, provenance, report_page, report_tables, tables
from tta_pipeline.io.benchmarks import benchmarks_of, read_benchmarks, read_training_jobs
from tta_pipeline.io.truth import read_truth
from tta_pipeline.numerics import findings, flow
from tta_pipeline.numerics.scores import training_outcomes
from tta_pipeline.numerics.training_costs import cost_table, hours_per_thousand_slides
from tta_pipeline.reporting import page, pictures
from tta_pipeline.reporting.cohort_tables import make_cohort
from tta_pipeline.reporting.fits import (
    ON_TEST,
    Checkpoints,
    Evaluated,
    excluded,
    fit_table,
    inner_fits,
    mixed_settings,
    read_evaluated,
    read_trained,
    trained_in_bins,
    unchecked_modalities,
)
from tta_pipeline.reporting.result_tables import group_table, make_results, risk_groups

log = logging.getLogger(__name__)


def run(
    *,
    patients: Path,
    slides: Path,
    attrition: Path,
    covariates: Path,
    manifests: list[Path],
    coverage: Path,
    splits: Path,
    trained: list[Path],
    evaluated: list[Path],
    out: Path,
    config: Report,
    inputs: Inputs | None = None,
    quality: list[Path] = [],  # noqa: B006 (read only; the command line reads the type)
    benchmarks: list[Path] = [],  # noqa: B006 (read only; the command line reads the type)
) -> None:
    """Write the tables, the figures and index.html of a study.

    Parameters
    ----------
    patients, slides, attrition, covariates
        Tables of the cohort stage.
    manifests
        Manifests of the features jobs; none where the slides table names ready-made features.
    coverage
        Coverage of the gene sets, of the pathways stage.
    splits
        Who trained, validated and tested.
    trained, evaluated
        Artifacts of every model, repeat, fold and seed.
    out
        Folder to write to.
    config
        Bootstrap, level of the intervals, and the true risk of a simulated cohort.
    inputs
        What the study read, for the page to name.
    quality
        Tables of quality of the tiles jobs.
    benchmarks
        Snakemake's benchmark files of the jobs; those of fits and batches that are not given count for nothing.

    Raises
    ------
    InputError
        No results, two files for one fit, a patient whom the splits do not test, or no true risk for a patient.
    ArtifactError
        A file is missing, damaged, or lacks an attribute.
    """
    cohort = tables.read_table(patients, columns=tables.PATIENTS)
    roles = tables.read_table(splits, columns=tables.SPLITS)
    sets = tables.read_table(coverage, columns=tables.COVERAGE)
    found = read_evaluated(evaluated)
    flow.check_tested(found.models, splits=roles)
    checkpoints = read_trained(trained)
    left_later = found.left_out | excluded(one.attributes for own in checkpoints.values() for one in own)
    tested = {str(name) for parts in found.models.values() for part in parts for name in part.patient_id}
    truth = None if config.truth is None else read_truth(config.truth, patients=tested)
    origins = [hdf5.read_origin(path) for path in (*trained, *evaluated)]

    groups = risk_groups(found, checkpoints)
    made = make_results(
        found,
        checkpoints=checkpoints,
        training=training_outcomes(roles, cohort),
        covariates=tables.read_table(covariates, columns=tables.COVARIATES),
        truth=truth,
        config=config,
    )
    made["groups"] = group_table(groups)
    fits = fit_table(checkpoints)
    made["costs"] = cost_table(fits, read_training_jobs(benchmarks))
    made |= make_cohort(
        cohort,
        roles,
        slides=slides,
        attrition=attrition,
        manifests=manifests,
        quality=quality,
        left_later=left_later,
    )
    drawn = pictures.draw(
        made | {"comparisons": page.pairs_shown(made["comparisons"], models=list(found.models))},
        groups=groups,
        checkpoints=checkpoints,
        sets=sets,
        confidence=config.confidence,
        tiled=bool(quality),
    )
    known = set(fits[["name", "repeat", "fold", "seed"]].itertuples(index=False, name=None))
    batches = {path.stem for path in manifests}
    stages = read_benchmarks(benchmarks_of(benchmarks, fits=known, batches=batches, inner=inner_fits(checkpoints)))
    warnings = [
        *_warnings(made, found=found, roles=roles, sets=sets, without=config.without, checkpoints=checkpoints),
        *provenance.stale_inputs(origins, {"patients": patients, "slides": slides, "splits": splits}),
    ]
    made["warnings"] = pd.DataFrame(list(enumerate(warnings, start=1)), columns=list(report_tables.WARNINGS))
    made["study"] = page.study_of(inputs, models=len(found.models), config=config)
    for name, columns in report_tables.TABLES.items():
        tables.write_table(out / f"{name}.tsv", made[name], columns=columns)
    report_page.write_pictures(out, {name.removesuffix(ON_TEST): picture for name, picture in drawn.items()})
    report_page.write_page(
        out / "index.html",
        page.content(made, cohort=cohort, sets=sets, pictures=drawn, config=config)
        | {
            "resources": stages.to_dict("records"),
            "thousand_slides": hours_per_thousand_slides(stages, slides=len(made["slides"])),
            "n_slides": len(made["slides"]),
            "provenance": [*provenance.provenance(origins), *page.options(checkpoints, config)],
        },
    )
    _say(warnings, made["summary"])


def _warnings(
    made: Mapping[str, pd.DataFrame],
    *,
    found: Evaluated,
    roles: pd.DataFrame,
    sets: pd.DataFrame,
    without: Sequence[str],
    checkpoints: Checkpoints,
) -> list[str]:
    return [
        *findings.of_choice([model for model in found.models if model.endswith(ON_TEST)]),
        *findings.of_absent_models(without),
        *findings.of_test_parts(made["metrics"]),
        *findings.of_shared_sites(made["events"]),
        *findings.of_unknown_sites(made["events"]),
        *findings.of_risks(found.models),
        *findings.of_empty_models(found.empty),
        *findings.of_mixed_settings(mixed_settings(checkpoints)),
        *findings.of_unchecked_modalities(unchecked_modalities(found)),
        *findings.of_modalities(made["modalities"]),
        *findings.of_direction(made["summary"]),
        *findings.of_missing_patients(found.models, splits=roles),
        *findings.of_comparisons(made["comparisons"]),
        *findings.of_binned_follow_up(trained_in_bins(checkpoints)),
        *findings.of_calibration(made["calibration"]),
        *findings.of_hazards(made["hazards"]),
        *findings.of_added_value(made["added_value"]),
        *findings.of_attrition(made["attrition"]),
        *findings.of_coverage(sets),
    ]


def _say(warnings: Sequence[str], summary: pd.DataFrame) -> None:
    for warning in warnings:
        log.warning("%s", warning)
    for row in summary.to_dict("records"):
        log.info("%s: C-index %.3f (%.3f to %.3f)", row["model"], row["c_pooled"], row["c_low"], row["c_high"])
