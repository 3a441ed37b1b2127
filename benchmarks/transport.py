"""Joint optimal transport: ours beside the published scheme and POT, in one run, as ratios.

    python -m benchmarks.transport speed    # published scheme and ours, per batch size, rho and kind of prototypes
    python -m benchmarks.transport pot      # POT per patient and ours, on the problem that POT can state
    python -m benchmarks.transport memory   # extra memory of one solve
    python -m benchmarks.transport scaling  # ours over tokens and prototypes

The published scheme is timed on the same batch, whose patients wait for the slowest; `--baseline-patients` times it on
fewer, and scales up. Plans are compared on two patients of the batch.
"""

import argparse
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ot
import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks import published_scheme
from tta_pipeline.numerics.transport import Transport, solve_joint

LAMBDA = 0.1
CLUSTERS = 24
COMPARED = 2  # patients whose plans are compared with the baseline, run to convergence


@dataclass(frozen=True)
class Inputs:
    """cost (batch, tokens, K), tokens (batch, tokens, 256), mask (batch, tokens), all float32 and valid."""

    cost: Tensor
    tokens: Tensor
    mask: Tensor

    @classmethod
    def draw(cls, *, batch: int, tokens: int, prototypes: int, trained: bool, dim: int = 256) -> "Inputs":
        """Unit tokens in clusters of uneven size; prototypes at random, or near the clusters as after training."""
        generator = torch.Generator().manual_seed(0)
        noise = dim**-0.5
        bank = noise * torch.randn(prototypes, dim, generator=generator)
        centres = normalize(torch.randn(CLUSTERS, dim, generator=generator), dim=-1)
        if trained:
            bank = centres[torch.randint(CLUSTERS, (prototypes,), generator=generator)] + 0.8 * bank
        bank = normalize(bank, dim=-1)
        z = torch.empty(batch, tokens, dim)
        for bag in z:
            shares = torch.rand(CLUSTERS, generator=generator) ** 2 + 0.02
            labels = torch.multinomial(shares, tokens, replacement=True, generator=generator)
            bag.copy_(normalize(centres[labels] + 0.7 * noise * torch.randn(tokens, dim, generator=generator), dim=-1))
        cost = -torch.log_softmax(z @ bank.T / 0.5, dim=-1)
        return cls(cost=cost, tokens=z, mask=torch.ones(batch, tokens, dtype=torch.bool))

    def ours(self, *, rho: float, similarity_weight: float = LAMBDA) -> Transport:
        return solve_joint(self.cost, mask=self.mask, rho=rho, tokens=self.tokens, similarity_weight=similarity_weight)

    def published(self, *, rho: float, patients: int, **options: Any) -> published_scheme.Published:
        return published_scheme.solve(
            self.cost[:patients], tokens=self.tokens[:patients], rho=rho, similarity_weight=LAMBDA, **options
        )


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def speed(arguments: argparse.Namespace) -> None:
    """Time of a batch, median over repeats that take turns; plans compared with the baseline run to convergence."""
    print("| prototypes | rho | batch | published, s | ours, s | ratio (lowest to highest) | plans differ by |")
    print("|---|---|---|---|---|---|---|")
    for trained in (False, True):
        for batch in arguments.batch:
            inputs = Inputs.draw(batch=batch, tokens=arguments.tokens, prototypes=arguments.prototypes, trained=trained)
            for rho in arguments.rho:
                cells = _compare(inputs, rho=rho, patients=min(batch, arguments.baseline_patients), arguments=arguments)
                print(f"| {'trained' if trained else 'random'} | {rho:g} | {batch} | {cells} |", flush=True)


def _compare(inputs: Inputs, *, rho: float, patients: int, arguments: argparse.Namespace) -> str:
    exact = inputs.published(rho=rho, patients=COMPARED, objective_tolerance=1e-14)
    gap = float((inputs.ours(rho=rho).plan[:COMPARED] - exact.plan).abs().max())
    scale = len(inputs.cost) / patients
    times = [
        (scale * seconds(lambda: inputs.published(rho=rho, patients=patients)), seconds(lambda: inputs.ours(rho=rho)))
        for _ in range(arguments.repeats)
    ]
    ratios = sorted(published / own for published, own in times)
    published, own = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = f"{statistics.median(ratios):.0f}x ({ratios[0]:.0f} to {ratios[-1]:.0f})"
    return f"{published:.2f} | {own:.3f} | {ratio} | {gap:.1e}"


