"""Tissue and the grid of tiles on it, for one batch of slides."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tta_pipeline.config import BadSlides, Tiles
from tta_pipeline.errors import SlideError
from tta_pipeline.io import artifacts, batches
from tta_pipeline.io.overlay import write_overlay
from tta_pipeline.io.slide import Slide, open_slide
from tta_pipeline.numerics.grid import grid_coords, sample_rows, tile_edge_level0_px, tissue_fraction
from tta_pipeline.numerics.tissue import outline, tissue_mask

log = logging.getLogger(__name__)


def run(
    *,
    slides: Path,
    out: Path,
    manifest: Path,
    config: Tiles,
    bad_slides: BadSlides,
    slide_ids: list[str] | None = None,
) -> None:
    """Write {slide_id}.h5 with /coords for each slide of one batch, then the manifest.

    A job that was stopped goes on where it was; see `io.batches`.

    Parameters
    ----------
    slides
        The sheet of slides; see `io.cohort.read_slides`.
    slide_ids
        Which of its slides: one batch. All that bring no ready-made features where None.
    out
        Folder of the results; pictures to look at go to its folder overlays.
    manifest
        TSV of slide_id, file, n (tiles), excluded (reason).

    Raises
    ------
    SlideError
        A slide is unreadable, without micrometres per pixel, too coarse or without tissue, and the policy is to fail.
    """

    def work(task: batches.Task) -> batches.Finished:
        return _tile(task, out=out, config=config)

    tasks = batches.read_tasks(slides, slide_ids=slide_ids or ())
    options = config.model_dump(mode="json") | {"out": str(out)}
    batches.run_batch(tasks, batches.one_by_one(work), manifest=manifest, options=options, policy=bad_slides.policy)


def _tile(task: batches.Task, *, out: Path, config: Tiles) -> batches.Finished:
    file = out / f"{task.slide_id}.h5"
    with open_slide(task.path, slide_id=task.slide_id, mpp=task.mpp) as slide:
        _check_resolution(slide, config=config)
        downsample = max(1.0, config.mask_mpp / slide.mpp)
        thumbnail = slide.thumbnail(downsample=downsample)
        mask = tissue_mask(
            thumbnail,
            mpp=slide.mpp * downsample,
            min_object_um2=config.min_object_um2,
            max_hole_um2=config.max_hole_um2,
        )
        coords = _coords(slide, mask, downsample=downsample, config=config)
        grid = artifacts.Grid(coords=coords, attributes=patch_attributes(slide, config=config))
    artifacts.write_tiles(file, grid, options=config.model_dump(mode="json"), inputs={"slide": task.path})
    if config.overlays:
        write_overlay(
            out / "overlays" / f"{task.slide_id}.png",
            thumbnail,
            outline=outline(mask),
            coords=coords,
            edge_level0_px=_edge(slide, config.tile_size_px, config),
            downsample=downsample,
        )
    log.info("%s: %d tiles, %.0f %% tissue, mpp %g", task.slide_id, len(coords), 100 * mask.mean(), slide.mpp)
    return batches.Finished(file=file, n=len(coords))


def _check_resolution(slide: Slide, *, config: Tiles) -> None:
    if slide.mpp > config.mpp * config.max_upsampling:
        raise SlideError(
            f"{slide.slide_id}: expected a slide of at most {config.mpp * config.max_upsampling:g} micrometres per "
            f"pixel for tiles of mpp {config.mpp:g} (tiles.max_upsampling {config.max_upsampling:g}), found "
            f"{slide.mpp:g} ({slide.mpp_source}) in {slide.path}: it was scanned too coarsely. Raise tiles.mpp."
        )


def _edge(slide: Slide, size_px: int, config: Tiles) -> float:
    return tile_edge_level0_px(tile_size_px=size_px, mpp=config.mpp, mpp_level0=slide.mpp)


def _coords(slide: Slide, mask: NDArray[np.bool_], *, downsample: float, config: Tiles) -> NDArray[np.int32]:
    """Corners of the tiles with enough tissue, int32 (n, 2), level-0 pixels."""
    if not mask.any():
        raise SlideError(
            f"{slide.slide_id}: expected tissue, found none on {slide.path}: empty glass, or pieces that are all below "
            f"tiles.min_object_um2 = {config.min_object_um2:g}."
        )
    edge_px = _edge(slide, config.tile_size_px, config)
    stride_px = _edge(slide, config.tile_size_px - config.overlap_px, config)
    coords = grid_coords(size_px=(slide.width_level0, slide.height_level0), edge_px=edge_px, stride_px=stride_px)
    fraction = tissue_fraction(mask, coords, edge_px=edge_px, downsample=downsample)
    kept = coords[(fraction >= config.min_tissue) & (fraction > 0)]
    if len(kept) == 0:
        raise SlideError(
            f"{slide.slide_id}: expected tiles with at least {config.min_tissue:.0%} tissue (tiles.min_tissue), found "
            f"none among the {len(coords)} whole tiles of {edge_px:.1f} px on {slide.path}, "
            f"{slide.width_level0} x {slide.height_level0} px."
        )
    return kept[sample_rows(len(kept), largest=config.max_tiles, seed=config.seed)]


def patch_attributes(slide: Slide, *, config: Tiles) -> dict[str, Any]:
    """What CLAM and TRIDENT write beside coords, and the exact micrometres per pixel.

    patch_size_level0 and overlap_level0 are rounded to whole pixels as these tools expect; the exact edge is
    `patch_size * mpp / mpp_level0`. A magnification is 10 / mpp, rounded to a whole number of at least 1, so that
    mpp 0.2527 counts as 40x and mpp 0.499 as 20x.
    """
    return {
        "name": slide.slide_id,
        "patch_size": config.tile_size_px,
        "patch_size_level0": round(_edge(slide, config.tile_size_px, config)),
        "overlap": config.overlap_px,
        "overlap_level0": round(_edge(slide, config.overlap_px, config)),
        "level0_magnification": max(1, round(10 / slide.mpp)),
        "target_magnification": max(1, round(10 / config.mpp)),
        "level0_width": slide.width_level0,
        "level0_height": slide.height_level0,
        "mpp_level0": slide.mpp,
        "mpp": config.mpp,
        "mpp_source": slide.mpp_source,
    }
