"""Jobs of the workflow: what they make, what they read of each other, and how far they are."""

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tta_pipeline import config
from tta_pipeline.io import tables
from tta_pipeline.io.snakemake_records import has_changed

_ERROR = "error: "
_MOST_LINES = 5


@dataclass(frozen=True, eq=False)
class Job:
    """A job of the workflow that runs in `directory`. Beside its first output a long one keeps a journal."""

    stage: str
    name: str  # "" where the stage has one job, else a batch or `<model>/r<repeat>_f<fold>_s<seed>`
    directory: Path
    outputs: tuple[Path, ...]
    reads: tuple["Job", ...] = ()

    @property
    def log(self) -> Path:
        """Where it says what it does."""
        return self.directory / "logs" / self.stage / f"{self.name or self.stage}.log"

    @cached_property
    def state(self) -> str:
        """done, outdated (what it reads is not done, or newer), failed, begun (it has a log or journal) or missing."""
        if all(output.is_file() for output in self.outputs):
            return "outdated" if any(self._is_older_than(job) for job in self.reads) else "done"
        if self.reason:
            return "failed"
        return "begun" if self.log.is_file() or self._has_journal else "missing"

    @property
    def reason(self) -> str:
        """The last error in the log with the lines that belong to it, or ""."""
        lines = self._lines
        starts = [number for number, line in enumerate(lines) if line.startswith((_ERROR, "Traceback", "MemoryError"))]
        if not starts:
            return ""
        if lines[starts[-1]].startswith("Traceback"):
            return lines[-1]
        more = itertools.takewhile(lambda line: line.startswith("  "), lines[starts[-1] + 1 :])
        return "\n  ".join([lines[starts[-1]].removeprefix(_ERROR), *itertools.islice(more, _MOST_LINES)])

    def ended_silently(self, run: Path) -> bool:
        """Whether it began in a run that has ended, and left neither result nor error.

        Parameters
        ----------
        run
            A file that was written when that run began.
        """
        if self.state not in ("begun", "missing"):
            return False
        began = run.stat().st_mtime_ns
        return any(log.is_file() and log.stat().st_mtime_ns >= began for log in (self.log, *self.scheduler_logs))

    @property
    def scheduler_logs(self) -> list[Path]:
        """SLURM's own logs of it, the newest first, where the plugin of Snakemake writes them."""
        wildcards = re.sub(r"/r(\d+)_f(\d+)_s(\d+)$", r"_\1_\2_\3", self.name)
        folder = self.directory / "logs" / "slurm" / f"rule_{self.stage}" / wildcards
        return sorted(folder.glob("*.log"), key=lambda log: log.stat().st_mtime_ns, reverse=True)

    @property
    def last_line(self) -> str:
        """The last line of the log, or ""."""
        return next((line for line in reversed(self._lines) if line.strip()), "")

    @property
    def _lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.is_file() else []

    @property
    def _has_journal(self) -> bool:
        return any(self.outputs[0].parent.glob(f"{self.outputs[0].name}*.partial"))

    @cached_property
    def _times(self) -> list[int]:
        return [output.stat().st_mtime_ns for output in self.outputs]

    def _is_older_than(self, other: "Job") -> bool:
        if other.state != "done":
            return True
        newer = [path for path, time in zip(other.outputs, other._times, strict=True) if time > min(self._times)]
        return any(has_changed(path, since=self.outputs[0], directory=self.directory) for path in newer)


