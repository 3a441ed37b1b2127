"""Metrics, figures and the HTML page."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from tta_pipeline import __version__
from tta_pipeline.config import Report
from tta_pipeline.errors import ArtifactError, InputError
from tta_pipeline.io import artifacts, cohort_figures, figures, hdf5, slide_figures, study, tables
from tta_pipeline.io import report as files
from tta_pipeline.io.drawing import DAYS_PER_YEAR
from tta_pipeline.numerics import coverage as genes
from tta_pipeline.numerics import findings, flow, results
from tta_pipeline.numerics.groups import RiskGroups, group_row, kaplan_meier, numbers_at_risk, split_by_risk
from tta_pipeline.numerics.metrics import Fold, check_outcomes
from tta_pipeline.numerics.modalities import modality_check
from tta_pipeline.numerics.scores import Prediction, score_parts, summarise_scores
from tta_pipeline.numerics.time_metrics import Outcomes

log = logging.getLogger(__name__)

MOST_SETS = 10  # gene sets in the page's table of missing genes
MOST_PAIRED = 4  # models up to which the page shows every pair
ON_TEST = " [chosen on the test part]"  # behind the name of such a model, in every table and figure
TRAIN_MEDIAN = "train_risk_median"  # attribute of a checkpoint: median risk of its training patients
_FIT = ("repeat", "fold", "seed")


def run(
    *,
    patients: Path,
    slides: Path,
    attrition: Path,
    manifests: list[Path],
    coverage: Path,
    splits: Path,
    trained: list[Path],
    evaluated: list[Path],
    out: Path,
    config: Report,
    quality: list[Path] = [],  # noqa: B006 (read only; the command line reads the type)
    benchmarks: list[Path] = [],  # noqa: B006 (read only; the command line reads the type)
) -> None:
    """Write the tables, the figures and index.html of a study.

    Parameters
    ----------
    patients, slides, attrition
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
    quality
        Tables of quality of the tiles jobs.
    benchmarks
        Snakemake's benchmark files of the jobs.

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
    found = _read_evaluated(evaluated)
    models = found.models
    flow.check_tested(models, splits=roles)
    checkpoints = _read_trained(trained)
    left_in_training = _excluded(one.attributes for own in checkpoints.values() for one in own)
    tested = {str(name) for parts in models.values() for part in parts for name in part.patient_id}
    truth = None if config.truth is None else files.read_truth(config.truth, patients=tested)
    origins = [hdf5.read_origin(path) for path in (*trained, *evaluated)]

    groups = _risk_groups(models, checkpoints)

    made = _result_tables(models, n_train=float(found.sizes["n_train"].mean()), truth=truth, config=config)
    made["metrics"] = made["metrics"].merge(found.sizes, on=["model", *_FIT], validate="1:1")
    sections = {name: own[0].attributes.get("model", {}) for name, own in checkpoints.items()}
    made["ablations"] = results.ablations(made["summary"], made["comparisons"], sections)
    training = _training_outcomes(roles, cohort)
    made["scores"] = score_parts(found.predictions, training=training)
    made["scores_summary"] = summarise_scores(made["scores"])
    made["modalities"] = modality_check(
        models, found.exchanged, samples=config.bootstrap, seed=config.seed, confidence=config.confidence
    )
    made["groups"] = pd.DataFrame([{"model": model} | group_row(own) for model, own in groups.items()])
    made["events"] = flow.events_per_fold(flow.describe_parts(roles.merge(cohort, on="patient_id")))
    left = tables.read_table(attrition, columns=tables.ATTRITION)
    features = study.read_feature_table(slides, manifests)
    left_later = found.left_out | left_in_training
    made["attrition"] = flow.attrition_steps(left, patients=cohort, features=features, left_later=left_later)
    made["samples"] = flow.unused_samples(left)
    made["bad_slides"] = flow.bad_slides(left, features=features, left_later=left_later)
    made["slides"] = pd.concat(
        [tables.empty(tables.QUALITY), *(tables.read_table(path, columns=tables.QUALITY) for path in quality)]
    )
    shown = _compared(made["comparisons"], models=list(models))
    pictures = _pictures(
        made | {"comparisons": shown},
        groups=groups,
        checkpoints=checkpoints,
        sets=sets,
        confidence=config.confidence,
        tiled=bool(quality),
    )
    warnings = [
        *findings.of_choice([model for model in models if model.endswith(ON_TEST)]),
        *findings.of_test_parts(made["metrics"]),
        *findings.of_shared_sites(made["events"]),
        *findings.of_risks(models),
        *findings.of_empty_models(found.empty),
        *findings.of_direction(made["summary"]),
        *findings.of_missing_patients(models, splits=roles),
        *findings.of_comparisons(made["comparisons"]),
        *findings.of_attrition(made["attrition"]),
        *findings.of_coverage(sets),
        *files.stale_inputs(origins, {"patients": patients, "slides": slides, "splits": splits}),
    ]
    for name, columns in files.TABLES.items():
        tables.write_table(out / f"{name}.tsv", made[name], columns=columns)
    files.write_pictures(out, {name.removesuffix(ON_TEST): picture for name, picture in pictures.items()})
    files.write_page(
        out / "index.html",
        {name: made[name].to_dict("records") for name in files.TABLES}
        | {
            "comparisons": shown.to_dict("records"),
            "pairs_in_file": len(made["comparisons"]) - len(shown),
            "n_patients": len(cohort),
            "n_events": int(cohort["event"].sum()),
            "warnings": warnings,
            "truth": truth is not None,
            "level": f"{config.confidence:.0%}",
            "bootstrap": config.bootstrap,
            "few_events": findings.FEW_EVENTS,
            "scores_by_model": _scores_by_model(made["scores_summary"]),
            "on_test": ON_TEST,
            "slide_totals": made["slides"].sum(numeric_only=True).to_dict(),
            "genes": genes.sentence(sets),
            "missing_genes": genes.most_missing(sets, most=MOST_SETS).to_dict("records"),
            "left_out_sets": sets[~sets["kept"]].to_dict("records"),
            "has_training": any(name.startswith("training_") for name in pictures),
            "pictures": pictures,
            "resources": files.read_benchmarks(benchmarks).to_dict("records"),
            "provenance": [*files.provenance(origins), *_options(checkpoints, config)],
            "version": __version__,
        },
    )
    for warning in warnings:
        log.warning("%s", warning)
    for row in made["summary"].to_dict("records"):
        log.info("%s: C-index %.3f (%.3f to %.3f)", row["model"], row["c_pooled"], row["c_low"], row["c_high"])


