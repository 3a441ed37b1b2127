"""What the report reads beside the artifacts, and what it writes: its tables, its figures and one HTML page."""

import base64
import os
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd

from tta_pipeline.errors import ArtifactError, InputError
from tta_pipeline.io import hdf5, sheets, tables
from tta_pipeline.io.drawing import DAYS_PER_YEAR

_MOST_VALUES = 3

# One row per test part: comparable pairs, C-index, and the reason where it is undefined (an empty cell).
METRICS = {
    "model": "string",
    "repeat": "int64",
    "fold": "int64",
    "seed": "int64",
    "n_train": "int64",
    "n_train_events": "int64",
    "n_test": "int64",
    "n_events": "int64",
    "n_pairs": "int64",
    "c_index": "float64",
    "reason": "string",
}
# One row per repeat and seed: C over the comparable pairs within the folds.
POOLED = {
    "model": "string",
    "repeat": "int64",
    "seed": "int64",
    "n_test": "int64",
    "n_events": "int64",
    "n_pairs": "int64",
    "c_index": "float64",
    "reason": "string",
}
# One row per model; numerics.results.summarise says what the columns are.
SUMMARY = {
    "model": "string",
    "n_patients": "int64",
    "n_events": "int64",
    "n_repeats": "int64",
    "n_folds": "int64",
    "n_seeds": "int64",
    "n_parts": "int64",
    "n_defined": "int64",
    "c_mean": "float64",
    "c_std_folds": "float64",
    "c_std_seeds": "float64",
    "c_pooled": "float64",
    "c_low": "float64",
    "c_high": "float64",
    "undefined_samples": "int64",
    "c_true_risk": "float64",
    "reason": "string",
}
# One row per pair of models: C of model_a minus C of model_b.
COMPARISONS = {
    "model_a": "string",
    "model_b": "string",
    "c_difference": "float64",
    "c_low": "float64",
    "c_high": "float64",
    "p_bootstrap": "float64",
    "p_folds": "float64",
    "p_corrected": "float64",
    "verdict": "string",
    "reason": "string",
}
# One row per test part and metric over time; numerics.scores and numerics.time_metrics say what the columns are.
SCORES = {
    "model": "string",
    "repeat": "int64",
    "fold": "int64",
    "seed": "int64",
    "metric": "string",
    "at_days": "float64",
    "value": "float64",
    "reference": "float64",
    "reason": "string",
}
# One row per model and metric over time.
SCORES_SUMMARY = {
    "model": "string",
    "metric": "string",
    "at_days": "float64",
    "mean": "float64",
    "std_folds": "float64",
    "reference": "float64",
    "n_parts": "int64",
    "n_defined": "int64",
}
# One row per model of two modalities and modality; numerics.modalities says what the columns are.
MODALITIES = {
    "model": "string",
    "modality": "string",
    "draws": "int64",
    "c_index": "float64",
    "c_exchanged": "float64",
    "c_lost": "float64",
    "c_low": "float64",
    "c_high": "float64",
    "verdict": "string",
}
# One row per variant of the first model; numerics.results.ablations says what the columns are.
ABLATIONS = {
    "model": "string",
    "changes": "string",
    "c_mean": "float64",
    "c_std_folds": "float64",
    "c_pooled": "float64",
    "c_low": "float64",
    "c_high": "float64",
    "c_difference": "float64",
    "difference_low": "float64",
    "difference_high": "float64",
}
# One row per model: high-risk against low-risk test patients.
GROUPS = {
    "model": "string",
    "repeat": "int64",
    "seed": "int64",
    "cut_off": "string",
    "n_low": "int64",
    "events_low": "int64",
    "median_days_low": "float64",
    "n_high": "int64",
    "events_high": "int64",
    "median_days_high": "float64",
    "chi2": "float64",
    "p": "float64",
    "reason": "string",
}
# One row per repeat and fold of the splits.
EVENTS = {
    "repeat": "int64",
    "fold": "int64",
    "n_train": "int64",
    "n_train_events": "int64",
    "n_validation": "int64",
    "n_validation_events": "int64",
    "n_test": "int64",
    "n_test_events": "int64",
    "n_test_sites": "int64",
    "n_shared_sites": "int64",
}
# One row per reason for which samples of expression are not used.
SAMPLES = {"reason": "string", "samples": "int64", "patients": "int64", "example": "string"}
# One row per step at which patients or slides left; the first of a kind is where it starts.
ATTRITION_STEPS = {"kind": "string", "stage": "string", "reason": "string", "left": "int64", "remaining": "int64"}
# One row per slide that could not be used.
BAD_SLIDES = {"slide_id": "string", "patient_id": "string", "stage": "string", "reason": "string"}


TABLES = {
    "metrics": METRICS,
    "pooled": POOLED,
    "summary": SUMMARY,
    "comparisons": COMPARISONS,
    "scores": SCORES,
    "scores_summary": SCORES_SUMMARY,
    "modalities": MODALITIES,
    "ablations": ABLATIONS,
    "groups": GROUPS,
    "events": EVENTS,
    "attrition": ATTRITION_STEPS,
    "bad_slides": BAD_SLIDES,
    "samples": SAMPLES,
    "slides": tables.QUALITY,
}


