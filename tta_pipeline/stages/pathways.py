"""Expression and gene sets, aligned to the cohort."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from tta_pipeline.config import Inputs, Pathways
from tta_pipeline.errors import InputError
from tta_pipeline.io import artifacts, sheets, tables
from tta_pipeline.io.expression import read_expression, read_genes
from tta_pipeline.io.gene_names import read_gene_names
from tta_pipeline.io.gene_sets import GeneSets, read_gene_sets

log = logging.getLogger(__name__)


def run(*, patients: Path, inputs: Inputs, out: Path, coverage: Path, config: Pathways) -> None:
    """Write the expression of the cohort's patients, the genes of each kept set, and the coverage of all sets.

    Rows of /expression follow patients.tsv; columns are the available genes of all kept sets, sorted by name;
    the genes of a set keep the order of the gene set file. Values stand as in the matrix: no statistics.

    Raises
    ------
    InputError
        An input does not fit, or no set has `min_genes` genes in the expression matrix.
    """
    gene_sets = read_gene_sets(inputs.gene_sets, name=read_gene_names(inputs.gene_names))
    measured = read_genes(inputs)
    available = available_genes(gene_sets, set(measured))
    kept = kept_sets(gene_sets, available, config)
    if not kept:
        raise InputError(
            f"{inputs.gene_sets}: expected sets with at least min_genes = {config.min_genes} genes and the part "
            f"min_coverage = {config.min_coverage:g} of theirs in {inputs.expression}, found at most "
            f"{max(map(len, available.values()))} in each of {len(gene_sets)} sets. "
            f"The sets name genes like {sheets.listed(next(iter(gene_sets.values())), most=3)}; "
            f"the matrix has {sheets.listed(measured, most=3)}. Use one kind of gene name, or lower min_genes."
        )
    cohort = list(tables.read_table(patients, columns=tables.PATIENTS)["patient_id"])
    genes = sorted({gene for members in kept.values() for gene in members})
    expression = read_expression(inputs, patients=set(cohort), genes=set(genes))
    artifacts.write_pathways(
        out,
        _assemble(kept, genes=genes, expression=expression.loc[cohort, genes]),
        options=config.model_dump(mode="json"),
        inputs={"patients": patients, "expression": inputs.expression, "gene_sets": inputs.gene_sets},
    )
    tables.write_table(coverage, _coverage(gene_sets, available, kept), columns=tables.COVERAGE)
    log.info(
        "pathways: %d of %d gene sets with at least %d genes; %d of their %d genes are in the matrix",
        len(kept),
        len(gene_sets),
        config.min_genes,
        len(genes),
        len({gene for name in kept for gene in gene_sets[name]}),
    )


def kept_sets(gene_sets: GeneSets, available: GeneSets, config: Pathways) -> GeneSets:
    """Available genes of the sets that have enough of them."""
    return {
        name: genes
        for name, genes in available.items()
        if len(genes) >= max(config.min_genes, config.min_coverage * len(gene_sets[name]))
    }


def available_genes(gene_sets: GeneSets, measured: set[str]) -> GeneSets:
    """Genes of each set that were measured, in its order."""
    return {name: [gene for gene in genes if gene in measured] for name, genes in gene_sets.items()}


def _assemble(kept: GeneSets, *, genes: list[str], expression: pd.DataFrame) -> artifacts.Pathways:
    column = {gene: index for index, gene in enumerate(genes)}
    return artifacts.Pathways(
        patient_id=list(expression.index),
        genes=genes,
        expression=expression.to_numpy(np.float32),
        names=list(kept),
        indices=np.array([column[gene] for members in kept.values() for gene in members], dtype=np.int64),
        indptr=np.cumsum([0, *map(len, kept.values())], dtype=np.int64),
    )


def _coverage(gene_sets: GeneSets, available: GeneSets, kept: GeneSets) -> pd.DataFrame:
    rows = [(name, len(genes), len(available[name]), name in kept) for name, genes in gene_sets.items()]
    return pd.DataFrame(rows, columns=list(tables.COVERAGE))
