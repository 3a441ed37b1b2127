"""How often a risk without any signal is said to add to the age, over simulated cohorts.

    python -m benchmarks.added_value                      # 200 patients, 100 events, 5 folds, 10 covariates
    python -m benchmarks.added_value --patients 100 400   # other cohorts

The log-hazard is 0.5 per standard deviation of the age. The risk knows nothing of it: "fitted" is out of fold, of a Cox
model with a ridge penalty on covariates that are noise, fitted on the other folds; "fresh" is that of the first fold's
model on patients who trained none; "given" is noise itself. At the level 5 % each should have p below 0.05 in 5 % of
cohorts, and half of these, with a coefficient above 0, the verdict "adds".
"""

import argparse
import time

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.util import Surv

from benchmarks.interval_coverage import Population, cohort
from benchmarks.refit_coverage import scored
from tta_pipeline.numerics.comparison import SIGNIFICANT
from tta_pipeline.numerics.metrics import Fold
from tta_pipeline.numerics.risk_checks import added_table

Floats = NDArray[np.float64]
AGE_EFFECT = 0.5  # log hazard ratio per standard deviation
HEADER = (
    "| patients | events | covariates | risk | p < 0.05 | adds | points the wrong way | mean C of the risk | C <= 0.5 |"
)


def ridge(values: Floats, parts: list[Fold], *, without: int, penalty: float) -> Floats:
    """Coefficients of the Cox model of all parts but one."""
    blocks = np.split(values, np.cumsum([len(part.event) for part in parts])[:-1])
    train = [number for number in range(len(parts)) if number != without]
    event, time_days = (np.concatenate([getattr(parts[n], name) for n in train]) for name in ("event", "time_days"))
    model = CoxPHSurvivalAnalysis(alpha=penalty, ties="efron")
    coefficients: Floats = model.fit(
        np.concatenate([blocks[n] for n in train]), Surv.from_arrays(event, time_days)
    ).coef_
    return coefficients


def ages(parts: list[Fold]) -> pd.DataFrame:
    """The covariate of the report: the value on which the hazard of the cohort depends."""
    cells = [
        (name, "age", f"{60 + 10 * risk:.6f}") for p in parts for name, risk in zip(p.patient_id, p.risk, strict=True)
    ]
    return pd.DataFrame(cells, columns=["patient_id", "covariate", "value"])


def study(population: Population, *, patients: int, arguments: argparse.Namespace, number: int) -> pd.DataFrame:
    """One cohort: rows of the report's table for each kind of risk."""
    generator = np.random.default_rng([arguments.seed, number])
    drawn = {"patients": patients, "folds": arguments.folds, "generator": generator}
    parts, others = cohort(population, **drawn), cohort(population, **drawn)
    values, new, noise = (generator.standard_normal((patients, arguments.covariates)) for _ in range(3))
    options = {"penalty": arguments.penalty}
    fits = [ridge(values, parts, without=fold, **options) for fold in range(len(parts))]
    tables = [
        added_table({"fitted": scored(values, parts, fits)}, ages(parts)),
        added_table({"fresh": scored(new, others, fits[:1] * len(others))}, ages(others)),
        added_table({"given": scored(noise, parts, [np.ones(arguments.covariates)] * len(parts))}, ages(parts)),
    ]
    events = float(np.mean(np.concatenate([part.event for part in parts])))
    return pd.concat(tables, ignore_index=True).assign(events=events)


def share(of: pd.Series) -> str:
    """A fraction of the cohorts with its standard error."""
    return f"{of.mean():.1%} ± {np.sqrt(of.mean() * (1 - of.mean()) / len(of)):.1%}"


def cells(table: pd.DataFrame) -> list[str]:
    verdicts = [share(table["verdict"] == name) for name in ("adds", "points the wrong way")]
    of_c = [f"{table['c_risk'].mean():.3f}", f"{np.mean(table['c_risk'] <= 0.5):.0%}"]
    return [share(table["p_risk"] < SIGNIFICANT), *verdicts, *of_c]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, nargs="+", default=[200])
    parser.add_argument("--events", type=float, default=0.5, help="fraction of the patients whose death is observed")
    parser.add_argument("--covariates", type=int, default=10, help="noise that the model is fitted to")
    parser.add_argument("--penalty", type=float, default=10.0, help="of half the squared coefficients")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--cohorts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    print("\n".join([HEADER, "|---" * HEADER.count(" | ") + "|---|"]), flush=True)
    population = Population.of(effect=AGE_EFFECT, events=arguments.events)
    for patients in arguments.patients:
        studies = [
            study(population, patients=patients, arguments=arguments, number=n) for n in range(arguments.cohorts)
        ]
        table = pd.concat(studies, ignore_index=True)
        for risk, own in table.groupby("model", sort=False):
            first = [str(patients), f"{own['events'].mean():.0%}", str(arguments.covariates), str(risk)]
            print("| " + " | ".join([*first, *cells(own)]) + " |", flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
