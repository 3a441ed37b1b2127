"""Everything of a study but pixels, read and checked before days are spent."""

import contextlib
import sys
from pathlib import Path

import pandas as pd

from tta_pipeline import config
from tta_pipeline.commands.cohort_check import describe_cohort
from tta_pipeline.commands.findings import Findings
from tta_pipeline.commands.headers import check_headers
from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets
from tta_pipeline.io.clinical import read_clinical, read_covariates
from tta_pipeline.io.cohort import read_slides
from tta_pipeline.io.expression import read_expression_index, read_genes
from tta_pipeline.io.gene_names import GeneNames, read_gene_names
from tta_pipeline.io.gene_sets import GeneSets, read_gene_sets
from tta_pipeline.numerics import coverage
from tta_pipeline.numerics.findings import of_coverage
from tta_pipeline.stages import pathways

_MOST_PROBLEMS = 50


def run(*, study: list[Path], directory: Path = Path(), width: int = 1024, tiles_per_second: float = 17.0) -> None:
    """Read a study's tables and the headers of its slides; print who is in, what will be made, and every problem.

    Parameters
    ----------
    study
        The study's config file, or several as Snakemake takes them.
    directory
        Where the run will be started, as Snakemake's `--directory`: paths in the config are relative to it.
    width
        Features per tile of the encoder, for the estimate of disk.
    tiles_per_second
        Of the features stage, as its log says, for the estimate of time; 17 is ResNet-50 on two CPU cores.

    Raises
    ------
    InputError
        There are problems: all of them in one message.
    """
    options = config.load(*study)
    findings = Findings()
    if not directory.is_dir():
        raise InputError(f"--directory {directory}: expected the folder of the study, found none.")
    with contextlib.chdir(directory):
        slides = findings.attempt(lambda: read_slides(options.inputs.slides))
        sets = _check_tables(slides, options, findings)
        bad: dict[str, str] = {}
        if slides is not None:
            bad = check_headers(slides, options, findings, width=width, tiles_per_second=tiles_per_second)
        if not findings.problems:
            describe_cohort(options, findings, sets=sets, bad=bad)
    sys.stdout.write("".join(f"{line}\n" for line in findings.lines))
    if findings.problems:
        shown = "\n".join(f"  {problem}" for problem in findings.problems[:_MOST_PROBLEMS])
        count = len(findings.problems)
        more = count - _MOST_PROBLEMS
        where = ", ".join(map(str, study))
        raise InputError(
            f"{where}: expected a study that can run, found {count} problem{'s' * (count > 1)}:\n{shown}"
            f"{f'{chr(10)}  and {more} more' if more > 0 else ''}"
        )


def _check_tables(slides: pd.DataFrame | None, options: config.Study, findings: Findings) -> GeneSets:
    """Read every table; the sets that are kept, with their genes."""
    inputs = options.inputs
    expression = findings.attempt(lambda: read_expression_index(inputs))
    patients = {*(slides["patient_id"] if slides is not None else ()), *(expression[0] if expression else ())}
    findings.attempt(lambda: read_clinical(inputs, patients=patients))
    if inputs.covariates:
        findings.attempt(lambda: read_covariates(inputs, patients=patients))
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
        return {}
    return _check_genes(sets, genes, names, options, findings)


def _check_genes(
    sets: GeneSets, genes: list[str], names: GeneNames, options: config.Study, findings: Findings
) -> GeneSets:
    inputs = options.inputs
    findings.say(pathways.describe_names(sets, measured=genes, names=names))
    covered = findings.attempt(lambda: pathways.cover_sets(sets, measured=genes, inputs=inputs, names=names))
    if covered is None:
        return {}
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
    for warning in of_coverage(table):
        findings.say(f"warning: {warning}")
    return {title: list(members) for title, members in kept.items()}
