"""Time and memory of planning a study of many slides: snakemake on generated sheets.

Slides are empty stand-in files, one per patient. Planned are a new study; tiles and features where all are there, as
empty files; and the same with one more slide, one job of each. Seconds and memory are those of the command as a
user runs it: a dry run, which prints every job; one that prints nothing; and a run until its first job starts, which is
what a user waits for.

Run from the root: python -m benchmarks.planning --slides 10000 30000
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from tta_pipeline.stages.cohort import assign_batches

ROOT = Path(__file__).resolve().parents[1]
_SNAKEMAKE = (
    "import resource, sys; from snakemake.cli import main\n"
    "try: main(sys.argv[1:])\n"
    "finally: print('KB', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
)


def write_study(folder: Path, *, slides: int) -> None:
    """Sheet, stand-in files and config; no results."""
    (folder / "slides").mkdir()
    _write_sheet(folder, slides=slides)
    for name in ("clinical.csv", "rna.csv", "sets.gmt"):
        (folder / name).write_text("stand-in\n", encoding="utf-8")
    inputs = {"slides": "slides.csv", "clinical": "clinical.csv", "expression": "rna.csv", "gene_sets": "sets.gmt"}
    (folder / "study.yaml").write_text(yaml.safe_dump({"inputs": inputs}), encoding="utf-8")


def _write_sheet(folder: Path, *, slides: int) -> None:
    rows = ["slide_id,patient_id,path"]
    for number in range(slides):
        name = f"TCGA-{number // 10000:02d}-{number % 10000:04d}"
        path = folder / "slides" / f"{name}.svs"
        if not path.exists():
            path.touch()
        rows.append(f"{name}-01Z-00-DX1,{name},slides/{name}.svs")
    (folder / "slides.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def command(folder: Path, *arguments: str) -> list[str]:
    """Snakemake on a study, which says its memory at the end."""
    study = ["--directory", str(folder), "--configfile", str(folder / "study.yaml")]
    return [sys.executable, "-c", _SNAKEMAKE, "--snakefile", str(ROOT / "Snakefile"), *study, *arguments]


def plan(folder: Path, *arguments: str) -> tuple[float, float, dict[str, int]]:
    """Seconds, GB and jobs by rule of a dry run."""
    started = time.perf_counter()
    done = subprocess.run(
        command(folder, "--cores", "8", "--dry-run", *arguments), capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    said = done.stdout + done.stderr
    if done.returncode:
        raise SystemExit(said)
    memory_kb = next(int(line.split()[1]) for line in said.splitlines() if line.startswith("KB "))
    return seconds, memory_kb / 1e6, _jobs(said)


def first_job(folder: Path, *arguments: str) -> float:
    """Seconds from the start of snakemake until a job runs its command, a `python` that says so and waits."""
    with tempfile.TemporaryDirectory() as name:
        mark, stand_in = Path(name) / "started", Path(name) / "python"
        stand_in.write_text(f"#!/bin/sh\ntouch {mark}\nexec sleep 600\n", encoding="utf-8")
        stand_in.chmod(0o755)
        environment = os.environ | {"PATH": f"{name}{os.pathsep}{os.environ['PATH']}"}
        run = command(folder, "--cores", "1", "--set-threads", "features=1", *arguments)
        log = subprocess.DEVNULL
        started = time.perf_counter()
        process = subprocess.Popen(run, env=environment, stdout=log, stderr=log, start_new_session=True)
        while not mark.exists():
            if process.poll() is not None:
                raise SystemExit(f"snakemake ended with {process.returncode} before a job started")
            time.sleep(0.01)
        seconds = time.perf_counter() - started
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    shutil.rmtree(folder / ".snakemake")  # the lock, and the mark of an output that was begun
    return seconds


def _jobs(said: str) -> dict[str, int]:
    rows = (line.split() for line in said.splitlines())
    return {
        row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdecimal() and row[0] not in ("KB", "total")
    }


def write_results(folder: Path, *, per_job: int) -> None:
    """What cohort, tiles and features leave behind, as empty files; batches.tsv is whole."""
    ids = [row.split(",")[0] for row in (folder / "slides.csv").read_text(encoding="utf-8").splitlines()[1:]]
    batches = assign_batches(ids, known={}, per_job=per_job)
    (folder / "results" / "cohort").mkdir(parents=True, exist_ok=True)
    rows = ["slide_id\tbatch", *(f"{slide}\t{batch}" for slide, batch in batches.items())]
    (folder / "results" / "cohort" / "batches.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for stage, suffixes in {"tiles": (".tsv", ".quality.tsv"), "features": (".tsv",)}.items():
        manifests = folder / "results" / stage / "batches"
        manifests.mkdir(parents=True, exist_ok=True)
        for batch in dict.fromkeys(batches.values()):
            for suffix in suffixes:
                (manifests / f"{batch}{suffix}").touch()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=int, nargs="+", default=[10_000, 30_000])
    arguments = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}")
    print("| slides | planned | jobs | dry run, s | without printing, s | until the first job, s | GB |")
    print("|---|---|---|---|---|---|---|")
    for slides in arguments.slides:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_study(folder, slides=slides)
            _report(folder, slides, "new study")
            write_results(folder, per_job=max(16, -(-slides // 500)))
            _report(folder, slides, "features, all there", "--until", "features")
            _write_sheet(folder, slides=slides + 1)
            _report(folder, slides, "features, one more slide", "--until", "features")


def _report(folder: Path, slides: int, what: str, *arguments: str) -> None:
    seconds, memory_gb, jobs = plan(folder, "--quiet", "rules", *arguments)
    silent, _, _ = plan(folder, "--quiet", "all", *arguments)
    first = f"{first_job(folder, *arguments):.1f}" if jobs else ""
    times = f"{seconds:.1f} | {silent:.1f} | {first}"
    print(f"| {slides:,} | {what} | {sum(jobs.values()):,} | {times} | {memory_gb:.2f} |", flush=True)


if __name__ == "__main__":
    main()
