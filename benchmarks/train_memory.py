"""Memory of one training job by the number of patients: TTA, one epoch, with the default limit of patches.

Patients are hard links to a few feature files, so that disk stays small; each is read and kept as a file of its own. A
bag that does not fit into the cache is read once before the epoch, once in it, and once after it, when the training
patients are scored. Memory is the peak of the whole process, imports included.

Run from the root: python -m benchmarks.train_memory --patients 100 1000 10000 --cache-gb 0.2 8
"""

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path

from benchmarks.epoch import measure, write_study
from tta_pipeline.config import Train

DISTINCT = 32


def train(folder: Path, cache_gb: float, threads: int) -> tuple[float, float]:
    """Seconds of the job, and GB of its peak."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    started = time.perf_counter()
    _, growth = measure(folder, Train(epochs=1, cache_gb=cache_gb), threads)
    return time.perf_counter() - started, before + growth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--patches", type=int, default=1_000)
    parser.add_argument("--features", type=int, default=1_024)
    parser.add_argument("--pathways", type=int, default=50)
    parser.add_argument("--cache-gb", type=float, nargs="+", default=[8.0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    print(f"{options.patches} x {options.features} float16 a patient, {options.pathways} pathways, ", end="")
    print(f"{options.threads} threads, load average {os.getloadavg()[0]:.1f}")
    print("| patients | bags, GB | cache_gb | expression, GB | memory, GB | s |")
    print("|---|---|---|---|---|---|")
    context = multiprocessing.get_context("spawn")
    for patients in options.patients:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            folder = Path(name)
            sizes = {key: getattr(options, key) for key in ("patches", "features", "pathways")}
            write_study(folder, patients=patients, distinct=min(DISTINCT, patients), **sizes)
            expression = (folder / "pathways.h5").stat().st_size / 1e9
            bags = patients * options.patches * options.features * 2 / 1e9
            for cache_gb in options.cache_gb:
                with context.Pool(1) as pool:
                    seconds, peak = pool.apply(train, (folder, cache_gb, options.threads))
                row = [f"{patients:,}", f"{bags:.1f}", f"{cache_gb:g}", f"{expression:.2f}", f"{peak:.2f}"]
                print("| " + " | ".join([*row, f"{seconds:.0f}"]) + " |", flush=True)


if __name__ == "__main__":
    main()
