"""Many files in one directory against subdirectories of a thousand: is `results/features` of 30,000 slides a problem?

Files of 4 KB are written under another name and renamed, as artifacts are (without waiting for the disk), then listed,
asked for their sizes and opened in a random order. Last, the artifacts of one job are written beside them. Caches are
warm: what is measured is the directory.

Run from the root, with a folder of the file system in question: python -m benchmarks.directory --folder /tmp
"""

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tta_pipeline.io import hdf5

CONTENT = bytes(4096)


def names(folder: Path, *, files: int, per_folder: int) -> list[Path]:
    paths = [folder / f"{n // per_folder:03d}" / f"TCGA-{n:06d}-01Z-00-DX1.h5" for n in range(files)]
    for parent in {path.parent for path in paths}:
        parent.mkdir(parents=True)
    return paths


def create(paths: list[Path]) -> None:
    for path in paths:
        temporary = path.with_name(f".{path.stem}.tmp")
        temporary.write_bytes(CONTENT)
        temporary.replace(path)


def list_all(paths: list[Path]) -> None:
    found = sum(len(list(parent.iterdir())) for parent in {path.parent for path in paths})
    assert found == len(paths)


def open_all(paths: list[Path]) -> None:
    for path in paths:
        with path.open("rb") as file:
            file.read(8)


def write_job(paths: list[Path]) -> None:
    """The 32 artifacts of one job, each with an fsync."""
    hdf5._temporary_files.cache_clear()  # a job starts a process
    for number in range(32):
        with hdf5.create(paths[-1].with_name(f"job-{number}.h5"), kind="features", options={}, inputs={}):
            pass


def seconds(work: Callable[[list[Path]], object], paths: list[Path]) -> float:
    started = time.perf_counter()
    work(paths)
    return time.perf_counter() - started


def measure(folder: Path, *, files: int, per_folder: int) -> list[float]:
    paths = names(folder, files=files, per_folder=per_folder)
    created = seconds(create, paths)
    listed = seconds(list_all, paths)
    random.Random(0).shuffle(paths)
    asked = seconds(lambda each: [path.stat() for path in each], paths)
    return [created, listed, asked, seconds(open_all, paths), seconds(write_job, paths)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=30_000)
    parser.add_argument("--per-folder", type=int, nargs="+", default=[1_000, 30_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    arguments = parser.parse_args()
    rows: dict[int, list[list[float]]] = {per_folder: [] for per_folder in arguments.per_folder}
    for _ in range(arguments.rounds):  # in turns, for the machine may be shared
        for per_folder, found in rows.items():
            with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
                found.append(measure(Path(name), files=arguments.files, per_folder=per_folder))
    print(f"{arguments.files:,} files, median of {arguments.rounds}, load average {os.getloadavg()[0]:.1f}")
    print("| files in one directory | create, s | list, s | stat, s | open, s | 32 artifacts more, s |")
    print("|---|---|---|---|---|---|")
    for per_folder, found in rows.items():
        medians = [statistics.median(column) for column in zip(*found, strict=True)]
        print(f"| {per_folder:,} | " + " | ".join(f"{value:.2f}" for value in medians) + " |")


if __name__ == "__main__":
    main()
