"""The features stage beside its bare model: tiles/s of both, for a slow and a fast encoder.

The bare model gets the same batches, ready in memory. Weights are random; two copies of the slide of
benchmarks/decoding.py are encoded in one job.
Run from the root: python -m benchmarks.features --encoders resnet50 mobilenetv3_small_050 --tiles 512
"""

import argparse
import importlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.decoding import write_slide
from tta_pipeline.config import BadSlides, Features, Tiles
from tta_pipeline.io import artifacts, batches
from tta_pipeline.models.encoders import load_encoder
from tta_pipeline.models.torchvision_import import import_torchvision
from tta_pipeline.stages import features, tiles


def study(folder: Path, *, count: int) -> None:
    source = Path(os.environ.get("TTA_SHARED_DATA", "../shared/data")) / "slides" / "cmu-1-small-region.svs"
    write_slide(source, folder / "s1.svs", mpp=0.25)
    shutil.copy(folder / "s1.svs", folder / "s2.svs")
    (folder / "slides.csv").write_text("slide_id,patient_id,path\ns1,p1,s1.svs\ns2,p2,s2.svs\n")
    tiles.run(
        slides=folder / "slides.csv",
        out=folder / "tiles",
        manifest=folder / "tiles.tsv",
        quality=folder / "quality.tsv",
        config=Tiles(min_tissue=0.01, max_tiles=count // 2),
        bad_slides=BadSlides(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", nargs="+", default=["resnet50", "mobilenetv3_small_050"])
    parser.add_argument("--tiles", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--decode-threads", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        study(Path(name), count=arguments.tiles)
        for encoder in arguments.encoders:
            compare(Path(name), encoder, arguments=arguments)


def compare(folder: Path, name: str, *, arguments: argparse.Namespace) -> None:
    import_torchvision()
    timm = importlib.import_module("timm")

    torch.manual_seed(0)
    weights = folder / f"{name}.safetensors"
    save_file(timm.create_model(name, pretrained=False).state_dict(), weights)
    config = Features(
        encoder=name,
        weights=weights,
        batch_size=arguments.batch_size,
        device=arguments.device,
        decode_threads=arguments.decode_threads,
    )
    encoder = load_encoder(config)
    count = sum(len(artifacts.read_tiles(folder / "tiles" / f"{slide}.h5").coords) for slide in ("s1", "s2"))
    ready = encoder.allocate((arguments.batch_size, 256, 256, 3))
    ready[...] = np.random.default_rng(0).integers(0, 256, size=ready.shape, dtype=np.uint8)
    encoder.encode(ready)  # the first batch chooses kernels
    bare, stage = 0.0, 0.0
    for _ in range(arguments.rounds):
        started = time.perf_counter()
        submitted = [encoder.submit(ready[: min(len(ready), count - at)]) for at in range(0, count, len(ready))]
        submitted[-1].result()
        bare = max(bare, count / (time.perf_counter() - started))
        stage = max(stage, count / encode(folder, config))
    print(f"{name} on {encoder.device}: bare {bare:.1f} tiles/s, stage {stage:.1f} tiles/s, {stage / bare:.2f} of bare")


def encode(folder: Path, config: Features) -> float:
    """Seconds from the first tile to the last file, as the stage logs them: without loading the encoder."""
    encoder = load_encoder(config)
    tasks = features._with_tiles(batches.read_tasks(folder / "slides.csv"), folder / "tiles.tsv")
    started = time.perf_counter()
    options: dict[str, Any] = {"encoder": encoder, "normaliser": None, "out": folder / "features", "config": config}
    for _, outcome in features._encode(tasks, **options, options={}):
        assert isinstance(outcome, batches.Finished)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
