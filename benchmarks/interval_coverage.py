"""How often the 95 % bootstrap interval of the pooled C covers the true C, over simulated cohorts.

    python -m benchmarks.interval_coverage                       # 300 patients, 90 events, 5 folds, as in a study
    python -m benchmarks.interval_coverage --patients 100 200    # smaller cohorts

A patient has a standard normal risk, an exponential time of death whose log-hazard is `effect` times the risk, and an
exponential time of censoring. The risk is given, not fitted, and the folds are drawn at random: what is judged is the
interval alone. The true C is that of ten million pairs of patients drawn on their own.
"""

import argparse
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from tta_pipeline.numerics.bootstrap import bootstrap_pooled_c, draw_patients, percentile_interval
from tta_pipeline.numerics.metrics import Fold, mean_pooled_c

EFFECTS = (0.0, 0.4, 0.8, 1.5)  # log hazard ratio per standard deviation of the risk
PAIRS = 10_000_000


@dataclass(frozen=True)
class Population:
    """Deaths at the hazard e^(effect risk), and censoring at a rate of its own that leaves `events` of the deaths."""

    effect: float
    censoring_rate: float

    @classmethod
    def of(cls, *, effect: float, events: float) -> "Population":
        hazard = np.exp(effect * np.random.default_rng(0).standard_normal(100_000))
        return cls(effect, brentq(lambda rate: np.mean(hazard / (hazard + rate)) - events, 1e-6, 1e6))

    def draw(self, shape: tuple[int, ...], generator: np.random.Generator) -> dict[str, NDArray[Any]]:
        risk = generator.standard_normal(shape)
        death = generator.exponential(np.exp(-self.effect * risk))
        end = generator.exponential(1 / self.censoring_rate, shape)
        return {"risk": risk, "time_days": np.minimum(death, end), "event": death <= end}

    def true_c(self) -> tuple[float, float]:
        """C over independent pairs, and the fraction of events."""
        concordant = comparable = events = 0
        generator = np.random.default_rng(1)
        for _ in range(10):
            drawn = self.draw((PAIRS // 10, 2), generator)
            first = np.argmin(drawn["time_days"], axis=1)[:, None]
            counts = np.take_along_axis(drawn["event"], first, axis=1)[:, 0]
            lead = np.take_along_axis(drawn["risk"], first, 1) - np.take_along_axis(drawn["risk"], 1 - first, 1)
            concordant += int((counts & (lead[:, 0] > 0)).sum())
            comparable += int(counts.sum())
            events += int(drawn["event"].sum())
        return concordant / comparable, events / (2 * PAIRS)


def cohort(population: Population, *, patients: int, folds: int, generator: np.random.Generator) -> list[Fold]:
    """One study: the patients in `folds` parts of nearly one size."""
    drawn = population.draw((patients,), generator)
    names = np.array([f"p{index:06d}" for index in range(patients)])
    return [
        Fold(repeat=0, fold=fold, seed=0, patient_id=names[rows], **{key: value[rows] for key, value in drawn.items()})
        for fold, rows in enumerate(np.array_split(np.arange(patients), folds))
    ]


def row(population: Population, *, patients: int, arguments: argparse.Namespace) -> str:
    """Coverage, misses on either side, mean width and the bias of the point estimate, over the cohorts."""
    true_c, events = population.true_c()
    generator = np.random.default_rng(arguments.seed)
    points, lows, highs = np.full((3, arguments.cohorts), np.nan)
    for study in range(arguments.cohorts):
        parts = cohort(population, patients=patients, folds=arguments.folds, generator=generator)
        patient_id, weights = draw_patients(parts, samples=arguments.samples, seed=study)
        values = bootstrap_pooled_c(parts, patient_id=patient_id, weights=weights)
        interval = percentile_interval(values, confidence=0.95)
        points[study], lows[study], highs[study] = mean_pooled_c(parts).value, interval.low, interval.high
    below, above = np.mean(highs < true_c), np.mean(lows > true_c)
    covered = np.mean((lows <= true_c) & (true_c <= highs))
    error = np.sqrt(covered * (1 - covered) / arguments.cohorts)
    return (
        f"| {patients} | {events:.0%} | {true_c:.4f} | {covered:.1%} ± {error:.1%} | {below:.1%} | {above:.1%} | "
        f"{np.nanmean(highs - lows):.3f} | {np.nanmean(points) - true_c:+.4f} | {np.isnan(lows).sum()} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, nargs="+", default=[300])
    parser.add_argument("--events", type=float, default=0.3, help="fraction of the patients whose death is observed")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--cohorts", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=1000, help="bootstrap samples per cohort")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    print("| patients | events | true C | covered | all below | all above | mean width | bias of C | undefined |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for patients in arguments.patients:
        for effect in EFFECTS:
            population = Population.of(effect=effect, events=arguments.events)
            print(row(population, patients=patients, arguments=arguments), flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