@dataclass(frozen=True)
class _Evaluated:
    """Test parts by model, in the order of the files.

    predictions: the same with predicted survival. exchanged: with a modality of somebody else, by model, modality and
    draw. sizes: of their training parts.
    left_out: slides, with reasons. empty: fits that give every patient one risk, by what they say of it.
    """

    models: dict[str, list[Fold]]
    predictions: dict[str, list[Prediction]]
    exchanged: dict[str, dict[str, list[list[Fold]]]]
    sizes: pd.DataFrame
    left_out: dict[str, str]
    empty: dict[str, list[str]]


def _read_evaluated(paths: Sequence[Path]) -> _Evaluated:
    if not paths:
        raise InputError("--evaluated: expected the artifacts of the evaluate stage, found none.")
    models: dict[str, list[Fold]] = {}
    predictions: dict[str, list[Prediction]] = {}
    seen: dict[tuple[object, ...], Path] = {}
    sizes = []
    left_out: dict[str, str] = {}
    exchanged: dict[str, dict[str, list[list[Fold]]]] = {}
    empty: dict[str, list[str]] = {}
    for path in paths:
        found = artifacts.read_predictions(path)
        missing = {"name", *_FIT, "n_train", "n_train_events"} - set(found.attributes)
        if missing:
            raise ArtifactError(f"{path}: expected the attributes {sorted(missing)}, found none. Evaluate again.")
        key = tuple(found.attributes[name] for name in ("name", *_FIT))
        if key in seen:
            raise InputError(f"expected one file per model, repeat, fold and seed, found two: {seen[key]} and {path}.")
        seen[key] = path
        try:
            check_outcomes(risk=found.risk, time_days=found.time_days, event=found.event)
        except InputError as error:
            raise ArtifactError(f"{path}: {error} Train and evaluate again.") from error
        part = Fold(
            **{name: int(found.attributes[name]) for name in _FIT},
            patient_id=np.array(found.patient_id, dtype=np.str_),
            risk=found.risk,
            time_days=found.time_days,
            event=found.event,
        )
        model = _label(found.attributes)
        models.setdefault(model, []).append(part)
        curves = found.survival.astype(np.float64), found.horizons_days, found.curves.astype(np.float64)
        predictions.setdefault(model, []).append(Prediction(part, *curves, found.curve_days))
        for modality, risks in found.exchanged.items():
            draws = exchanged.setdefault(model, {}).setdefault(modality, [[] for _ in risks])
            for draw, risk in zip(draws, risks, strict=True):
                draw.append(replace(part, risk=risk))
        left_out |= _excluded([found.attributes])
        if "reason" in found.attributes:
            fit = f"{model} repeat {part.repeat} fold {part.fold} seed {part.seed}"
            empty.setdefault(found.attributes["reason"], []).append(fit)
        sizes.append((model, *key[1:], found.attributes["n_train"], found.attributes["n_train_events"]))
    table = pd.DataFrame(sizes, columns=["model", *_FIT, "n_train", "n_train_events"])
    return _Evaluated(models, predictions, exchanged, sizes=table, left_out=left_out, empty=empty)


