"""Tables with a planted risk."""

from dataclasses import replace

import numpy as np

from tta_pipeline.models.tabular.model import Table

NAMES = ["first", "second", "third", "fourth"]
SETS = [np.array([0]), np.array([1, 2, 3]), np.array([3, 4]), np.array([5, 6, 7])]


def cohort(n: int = 120, *, effect: float = 1.0, seed: int = 0) -> tuple[Table, dict[str, np.ndarray]]:
    """Patients whose log-risk is `effect` times gene 0, and half that per decade of age; tied times, half censored.

    Two other models know it with as much noise, one of them on a scale of its own.
    """
    generator = np.random.default_rng(seed)
    expression = generator.normal(4, 2, (n, 8)).astype(np.float32)
    age = generator.integers(40, 85, n)
    log_risk = effect * ((expression[:, 0] - 4) / 2 + 0.05 * (age - 60))
    time_days = np.ceil(generator.exponential(40 * np.exp(-log_risk)))
    covariates = {
        "age": [str(one) if one % 9 else "" for one in age],
        "sex": ["male" if one else "female" for one in generator.random(n) < 0.6],
        "stage": [f"Stage {'I' * one}A" if one < 4 else "Stage X" for one in generator.integers(1, 5, n)],
    }
    outcomes = {"time_days": time_days, "event": generator.random(n) < 0.6}
    noisy = log_risk + generator.normal(0, 1, (2, n))
    return Table(expression, SETS, NAMES, covariates, {"good": noisy[0], "scaled": 40 * noisy[1] - 900}), outcomes


def rows_of(table: Table, rows: list[int]) -> Table:
    """Some patients, in another order."""
    cells = {name: [own[row] for row in rows] for name, own in table.covariates.items()}
    risks = {name: own[rows] for name, own in table.risks.items()}
    return replace(table, expression=table.expression[rows], covariates=cells, risks=risks)
