"""What the 95 % interval of the pooled C covers where a Cox model is fitted anew in each fold, over simulated cohorts.

    python -m benchmarks.refit_coverage                      # 300 patients, 90 events, 5 folds, 10 covariates
    python -m benchmarks.refit_coverage --covariates 3       # models that are steadier

The log-hazard is `effect` times the mean direction of twice as many independent normal covariates as a model sees; one
model sees the first half of them, another the second, so that the two are equal in expectation. Two values could be
meant by an interval: the mean true C of the five fitted models at hand, and its expectation over cohorts, that of the
procedure. The true C of a fitted model is exact but for a quadrature. `fresh` tests the same five models on patients
who trained none of them. Variances are of the error of C, by the mean of the bootstrap's: what is above 1, the interval
misses. `benchmarks.interval_candidates` has the other intervals that are tried.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import sem

from benchmarks.interval_candidates import candidates
from benchmarks.interval_coverage import Population, cohort
from tta_pipeline.numerics.bootstrap import bootstrap_pooled_c, draw_patients, percentile_interval
from tta_pipeline.numerics.comparison import SIGNIFICANT, bootstrap_test, corrected_t_test
from tta_pipeline.numerics.cox import cox_fit
from tta_pipeline.numerics.metrics import Fold, harrell_c, mean_pooled_c

Floats = NDArray[np.float64]
EFFECTS = (0.0, 0.4, 0.8, 1.5, 3.0)  # standard deviation of the log-hazard
NODES = 80
MEASURED = (
    "| covariates | events | C of the procedure | covers models | covers procedure | fresh: covers models | bias "
    "| bias, pairs across folds | variance, models | variance, procedure | fresh: variance |"
)
COMPARED = "| covariates | C of the procedure | bootstrap | t over folds, corrected | larger p |"
TRIED = "| covariates | C of the procedure | percentile | stretched | t over folds | Nadeau-Bengio | nested |"


@dataclass(frozen=True)
class Design:
    """A study: `covariates` are those that one model sees, `samples` those of the bootstrap."""

    covariates: int
    patients: int
    folds: int
    samples: int
    seed: int


def true_c(population: Population, cosine: Floats) -> Floats:
    """C of linear risks, by the cosine of the angle between their coefficients and those of the log-hazard.

    Of two patients with hazards h and g and censoring at the rate c, the first is the first to die, seen, with
    probability h / (h + g + 2c). Given the difference d of their standardised log-hazards, that of their risks is
    normal with mean `cosine` d and variance 2 (1 - cosine^2).
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    hazard = np.exp(population.effect * nodes)
    first = np.outer(weights * hazard, weights) / (np.add.outer(hazard, hazard) + 2 * population.censoring_rate)
    lead = np.subtract.outer(nodes, nodes)
    right = ndtr(cosine[:, None, None] * lead / np.sqrt(2 * (1 - cosine[:, None, None] ** 2)))  # (models, nodes, nodes)
    c: Floats = (first * right).sum(axis=(1, 2)) / first.sum()
    return c


def covariates_of(log_hazard: Floats, *, covariates: int, generator: np.random.Generator) -> Floats:
    """(patients, covariates) independent normal values whose sum is sqrt(covariates) times the log-hazard."""
    drawn = generator.standard_normal((len(log_hazard), covariates))
    moved: Floats = drawn + (log_hazard / np.sqrt(covariates) - drawn.mean(axis=1))[:, None]
    return moved


def fitted(values: Floats, parts: list[Fold], *, without: tuple[int, ...]) -> Floats:
    """Coefficients of the Cox model of all parts but those of the numbers `without`."""
    train = [part for number, part in enumerate(parts) if number not in without]
    rows = np.concatenate([np.char.lstrip(part.patient_id, "p").astype(np.int64) for part in train])
    fit = cox_fit(
        covariates=values[rows],
        strata=np.zeros(len(rows), dtype=np.int64),
        time_days=np.concatenate([part.time_days for part in train]),
        event=np.concatenate([part.event for part in train]),
    )
    if fit.reason:
        raise SystemExit(f"expected a Cox fit in each fold, found none: {fit.reason}. Ask for fewer covariates.")
    return fit.coefficients


def scored(values: Floats, parts: list[Fold], coefficients: list[Floats]) -> list[Fold]:
    """The parts with the risk of the model of each."""
    blocks = np.split(values, np.cumsum([len(part.event) for part in parts])[:-1])
    return [replace(p, risk=x @ beta) for p, x, beta in zip(parts, blocks, coefficients, strict=True)]


def cross_validated(values: Floats, parts: list[Fold]) -> list[Floats]:
    return [fitted(values, parts, without=(number,)) for number in range(len(parts))]


def c_across(parts: list[Fold]) -> float:
    """C in which the risks of different folds' models are compared too, as the report does not."""
    risk, time_days, event = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("risk", "time_days", "event")
    )
    return harrell_c(risk=risk, time_days=time_days, event=event).value


def fold_c(parts: list[Fold]) -> Floats:
    return np.array([harrell_c(risk=p.risk, time_days=p.time_days, event=p.event).value for p in parts])


def nested_c(values: Floats, parts: list[Fold]) -> Floats:
    """(folds, folds) C of part j under a model that saw neither j nor i; NaN on the diagonal."""
    inner = np.full((len(parts), len(parts)), np.nan)
    for i in range(len(parts)):
        for j in range(i):
            both = scored(values, parts, [fitted(values, parts, without=(i, j))] * len(parts))
            inner[i, j], inner[j, i] = fold_c([both[j], both[i]])
    return inner


