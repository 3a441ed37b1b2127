"""Everything of a study but pixels, read and checked before days are spent."""

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pandas as pd

from tta_pipeline import config
from tta_pipeline.errors import ArtifactError, InputError, SlideError
from tta_pipeline.io import sheets, tables
from tta_pipeline.io.clinical import read_clinical
from tta_pipeline.io.cohort import read_slides
from tta_pipeline.io.expression import read_expression, read_expression_index, read_genes
from tta_pipeline.io.gene_names import GeneNames, read_gene_names
from tta_pipeline.io.gene_sets import GeneSets, read_gene_sets
from tta_pipeline.io.slide import Slide, open_slide
from tta_pipeline.numerics import coverage, flow
from tta_pipeline.numerics.cost import Training, estimate
from tta_pipeline.numerics.findings import FEW_EVENTS
from tta_pipeline.numerics.grid import tile_edge_level0_px
from tta_pipeline.stages import cohort, pathways, splits

T = TypeVar("T")
# Of a slide's area; TCGA's diagnostic slides have a fifth to a half.
_TISSUE_PART = 0.3
_THREADS = 16
_MOST_PROBLEMS = 50
# Of which values are read: 10,000 genes of a large matrix would cost half a minute, a folder of counts has a file each.
_MOST_GENES, _FEW_FILES = 1000, 50


@dataclass
class _Findings:
    problems: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def attempt(self, read: Callable[[], T]) -> T | None:
        """What `read` gives, or None and its message among the problems."""
        with self.noting():
            return read()
        return None

    @contextmanager
    def noting(self) -> Iterator[None]:
        """What goes wrong within becomes one of the problems, and ends it."""
        try:
            yield
        except (InputError, ArtifactError, SlideError) as error:
            if str(error) not in self.problems:  # two readers of one file say the same
                self.problems.append(str(error))

    def say(self, line: str) -> None:
        self.lines.append(line)


@dataclass(frozen=True)
class _Header:
    """What a slide's header says; tiles: those that would cover it."""

    mpp: float
    mpp_source: str
    pixels: float
    tiles: float


def run(*, study: Path, width: int = 1024, tiles_per_second: float = 17.0) -> None:
    """Read a study's tables and the headers of its slides; print who is in, what will be made, and every problem.

    Parameters
    ----------
    study
        The study's config file. Paths in it are relative to the working directory, as in a run.
    width
        Features per tile of the encoder, for the estimate of disk.
    tiles_per_second
        Of the features stage, as its log says, for the estimate of time; 17 is ResNet-50 on two CPU cores.

    Raises
    ------
    InputError
        There are problems: all of them in one message.
    """
    options = config.load(study)
    findings = _Findings()
    slides = findings.attempt(lambda: read_slides(options.inputs.slides))
    genes = _check_tables(slides, options, findings)
    if slides is not None:
        _check_headers(slides, options, findings, width=width, tiles_per_second=tiles_per_second)
    if not findings.problems:
        _describe_cohort(options, findings, genes=genes)
    sys.stdout.write("".join(f"{line}\n" for line in findings.lines))
    if findings.problems:
        shown = "\n".join(f"  {problem}" for problem in findings.problems[:_MOST_PROBLEMS])
        more = len(findings.problems) - _MOST_PROBLEMS
        raise InputError(
            f"{study}: expected a study that can run, found {len(findings.problems)} problems:\n{shown}"
            f"{f'{chr(10)}  and {more} more' if more > 0 else ''}"
        )


