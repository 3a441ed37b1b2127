"""How far the published likelihood of binned hazards biases predicted survival, on a simulated cohort.

    python -m benchmarks.binned_hazards

Loss nll takes a patient who is censored within a bin of follow-up for a survivor of the whole bin, by the weight
`censored_weight`. Each model here is right but for that: no covariate, or the true one (with its square) as a linear
predictor of each bin's logit, fitted to convergence; beside them Cox's model of the true covariate. Shown are the
integrated Brier score with that of Kaplan-Meier, and observed over expected deaths of new patients at 1, 3 and 5 years.
"""

import argparse
import time

import numpy as np
import torch
from numpy.typing import NDArray

from tta_pipeline.numerics.calibration import calibrate
from tta_pipeline.numerics.discrete import discrete_nll, discrete_survival, event_time_edges, time_bin
from tta_pipeline.numerics.survival import breslow_baseline, curve_times, survival_at
from tta_pipeline.numerics.time_metrics import Outcomes, integrated_brier

Floats = NDArray[np.float64]
BINS = 4
YEARS = (1, 3, 5)
HORIZONS = np.array([365.25 * year for year in YEARS])
HEADER = "| model | integrated Brier | Kaplan-Meier | " + " | ".join(f"O/E, {year} years" for year in YEARS) + " |"


def draw(patients: int, *, seed: int) -> tuple[Floats, Outcomes]:
    """A covariate of log hazard ratio 1 per standard deviation, and outcomes, of which about 40 % are events."""
    generator = np.random.default_rng(seed)
    value = generator.standard_normal(patients)
    death = generator.exponential(1500 * np.exp(-value))
    end = 30 + generator.exponential(900, size=patients)
    return value, Outcomes(np.minimum(death, end), death <= end)


def logits(train: Outcomes, *, design: Floats, new: Floats, edges: Floats, weight: float) -> Floats:
    """Logits of new patients by the minimiser of the loss among linear predictors of each bin."""
    columns, event = torch.from_numpy(design), torch.from_numpy(train.event)
    bins = torch.from_numpy(time_bin(train.time_days, edges=edges))
    weights = torch.zeros(design.shape[1], BINS, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        found = discrete_nll(columns @ weights, time_bin=bins, event=event, censored_weight=weight)
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    fitted: Floats = new @ weights.detach().numpy()
    return fitted


def row(name: str, *, at: Floats, curves: Floats, days: Floats, train: Outcomes, test: Outcomes) -> str:
    """Scores of survival at the horizons and on a curve, (patients, times) each."""
    score = integrated_brier(curves=curves, curve_days=days, test=test, train=train)
    ratios = [
        calibrate(survival=own, horizon_days=float(day), time_days=test.time_days, event=test.event).ratio
        for day, own in zip(HORIZONS, at.T, strict=True)
    ]
    cells = [f"{score.value:.3f}", f"{score.reference:.3f}", *(f"{ratio:.2f}" for ratio in ratios)]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=4000, help="of the training, and as many new ones")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    start = time.perf_counter()
    value, train = draw(arguments.patients, seed=arguments.seed)
    new, test = draw(arguments.patients, seed=arguments.seed + 1)
    edges, days = (
        event_time_edges(train.time_days, event=train.event, bins=BINS),
        curve_times(np.unique(train.time_days)),
    )
    print(f"{train.event.mean():.0%} events, edges {np.round(edges).astype(int).tolist()} days\n")
    print("\n".join([HEADER, "|---" * HEADER.count(" | ") + "|---|"]))
    one, other = np.ones_like(value), np.ones_like(new)
    designs = {
        "no covariate": (one[:, None], other[:, None]),
        "true covariate": (np.column_stack([one, value, value**2]), np.column_stack([other, new, new**2])),
    }
    for name, (design, asked) in designs.items():
        for weight in (1.0, 0.5):
            found = logits(train, design=design, new=asked, edges=edges, weight=weight)
            at, curves = (discrete_survival(one, logits=found, edges=edges) for one in (HORIZONS, days))
            shown = f"{name}, nll, censored_weight {weight:g}"
            print(row(shown, at=at, curves=curves, days=days, train=train, test=test), flush=True)
    times, hazard = breslow_baseline(value, time_days=train.time_days, event=train.event)
    at, curves = (survival_at(one, log_risk=new, times=times, cumulative_hazard=hazard) for one in (HORIZONS, days))
    print(row("true covariate, Cox", at=at, curves=curves, days=days, train=train, test=test))
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
