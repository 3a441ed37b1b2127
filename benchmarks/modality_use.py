"""How often a modality that is noise is said to be used, over simulated cohorts.

    python -m benchmarks.modality_use                 # 300 patients, 90 events, 5 folds, 10 noise covariates
    python -m benchmarks.modality_use --patients 100

One modality is a prognostic value, the other noise. The model is a Cox model with a ridge penalty on both, out of fold
("fitted"), or that of the first fold on patients who trained none ("fresh"). At the level 5 % either should have p
below 0.05 in 5 % of cohorts, and in half of these the verdict "used"; a report corrects p for its rows besides.
"""

import argparse
import time
from dataclasses import replace

import numpy as np
import pandas as pd

from benchmarks.added_value import Floats, ridge, share
from benchmarks.interval_coverage import Population, cohort
from benchmarks.refit_coverage import scored
from tta_pipeline.numerics.comparison import SIGNIFICANT
from tta_pipeline.numerics.metrics import Fold
from tta_pipeline.numerics.modalities import modality_check, partners

HEADER = "| patients | events | risk | p < 0.05 | used | mean C lost |"
DRAWS = 5  # as `evaluate.exchanges`


def exchanged(
    values: Floats, parts: list[Fold], coefficients: list[Floats], generator: np.random.Generator
) -> list[Fold]:
    """Risks where all but the first column of each patient are those of another patient of the test part."""
    blocks = np.split(values, np.cumsum([len(part.event) for part in parts])[:-1])
    found = []
    for part, block, own in zip(parts, blocks, coefficients, strict=True):
        rows = partners(len(block), generator=generator)
        found.append(replace(part, risk=np.column_stack([block[:, :1], block[rows, 1:]]) @ own))
    return found


def study(population: Population, *, patients: int, arguments: argparse.Namespace, number: int) -> pd.DataFrame:
    """One cohort: a row of the report's table for each kind of risk."""
    generator = np.random.default_rng([arguments.seed, number])
    drawn = {"patients": patients, "folds": arguments.folds, "generator": generator}
    rows = []
    fits: list[Floats] = []
    for kind in ("fitted", "fresh"):
        parts = cohort(population, **drawn)
        signal = np.concatenate([part.risk for part in parts])[:, None]
        values = np.column_stack([signal, generator.standard_normal((patients, arguments.covariates))])
        if kind == "fitted":
            fits = [ridge(values, parts, without=fold, penalty=arguments.penalty) for fold in range(len(parts))]
        own = fits if kind == "fitted" else fits[:1] * len(parts)
        draws = [exchanged(values, parts, own, generator) for _ in range(DRAWS)]
        options = {"samples": arguments.samples, "seed": number, "confidence": 0.95}
        rows.append(modality_check({kind: scored(values, parts, own)}, {kind: {"noise": draws}}, **options))
    return pd.concat(rows, ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, nargs="+", default=[300])
    parser.add_argument("--events", type=float, default=0.3, help="fraction of the patients whose death is observed")
    parser.add_argument(
        "--effect", type=float, default=0.3, help="log hazard ratio per standard deviation of the signal"
    )
    parser.add_argument("--covariates", type=int, default=10, help="of the modality that is noise")
    parser.add_argument("--penalty", type=float, default=1.0, help="of half the squared coefficients")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--cohorts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    print("\n".join([HEADER, "|---" * HEADER.count(" | ") + "|---|"]), flush=True)
    population = Population.of(effect=arguments.effect, events=arguments.events)
    for patients in arguments.patients:
        table = pd.concat(
            [study(population, patients=patients, arguments=arguments, number=n) for n in range(arguments.cohorts)],
            ignore_index=True,
        )
        for risk, own in table.groupby("model", sort=False):
            said = [
                share(own["p_bootstrap"] < SIGNIFICANT),
                share(own["verdict"] == "used"),
                f"{own['c_lost'].mean():+.4f}",
            ]
            print(f"| {patients} | {arguments.events:.0%} | {risk} | {' | '.join(said)} |", flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
