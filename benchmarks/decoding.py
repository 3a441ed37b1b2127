"""How fast tiles of 256 px at 20x come from a 40x slide: plain JPEG decoding, OpenSlide, the stream of this package.

The slide is made from the pixels of `slides/cmu-1-small-region.svs` under TTA_SHARED_DATA: enlarged twice, mirrored to
8,192 x 8,192 px, with the grain of a scanner, JPEG tiles of 240 px as Aperio writes them.
Run from the root: python -m benchmarks.decoding --threads 1 2
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import openslide
import simplejpeg
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from tta_pipeline.io.slide import open_slide
from tta_pipeline.io.tile_stream import Request, stream_tiles
from tta_pipeline.numerics.grid import grid_coords
from tta_pipeline.numerics.resampling import resample

T = TypeVar("T")
EDGE_PX = 8192
TILE_PX, JPEG_TILE_PX, REGION_PX = 256, 240, 2048


def write_slide(source: Path, target: Path, *, mpp: float) -> None:
    slide = openslide.OpenSlide(source)
    image = slide.read_region((0, 0), 0, slide.dimensions).convert("RGB")
    pixels = np.asarray(image.resize((image.width * 2, image.height * 2), Image.Resampling.BICUBIC))
    mirrored = np.pad(pixels, ((0, EDGE_PX - len(pixels)), (0, EDGE_PX - pixels.shape[1]), (0, 0)), mode="reflect")
    grain = np.random.default_rng(0).normal(0, 3, size=mirrored.shape).astype(np.float32)
    with tifffile.TiffWriter(target) as file:
        file.write(
            np.clip(mirrored + grain, 0, 255).astype(np.uint8),
            photometric="rgb",  # stored as YCbCr
            subsampling=(2, 1),
            tile=(JPEG_TILE_PX, JPEG_TILE_PX),
            compression="jpeg",
            compressionargs={"level": 70},
            metadata=None,
            description=f"Aperio Image Library v11.0.0\r\n{EDGE_PX}x{EDGE_PX} (240x240) Q=70|AppMag = 40|MPP = {mpp}",
        )


def each(work: Callable[[T], object], items: list[T], threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, items))


def plain(path: Path, threads: int) -> None:
    """The slide's JPEG tiles through libjpeg-turbo, and nothing else."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        head = page.jpegtables[:-2] if page.jpegtables else b""
        places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    handle = os.open(path, os.O_RDONLY)
    each(lambda place: simplejpeg.decode_jpeg(_joined(head, os.pread(handle, place[1], place[0]))), places, threads)
    os.close(handle)


def _joined(head: bytes, data: bytes) -> bytes:
    return head + data[2:] if head else data


def per_tile(path: Path, threads: int, *, mpp: float) -> None:
    """read_region for each tile, reduced by Pillow's Lanczos filter: what most pipelines do."""
    slide = openslide.OpenSlide(path)
    edge = TILE_PX * 0.5 / mpp

    def read(corner: NDArray[np.int32]) -> None:
        x, y = map(int, corner)
        region = slide.read_region((x, y), 0, (round(edge), round(edge))).convert("RGB")
        np.asarray(region.resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS))

    each(read, list(corners(mpp)), threads)


def large_regions(path: Path, threads: int, *, mpp: float) -> None:
    """read_region of 2,048 level-0 px, reduced as a whole."""
    slide = openslide.OpenSlide(path)
    reduced = round(REGION_PX * mpp / 0.5)

    def read(corner: tuple[int, int]) -> None:
        region = slide.read_region(corner, 0, (REGION_PX, REGION_PX)).convert("RGB")
        np.asarray(region.resize((reduced, reduced), Image.Resampling.LANCZOS))

    starts = range(0, EDGE_PX, REGION_PX)
    each(read, [(x, y) for y in starts for x in starts], threads)


def stream(path: Path, threads: int, *, mpp: float, reader: Literal["auto", "openslide"]) -> None:
    """The stream of this package."""
    request = Request(
        slide_id="s40",
        open=lambda: open_slide(path, slide_id="s40", mpp=None, reader=reader),
        coords=corners(mpp),
        edge_level0_px=TILE_PX * 0.5 / mpp,
    )
    batches = stream_tiles(
        [request],
        batch_size=64,
        threads=threads,
        allocate=lambda n: np.empty((n, TILE_PX, TILE_PX, 3), dtype=np.uint8),
        resample=resample,
    )
    for batch in batches:
        assert all(part.slide.error is None for part in batch.parts)


def corners(mpp: float) -> np.ndarray:
    edge = TILE_PX * 0.5 / mpp
    return grid_coords(size_px=(EDGE_PX, EDGE_PX), edge_px=edge, stride_px=edge)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mpp", type=float, nargs="+", default=[0.25, 0.2462])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    source = Path(os.environ.get("TTA_SHARED_DATA", "../shared/data")) / "slides" / "cmu-1-small-region.svs"
    with tempfile.TemporaryDirectory() as folder:
        for mpp in arguments.mpp:
            path = Path(folder) / f"{mpp}.svs"
            write_slide(source, path, mpp=mpp)
            for threads in arguments.threads:
                compare(path, mpp=mpp, threads=threads, rounds=arguments.rounds)


def compare(path: Path, *, mpp: float, threads: int, rounds: int) -> None:
    """The best of several rounds, the ways in turn, in tiles of 256 px at 20x per second."""
    edge = TILE_PX * 0.5 / mpp
    ways: dict[str, tuple[Callable[[], None], float]] = {
        "plain decoder": (lambda: plain(path, threads), (EDGE_PX / edge) ** 2),
        "read_region per tile": (lambda: per_tile(path, threads, mpp=mpp), len(corners(mpp))),
        "read_region of 2,048 px": (lambda: large_regions(path, threads, mpp=mpp), (EDGE_PX / edge) ** 2),
        "stream, OpenSlide": (lambda: stream(path, threads, mpp=mpp, reader="openslide"), len(corners(mpp))),
        "stream": (lambda: stream(path, threads, mpp=mpp, reader="auto"), len(corners(mpp))),
    }
    best = dict.fromkeys(ways, 0.0)
    for _ in range(rounds):
        for name, (way, tiles) in ways.items():
            started = time.perf_counter()
            way()
            best[name] = max(best[name], tiles / (time.perf_counter() - started))
    print(f"mpp {mpp}, {threads} threads")
    for name, rate in best.items():
        share, loop = rate / best["plain decoder"], rate / best["read_region per tile"]
        print(f"  {name:25s} {rate:7.0f} tiles/s   {share:5.2f} of plain   {loop:5.1f} x per tile")


if __name__ == "__main__":
    main()
