"""Time and memory of jobs, from the benchmark files that Snakemake writes."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tta_pipeline.errors import ArtifactError


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
