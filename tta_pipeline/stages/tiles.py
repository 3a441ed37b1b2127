"""Tissue and the grid of tiles on it, for one batch of slides."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tta_pipeline.config import BadSlides, Tiles
from tta_pipeline.errors import SlideError
from tta_pipeline.io import artifacts, batches, tables
from tta_pipeline.io.annotation import read_annotation
from tta_pipeline.io.overlay import write_overlay
from tta_pipeline.io.slide import Slide, open_slide
from tta_pipeline.numerics.focus import laplacian_variance
from tta_pipeline.numerics.grid import (
    grid_coords,
    reading_step_px,
    sample_evenly,
    tile_edge_level0_px,
    tissue_fraction,
)
from tta_pipeline.numerics.tissue import TissueMap, find_tissue, outline

log = logging.getLogger(__name__)

FOCUS_MPP = 1.0


@dataclass(frozen=True)
class Choice:
    """Corners of tiles, int32 (n, 2) each, by what became of them; and the focus of those that were looked at."""

    tiles: dict[str, NDArray[np.int32]]
    focus: NDArray[np.float64]


def run(
    *,
    slides: Path,
    out: Path,
    manifest: Path,
    quality: Path,
    config: Tiles,
    bad_slides: BadSlides,
    slide_ids: list[str] | None = None,
    again: bool = False,
) -> None:
    """Write {slide_id}.h5 with /coords for each slide of one batch, then the manifest and the table of quality.

    A job that was stopped goes on where it was; see `io.batches`.

    Parameters
    ----------
    slides
        The sheet of slides; see `io.cohort.read_slides`.
    slide_ids
        Which of its slides: one batch. All that bring no ready-made features where None.
    again
        Compute also the slides that an earlier job finished.
    out
        Folder of the results; pictures to look at go to its folder overlays.
    manifest
        TSV of slide_id, file, n (tiles), excluded (reason).
    quality
        TSV of what quality control found on each slide: resolution, area of tissue, focus, tiles left out by reason.

    Raises
    ------
    SlideError
        A slide is unreadable, without micrometres per pixel, too coarse or without tissue, and the policy is to fail.
    """

    def work(task: batches.Task) -> batches.Finished:
        return _tile(task, out=out, config=config)

    def write_quality(finished: Mapping[str, batches.Finished]) -> None:
        rows = [{"slide_id": slide_id} | artifacts.read_quality(made.file) for slide_id, made in finished.items()]
        tables.write_table(quality, pd.DataFrame(rows, columns=list(tables.QUALITY)), columns=tables.QUALITY)

    batches.run_batch(
        batches.read_tasks(slides, slide_ids=slide_ids or ()),
        batches.one_by_one(work),
        manifest=manifest,
        options=config.model_dump(mode="json") | {"out": str(out)},
        policy=bad_slides.policy,
        again=again,
        also=write_quality,
    )


def _tile(task: batches.Task, *, out: Path, config: Tiles) -> batches.Finished:
    file, overlay = out / f"{task.slide_id}.h5", out / "overlays" / f"{task.slide_id}.png"
    for earlier in (file, overlay):  # of a slide that could be used before, and perhaps cannot now
        earlier.unlink(missing_ok=True)
    with open_slide(
        task.path, slide_id=task.slide_id, mpp=task.mpp, mpp_from_objective=config.mpp_from_objective
    ) as slide:
        _check_resolution(slide, config=config)
        downsample = max(1.0, config.mask_mpp / slide.mpp)
        thumbnail = slide.thumbnail(downsample=downsample)
        found = _tissue(task, slide, thumbnail, downsample=downsample, config=config)
        choice = _choose(slide, found, downsample=downsample, config=config)
    if config.overlays:
        write_overlay(
            overlay,
            thumbnail,
            outline=outline(found.tissue),
            tiles=choice.tiles,
            edge_level0_px=_edge(slide, config.tile_size_px, config),
            downsample=downsample,
        )
    _check_choice(choice, found, slide, config=config)
    kept = choice.tiles["kept"]
    quality = {
        "mpp": slide.mpp,
        "mpp_source": slide.mpp_source,
        "tissue_mm2": float(found.tissue.sum()) * (slide.mpp * downsample / 1000) ** 2,
        "focus": float(np.median(choice.focus)),
        **{name.replace(" ", "_"): len(coords) for name, coords in choice.tiles.items()},
        "overlay": str(overlay) if config.overlays else "",
    }
    grid = artifacts.Grid(coords=kept, attributes=patch_attributes(slide, config=config))
    inputs = {"slide": task.path, **task.inputs}
    artifacts.write_tiles(file, grid, quality=quality, options=config.model_dump(mode="json"), inputs=inputs)
    counts = ", ".join(f"{len(coords)} {name}" for name, coords in choice.tiles.items() if len(coords))
    log.info("%s: tiles: %s; %.1f mm2 of tissue, mpp %g", task.slide_id, counts, quality["tissue_mm2"], slide.mpp)
    return batches.Finished(file=file, n=len(kept))


def _tissue(
    task: batches.Task, slide: Slide, thumbnail: NDArray[np.uint8], *, downsample: float, config: Tiles
) -> TissueMap:
    if "mask" not in task.inputs:
        return find_tissue(
            thumbnail,
            mpp=slide.mpp * downsample,
            min_object_um2=config.min_object_um2,
            max_hole_um2=config.max_hole_um2,
            method=config.tissue,
        )
    marked = read_annotation(
        task.inputs["mask"],
        slide_id=slide.slide_id,
        size_level0=(slide.width_level0, slide.height_level0),
        shape=(thumbnail.shape[0], thumbnail.shape[1]),
        downsample=downsample,
    )
    return TissueMap(tissue=marked, ink=np.zeros_like(marked))


def _check_resolution(slide: Slide, *, config: Tiles) -> None:
    if slide.mpp > config.mpp * config.max_upsampling:
        raise SlideError(
            f"{slide.slide_id}: expected a slide of at most {config.mpp * config.max_upsampling:g} micrometres per "
            f"pixel for tiles of mpp {config.mpp:g} (tiles.max_upsampling {config.max_upsampling:g}), found "
            f"{slide.mpp:g} ({slide.mpp_source}) in {slide.path}: it was scanned too coarsely. Raise tiles.mpp."
        )


def _edge(slide: Slide, size_px: int, config: Tiles) -> float:
    return tile_edge_level0_px(tile_size_px=size_px, mpp=config.mpp, mpp_level0=slide.mpp)


def _choose(slide: Slide, found: TissueMap, *, downsample: float, config: Tiles) -> Choice:
    """The tiles to keep, and those with some tissue or ink that are left out, by their reason."""
    edge_px = _edge(slide, config.tile_size_px, config)
    stride_px = _edge(slide, config.tile_size_px - config.overlap_px, config)
    coords = grid_coords(
        size_px=(slide.width_level0, slide.height_level0),
        edge_px=edge_px,
        stride_px=stride_px,
        step_px=reading_step_px(config.mpp / slide.mpp),
    )
    size = {"edge_px": edge_px, "downsample": downsample}
    fraction = tissue_fraction(found.tissue, coords, **size)
    with_ink = tissue_fraction(found.tissue | found.ink, coords, **size)
    enough = (fraction >= config.min_tissue) & (fraction > 0)
    inked = ~enough & (with_ink >= config.min_tissue) & (with_ink > 0)
    on_tissue = coords[enough]
    focus = np.full(len(on_tissue), np.nan)
    if config.min_focus > 0:
        focus = _focus(slide, on_tissue, edge_px=edge_px, config=config)
    sharp = ~(focus < config.min_focus)
    in_focus = on_tissue[sharp]
    drawn = np.zeros(len(in_focus), dtype=np.bool_)
    drawn[sample_evenly(in_focus, largest=config.max_tiles, seed=config.seed)] = True
    tiles = {
        "kept": in_focus[drawn],
        "little tissue": coords[~enough & ~inked & (fraction > 0)],
        "ink": coords[inked],
        "out of focus": on_tissue[~sharp],
        "not drawn": in_focus[~drawn],
    }
    return Choice(tiles=tiles, focus=focus)


def _check_choice(choice: Choice, found: TissueMap, slide: Slide, *, config: Tiles) -> None:
    if len(choice.tiles["kept"]):
        return
    if not found.tissue.any():
        raise SlideError(
            f"{slide.slide_id}: expected tissue, found none on {slide.path}: empty glass, only ink, or pieces that are "
            f"all below tiles.min_object_um2 = {config.min_object_um2:g}."
        )
    if len(choice.focus):
        raise SlideError(
            f"{slide.slide_id}: expected tiles in focus, variance of the Laplacian at least {config.min_focus:g} "
            f"(tiles.min_focus), found at most {choice.focus.max():.1f} in {len(choice.focus)} tiles of {slide.path}: "
            "the scan is out of focus. Scan it again, or lower tiles.min_focus."
        )
    raise SlideError(
        f"{slide.slide_id}: expected tiles with at least {config.min_tissue:.0%} tissue (tiles.min_tissue), found none "
        f"among the whole tiles of {_edge(slide, config.tile_size_px, config):.1f} px on {slide.path}, "
        f"{slide.width_level0} x {slide.height_level0} px."
    )


def _focus(slide: Slide, coords: NDArray[np.int32], *, edge_px: float, config: Tiles) -> NDArray[np.float64]:
    """Variance of the Laplacian of each tile, at `FOCUS_MPP`, or coarser where the slide or the tiles are."""
    mpp = max(FOCUS_MPP, slide.mpp, config.mpp)
    edge = max(3, round(config.tile_size_px * config.mpp / mpp))
    squares = (
        slide.read_tile(left_level0=int(x), top_level0=int(y), edge_level0=edge_px, edge_px=edge) for x, y in coords
    )
    return np.array([laplacian_variance(square) for square in squares])


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