def of_study(options: config.Study, directory: Path) -> dict[str, list[Job]]:
    """Jobs of a study that runs in `directory` by stage, as far as they are known, in the order of the stages."""
    results = directory / "results"

    def one(stage: str, *outputs: str, reads: tuple[Job, ...] = ()) -> Job:
        return Job(stage, "", directory, tuple(results / output for output in outputs), reads)

    tables_of_cohort = ("patients", "slides", "attrition", "covariates", "batches")
    cohort = one("cohort", *(f"cohort/{name}.tsv" for name in tables_of_cohort))
    tiles, features = [], []
    for batch in _batches(directory, cohort_is_done=cohort.state == "done"):
        made = results / "tiles" / "batches"
        tiles.append(Job("tiles", batch, directory, (made / f"{batch}.tsv", made / f"{batch}.quality.tsv")))
        manifest = results / "features" / "batches" / f"{batch}.tsv"
        features.append(Job("features", batch, directory, (manifest,), (tiles[-1],)))
    pathways = one("pathways", "pathways.h5", "pathways_coverage.tsv", reads=(cohort,))
    inner = ("inner_splits.tsv",) if options.read_by_others else ()
    splits = one("splits", "splits.tsv", "splits_parts.tsv", *inner, reads=(cohort,))
    fits = _fits(options, directory, inputs=(cohort, *features, pathways, splits))
    reported = tuple(job for job in fits["evaluate"] if job.name.split("/")[0] not in options.report.without)
    report = one("report", "report/index.html", reads=reported)
    return (
        {"cohort": [cohort]}
        | ({"tiles": tiles, "features": features} if tiles else {})
        | {"pathways": [pathways], "splits": [splits]}
        | fits
        | {"report": [report]}
    )


def _fits(options: config.Study, directory: Path, *, inputs: tuple[Job, ...]) -> dict[str, list[Job]]:
    """Trainings and evaluations by stage; those inside of training parts where a model reads risks of others."""
    jobs: dict[str, dict[str, Job]] = {stage: {} for stage in ("inner_train", "inner_evaluate", "train", "evaluate")}

    def add(prefix: str, fit: str, *, known: Iterable[str] = (), tested: Iterable[str] = ()) -> None:
        """`known`, `tested`: fits that give a model the risks of others, of training and of test patients."""
        train, evaluate = f"{prefix}train", f"{prefix}evaluate"
        reads = (*inputs, *(jobs["inner_evaluate"][one] for one in known))
        jobs[train][fit] = Job(train, fit, directory, (directory / "results" / train / f"{fit}.h5",), reads)
        reads = (jobs[train][fit], *(jobs["evaluate"][one] for one in tested))
        jobs[evaluate][fit] = Job(evaluate, fit, directory, (directory / "results" / evaluate / f"{fit}.h5",), reads)

    parts = options.splits.inner_folds
    for name, (repeat, fold, seed) in itertools.product(options.read_by_others, _numbers(options, parts=parts)):
        add("inner_", f"{name}/r{repeat}_f{fold}_s{seed}")
    wanted = [name for name in options.models if name in (*options.reported, *options.read_by_others)]
    wanted.sort(key=lambda name: bool(options.risks_of(name)))  # those that read risks come last
    for name, (repeat, fold, seed) in itertools.product(wanted, _numbers(options)):
        inner = range(fold * parts, (fold + 1) * parts)
        add(
            "",
            f"{name}/r{repeat}_f{fold}_s{seed}",
            known=[f"{other}/r{repeat}_f{one}_s{seed}" for other in options.risks_of(name) for one in inner],
            tested=[f"{other}/r{repeat}_f{fold}_s{seed}" for other in options.risks_of(name)],
        )
    return {stage: list(own.values()) for stage, own in jobs.items() if own}


def _numbers(options: config.Study, *, parts: int = 1) -> list[tuple[int, int, int]]:
    """Repeat, fold and seed of each fit of a model."""
    folds = range(options.splits.folds * parts)
    return list(itertools.product(range(options.splits.repeats), folds, options.train.seeds))


def _batches(directory: Path, *, cohort_is_done: bool) -> list[str]:
    """Batches that the cohort stage remembers; before it has ended also those that have a log, for they do not wait."""
    memory = directory / "results" / "cohort" / "batches.tsv"
    known = list(tables.read_table(memory, columns=tables.BATCHES)["batch"]) if memory.is_file() else []
    if not cohort_is_done:
        logs = (directory / "logs" / stage for stage in ("tiles", "features"))
        known += sorted({log.stem for folder in logs for log in folder.glob("b*.log")})
    return list(dict.fromkeys(known))
