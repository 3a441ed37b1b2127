"""Time and memory of jobs, from the benchmark files that Snakemake writes."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from tta_pipeline.errors import ArtifactError

_FIT = re.compile(r"r(\d+)_f(\d+)_s(\d+)\.tsv")
_INNER = "inner_"  # stages of fits inside of training parts
_BATCH = re.compile(r"b\d+\.tsv")
_STAGES = ["stage", "jobs", "total_s", "longest_s", "max_rss_mb"]
_JOBS = ["name", "repeat", "fold", "seed", "s", "max_rss_mb"]


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
    rows = [_read(path).assign(stage=_stage(path)) for path in paths]
    if not rows:
        return pd.DataFrame(columns=_STAGES)
    stages = pd.concat(rows).groupby("stage", sort=False)
    summed: pd.DataFrame = stages.agg(
        jobs=("s", "size"), total_s=("s", "sum"), longest_s=("s", "max"), max_rss_mb=("max_rss", "max")
    )
    return summed.reset_index()[_STAGES]


def read_training_jobs(paths: Sequence[Path]) -> pd.DataFrame:
    """Time and memory of each job of the train stage.

    Parameters
    ----------
    paths
        `.../train/<model>/r<repeat>_f<fold>_s<seed>.tsv`; files of other stages are passed over.

    Returns
    -------
    Columns name (of the model), repeat, fold, seed, s, max_rss_mb: mean seconds and largest resident memory of the
    job, NaN where Snakemake could not measure.

    Raises
    ------
    ArtifactError
        As `read_benchmarks`.
    """
    rows = []
    for path in paths:
        fit = _FIT.fullmatch(path.name)
        if fit is None or path.parent.parent.name != "train":
            continue
        measured = _read(path)
        rows.append((path.parent.name, *map(int, fit.groups()), measured["s"].mean(), measured["max_rss"].max()))
    return pd.DataFrame(rows, columns=_JOBS)


def benchmarks_of(
    paths: Sequence[Path],
    *,
    fits: Collection[tuple[str, int, int, int]],
    batches: Collection[str],
    inner: Collection[tuple[str, int, int]] = (),
) -> list[Path]:
    """Those benchmark files that are of a study as it is now: files of models and batches that it had once stay behind.

    Parameters
    ----------
    paths
        `.../<model>/r<repeat>_f<fold>_s<seed>.tsv`, `.../<batch>.tsv`, and others, which are all kept.
    fits
        Name of the model, repeat, fold and seed.
    batches
        Names like b0001.
    inner
        Name of the model, repeat and seed of fits inside of training parts.
    """

    def is_known(path: Path) -> bool:
        if fit := _FIT.fullmatch(path.name):
            if _stage(path).startswith(_INNER):
                return (path.parent.name, int(fit[1]), int(fit[3])) in inner
            repeat, fold, seed = map(int, fit.groups())
            return (path.parent.name, repeat, fold, seed) in fits
        return path.stem in batches or not _BATCH.fullmatch(path.name)

    return [path for path in paths if is_known(path)]


def _stage(path: Path) -> str:
    parts = path.parts
    return parts[parts.index("benchmarks") + 1] if "benchmarks" in parts[:-2] else path.parent.name


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ArtifactError(f"{path}: expected a benchmark file of Snakemake, found nothing.")
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    if not {"s", "max_rss"} <= set(table.columns):
        raise ArtifactError(f"{path}: expected the columns s and max_rss, found {list(table.columns)}.")
    return pd.DataFrame({name: pd.to_numeric(table[name], errors="coerce") for name in ("s", "max_rss")})