def _check_tables(slides: pd.DataFrame | None, options: config.Study, findings: _Findings) -> list[str]:
    """Read every table; the genes of the sets that are kept."""
    inputs = options.inputs
    expression = findings.attempt(lambda: read_expression_index(inputs))
    patients = {*(slides["patient_id"] if slides is not None else ()), *(expression[0] if expression else ())}
    findings.attempt(lambda: read_clinical(inputs, patients=patients))
    sets, genes, names = (
        findings.attempt(lambda: read_gene_sets(inputs.gene_sets)),
        findings.attempt(lambda: read_genes(inputs)),
        findings.attempt(lambda: read_gene_names(inputs.gene_names)),
    )
    for key, path in {
        "features.weights": options.features.weights,
        "features.stain_target": options.features.stain_target,
        "splits.file": options.splits.file,
        "report.truth": options.report.truth,
    }.items():
        if path is not None and not path.exists():
            findings.problems.append(f"{key}: expected a file at {path}, found nothing.")
    if expression is not None:
        findings.say(f"expression: {len(expression[0])} patients, {len(expression[1])} samples not used")
    if sets is None or genes is None or names is None:
        return []
    return _check_genes(sets, genes, names, options, findings)


def _check_genes(
    sets: GeneSets, genes: list[str], names: GeneNames, options: config.Study, findings: _Findings
) -> list[str]:
    inputs = options.inputs
    findings.say(pathways.describe_names(sets, measured=genes, names=names))
    covered = findings.attempt(lambda: pathways.cover_sets(sets, measured=genes, inputs=inputs, names=names))
    if covered is None:
        return []
    kept = coverage.kept_sets(covered, min_genes=options.pathways.min_genes, min_coverage=options.pathways.min_coverage)
    table = pathways.coverage_table(covered, kept)
    findings.say(
        f"gene sets: {len(kept)} of {len(sets)} are kept; {coverage.share(table):.0%} of their genes are among "
        f"{len(set(map(names, genes)))}"
    )
    findings.say(f"genes of the sets: {coverage.sentence(table)}")
    if not kept:
        named, measured = (sheets.listed(each, most=3) for each in (next(iter(sets.values())), genes))
        findings.problems.append(
            f"{inputs.gene_sets}: expected sets that the expression covers, found none. They name genes like {named}; "
            f"{inputs.expression} has {measured}. Use one kind of gene name."
        )
    return sorted({gene for members in kept.values() for gene in members})


def _check_headers(
    slides: pd.DataFrame, options: config.Study, findings: _Findings, *, width: int, tiles_per_second: float
) -> None:
    """Open every slide, read no pixel, and estimate what tiles and features will cost."""
    images = slides[(slides["path"] != "") & (slides["features"] == "")]
    findings.say(f"slides: {len(slides)}, of which {len(images)} are to be tiled")
    if images.empty:
        return

    def opened(row: tuple[str, str, float]) -> _Header | SlideError:
        slide_id, path, mpp = row
        try:
            with open_slide(
                Path(path), slide_id=slide_id, mpp=mpp, mpp_from_objective=options.tiles.mpp_from_objective
            ) as slide:
                pixels = float(slide.width_level0 * slide.height_level0)
                return _Header(slide.mpp, slide.mpp_source, pixels, tiles=_tiles_of(slide, options.tiles))
        except SlideError as error:
            return error

    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(opened, images[["slide_id", "path", "mpp"]].itertuples(index=False, name=None)))
    bad = [result for result in found if isinstance(result, SlideError)]
    good = [result for result in found if not isinstance(result, SlideError)]
    limit = options.bad_slides.limit if options.bad_slides.policy == "exclude" else 0
    if len(bad) > limit:
        findings.problems += [str(error) for error in bad]
    findings.say(f"headers: {len(good)} slides can be opened, {len(bad)} cannot (bad_slides allows {limit})")
    if not good:
        return
    sources = Counter(header.mpp_source for header in good)
    range_um = f"{min(header.mpp for header in good):.4g} to {max(header.mpp for header in good):.4g}"
    said = ", ".join(f"{count} by {source}" for source, count in sources.most_common())
    findings.say(f"resolution: {range_um} µm per pixel ({said})")
    coarse = sum(header.mpp > options.tiles.mpp * options.tiles.max_upsampling for header in good)
    if coarse:
        findings.say(f"resolution: {coarse} slides are too coarse for tiles of {options.tiles.mpp:g} µm per pixel")
    expected = _TISSUE_PART * sum(header.tiles for header in good)
    if options.tiles.max_tiles is not None:
        expected = min(expected, float(options.tiles.max_tiles) * len(good))
    findings.say(
        f"expected: about {expected:,.0f} tiles if {_TISSUE_PART:.0%} of the slides is tissue; with {width} features a "
        f"tile, {tiles_per_second:g} tiles/s, and tiles and train as on two CPU cores, jobs one after the other:"
    )
    costs = estimate(
        slides=len(good),
        pixels=sum(header.pixels for header in good),
        tiles=expected,
        width=width,
        tiles_per_second=tiles_per_second,
        training=_training(options, patients=images["patient_id"].nunique()),
    )
    for cost in costs:
        findings.say(f"expected: {cost.stage}: {cost.disk_gb:.2f} GB, {cost.hours:.1f} hours")


