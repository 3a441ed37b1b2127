"""Tiles through the encoder, for one batch of slides."""

import dataclasses
import functools
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tta_pipeline.config import BadSlides, Features
from tta_pipeline.errors import ArtifactError, SlideError
from tta_pipeline.io import artifacts, batches, hdf5, tables
from tta_pipeline.io.picture import read_picture
from tta_pipeline.io.slide import Slide, open_slide
from tta_pipeline.io.throughput import Throughput
from tta_pipeline.io.tile_stream import Batch, Request, SlideRead, stream_tiles
from tta_pipeline.models.encoders import Encoder, load_encoder
from tta_pipeline.models.stain import StainNormaliser
from tta_pipeline.numerics.grid import tile_edge_level0_px
from tta_pipeline.numerics.resampling import resample

log = logging.getLogger(__name__)

Half = NDArray[np.float16]
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
    again: bool = False,
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
    again
        Compute also the slides that an earlier job finished.
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
    # Batches are numbered: those that start at once take different GPUs.
    encoder = load_encoder(config, job=int("".join(filter(str.isdigit, manifest.stem)) or 0))
    options = config.model_dump(mode="json") | {
        "precision": encoder.precision,
        "weights_sha256": encoder.weights_sha256,
    }
    normaliser = None
    if config.stain != "none" and config.stain_target is not None:
        normaliser = StainNormaliser(config.stain, read_picture(config.stain_target, key="features.stain_target"))
        options["stain_target"] = hdf5.fingerprint(config.stain_target)
    log.info("%s on %s in %s, weights %s", encoder.name, encoder.device, encoder.precision, encoder.weights_sha256[:12])
    work = functools.partial(_encode, encoder=encoder, normaliser=normaliser, out=out, config=config, options=options)
    # What does not change the features does not make finished slides invalid.
    lasting = {name: value for name, value in options.items() if name not in ("decode_threads", "batch_size")}
    batches.run_batch(
        tasks,
        work,
        manifest=manifest,
        options=lasting | {"out": str(out)},
        policy=bad_slides.policy,
        again=again,
    )


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
    tasks: list[batches.Task],
    *,
    encoder: Encoder,
    normaliser: StainNormaliser | None,
    out: Path,
    config: Features,
    options: dict[str, Any],
) -> Iterator[batches.Outcome]:
    """Encode the tiles of all slides as one stream; write each slide's file when its last tile is done."""
    grids = {task.slide_id: artifacts.read_tiles(task.inputs["tiles"]) for task in tasks}
    by_id = {task.slide_id: task for task in tasks}
    sizes_px = {int(grid.attributes["patch_size"]) for grid in grids.values()}
    if len(sizes_px) != 1:
        raise ArtifactError(f"expected tiles of one size in a batch, found {sorted(sizes_px)} px. Run tiles again.")
    (size_px,) = sizes_px
    with Throughput(total=sum(len(grid.coords) for grid in grids.values())) as throughput:
        stream = stream_tiles(
            (_request(task, grids[task.slide_id], reader=config.reader) for task in tasks),
            batch_size=config.batch_size,
            threads=config.decode_threads,
            allocate=lambda n: encoder.allocate((n, size_px, size_px, 3)),
            resample=resample if normaliser is None else functools.partial(_resample_and_normalise, normaliser),
        )
        for slide, features in _whole_slides(_encoded(throughput.watch(stream), encoder, throughput=throughput)):
            slide_id = slide.request.slide_id
            if slide.error is not None:
                (out / f"{slide_id}.h5").unlink(missing_ok=True)  # of an earlier run, when the slide could be used
                yield by_id[slide_id], slide.error
                continue
            yield by_id[slide_id], _write(by_id[slide_id], features, grids[slide_id], encoder, out=out, options=options)
    if normaliser is not None and normaliser.left_alone:
        log.info("the stain of %d tiles cannot be estimated; they stay as they are", normaliser.left_alone)


def _resample_and_normalise(
    normaliser: StainNormaliser, pixels: NDArray[np.uint8], *, factor: float, out: NDArray[np.uint8]
) -> None:
    resample(pixels, factor=factor, out=out)
    normaliser.apply(out)


