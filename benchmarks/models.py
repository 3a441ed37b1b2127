"""Time and memory of a training epoch of every network, beside TTA's, on the same generated study.

    python -m benchmarks.models --patches 500

A study of 32 patients and 50 pathways in one batch, as in `benchmarks.epoch`; each model in a process of its own. The
epoch is the median after the first; memory is the growth of the process's peak over what it held after its imports.
"""

import argparse
import logging
import multiprocessing
import os
import resource
import statistics
import tempfile
from itertools import pairwise
from pathlib import Path

import torch

from benchmarks.epoch import Clock, write_study
from tta_pipeline import config
from tta_pipeline.model_sections import ARCHITECTURES, Architecture
from tta_pipeline.stages import train


def measure(folder: Path, architecture: str, epochs: int, threads: int) -> tuple[float, float]:
    """Median seconds of an epoch, and GB by which the run raised the peak of this process."""
    torch.set_num_threads(threads)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock = Clock()
    logging.getLogger(train.__name__).addHandler(clock)
    logging.getLogger(train.__name__).setLevel(logging.INFO)
    train.run(
        **{name: folder / f"{name}.tsv" for name in ("patients", "slides", "splits")},
        manifests=[],
        pathways=folder / "pathways.h5",
        repeat=0,
        fold=0,
        seed=0,
        name=architecture,
        out=folder / f"{architecture}.h5",
        model=ARCHITECTURES[architecture](architecture=architecture),
        config=config.Train(epochs=epochs, batch_size=32),
        bad_slides=config.BadSlides(),
    )
    seconds = [later - earlier for earlier, later in pairwise(clock.times)]
    return statistics.median(seconds), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6


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
                seconds, memory = pool.apply(measure, (folder, model, options.epochs, options.threads))
            first = first or seconds
            print(f"| {model} | {seconds:.2f} | {seconds / first:.1f} | {memory:.2f} |", flush=True)


if __name__ == "__main__":
    main()