def _training(options: config.Study, *, patients: int) -> Training:
    splits, train = options.splits, options.train
    return Training(
        fits=len(options.networks) * splits.repeats * splits.folds * len(train.seeds),
        epochs=train.epochs,
        patients=patients * (1 - 1 / splits.folds) * (1 - splits.validation_fraction),
        patches=train.patches,
    )


def _tiles_of(slide: Slide, tiles: config.Tiles) -> float:
    """Tiles that would cover the slide."""
    stride = tile_edge_level0_px(
        tile_size_px=tiles.tile_size_px - tiles.overlap_px, mpp=tiles.mpp, mpp_level0=slide.mpp
    )
    return slide.width_level0 * slide.height_level0 / stride**2


def _describe_cohort(options: config.Study, findings: _Findings, *, genes: list[str]) -> None:
    """Run the cohort and splits stages into a folder that goes, read expression, and say what was found."""
    with tempfile.TemporaryDirectory() as name, findings.noting():
        folder = Path(name)
        cohort.run(out=folder, inputs=options.inputs, config=options.cohort, bad_slides=options.bad_slides)
        patients = tables.read_table(folder / "patients.tsv", columns=tables.PATIENTS)
        slides = tables.read_table(folder / "slides.tsv", columns=tables.SLIDES)
        attrition = tables.read_table(folder / "attrition.tsv", columns=tables.ATTRITION)
        steps = flow.attrition_steps(attrition, patients=patients, features=slides.assign(excluded=""), left_later={})
        for line in _funnel(steps):
            findings.say(line)
        findings.say(f"events: {int(patients['event'].sum())} of {len(patients)} patients")
        with findings.noting():
            parts = folder / "parts.tsv"
            splits.run(patients=folder / "patients.tsv", out=folder / "splits.tsv", parts=parts, config=options.splits)
            for line in _test_parts(tables.read_table(parts, columns=tables.PARTS)):
                findings.say(line)
        with findings.noting():
            _check_values(options, findings, patients=list(patients["patient_id"]), genes=genes)


def _check_values(options: config.Study, findings: _Findings, *, patients: list[str], genes: list[str]) -> None:
    """Read values of genes that are evenly spread over those of the sets, and check them against their unit."""
    samples = _FEW_FILES if options.inputs.expression.is_dir() else len(patients)
    people, shown = patients[:: -(-len(patients) // samples)], genes[:: -(-len(genes) // _MOST_GENES)]
    read_expression(options.inputs, patients=people, genes=shown)
    findings.say(f"expression: values of {len(shown)} of {len(genes)} genes, {len(people)} patients, are of their unit")


def _test_parts(parts: pd.DataFrame) -> Iterator[str]:
    for row in parts[parts["role"] == "test"].to_dict("records"):
        few = " (fewer than 10: its C-index says little)" if row["events"] < FEW_EVENTS else ""
        yield (
            f"test part {row['repeat']}.{row['fold']}: {row['patients']} patients, {row['events']} events{few}, "
            f"{row['sites']} sites of which {row['shared_sites']} train as well"
        )


def _funnel(steps: pd.DataFrame) -> Iterator[str]:
    for row in steps.to_dict("records"):
        left = f" (-{row['left']}: {row['reason']})" if row["left"] else ""
        yield f"{row['kind']}s: {row['remaining']}{left or ' ' + row['reason']}"
