"""Time and memory of a training epoch of every network, beside TTA's, on the same generated study.

    python -m benchmarks.models --patches 500

A study of 32 patients and 50 pathways in one batch, as in `benchmarks.epoch`; each model in a process of its own. The
epoch is the median after the first; memory is the growth of the process's peak over what it held after its imports.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
from pathlib import Path

from benchmarks.epoch import measure, write_study
from tta_pipeline.config import Train
from tta_pipeline.model_sections import ARCHITECTURES, Architecture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    networks = [name for name, section in ARCHITECTURES.items() if issubclass(section, Architecture)]
    parser.add_argument("--models", nargs="+", default=networks, choices=networks)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_study(folder, patients=32, patches=options.patches, features=1024, pathways=50)
        load = os.getloadavg()[0]
        print(f"32 x {options.patches} patches, {options.threads} threads, load average {load:.1f} at the start")
        print("| model | s per epoch | times TTA | memory, GB |\n|---|---|---|---|")
        first = 0.0
        for model in options.models:
            with context.Pool(1) as pool:
                recipe = Train(epochs=options.epochs, batch_size=32)
                epochs, memory = pool.apply(measure, (folder, recipe, options.threads, model))
            seconds = statistics.median(epochs)
            first = first or seconds
            print(f"| {model} | {seconds:.2f} | {seconds / first:.1f} | {memory:.2f} |", flush=True)


if __name__ == "__main__":
    main()
