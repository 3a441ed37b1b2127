"""The pipeline's own TSV tables: their columns are named here and nowhere else."""

import os
import re
import tempfile
from pathlib import Path

import pandas as pd

from tta_pipeline.errors import ArtifactError, InputError
from tta_pipeline.io import sheets

# results/cohort/: who is in (time_days float, event 0/1), their slides, who is out and why;
# batches.tsv: which job works on a slide, for every slide of the sheet without features, whoever its patient is.
PATIENTS = {"patient_id": "string", "site": "string", "time_days": "float64", "event": "bool", "n_slides": "int64"}
SLIDES = {
    "slide_id": "string",
    "patient_id": "string",
    "path": "string",
    "mpp": "float64",
    "features": "string",
}
# results/cohort/covariates.tsv: clinical covariates as they stand in the table, "" where they are not known.
COVARIATES = {"patient_id": "string", "covariate": "string", "value": "string"}
# The sheet of slides that the command `sheet` writes and a user completes.
SHEET = {"slide_id": "string", "patient_id": "string", "path": "string", "mpp": "float64"}
BATCHES = {"slide_id": "string", "batch": "string"}
# kind: patient, slide or sample (of expression); stage: the one that left it out.
ATTRITION = {"kind": "string", "id": "string", "patient_id": "string", "stage": "string", "reason": "string"}
# results/tiles/batches/ and results/features/batches/: what became of each slide of a job.
# `file` is empty and `excluded` holds the reason where a bad slide was left out; `n` counts tiles.
# `fingerprint` is the file's, so that new content of equal length is seen by whatever depends on the manifest.
MANIFEST = {"slide_id": "string", "file": "string", "n": "int64", "excluded": "string", "fingerprint": "string"}
# results/tiles/batches/*.quality.tsv: what quality control found on each usable slide. mpp_source: where the resolution
# was found; focus: median variance of the Laplacian of the tiles; tiles that were kept, and others by their reason.
QUALITY = {
    "slide_id": "string",
    "mpp": "float64",
    "mpp_source": "string",
    "tissue_mm2": "float64",
    "focus": "float64",
    "kept": "int64",
    "little_tissue": "int64",
    "ink": "int64",
    "out_of_focus": "int64",
    "not_drawn": "int64",
    "overlay": "string",
}
# results/pathways_coverage.tsv: genes of each set; how many the expression matrix has, how many of these it writes
# otherwise than the set, how many have several rows; whether the set is kept. Names are joined by semicolons: those of
# missing genes as the set writes them, those of renamed ones as "name in the set=name in the matrix".
COVERAGE = {
    "name": "string",
    "genes": "int64",
    "available": "int64",
    "renamed": "int64",
    "repeated": "int64",
    "kept": "bool",
    "missing_genes": "string",
    "renamed_genes": "string",
}
# results/splits_parts.tsv: who is in each part; shared_sites: sites of a part that the training part has as well, as
# far as they are known; unknown_sites: patients whose site is not.
PARTS = {
    "repeat": "int64",
    "fold": "int64",
    "role": "string",
    "patients": "int64",
    "events": "int64",
    "sites": "int64",
    "shared_sites": "int64",
    "unknown_sites": "int64",
}
SPLITS = {"repeat": "int64", "fold": "int64", "patient_id": "string", "role": "string"}


# A spreadsheet would take a cell that begins so for a formula; it is written behind an apostrophe. The last four are
# the wide forms of = + - @, which a Japanese spreadsheet reads as these.
_STARTS = r"[=+\-@\t\n\uff1d\uff0b\uff0d\uff20]"
_FORMULA, _ESCAPED = re.compile(rf"'*{_STARTS}"), re.compile(rf"'+{_STARTS}")


def empty(columns: dict[str, str]) -> pd.DataFrame:
    """A table without rows."""
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in columns.items()})


def write_table(path: Path, table: pd.DataFrame, *, columns: dict[str, str]) -> None:
    """Write a TSV that appears whole under its name; a bool is written as 0/1, a missing value as an empty cell.

    Text that a spreadsheet would take for a formula is written behind an apostrophe, which `read_table` takes away.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    booleans = [name for name, dtype in columns.items() if dtype == "bool"]
    assert not table[booleans].isna().to_numpy().any(), f"missing values in {booleans} of {path.name}"
    typed = table[list(columns)].astype(columns).astype(dict.fromkeys(booleans, "int64"))
    for name in (name for name, dtype in columns.items() if dtype == "string"):
        typed[name] = [cell if pd.isna(cell) else _as_text(cell) for cell in typed[name]]
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            typed.to_csv(file, sep="\t", index=False, lineterminator="\n")
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _as_text(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; its line breaks are of the one kind that csv puts in quotes."""
    text = cell.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if _FORMULA.match(text) else text


def read_table(path: Path, *, columns: dict[str, str]) -> pd.DataFrame:
    """Read one of the pipeline's own TSVs; text is never parsed as a number and an empty text cell stays "".

    Raises
    ------
    ArtifactError
        The file is missing, its columns are not the expected ones, or a cell does not fit its column.
    """
    if not path.is_file():
        raise ArtifactError(f"{path}: expected a table, found nothing. Run the stage that writes it.")
    try:
        rows = sheets.read_rows(path)
        _, header = next(rows)
        if header != list(columns):
            raise ArtifactError(f"{path}: expected columns {list(columns)}, found {header}. Run its stage again.")
        cells = pd.DataFrame([row for _, row in rows], columns=header, dtype="object")
        return pd.DataFrame({name: _typed(cells[name], dtype, path) for name, dtype in columns.items()})
    except InputError as error:
        raise ArtifactError(f"{error} Run the stage that writes it again.") from error


def _typed(cells: pd.Series, dtype: str, path: Path) -> pd.Series:
    try:
        match dtype:
            case "float64":
                return cells.where(cells != "", "nan").astype("float64")
            case "string":
                return cells.map(lambda cell: cell[1:] if _ESCAPED.match(cell) else cell).astype("string")
            case "bool":
                return cells.map({"0": False, "1": True}).astype("boolean").astype("bool")
            case "int64":
                return cells.astype("int64")
            case _:
                return cells.astype("string")
    except ValueError as error:
        where = f"{path}: column {cells.name}"
        raise InputError(f"{where}: expected {dtype} in every row, found otherwise: {error}.") from error
