"""A study's models in one table, as benchmarks/RESULTS.md shows them, from the tables of its finished report.

    python -m benchmarks.study_table runs/stad

C-index over folds and pooled, Uno's C, integrated Brier score, and the modalities whose exchange costs C. Below stand
the number of pairs of models that differ, the spread over seeds, what the report warns of, and the C-index of the true
risk where it is known.
"""

import argparse
from pathlib import Path

import pandas as pd

from tta_pipeline.io import report_tables, tables

HEAD = (
    "model",
    "C, mean ± std over folds (over seeds)",
    "C, pooled (interval)",
    "Uno's C (interval)",
    "integrated Brier (interval)",
    "modalities whose exchange costs C",
)


def read(report: Path, name: str) -> pd.DataFrame:
    """A table of the report."""
    return tables.read_table(report / f"{name}.tsv", columns=report_tables.TABLES[name])


def cells(row: pd.Series, scores: pd.DataFrame, modalities: pd.DataFrame) -> list[str]:
    """The cells of one model: its row of the summary, its scores by metric, its rows of the check of modalities."""
    over_seeds = f" ({row['c_std_seeds']:.3f})" if row["n_seeds"] > 1 else ""
    used = modalities.loc[modalities["verdict"] == "used", "modality"]
    return [
        str(row["model"]),
        f"{row['c_mean']:.3f} ± {row['c_std_folds']:.3f}{over_seeds}",
        f"{row['c_pooled']:.3f} ({row['c_low']:.3f} to {row['c_high']:.3f})",
        *("{mean:.3f} ({low:.3f} to {high:.3f})".format(**scores.loc[metric]) for metric in ("uno_c", "ibs")),
        ", ".join(sorted(used)) or ("none shown" if len(modalities) else ""),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder that Snakemake ran in")
    report = parser.parse_args().study / "results" / "report"
    summary, scores, modalities = (read(report, name) for name in ("summary", "scores_summary", "modalities"))
    sizes = summary.iloc[0]
    print(f"{sizes['n_patients']} patients, {sizes['n_events']} events, {sizes['n_folds']} test parts a seed.\n")
    print(f"| {' | '.join(HEAD)} |")
    print("|---" * len(HEAD) + "|")
    for _, row in summary.iterrows():
        own = (table[table["model"] == row["model"]] for table in (scores.set_index("metric"), modalities))
        print(f"| {' | '.join(cells(row, *own))} |")
    print(f"| Kaplan-Meier | | | | {scores.loc[scores['metric'] == 'ibs', 'reference'].iloc[0]:.3f} | |\n")
    pairs = read(report, "comparisons")
    higher = pairs[pairs["verdict"].str.endswith("higher")]
    print(f"{len(higher)} of {len(pairs)} pairs differ.")
    for _, pair in higher.iterrows():
        print(f"{pair['model_a']} - {pair['model_b']}: {pair['verdict']}, corrected p {pair['p_corrected']:.3f}")
    spread = summary["c_std_seeds"].dropna()
    if len(spread):
        print(f"Std over seeds within a fold: {spread.min():.3f} to {spread.max():.3f}")
    if summary["c_true_risk"].notna().any():
        print(f"True risk: C {summary['c_true_risk'].iloc[0]:.3f}")
    for warning in read(report, "warnings")["warning"]:
        print(f"Warning: {warning}")


if __name__ == "__main__":
    main()