def provenance(artifacts: Iterable[hdf5.Origin]) -> list[dict[str, object]]:
    """Options, version and fingerprints of inputs, each with the number of artifacts of a kind that share it."""
    found: dict[str, Counter[str]] = {}
    for origin in artifacts:
        found.setdefault(f"{origin.kind}: version", Counter())[origin.version] += 1
        found.setdefault(f"{origin.kind}: options", Counter())[origin.options] += 1
        for name, fingerprint in origin.inputs.items():
            found.setdefault(f"{origin.kind}: {name}", Counter())[fingerprint] += 1
    rows: list[dict[str, object]] = []
    for what, values in sorted(found.items()):
        if len(values) <= _MOST_VALUES:
            rows += [{"what": what, "artifacts": count, "value": value} for value, count in values.items()]
        else:
            rows.append({"what": what, "artifacts": values.total(), "value": f"{len(values)} different files"})
    return rows


def stale_inputs(artifacts: Iterable[hdf5.Origin], given: Mapping[str, Path]) -> list[str]:
    """Sentences on artifacts that were made from another state of the `given` files (input name -> path)."""
    now = {name: hdf5.fingerprint(path) for name, path in given.items()}
    stale = Counter(
        (origin.kind, name)
        for origin in artifacts
        for name, fingerprint in now.items()
        if origin.inputs.get(name, fingerprint) != fingerprint
    )
    return [
        f"{count} artifacts of the {kind} stage were made from another {given[name].name} than this report: "
        f"run snakemake --forcerun {kind}."
        for (kind, name), count in sorted(stale.items())
    ]


def read_truth(path: Path, *, patients: Collection[str]) -> dict[str, float]:
    """True risk of each of `patients` in a simulated cohort, from a TSV with the columns patient_id and risk.

    Raises
    ------
    InputError
        The file, a column or a patient is missing, or a risk is no finite number.
    """
    table = sheets.read_sheet(path)
    sheets.require_columns(table.columns, ["patient_id", "risk"], path=path, hint="It is the config's report.truth.")
    risk = [sheets.number(cell) for cell in table["risk"]]
    bad = [
        f"{sheets.shown(cell)} in line {line}"
        for (line, cell), value in zip(table["risk"].items(), risk, strict=True)
        if not np.isfinite(value)
    ]
    if bad:
        raise InputError(
            f"{path}: column risk: expected a finite number in every row, found {sheets.listed(bad, most=5)}. Correct "
            "the values."
        )
    truth = dict(zip(table["patient_id"], risk, strict=True))
    missing = sorted(set(patients) - set(truth))
    if missing:
        raise InputError(
            f"{path}: expected the true risk of {len(patients)} test patients, found none for {len(missing)}: "
            f"{', '.join(missing[:5])}."
        )
    return {patient: truth[patient] for patient in patients}


def read_benchmarks(paths: Sequence[Path]) -> pd.DataFrame:
    """Time and memory of the jobs of each stage, from Snakemake's benchmark files `.../benchmarks/<stage>/...tsv`.

    Returns
    -------
    Columns stage, jobs, total_s, longest_s, max_rss_mb (NaN where Snakemake could not measure).

    Raises
    ------
    ArtifactError
        A file is missing or has no columns `s` and `max_rss`.
    """
    rows = []
    for path in paths:
        if not path.is_file():
            raise ArtifactError(f"{path}: expected a benchmark file of Snakemake, found nothing.")
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        if not {"s", "max_rss"} <= set(table.columns):
            raise ArtifactError(f"{path}: expected the columns s and max_rss, found {list(table.columns)}.")
        parts = path.parts
        stage = parts[parts.index("benchmarks") + 1] if "benchmarks" in parts[:-2] else path.parent.name
        numbers = table[["s", "max_rss"]].apply(pd.to_numeric, errors="coerce")
        rows.append(numbers.assign(stage=stage))
    columns = ["stage", "jobs", "total_s", "longest_s", "max_rss_mb"]
    if not rows:
        return pd.DataFrame(columns=columns)
    stages = pd.concat(rows).groupby("stage", sort=False)
    summed: pd.DataFrame = stages.agg(
        jobs=("s", "size"), total_s=("s", "sum"), longest_s=("s", "max"), max_rss_mb=("max_rss", "max")
    )
    return summed.reset_index()[columns]


def write_pictures(folder: Path, pictures: Mapping[str, bytes]) -> None:
    """Write each PNG as `<name>.png`."""
    for name, png in pictures.items():
        _write_whole(folder / f"{name}.png", png)


def write_page(path: Path, content: Mapping[str, object]) -> None:
    """Write the HTML page: one file without any outer resource, from the template beside this module."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=_number,
        c=lambda value: _number(value, digits=3),
        p=_p_value,
        years=lambda days: _number(days / DAYS_PER_YEAR, digits=1),
        base64=lambda png: base64.b64encode(png).decode("ascii"),
    )
    template = resources.files("tta_pipeline.io").joinpath("report.html.jinja").read_text(encoding="utf-8")
    _write_whole(path, environment.from_string(template).render(content).encode("utf-8"))


def _number(value: float, digits: int = 0) -> str:
    return "–" if value is None or np.isnan(value) else f"{value:,.{digits}f}".replace("-", "−")  # noqa: RUF001


def _p_value(value: float) -> str:
    if np.isnan(value):
        return "–"  # noqa: RUF001
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
