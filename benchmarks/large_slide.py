"""The tiles stage on a slide of 100,000 x 80,000 px: seconds and memory. Then the features stage: its memory over time.

The slide repeats the JPEG tiles of `slides/cmu-1-small-region.svs` under TTA_SHARED_DATA, enlarged, on four levels; it
takes about 1 GB of disk. Run from the root: python -m benchmarks.large_slide --folder /tmp
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import tifffile
import torch
from PIL import Image
from safetensors.torch import save_file

WIDTH, HEIGHT, TILE_PX = 100_000, 80_000, 256
DOWNSAMPLES = (1, 4, 16, 32)


def write_large(source: Path, target: Path) -> None:
    slide = openslide.OpenSlide(source)
    image = slide.read_region((0, 0), 0, slide.dimensions).convert("RGB")
    edge = 32 * TILE_PX  # of the pattern, which repeats at every level
    pattern = image.resize((edge, edge), Image.Resampling.BICUBIC)
    with tifffile.TiffWriter(target, bigtiff=True) as file:
        for downsample in DOWNSAMPLES:
            width, height = WIDTH // downsample, HEIGHT // downsample
            reduced = np.asarray(pattern.resize((edge // downsample,) * 2, Image.Resampling.BOX))
            file.write(
                _tiles(reduced, width=width, height=height),
                shape=(height, width, 3),
                dtype=np.uint8,
                photometric="ycbcr",
                subsampling=(2, 2),
                tile=(TILE_PX, TILE_PX),
                compression="jpeg",
                metadata=None,
                description=f"Aperio Image Library v11.0.0\r\n{WIDTH}x{HEIGHT} (256x256) Q=70|AppMag = 40|MPP = 0.25",
            )


def _tiles(pattern: np.ndarray, *, width: int, height: int) -> Iterator[bytes]:
    count = len(pattern) // TILE_PX
    encoded = [
        imagecodecs.jpeg8_encode(
            np.ascontiguousarray(pattern[row * TILE_PX :, column * TILE_PX :][:TILE_PX, :TILE_PX]),
            level=70,
            colorspace="RGB",
            outcolorspace="YCbCr",
            subsampling=(2, 2),
        )
        for row in range(count)
        for column in range(count)
    ]
    for row in range(-(-height // TILE_PX)):
        for column in range(-(-width // TILE_PX)):
            yield bytes(encoded[(row % count) * count + column % count])


def stage(name: str, arguments: list[str]) -> None:
    """Run a stage in a process of its own and print its seconds and its largest memory."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "tta_pipeline", name, *arguments])
    samples: list[tuple[float, float]] = []
    watcher = threading.Thread(target=_watch, args=(process, samples, started), daemon=True)
    watcher.start()
    if process.wait():
        sys.exit(f"{name} failed")
    seconds = time.perf_counter() - started
    watcher.join()
    print(f"{name}: {seconds:.1f} s, largest memory {max(gb for _, gb in samples):.2f} GB")
    parts = [samples[int(part * (len(samples) - 1))] for part in (0.25, 0.5, 0.75, 0.95)]
    print("  memory after", ", ".join(f"{at:.0f} s: {gb:.2f} GB" for at, gb in parts))


def _watch(process: subprocess.Popen[bytes], samples: list[tuple[float, float]], started: float) -> None:
    while process.poll() is None:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
        except OSError:
            return
        kb = next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)
        samples.append((time.perf_counter() - started, kb / 1e6))
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--max-tiles", type=int, default=12_000)
    parser.add_argument("--encoder", default="test_resnet")
    arguments = parser.parse_args()
    source = Path(os.environ.get("TTA_SHARED_DATA", "../shared/data")) / "slides" / "cmu-1-small-region.svs"
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        write_large(source, folder / "s.svs")
        print(f"{WIDTH} x {HEIGHT} px, {(folder / 's.svs').stat().st_size / 1e9:.2f} GB on disk")
        (folder / "slides.csv").write_text("slide_id,patient_id,path\ns,p,s.svs\n")
        common = ["--slides", str(folder / "slides.csv"), "--bad-slides", "{}"]
        made = ["--out", str(folder / "tiles"), "--manifest", str(folder / "t.tsv"), "--quality", str(folder / "q.tsv")]
        stage("tiles", [*common, *made, "--config", f'{{"max_tiles": {arguments.max_tiles}}}'])
        print((folder / "q.tsv").read_text())
        import timm  # noqa: PLC0415 (after import_torchvision)

        torch.manual_seed(0)
        save_file(timm.create_model(arguments.encoder, pretrained=False).state_dict(), folder / "w.safetensors")
        options = f'{{"encoder": "{arguments.encoder}", "weights": "{folder}/w.safetensors"}}'
        made = [
            "--tiles",
            str(folder / "t.tsv"),
            "--out",
            str(folder / "features"),
            "--manifest",
            str(folder / "f.tsv"),
        ]
        stage("features", [*common, *made, "--config", options])


if __name__ == "__main__":
    from tta_pipeline.models.torchvision_import import import_torchvision

    import_torchvision()
    main()
