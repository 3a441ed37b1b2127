"""The headers of a study's slides, read without a pixel, and what tiling, encoding and training will cost."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tta_pipeline import config
from tta_pipeline.commands.findings import Findings
from tta_pipeline.errors import SlideError
from tta_pipeline.io.slide import Slide, open_slide
from tta_pipeline.models.search import combinations
from tta_pipeline.numerics.cost import Cost, Training, estimate, estimate_training
from tta_pipeline.numerics.grid import tile_edge_level0_px

# Of a slide's area; TCGA's diagnostic slides have a fifth to a half.
_TISSUE_PART = 0.3
_THREADS, _MOST_SHOWN = 16, 20


@dataclass(frozen=True)
class _Header:
    """What a slide's header says; tiles: those that would cover it."""

    mpp: float
    mpp_source: str
    pixels: float
    tiles: float


def check_headers(
    slides: pd.DataFrame, options: config.Study, findings: Findings, *, width: int, tiles_per_second: float
) -> dict[str, str]:
    """Open every slide that is to be tiled, say what their headers say, and estimate what the stages will cost.

    Returns
    -------
    Why slides cannot be opened, by slide_id.
    """
    images = slides[(slides["path"] != "") & (slides["features"] == "")]
    findings.say(f"slides: {len(slides)}, of which {len(images)} are to be tiled")
    if images.empty:
        return {}
    with ThreadPoolExecutor(_THREADS) as pool:
        rows = images[["slide_id", "path", "mpp"]].itertuples(index=False, name=None)
        found = list(pool.map(lambda row: _open(*row, tiles=options.tiles), rows))
    by_slide = zip(images["slide_id"], found, strict=True)
    bad = {name: str(each) for name, each in by_slide if isinstance(each, SlideError)}
    good = [each for each in found if not isinstance(each, SlideError)]
    limit = options.bad_slides.limit if options.bad_slides.policy == "exclude" else 0
    findings.say(f"headers: {len(good)} slides can be opened, {len(bad)} cannot (bad_slides allows {limit})")
    if len(bad) > limit:
        findings.problems += bad.values()
    else:
        for reason in list(bad.values())[:_MOST_SHOWN]:
            findings.say(f"headers: left out: {reason}")
    if good:
        _say_resolution(good, options.tiles, findings)
        _say_costs(good, images, options, findings, width=width, tiles_per_second=tiles_per_second)
    return bad


def _open(slide_id: str, path: str, mpp: float, *, tiles: config.Tiles) -> _Header | SlideError:
    try:
        # No pixel is read, so that the compressed tiles need not be found: a third of the time.
        with open_slide(
            Path(path),
            slide_id=slide_id,
            mpp=mpp,
            reader="openslide",
            mpp_from_objective=tiles.mpp_from_objective,
        ) as slide:
            pixels = float(slide.width_level0 * slide.height_level0)
            return _Header(slide.mpp, slide.mpp_source, pixels, tiles=_tiles_of(slide, tiles))
    except SlideError as error:
        return error


def _say_resolution(headers: Sequence[_Header], tiles: config.Tiles, findings: Findings) -> None:
    sources = Counter(header.mpp_source for header in headers)
    range_um = f"{min(header.mpp for header in headers):.4g} to {max(header.mpp for header in headers):.4g}"
    said = ", ".join(f"{count} by {source}" for source, count in sources.most_common())
    findings.say(f"resolution: {range_um} µm per pixel ({said})")
    coarse = sum(header.mpp > tiles.mpp * tiles.max_upsampling for header in headers)
    if coarse:
        findings.say(f"resolution: {coarse} slides are too coarse for tiles of {tiles.mpp:g} µm per pixel")


def _say_costs(
    headers: Sequence[_Header],
    images: pd.DataFrame,
    options: config.Study,
    findings: Findings,
    *,
    width: int,
    tiles_per_second: float,
) -> None:
    expected = _TISSUE_PART * sum(header.tiles for header in headers)
    if options.tiles.max_tiles is not None:
        expected = min(expected, float(options.tiles.max_tiles) * len(headers))
    findings.say(
        f"expected: about {expected:,.0f} tiles if {_TISSUE_PART:.0%} of the slides is tissue; with {width} features a "
        f"tile, {tiles_per_second:g} tiles/s, and tiles and train as on two CPU cores, jobs one after the other:"
    )
    costs = estimate(
        slides=len(headers),
        pixels=sum(header.pixels for header in headers),
        tiles=expected,
        width=width,
        tiles_per_second=tiles_per_second,
    )
    say_costs([*costs, cost_of_training(options, patients=images["patient_id"].nunique(), patches=expected)], findings)


def say_costs(costs: Sequence[Cost], findings: Findings) -> None:
    """A line for each stage."""
    for cost in costs:
        findings.say(f"expected: {cost.stage}: {cost.disk_gb:.2f} GB, {cost.hours:.1f} hours")


def cost_of_training(options: config.Study, *, patients: int, patches: float) -> Cost:
    """Cost of all fits of a study's models, each by its own recipe, on `patches` patches of all patients."""
    splits = options.splits
    fits = splits.repeats * splits.folds * len(options.train.seeds)
    trained = patients * (1 - 1 / splits.folds) * (1 - splits.validation_fraction)
    recipes = [
        recipe for model in options.networks.values() for recipe in combinations(config.recipe_of(model, options.train))
    ]
    models = [Training(fits, recipe.epochs, patients=trained, patches=recipe.patches) for recipe in recipes]
    return estimate_training(models, bag=patches / max(patients, 1))


def _tiles_of(slide: Slide, tiles: config.Tiles) -> float:
    """Tiles that would cover the slide."""
    stride = tile_edge_level0_px(
        tile_size_px=tiles.tile_size_px - tiles.overlap_px, mpp=tiles.mpp, mpp_level0=slide.mpp
    )
    return slide.width_level0 * slide.height_level0 / stride**2