def _scores_by_model(summary: pd.DataFrame) -> list[dict[str, object]]:
    """One row of the page's table per model: the metrics in their order, each with its horizon."""
    return [{"model": model, "metrics": own.to_dict("records")} for model, own in summary.groupby("model", sort=False)]


def _training_outcomes(roles: pd.DataFrame, cohort: pd.DataFrame) -> dict[tuple[int, int], Outcomes]:
    """Outcomes of the patients who trained, by repeat and fold."""
    train = roles[roles["role"] == "train"].merge(cohort, on="patient_id")
    outcomes = {}
    for repeat, fold in train[["repeat", "fold"]].drop_duplicates().itertuples(index=False):
        own = train[(train["repeat"] == repeat) & (train["fold"] == fold)]
        outcomes[repeat, fold] = Outcomes(own["time_days"].to_numpy(float), own["event"].to_numpy(bool))
    return outcomes


def _excluded(attributes: Iterable[Mapping[str, dict[str, str]]]) -> dict[str, str]:
    return {slide: reason for one in attributes for slide, reason in one.get("excluded", {}).items()}


def _read_trained(paths: Sequence[Path]) -> dict[str, list[artifacts.Checkpoint]]:
    """Checkpoints by model, without their weights."""
    models: dict[str, list[artifacts.Checkpoint]] = {}
    for path in paths:
        found = artifacts.read_checkpoint(path)
        missing = {"name", *_FIT} - set(found.attributes)
        if missing:
            raise ArtifactError(f"{path}: expected the attributes {sorted(missing)}, found none. Train again.")
        light = artifacts.Checkpoint({}, {}, {}, history=found.history, attributes=found.attributes)
        models.setdefault(_label(found.attributes), []).append(light)
    return models


def _label(attributes: Mapping[str, object]) -> str:
    """A model's name, with what a reader must know of the choice of its weights."""
    return f"{attributes['name']}{ON_TEST if attributes.get('chosen_on') == 'test' else ''}"


def _options(checkpoints: Mapping[str, Sequence[artifacts.Checkpoint]], config: Report) -> list[dict[str, object]]:
    """Rows of the provenance for each model's section and for this report's."""
    sections = {name: (len(own), own[0].attributes.get("model", {})) for name, own in checkpoints.items()}
    rows = [(f"model {name}: options", count, options) for name, (count, options) in sections.items()]
    rows.append(("report: options", 1, config.model_dump(mode="json", exclude={"truth"})))
    return [
        {"what": what, "artifacts": count, "value": json.dumps(value, sort_keys=True)} for what, count, value in rows
    ]


