"""What of a study is done, begun, failed and missing, from its artifacts alone."""

import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tta_pipeline import config
from tta_pipeline.errors import InputError
from tta_pipeline.io import tables

_ERROR = "error: "
_MOST_SHOWN, _MOST_LINES = 20, 5


@dataclass(frozen=True)
class _Job:
    """A job of the workflow: what it makes last, and its log; a long one keeps a journal beside its output."""

    name: str
    output: Path
    log: Path

    @property
    def state(self) -> str:
        """done, failed (its log ends in an error), begun (it kept a journal), or missing."""
        if self.output.is_file():
            return "done"
        if self.reason:
            return "failed"
        return "begun" if any(self.output.parent.glob(f"{self.output.name}*.partial")) else "missing"

    @property
    def reason(self) -> str:
        """The last error in the log with the lines that belong to it, or ""."""
        if not self.log.is_file():
            return ""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith((_ERROR, "Traceback", "MemoryError"))]
        if not starts:
            return ""
        if lines[starts[-1]].startswith("Traceback"):
            return lines[-1]
        more = itertools.takewhile(lambda line: line.startswith("  "), lines[starts[-1] + 1 :])
        return "\n  ".join([lines[starts[-1]].removeprefix(_ERROR), *itertools.islice(more, _MOST_LINES)])


def run(*, study: Path, directory: Path = Path()) -> None:
    """Print how far a study is: slides, patients, folds and fits done of all, and what failed and why.

    Parameters
    ----------
    study
        The study's config file.
    directory
        Where it runs, as Snakemake's `--directory`.

    Raises
    ------
    InputError
        Jobs have failed: names each with the reason and its log.
    """
    options = config.load(study)
    results = directory / "results"
    failed: list[str] = []
    for stage, jobs in _stages(options, directory):
        states = pd.Series([job.state for job in jobs]).value_counts().to_dict()
        said = ", ".join(
            f"{states[state]} {state}" for state in ("done", "begun", "failed", "missing") if state in states
        )
        sys.stdout.write(f"{stage}: {said}{_detail(stage, results)}\n")
        failed += [f"{stage} {job.name}: {job.reason} ({job.log})" for job in jobs if job.state == "failed"]
    page = results / "report" / "index.html"
    sys.stdout.write(
        f"results: {results}; logs: {directory / 'logs'}; report: {page if page.is_file() else 'none yet'}\n"
    )
    if failed:
        shown = "\n".join(f"  {line}" for line in failed[:_MOST_SHOWN])
        more = f"\n  and {len(failed) - _MOST_SHOWN} more" if len(failed) > _MOST_SHOWN else ""
        raise InputError(f"expected jobs that succeed, found {len(failed)} that failed:\n{shown}{more}")


def _stages(options: config.Study, directory: Path) -> Iterator[tuple[str, list[_Job]]]:
    """The jobs of each stage that are known so far, in the order of the stages."""
    results, logs = directory / "results", directory / "logs"
    yield "cohort", [_Job("", results / "cohort" / "patients.tsv", logs / "cohort" / "cohort.log")]
    for stage in ("tiles", "features"):
        jobs = [_batch_job(stage, batch, results, logs) for batch in _batches(results)]
        if jobs:
            yield stage, jobs
    yield "pathways", [_Job("", results / "pathways.h5", logs / "pathways" / "pathways.log")]
    yield "splits", [_Job("", results / "splits.tsv", logs / "splits" / "splits.log")]
    fits = [
        f"{model}/r{repeat}_f{fold}_s{seed}"
        for model in options.models
        for repeat in range(options.splits.repeats)
        for fold in range(options.splits.folds)
        for seed in options.train.seeds
    ]
    for stage in ("train", "evaluate"):
        yield stage, [_fit_job(stage, fit, results, logs) for fit in fits]
    yield "report", [_Job("", results / "report" / "index.html", logs / "report" / "report.log")]


def _batches(results: Path) -> list[str]:
    memory = results / "cohort" / "batches.tsv"
    if not memory.is_file():
        return []
    return list(dict.fromkeys(tables.read_table(memory, columns=tables.BATCHES)["batch"]))


def _batch_job(stage: str, batch: str, results: Path, logs: Path) -> _Job:
    manifest = results / stage / "batches" / f"{batch}.tsv"
    return _Job(batch, manifest, logs / stage / f"{batch}.log")


def _fit_job(stage: str, fit: str, results: Path, logs: Path) -> _Job:
    output = results / stage / f"{fit}.h5"
    return _Job(fit, output, logs / stage / f"{fit}.log")


def _detail(stage: str, results: Path) -> str:
    """Patients and slides of a stage, where that says more than its jobs."""
    if stage == "cohort" and (results / "cohort" / "patients.tsv").is_file():
        patients = tables.read_table(results / "cohort" / "patients.tsv", columns=tables.PATIENTS)
        slides = tables.read_table(results / "cohort" / "slides.tsv", columns=tables.SLIDES)
        return f" ({len(patients)} patients with {int(patients['event'].sum())} events, {len(slides)} slides)"
    if stage in ("tiles", "features"):
        total = len(tables.read_table(results / "cohort" / "batches.tsv", columns=tables.BATCHES))
        done, left_out = _slides_done(results / stage / "batches")
        return f" (slides: {done} of {total} done{f', {left_out} left out' if left_out else ''})"
    if stage == "splits" and (results / "splits.tsv").is_file():
        splits = tables.read_table(results / "splits.tsv", columns=tables.SPLITS)
        parts = len(splits[["repeat", "fold"]].drop_duplicates())
        return f" ({splits['patient_id'].nunique()} patients in {parts} folds)"
    return ""


def _slides_done(folder: Path) -> tuple[int, int]:
    """Slides that finished jobs and journals of running ones name, and those that were left out."""
    done, left_out = 0, 0
    for manifest in sorted(folder.glob("b*.tsv")):
        if not manifest.name.endswith(".quality.tsv"):
            table = tables.read_table(manifest, columns=tables.MANIFEST)
            excluded = int((table["excluded"] != "").sum())
            done, left_out = done + len(table) - excluded, left_out + excluded
    for journal in folder.glob("b*.tsv.partial"):
        lines = journal.read_text(encoding="utf-8").splitlines()[1:]
        done += len({row["slide_id"] for row in map(_parsed, lines) if "file" in row})
    return done, left_out


def _parsed(line: str) -> dict[str, str]:
    """A line of a journal; nothing where it is being written."""
    try:
        row: dict[str, str] = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return row