def pot(arguments: argparse.Namespace) -> None:
    """lambda = 0 and rho = 1, per patient: POT's plain and translation-invariant solvers in float64."""
    print("| prototypes | POT, s | POT, translation-invariant, s | ours, s | ratios | plans differ by |")
    print("|---|---|---|---|---|---|")
    for trained in (False, True):
        inputs = Inputs.draw(batch=8, tokens=arguments.tokens, prototypes=arguments.prototypes, trained=trained)
        print(
            f"| {'trained' if trained else 'random'} | {_compare_pot(inputs, repeats=arguments.repeats)} |", flush=True
        )


def _compare_pot(inputs: Inputs, *, repeats: int) -> str:
    size, n, k = inputs.cost.shape
    costs = inputs.cost.double().numpy()

    def by_pot(method: str) -> np.ndarray:
        return np.stack(
            [
                ot.unbalanced.sinkhorn_unbalanced(
                    np.full(n, 1 / n), np.full(k, 1 / k), cost, 0.1, (math.inf, 1.0), method=method, reg_type="kl",
                    c=np.ones_like(cost), numItermax=100_000, stopThr=1e-10,
                )
                for cost in costs
            ]
        )  # fmt: skip

    def by_us() -> Tensor:
        return inputs.ours(rho=1.0, similarity_weight=0.0).plan

    gap = np.abs(by_us().numpy() - n * by_pot("sinkhorn")).max()
    calls = (lambda: by_pot("sinkhorn"), lambda: by_pot("sinkhorn_translation_invariant"), by_us)
    times = [[seconds(call) / size for call in calls] for _ in range(repeats)]
    plain, invariant, own = (statistics.median(column) for column in zip(*times, strict=True))
    return f"{plain:.4f} | {invariant:.4f} | {own:.4f} | {plain / own:.1f}x, {invariant / own:.1f}x | {gap:.1e}"


def memory(arguments: argparse.Namespace) -> None:
    """Growth of the process's peak memory by one solve, inputs and libraries loaded; a process for each."""
    print("| solver | batch | extra memory, GB |\n|---|---|---|")
    context = multiprocessing.get_context("spawn")
    for name, sizes in (("ours", arguments.batch), ("published", [min(arguments.baseline_patients, 8)])):
        for batch in sizes:
            with context.Pool(1) as pool:
                extra = pool.apply(_extra_memory, (name, batch, arguments.tokens, arguments.prototypes))
            print(f"| {name} | {batch} | {extra:.3f} |", flush=True)


def _extra_memory(name: str, batch: int, tokens: int, prototypes: int) -> float:
    small = Inputs.draw(batch=1, tokens=256, prototypes=prototypes, trained=False)
    small.ours(rho=0.5)
    inputs = Inputs.draw(batch=batch, tokens=tokens, prototypes=prototypes, trained=False)
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("5")  # drawing the inputs may have peaked above what is held now: forget that peak
    before = _peak_kb()
    if name == "ours":
        inputs.ours(rho=0.5)
    else:
        inputs.published(rho=0.5, patients=batch)
    return (_peak_kb() - before) / 1e6


def _peak_kb() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0])


def scaling(arguments: argparse.Namespace) -> None:
    """One patient, rho = 0.5, over tokens and prototypes; memory as in `memory`."""
    print("| tokens | prototypes | ours, s | extra memory, MB | rounds | rounds of the similarity term |")
    print("|---|---|---|---|---|---|")
    context = multiprocessing.get_context("spawn")
    for tokens in (1_000, 4_146, 10_000, 30_000, 100_000):
        for prototypes in (8, 32, 128):
            inputs = Inputs.draw(batch=1, tokens=tokens, prototypes=prototypes, trained=True)
            solved = inputs.ours(rho=0.5)
            time_s = statistics.median(seconds(partial(inputs.ours, rho=0.5)) for _ in range(arguments.repeats))
            with context.Pool(1) as pool:
                extra = 1000 * pool.apply(_extra_memory, ("ours", 1, tokens, prototypes))
            rounds = f"{int(solved.iterations)} | {int(solved.outer)}"
            print(f"| {tokens} | {prototypes} | {time_s:.3f} | {extra:.1f} | {rounds} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=("speed", "pot", "memory", "scaling"))
    parser.add_argument("--tokens", type=int, default=4146)
    parser.add_argument("--prototypes", type=int, default=32)
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--rho", type=float, nargs="+", default=[0.1, 0.5, 1.0])
    parser.add_argument("--baseline-patients", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for part in arguments.parts:
        print(f"\n{part}: {arguments.threads} threads, load average {os.getloadavg()[0]:.1f} at the start\n")
        {"speed": speed, "pot": pot, "memory": memory, "scaling": scaling}[part](arguments)
        print(f"\nload average {os.getloadavg()[0]:.1f} at the end", flush=True)


if __name__ == "__main__":
    main()
