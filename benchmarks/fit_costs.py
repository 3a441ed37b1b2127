"""What a fit of each model costs: seconds of the jobs `train` and `evaluate`, from Snakemake's benchmarks of a study.

    python -m benchmarks.fit_costs runs/table

Medians over the fits, so that one that ran beside other work counts little; the last line says what all models cost for
one fold and seed. Seconds are those on the clock, the start of a job included.
"""

import argparse
from pathlib import Path

import pandas as pd


def read_jobs(study: Path, *, stage: str) -> pd.DataFrame:
    """One row per model, in the order of time: fits, median seconds, largest sampled memory in GB."""
    rows = [
        (path.parent.name, table["s"].iloc[-1], table["max_rss"].max() / 1024)
        for path in sorted((study / "benchmarks" / stage).glob("*/r*_f*_s*.tsv"))
        for table in [pd.read_csv(path, sep="\t", na_values="-")]
    ]
    jobs = pd.DataFrame(rows, columns=["model", "s", "gb"]).groupby("model")
    return jobs.agg(fits=("s", "size"), seconds=("s", "median"), gb=("gb", "max"))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder that Snakemake ran in")
    study = parser.parse_args().study
    train, evaluate = (read_jobs(study, stage=stage) for stage in ("train", "evaluate"))
    table = train.join(evaluate, rsuffix="_evaluate").sort_values("seconds", ascending=False)
    print("| model | fits | train, s | evaluate, s | memory, GB |\n|---|---|---|---|---|")
    for model, row in table.iterrows():
        print(
            f"| {model} | {row['fits']:.0f} | {row['seconds']:.0f} | {row['seconds_evaluate']:.0f} "
            f"| {max(row['gb'], row['gb_evaluate']):.1f} |"
        )
    print(f"| sum | | {table['seconds'].sum():.0f} | {table['seconds_evaluate'].sum():.0f} | |")


if __name__ == "__main__":
    main()