def study(population: Population, *, design: Design, number: int) -> dict[str, float]:
    """One cohort: C, what it estimates, the intervals, and the comparison of the two equal models."""
    generator = np.random.default_rng([design.seed, number])
    p = design.covariates
    parts, fresh = (
        cohort(population, patients=design.patients, folds=design.folds, generator=generator) for _ in range(2)
    )
    values, others = (
        covariates_of(np.concatenate([part.risk for part in own]), covariates=2 * p, generator=generator)
        for own in (parts, fresh)
    )
    fits = [cross_validated(own, parts) for own in (values[:, :p], values[:, p:])]
    first, second = (scored(own, parts, of) for own, of in zip((values[:, :p], values[:, p:]), fits, strict=True))
    again = scored(others[:, :p], fresh, fits[0])
    patient_id, weights = draw_patients(parts, samples=design.samples, seed=number)
    samples, samples_second, samples_again = (
        bootstrap_pooled_c(model, patient_id=patient_id, weights=weights) for model in (first, second, again)
    )
    sizes = {"n_test": design.patients / design.folds, "n_train": design.patients * (1 - 1 / design.folds)}
    inner = nested_c(values[:, :p], parts)
    intervals = candidates(mean_pooled_c(first).value, samples, parts=first, inner=inner, **sizes)
    intervals["fresh"] = percentile_interval(samples_again, confidence=0.95)
    cosines = np.array([beta.sum() / np.sqrt(2 * p) / np.linalg.norm(beta) for beta in fits[0]])
    return {
        "events": float(np.mean(np.concatenate([part.event for part in parts]))),
        "models": float(true_c(population, cosines).mean()),
        "point": mean_pooled_c(first).value,
        "across": c_across(first),
        "variance": float(samples.var(ddof=1)),
        "fresh": mean_pooled_c(again).value,
        "variance_fresh": float(samples_again.var(ddof=1)),
        "p_bootstrap": bootstrap_test(samples - samples_second).p,
        "p_folds": corrected_t_test(fold_c(first) - fold_c(second), **sizes).p,
        **{f"{name}: low": interval.low for name, interval in intervals.items()},
        **{f"{name}: high": interval.high for name, interval in intervals.items()},
    }


def covered(table: pd.DataFrame, name: str, target: "pd.Series | float") -> str:
    return f"{np.mean((table[f'{name}: low'] <= target) & (target <= table[f'{name}: high'])):.1%}"


def measured(table: pd.DataFrame) -> Iterator[str]:
    """Cells: C, coverage of both targets, bias, and variances of the error by the bootstrap's."""
    models, procedure = table["models"], float(table["models"].mean())
    error, error_fresh = table["point"] - models, table["fresh"] - models
    yield from (f"{float(table['events'].mean()):.0%}", f"{procedure:.3f}")
    yield from (covered(table, "percentile", target) for target in (models, procedure))
    yield covered(table, "fresh", models)
    yield from (f"{of.mean():+.4f} ± {sem(of):.4f}" for of in (error, table["across"] - models))
    yield from (f"{of.var() / table['variance'].mean():.2f}" for of in (error, table["point"]))
    yield f"{error_fresh.var() / table['variance_fresh'].mean():.2f}"


def compared(table: pd.DataFrame) -> Iterator[str]:
    """Cells: how often two equal models are called different."""
    yield f"{table['models'].mean():.3f}"
    larger = table[["p_bootstrap", "p_folds"]].max(axis=1)
    yield from (f"{np.mean(p < SIGNIFICANT):.1%}" for p in (table["p_bootstrap"], table["p_folds"], larger))


def tried(table: pd.DataFrame) -> Iterator[str]:
    """Cells: coverage of the models at hand / of the procedure, and the mean width, of each interval."""
    yield f"{table['models'].mean():.3f}"
    names = [name.removesuffix(": low") for name in map(str, table) if name.endswith(": low") and name != "fresh: low"]
    for name in names:
        width = float((table[f"{name}: high"] - table[f"{name}: low"]).mean())
        targets = (table["models"], float(table["models"].mean()))
        yield " / ".join(covered(table, name, target) for target in targets) + f" ({width:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--covariates", type=int, nargs="+", default=[10], help="seen by each of the two models")
    parser.add_argument("--patients", type=int, default=300)
    parser.add_argument("--events", type=float, default=0.3, help="fraction of the patients whose death is observed")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--cohorts", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=1000, help="bootstrap samples per cohort")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    rows: dict[str, list[str]] = {MEASURED: [], COMPARED: [], TRIED: []}
    for covariates, effect in product(arguments.covariates, EFFECTS):
        design = Design(covariates, arguments.patients, arguments.folds, arguments.samples, arguments.seed)
        population = Population.of(effect=effect, events=arguments.events)
        table = pd.DataFrame([study(population, design=design, number=n) for n in range(arguments.cohorts)])
        for header, cells in zip(rows, (measured(table), compared(table), tried(table)), strict=True):
            rows[header].append("| " + " | ".join([str(covariates), *cells]) + " |")
    for header, lines in rows.items():
        print("\n".join(["", header, "|---" * header.count(" | ") + "|---|", *lines]))
    print(f"\n{time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
