"""Time and memory of training epochs: 32 patients x 4096 patches x 1024 features, 50 pathways, reading included.

    python -m benchmarks.epoch

Epochs are timed from one line of the training's log to the next, the first one left out. Here an epoch is a step, and
every third step has the multi-head consistency: the mean is over such a cycle of three, each kind by its median.
Memory is the growth of the process's peak over what it held after its imports.
"""

import argparse
import logging
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pydantic import TypeAdapter

from tests.builders import write_features_file, write_patients
from tta_pipeline import config
from tta_pipeline.io import artifacts, tables
from tta_pipeline.model_sections import Model
from tta_pipeline.stages import train, training

GENES_PER_SET = 80


def write_study(
    folder: Path, *, patients: int, patches: int, features: int, pathways: int, distinct: int | None = None
) -> None:
    """A study of one slide per patient, without signal: time does not depend on it.

    distinct: files of features on disk; the patients beyond have hard links to these.
    """
    generator = np.random.default_rng(0)
    ids = [f"P{number:03d}" for number in range(patients)]
    slides = []
    for number, patient_id in enumerate(ids):
        path = folder / "features" / f"{patient_id}.h5"
        if distinct is None or number < distinct:
            values = generator.standard_normal((patches, features), dtype=np.float32).astype(np.float16)
            write_features_file(path, values)
        else:
            path.hardlink_to(folder / "features" / f"{ids[number % distinct]}.h5")
        slides.append([patient_id, patient_id, "", np.nan, str(path)])
    tables.write_table(folder / "slides.tsv", pd.DataFrame(slides, columns=list(tables.SLIDES)), columns=tables.SLIDES)
    write_patients(folder / "patients.tsv", ids=ids, risk=np.zeros(patients), generator=generator)
    splits = pd.DataFrame({"repeat": 0, "fold": 0, "patient_id": ids, "role": "train"})
    tables.write_table(folder / "splits.tsv", splits, columns=tables.SPLITS)
    genes = pathways * GENES_PER_SET
    sets = artifacts.Pathways(
        patient_id=ids,
        genes=[f"G{number}" for number in range(genes)],
        expression=generator.standard_normal((patients, genes), dtype=np.float32),
        names=[f"set {number}" for number in range(pathways)],
        indices=np.arange(genes),
        indptr=np.arange(0, genes + 1, GENES_PER_SET),
    )
    artifacts.write_pathways(folder / "pathways.h5", sets, options={}, inputs={})


class Clock(logging.Handler):
    """Times at which the training logged an epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg.startswith("epoch "):
            self.times.append(time.perf_counter())


def measure(folder: Path, recipe: config.Train, threads: int, architecture: str = "tta") -> tuple[list[float], float]:
    """Seconds of each epoch from the second on, and GB by which the run raised the peak of this process."""
    torch.set_num_threads(threads)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock = Clock()
    logging.getLogger(training.__name__).addHandler(clock)
    logging.getLogger(training.__name__).setLevel(logging.INFO)
    train.run(
        patients=folder / "patients.tsv",
        slides=folder / "slides.tsv",
        splits=folder / "splits.tsv",
        manifests=[],
        pathways=folder / "pathways.h5",
        repeat=0,
        fold=0,
        seed=0,
        name=architecture,
        out=folder / f"{architecture}.h5",
        model=TypeAdapter(Model).validate_python({"architecture": architecture}),
        config=recipe,
        bad_slides=config.BadSlides(),
    )
    seconds = [later - earlier for earlier, later in pairwise(clock.times)]
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=32)
    parser.add_argument("--patches", type=int, default=4096)
    parser.add_argument("--features", type=int, default=1024)
    parser.add_argument("--pathways", type=int, default=50)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = {key: getattr(options, key) for key in ("patients", "patches", "features", "pathways")}
        write_study(folder, **sizes)
        with context.Pool(1) as pool:
            recipe = config.Train(epochs=options.epochs, batch_size=options.batch)
            seconds, memory = pool.apply(measure, (folder, recipe, options.threads))
    multi_head = [one for epoch, one in enumerate(seconds, start=2) if epoch % config.TTA().consistency_every == 0]
    plain = [one for epoch, one in enumerate(seconds, start=2) if epoch % config.TTA().consistency_every]
    every = config.TTA().consistency_every
    mean = (statistics.median(plain) * (every - 1) + statistics.median(multi_head)) / every
    print(f"{sizes}, batch {options.batch}, {options.threads} threads, load average {os.getloadavg()[0]:.1f}")
    print("| mean epoch, s | plain (lowest to highest) | with multi-head term | memory, GB |\n|---|---|---|---|")
    print(f"| {mean:.2f} | {_spread(plain)} | {_spread(multi_head)} | {memory:.2f} |")


def _spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


if __name__ == "__main__":
    main()