def _compared(comparisons: pd.DataFrame, *, models: Sequence[str]) -> pd.DataFrame:
    """The pairs that the page shows: all, or those with the first model where there are many models."""
    return comparisons if len(models) <= MOST_PAIRED else comparisons[comparisons["model_a"] == models[0]]


def _risk_groups(
    models: Mapping[str, Sequence[Fold]], checkpoints: Mapping[str, Sequence[artifacts.Checkpoint]]
) -> dict[str, RiskGroups]:
    medians = {
        model: {
            (one.attributes["repeat"], one.attributes["fold"], one.attributes["seed"]): one.attributes[TRAIN_MEDIAN]
            for one in own
            if TRAIN_MEDIAN in one.attributes
        }
        for model, own in checkpoints.items()
    }
    return {model: split_by_risk(parts, train_median=medians.get(model, {})) for model, parts in models.items()}


def _result_tables(
    models: Mapping[str, Sequence[Fold]], *, n_train: float, truth: Mapping[str, float] | None, config: Report
) -> dict[str, pd.DataFrame]:
    bootstrap = results.bootstrap_models(models, samples=config.bootstrap, seed=config.seed)
    return {
        "metrics": results.c_per_part(models),
        "pooled": results.c_per_fit(models),
        "summary": results.summarise(models, bootstrap, confidence=config.confidence, true_risk=truth),
        "comparisons": results.compare(models, bootstrap, confidence=config.confidence, n_train=n_train),
    }


def _pictures(
    made: Mapping[str, pd.DataFrame],
    *,
    groups: Mapping[str, RiskGroups],
    checkpoints: Mapping[str, Sequence[artifacts.Checkpoint]],
    sets: pd.DataFrame,
    confidence: float,
    tiled: bool,
) -> dict[str, bytes]:
    pictures = {
        "c_index": figures.c_index(made["metrics"], made["summary"]),
        "events": cohort_figures.events(made["events"], warn_below=findings.FEW_EVENTS),
        "coverage": cohort_figures.coverage(sets),
        **{
            f"attrition_{kind}s": cohort_figures.attrition(made["attrition"], kind=kind)
            for kind in ("patient", "slide")
        },
    }
    if tiled:
        pictures["slides"] = slide_figures.contact_sheet(made["slides"])
    if (made["comparisons"]["verdict"] != "not compared").any():
        pictures["comparisons"] = figures.comparisons(made["comparisons"])
    for row in made["groups"].to_dict("records"):
        pictures[f"survival_{row['model']}"] = _survival(
            groups[row["model"]], model=row["model"], p=row["p"], confidence=confidence
        )
    for model, own in checkpoints.items():
        picture = figures.training([one.history for one in own], title=model)
        if picture is not None:
            pictures[f"training_{model}"] = picture
    return pictures


def _survival(groups: RiskGroups, *, model: str, p: float, confidence: float) -> bytes:
    longest_years = int(groups.time_days.max() // DAYS_PER_YEAR)
    every = max(1, -(-longest_years // 8))
    ticks_days = np.array([DAYS_PER_YEAR * year for year in range(0, longest_years + 1, every)], dtype=np.float64)
    curves = []
    for name, member in (("low", ~groups.high), ("high", groups.high)):
        time_days, event = groups.time_days[member], groups.event[member]
        if len(event) == 0:
            continue
        curve = kaplan_meier(time_days=time_days, event=event, confidence=confidence)
        curves.append(
            figures.SurvivalCurve(
                label=f"{name} risk ({len(event)} patients, {event.sum()} events)",
                time_days=curve.time_days,
                survival=curve.survival,
                low=curve.low,
                high=curve.high,
                censored_days=curve.censored_days,
                censored_survival=curve.at(curve.censored_days),
                at_risk=numbers_at_risk(time_days, at_days=ticks_days),
            )
        )
    note = "log-rank p not defined" if np.isnan(p) else f"log-rank p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}"
    return figures.survival(curves, ticks_days=ticks_days, title=model, note=note)
