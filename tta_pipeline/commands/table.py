"""The table of several finished studies: models by cohorts."""

import logging
from pathlib import Path

from tta_pipeline.errors import InputError
from tta_pipeline.io import paper_table, tables
from tta_pipeline.reporting import paper

log = logging.getLogger(__name__)


def run(*, studies: list[str], out: Path) -> None:
    """Write table.tsv, table.md and table.tex from the reports of finished studies.

    Rows are models, columns are cohorts: C-index (mean ± std over folds; pooled with its interval), Uno's C, integrated
    Brier score with that of the Kaplan-Meier estimate, seconds per epoch, parameters and peak memory. A model that a
    study lacks is an empty cell with a note. Below stand the endpoint of each study and the warnings of its report.

    Parameters
    ----------
    studies
        NAME=FOLDER of each study: the cohort's name in the table, and the folder that Snakemake ran in.
    out
        Folder to write to.

    Raises
    ------
    InputError
        A study is not written as NAME=FOLDER, a name comes twice, or a folder has no finished report.
    """
    folders: dict[str, Path] = {}
    for study in studies:
        name, separator, folder = study.partition("=")
        if not (name and separator and folder):
            raise InputError(f"--studies: expected NAME=FOLDER, such as STAD=studies/stad, found {study!r}.")
        if name in folders:
            raise InputError(f"--studies: expected each name once, found {name} for {folders[name]} and {folder}.")
        folders[name] = Path(folder)
    if not folders:
        raise InputError("--studies: expected at least one NAME=FOLDER, found none.")
    reports = {name: paper_table.read_report(folder) for name, folder in folders.items()}
    rows = paper.paper_rows(reports)
    made, notes = paper.blocks(rows), paper.notes(rows, reports)
    tables.write_table(out / "table.tsv", rows, columns=paper_table.PAPER)
    paper_table.write_markdown(out / "table.md", made, notes=notes)
    paper_table.write_tex(out / "table.tex", made, notes=notes)
    log.info("%s: %d models in %d cohorts", out / "table.md", rows["model"].nunique() - 1, len(folders))
