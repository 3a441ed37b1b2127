"""Expression and gene sets, aligned to the cohort."""

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tta_pipeline.config import Inputs, Pathways
from tta_pipeline.errors import InputError
from tta_pipeline.io import artifacts, hgnc, sheets, tables
from tta_pipeline.io.expression import read_expression, read_genes
from tta_pipeline.io.gene_labels import count_kinds, described
from tta_pipeline.io.gene_names import GeneNames, read_gene_names
from tta_pipeline.io.gene_sets import GeneSets, read_gene_sets
from tta_pipeline.numerics.coverage import Coverage, cover, kept_sets

log = logging.getLogger(__name__)


def run(*, patients: Path, inputs: Inputs, out: Path, coverage: Path, config: Pathways) -> None:
    """Write the expression of the cohort's patients, the genes of each kept set, and the coverage of all sets.

    Rows of /expression follow patients.tsv; columns are the available genes of all kept sets, sorted by name, as are
    the sets and the genes of each: a model has weights for every set and gene, and its seed gives each of them its
    start, so that sets in another order would be another seed. Values stand as in the matrix: no statistics.

    Raises
    ------
    InputError
        An input does not fit, sets and matrix name genes by identifiers of different kinds, or no set has `min_genes`
        genes in the expression matrix.
    """
    gene_sets, measured = read_gene_sets(inputs.gene_sets), read_genes(inputs)
    names = read_gene_names(inputs.gene_names)
    log.info("%s", describe_names(gene_sets, measured=measured, names=names))
    covered = cover_sets(gene_sets, measured=measured, inputs=inputs, names=names)
    kept = kept_sets(covered, min_genes=config.min_genes, min_coverage=config.min_coverage)
    if not kept:
        raise InputError(
            f"{inputs.gene_sets}: expected sets with at least min_genes = {config.min_genes} genes and the part "
            f"min_coverage = {config.min_coverage:g} of theirs in {inputs.expression}, found at most "
            f"{max(len(own.available) for own in covered.values())} in each of {len(gene_sets)} sets. "
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
        inputs={"patients": patients, "expression": inputs.expression, "gene_sets": inputs.gene_sets}
        | _name_table(inputs),
    )
    tables.write_table(coverage, coverage_table(covered, kept), columns=tables.COVERAGE)
    log.info(
        "pathways: %d of %d gene sets with at least %d genes; %d of their %d genes are in the matrix",
        len(kept),
        len(gene_sets),
        config.min_genes,
        len(genes),
        len({gene for name in kept for gene in covered[name].genes}),
    )


def cover_sets(
    gene_sets: GeneSets, *, measured: Sequence[str], inputs: Inputs, names: GeneNames
) -> dict[str, Coverage]:
    """Coverage of each set by the genes of the matrix, both as they are written.

    Raises
    ------
    InputError
        Less than half of the genes that sets and matrix could share are found, because they are identified otherwise.
    """
    covered = cover(gene_sets, measured=measured, name=names)
    of_sets = count_kinds({gene for own in covered.values() for gene in own.genes})
    of_matrix = count_kinds({names(label) for label in measured})
    found = len({gene for own in covered.values() for gene in own.available})
    shared, at_most = min(of_sets.total(), of_matrix.total()), (of_sets & of_matrix).total()
    if 2 * found < shared and (2 * at_most < shared or of_sets.most_common(1)[0][0] != of_matrix.most_common(1)[0][0]):
        raise InputError(
            f"{inputs.gene_sets}: expected genes identified as in {inputs.expression}, found {found} of "
            f"{of_sets.total()} there; {describe_names(gene_sets, measured=measured, names=names)}. The sets name "
            f"genes like {sheets.listed(next(iter(gene_sets.values())), most=3)}; the matrix has "
            f"{sheets.listed(measured, most=3)}. "
            + ("Set inputs.gene_names: hgnc, which translates " if inputs.gene_names is None else "Translated are ")
            + "identifiers ENSG... of Ensembl, numbers of Entrez, and former symbols."
        )
    return covered


def describe_names(gene_sets: GeneSets, *, measured: Sequence[str], names: GeneNames) -> str:
    """How many names of which kind sets and matrix hold, and how many of them are translated."""
    written = {"gene sets": {gene for genes in gene_sets.values() for gene in genes}, "matrix": set(measured)}
    said = []
    for where, labels in written.items():
        translated = count_kinds(label for label in labels if names(label) != label)
        said.append(f"{where}: {described(count_kinds(labels))} (translated: {described(translated)})")
    return f"gene names ({names.source}): {'; '.join(said)}"


def _name_table(inputs: Inputs) -> dict[str, Path]:
    """The table of gene names that the artifact was made with."""
    if inputs.gene_names is None:
        return {}
    return {"gene_names": hgnc.shipped_table() if inputs.gene_names == "hgnc" else inputs.gene_names}


def _assemble(kept: Mapping[str, list[str]], *, genes: list[str], expression: pd.DataFrame) -> artifacts.Pathways:
    column = {gene: index for index, gene in enumerate(genes)}
    columns = {title: sorted(column[gene] for gene in kept[title]) for title in sorted(kept)}
    return artifacts.Pathways(
        patient_id=list(expression.index),
        genes=genes,
        expression=expression.to_numpy(np.float32),
        names=list(columns),
        indices=np.concatenate(list(columns.values())).astype(np.int64),
        indptr=np.cumsum([0, *map(len, columns.values())], dtype=np.int64),
    )


def coverage_table(covered: Mapping[str, Coverage], kept: Collection[str]) -> pd.DataFrame:
    """The rows of results/pathways_coverage.tsv."""
    rows = [
        {
            "name": title,
            "genes": len(own.genes),
            "available": len(own.available),
            "renamed": len(own.renamed),
            "repeated": len(own.repeated),
            "kept": title in kept,
            "missing_genes": ";".join(own.missing),
            "renamed_genes": ";".join(f"{written}={found}" for written, found in own.renamed.items()),
        }
        for title, own in covered.items()
    ]
    return pd.DataFrame(rows, columns=list(tables.COVERAGE))
