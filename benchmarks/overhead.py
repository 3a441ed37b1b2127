"""What the workflow costs per slide beside its computation: tiles and features of many tiny slides through Snakemake.

A slide is 512 x 512 px with a few dozen tiles of 64 px; the encoder is timm's test_resnet with random weights. One
process does the same work slide by slide: finding tissue and tiles, writing them; then encoding all tiles as one stream
of batches, writing the features. What a run by Snakemake takes longer is overhead: its plan, the start of each job,
imports, loading the encoder, manifests, journals and hashes. CPU is that of Snakemake and all its jobs.

Run from the root: python -m benchmarks.overhead --slides 64 128
"""

import argparse
import importlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

from benchmarks.planning import command
from tests.slides import glass, with_tissue, write_slide
from tta_pipeline.config import Features, Tiles
from tta_pipeline.io import batches
from tta_pipeline.models.encoders import load_encoder
from tta_pipeline.models.torchvision_import import import_torchvision
from tta_pipeline.stages import features, tiles

EDGE_PX = 512
TILES = {"tile_size_px": 64}
ENCODER = "test_resnet"


def write_study(folder: Path, *, slides: int, per_job: int) -> None:
    """Slides, one per patient, the encoder's weights and the config; tables that are no part of this are stand-ins."""
    rows = ["slide_id,patient_id,path"]
    for number in range(slides):
        pixels = glass(width=EDGE_PX, height=EDGE_PX, seed=number)
        painted = with_tissue(pixels, rows=slice(64, 448), columns=slice(64, 448), seed=number)
        write_slide(folder / "slides" / f"s{number}.svs", painted)
        rows.append(f"s{number},p{number},slides/s{number}.svs")
    (folder / "slides.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for name in ("clinical.csv", "rna.csv", "sets.gmt"):
        (folder / name).write_text("stand-in\n", encoding="utf-8")
    import_torchvision()
    torch.manual_seed(0)
    model = importlib.import_module("timm").create_model(ENCODER, pretrained=False)
    save_file(model.state_dict(), folder / "weights.safetensors")
    inputs = {"slides": "slides.csv", "clinical": "clinical.csv", "expression": "rna.csv", "gene_sets": "sets.gmt"}
    content = {
        "inputs": inputs,
        "cohort": {"slides_per_job": per_job},
        "tiles": TILES,
        "features": {"encoder": ENCODER, "weights": "weights.safetensors"},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def through_snakemake(folder: Path, *, until: str, cores: int) -> tuple[float, float]:
    """Seconds of the clock and of CPU."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    before, started = _cpu(), time.perf_counter()
    done = subprocess.run(
        command(folder, "--cores", str(cores), "--until", until),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds, cpu = time.perf_counter() - started, _cpu() - before
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return seconds, cpu


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def computed_tiles(folder: Path) -> float:
    """Seconds of the work itself, in this process."""
    tasks = batches.read_tasks(folder / "slides.csv")
    config = Tiles.model_validate(TILES)
    started = time.perf_counter()
    for task in tasks:
        tiles._tile(task, out=folder / "alone" / "tiles", config=config)
    return time.perf_counter() - started


def computed_features(folder: Path) -> float:
    """The same for features, on the tiles of Snakemake's run, the encoder already loaded."""
    config = Features(encoder=ENCODER, weights=folder / "weights.safetensors")
    encoder = load_encoder(config)
    tables = sorted((folder / "results" / "tiles" / "batches").glob("b*[0-9].tsv"))
    here = Path.cwd()
    os.chdir(folder)  # paths of a manifest are relative to the study
    seconds = 0.0
    for table in tables:
        ids = [line.split("\t")[0] for line in table.read_text(encoding="utf-8").splitlines()[1:]]
        tasks = features._with_tiles(batches.read_tasks(folder / "slides.csv", slide_ids=ids), table)
        started = time.perf_counter()
        made = features._encode(
            tasks, encoder=encoder, normaliser=None, out=folder / "alone" / "features", config=config, options={}
        )
        assert all(isinstance(outcome, batches.Finished) for _, outcome in made)
        seconds += time.perf_counter() - started
    os.chdir(here)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--per-job", type=int, default=32)
    parser.add_argument("--cores", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{arguments.per_job} slides per job, {arguments.cores} cores, load average {os.getloadavg()[0]:.1f}")
    print("| stage | slides | jobs | through Snakemake, s | computed, s | overhead per slide, s | CPU per slide, s |")
    print("|---|---|---|---|---|---|---|")
    for slides in arguments.slides:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_study(folder, slides=slides, per_job=arguments.per_job)
            for stage, compute in {"tiles": computed_tiles, "features": computed_features}.items():
                seconds, cpu = through_snakemake(folder, until=stage, cores=arguments.cores)
                computed = compute(folder)
                jobs = -(-slides // arguments.per_job)
                row = [stage, slides, jobs, f"{seconds:.1f}", f"{computed:.1f}"]
                row += [f"{(seconds - computed) / slides:.2f}", f"{cpu / slides:.2f}"]
                print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