def _request(task: batches.Task, grid: artifacts.Grid, *, reader: Literal["auto", "openslide"]) -> Request:
    @contextmanager
    def opened() -> Iterator[Slide]:
        # The tiles stage has found out what a pixel measures; its word is taken.
        mpp = float(grid.attributes["mpp_level0"])
        with open_slide(task.path, slide_id=task.slide_id, mpp=mpp, reader=reader) as slide:
            _check_same_slide(slide, grid, given_mpp=task.mpp)
            yield slide

    edge = tile_edge_level0_px(
        tile_size_px=int(grid.attributes["patch_size"]),
        mpp=float(grid.attributes["mpp"]),
        mpp_level0=float(grid.attributes["mpp_level0"]),
    )
    return Request(slide_id=task.slide_id, open=opened, coords=grid.coords, edge_level0_px=edge)


def _check_same_slide(slide: Slide, grid: artifacts.Grid, *, given_mpp: float | None) -> None:
    expected = (grid.attributes["level0_width"], grid.attributes["level0_height"], grid.attributes["mpp_level0"])
    found = (slide.width_level0, slide.height_level0, slide.mpp if given_mpp is None else given_mpp)
    if expected != found:
        raise ArtifactError(
            f"{slide.slide_id}: expected the slide that its tiles were made on, width, height and mpp {expected}, "
            f"found {found} in {slide.path} or its sheet. Run tiles again."
        )


def _encoded(stream: Iterable[Batch], encoder: Encoder, *, throughput: Throughput) -> Iterator[tuple[SlideRead, Half]]:
    """Slides and features of consecutive tiles of theirs. Each batch is waited for while the next is computed."""

    def parts(batch: Batch, features: NDArray[np.float32]) -> Iterator[tuple[SlideRead, Half]]:
        throughput.add(len(features))
        with np.errstate(over="ignore"):  # infinity is looked for where the file is written
            half = features.astype(np.float16)
        yield from ((part.slide, half[part.rows]) for part in batch.parts)

    before = None
    for batch in stream:
        submitted = encoder.submit(batch.pixels)
        if before is not None:
            yield from parts(before[0], before[1].result())
        before = batch, submitted
    if before is not None:
        yield from parts(before[0], before[1].result())


def _whole_slides(parts: Iterable[tuple[SlideRead, Half]]) -> Iterator[tuple[SlideRead, Half]]:
    """Each slide once, with the features of all its tiles, or with its error and what there was of them."""
    found: list[Half] = []
    told = None
    for slide, features in parts:
        if slide is told:
            continue
        found.append(features)
        if slide.error is not None or sum(map(len, found)) == len(slide.request.coords):
            yield slide, np.concatenate(found)
            found, told = [], slide


def _write(
    task: batches.Task,
    features: Half,
    grid: artifacts.Grid,
    encoder: Encoder,
    *,
    out: Path,
    options: dict[str, Any],
) -> batches.Finished | SlideError:
    unfit = int((~np.isfinite(features)).any(axis=1).sum())
    if unfit:
        return SlideError(
            f"{task.slide_id}: expected features that float16 can hold, found NaN, infinity or more than "
            f"{_FLOAT16_MAX:.0f} in {unfit} of {len(features)} tiles of {task.path} with features.precision "
            f"{encoder.precision}. Use fp32 or bf16; if that does not help, the encoder's weights are not sound."
        )
    made_by = {
        "encoder": encoder.name,
        "precision": encoder.precision,
        "weights_sha256": encoder.weights_sha256,
        "transform": encoder.transform,
    }
    file = out / f"{task.slide_id}.h5"
    artifacts.write_features(
        file,
        features,
        artifacts.Grid(coords=grid.coords, attributes=grid.attributes | made_by),
        options=options,
        inputs={"slide": task.path, **task.inputs},
    )
    log.info("%s: %d x %d features", task.slide_id, *features.shape)
    return batches.Finished(file=file, n=len(features))
