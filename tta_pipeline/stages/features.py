"""Tiles through the encoder, for one batch of slides."""

import dataclasses
import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from tta_pipeline.config import BadSlides, Features
from tta_pipeline.errors import ArtifactError, SlideError
from tta_pipeline.io import artifacts, batches, tables
from tta_pipeline.io.slide import Slide, open_slide
from tta_pipeline.io.tile_stream import stream_tiles
from tta_pipeline.models.encoders import Encoder, load_encoder
from tta_pipeline.numerics.grid import tile_edge_level0_px

log = logging.getLogger(__name__)

_FLOAT16_MAX = float(np.finfo(np.float16).max)


def run(
    *,
    slides: Path,
    tiles: Path,
    out: Path,
    manifest: Path,
    config: Features,
    bad_slides: BadSlides,
    slide_ids: list[str] | None = None,
) -> None:
    """Write {slide_id}.h5 with /features and /coords for each slide of one batch, then the manifest.

    A slide that the tiles stage left out is passed on with its reason. A job that was stopped goes on where it was;
    see `io.batches`.

    Parameters
    ----------
    slides
        The sheet of slides; see `io.cohort.read_slides`.
    slide_ids
        Which of its slides: one batch. All that bring no ready-made features where None.
    tiles
        Manifest of the tiles stage for the same batch.
    out
        Folder of the results.
    manifest
        TSV of slide_id, file, n (tiles), excluded (reason).

    Raises
    ------
    InputError
        The encoder or its weights do not fit.
    SlideError
        A slide cannot be decoded or gives features that float16 cannot hold, and the policy is to fail.
    """
    tasks = _with_tiles(batches.read_tasks(slides, slide_ids=slide_ids or ()), tiles)
    encoder = load_encoder(config)
    options = config.model_dump(mode="json") | {
        "precision": encoder.precision,
        "weights_sha256": encoder.weights_sha256,
    }
    log.info("%s on %s in %s, weights %s", encoder.name, encoder.device, encoder.precision, encoder.weights_sha256[:12])

    def work(task: batches.Task) -> batches.Finished:
        return _encode(task, encoder, out=out, config=config, options=options)

    # What does not change the features does not make finished slides invalid.
    lasting = {name: value for name, value in options.items() if name not in ("decode_threads", "batch_size")}
    batches.run_batch(tasks, work, manifest=manifest, options=lasting | {"out": str(out)}, policy=bad_slides.policy)


def _with_tiles(tasks: list[batches.Task], manifest: Path) -> list[batches.Task]:
    table = tables.read_table(manifest, columns=tables.MANIFEST).set_index("slide_id")
    missing = [task.slide_id for task in tasks if task.slide_id not in table.index]
    if missing:
        raise ArtifactError(
            f"{manifest}: expected tiles of {len(tasks)} slides, found none of {', '.join(missing[:5])}. "
            "Run tiles again."
        )
    rows = ((task, table.loc[task.slide_id]) for task in tasks)
    return [
        dataclasses.replace(task, excluded=str(row["excluded"]))
        if row["excluded"]
        else dataclasses.replace(task, inputs={"tiles": Path(row["file"])})
        for task, row in rows
    ]


def _encode(
    task: batches.Task, encoder: Encoder, *, out: Path, config: Features, options: dict[str, Any]
) -> batches.Finished:
    started = time.monotonic()
    grid = artifacts.read_tiles(task.inputs["tiles"])
    with open_slide(task.path, slide_id=task.slide_id, mpp=task.mpp) as slide:
        _check_same_slide(slide, grid)
        features = _features(slide, grid, encoder, config=config)
    made_by = {"encoder": encoder.name, "precision": encoder.precision, "weights_sha256": encoder.weights_sha256}
    file = out / f"{task.slide_id}.h5"
    artifacts.write_features(
        file,
        features,
        artifacts.Grid(coords=grid.coords, attributes=grid.attributes | made_by),
        options=options,
        inputs={"slide": task.path, **task.inputs},
    )
    n, width = features.shape
    log.info("%s: %d x %d features, %.1f tiles/s", task.slide_id, n, width, n / (time.monotonic() - started))
    return batches.Finished(file=file, n=n)


def _check_same_slide(slide: Slide, grid: artifacts.Grid) -> None:
    expected = (grid.attributes["level0_width"], grid.attributes["level0_height"], grid.attributes["mpp_level0"])
    found = (slide.width_level0, slide.height_level0, slide.mpp)
    if expected != found:
        raise ArtifactError(
            f"{slide.slide_id}: expected the slide that its tiles were made on, width, height and mpp {expected}, "
            f"found {found} in {slide.path}. Run tiles again."
        )


def _features(slide: Slide, grid: artifacts.Grid, encoder: Encoder, *, config: Features) -> NDArray[np.float16]:
    """Features of all tiles, float16 (n, d), in the order of the grid."""
    size_px = int(grid.attributes["patch_size"])
    edge_px = tile_edge_level0_px(
        tile_size_px=size_px, mpp=float(grid.attributes["mpp"]), mpp_level0=float(grid.attributes["mpp_level0"])
    )
    stream = stream_tiles(
        slide,
        grid.coords,
        edge_level0_px=edge_px,
        tile_size_px=size_px,
        batch_size=config.batch_size,
        threads=config.decode_threads,
    )
    parts: list[NDArray[np.float16]] = []
    seconds = 0.5 if sys.stderr.isatty() else 30.0
    with tqdm(total=len(grid.coords), desc=slide.slide_id, unit="tiles", mininterval=seconds) as progress:
        for tiles in stream:
            parts.append(_to_float16(encoder.encode(tiles), slide=slide, precision=encoder.precision))
            progress.update(len(tiles))
    return np.concatenate(parts)


def _to_float16(features: NDArray[np.float32], *, slide: Slide, precision: str) -> NDArray[np.float16]:
    unfit = int((~(np.abs(features) <= _FLOAT16_MAX)).any(axis=1).sum())  # NaN fails every comparison
    if unfit:
        raise SlideError(
            f"{slide.slide_id}: expected features that float16 can hold, found NaN, infinity or more than "
            f"{_FLOAT16_MAX:.0f} in {unfit} of {len(features)} tiles of {slide.path} with features.precision "
            f"{precision}. Use fp32 or bf16; if that does not help, the encoder's weights are not sound."
        )
    return features.astype(np.float16)
