"""What of a study is done, begun, failed and missing, from its artifacts and logs alone."""

import json
import sys
from collections import Counter
from pathlib import Path

from tta_pipeline import config
from tta_pipeline.errors import ArtifactError, InputError
from tta_pipeline.io import jobs, tables

_STATES = ("done", "outdated", "begun", "failed", "missing")
_MOST_SHOWN = 20


def run(*, study: list[Path], directory: Path = Path(), ended: Path | None = None) -> None:
    """Print how far a study is: slides, patients, folds and fits done of all, and what failed and why.

    Parameters
    ----------
    study
        The study's config file, or several as Snakemake takes them.
    directory
        Where it runs, as Snakemake's `--directory`.
    ended
        A file that was written at the start of a run that has ended: a job that began since and left neither result nor
        error was killed. Without it such a job has begun.

    Raises
    ------
    InputError
        Jobs have failed: names each with the reason and its log.
    """
    failed: list[str] = []
    for stage, own in jobs.of_study(config.load(*study), directory).items():
        killed = [] if ended is None else [job for job in own if job.ended_silently(ended)]
        states = Counter("failed" if job in killed else job.state for job in own)
        said = ", ".join(f"{states[state]} {state}" for state in _STATES if states[state])
        sys.stdout.write(f"{stage}: {said}{_detail(stage, directory / 'results')}\n")
        for job in own:
            name = f"{stage} {job.name}".rstrip()
            if job in killed:
                failed.append(f"{name}: {_last_words(job)}")
            elif job.state == "failed":
                failed.append(f"{name}: {job.reason} ({job.log})")
    results, page = directory / "results", directory / "results" / "report" / "index.html"
    written = page if page.is_file() else "none yet"
    sys.stdout.write(f"results: {results}; logs: {directory / 'logs'}; report: {written}\n")
    if failed:
        shown = "\n".join(f"  {line}" for line in failed[:_MOST_SHOWN])
        more = f"\n  and {len(failed) - _MOST_SHOWN} more" if len(failed) > _MOST_SHOWN else ""
        raise InputError(f"expected jobs that succeed, found {len(failed)} that failed:\n{shown}{more}")


def _last_words(job: jobs.Job) -> str:
    """What is known of a job that was killed."""
    where = f"{job.log}; its scheduler's: {job.scheduler_logs[0]}" if job.scheduler_logs else f"{job.log}"
    said = f"; its last line: {job.last_line}" if job.last_line else ""
    return f"ended without a word: killed, or out of memory or time ({where}{said})"


def _detail(stage: str, results: Path) -> str:
    """Patients and slides of a stage, where that says more than its jobs."""
    try:
        if stage == "cohort":
            said = _of_cohort(results / "cohort")
        elif stage in ("tiles", "features"):
            said = _of_slides(results, stage)
        else:
            said = _of_splits(results / "splits.tsv") if stage == "splits" else ""
    except (ArtifactError, InputError) as error:
        said = str(error)
    return f" ({said})" if said else ""


def _of_cohort(folder: Path) -> str:
    said = []
    if (folder / "patients.tsv").is_file():
        patients = tables.read_table(folder / "patients.tsv", columns=tables.PATIENTS)
        said.append(f"{len(patients)} patients with {int(patients['event'].sum())} events")
    if (folder / "slides.tsv").is_file():
        said.append(f"{len(tables.read_table(folder / 'slides.tsv', columns=tables.SLIDES))} slides")
    return ", ".join(said)


def _of_slides(results: Path, stage: str) -> str:
    memory = results / "cohort" / "batches.tsv"
    total = f" of {len(tables.read_table(memory, columns=tables.BATCHES))}" if memory.is_file() else ""
    done, left_out = _slides_done(results / stage / "batches")
    return f"slides: {done}{total} done{f', {left_out} left out' if left_out else ''}"


def _of_splits(path: Path) -> str:
    if not path.is_file():
        return ""
    splits = tables.read_table(path, columns=tables.SPLITS)
    parts = len(splits[["repeat", "fold"]].drop_duplicates())
    return f"{splits['patient_id'].nunique()} patients in {parts} folds"


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
