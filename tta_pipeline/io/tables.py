"""The pipeline's own TSV tables: their columns are named here and nowhere else."""

import os
import tempfile
from collections.abc import Hashable
from pathlib import Path

import pandas as pd

from tta_pipeline.errors import ArtifactError

# results/cohort/: who is in (time_days float, event 0/1), which slides (batch: the job that works on it), who is out.
PATIENTS = {"patient_id": "string", "site": "string", "time_days": "float64", "event": "bool", "n_slides": "int64"}
SLIDES = {
    "slide_id": "string",
    "patient_id": "string",
    "path": "string",
    "mpp": "float64",
    "features": "string",
    "batch": "string",
}
ATTRITION = {"kind": "string", "id": "string", "patient_id": "string", "stage": "string", "reason": "string"}
# results/tiles/batches/ and results/features/batches/: what became of each slide of a job.
# `file` is empty and `excluded` holds the reason where a bad slide was left out; `n` counts tiles.
MANIFEST = {"slide_id": "string", "file": "string", "n": "int64", "excluded": "string"}
SPLITS = {"repeat": "int64", "fold": "int64", "patient_id": "string", "role": "string"}


def write_table(path: Path, table: pd.DataFrame, *, columns: dict[str, str]) -> None:
    """Write a TSV that appears whole under its name; `event` is written as 0/1, missing values as empty cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    typed = table[list(columns)].astype(columns)
    booleans = [name for name, dtype in columns.items() if dtype == "bool"]
    typed = typed.astype(dict.fromkeys(booleans, "int64"))
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            typed.to_csv(file, sep="\t", index=False, lineterminator="\n")
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_table(path: Path, *, columns: dict[str, str]) -> pd.DataFrame:
    """Read one of the pipeline's own TSVs; strings are never parsed as numbers and an empty string cell stays "".

    Raises
    ------
    ArtifactError
        The file is missing, or its columns are not the expected ones.
    """
    if not path.is_file():
        raise ArtifactError(f"{path}: expected a table, found nothing. Run the stage that writes it.")
    read_as: dict[Hashable, str] = {name: "int64" if dtype == "bool" else dtype for name, dtype in columns.items()}
    texts = [name for name, dtype in columns.items() if dtype == "string"]
    try:
        table = pd.read_csv(
            path,
            sep="\t",
            dtype=read_as,
            keep_default_na=False,
            na_values={name: [""] for name in columns if name not in texts},
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise ArtifactError(
            f"{path}: expected columns {list(columns)}, found a table that does not fit: {error}"
        ) from error
    if list(table.columns) != list(columns):
        raise ArtifactError(
            f"{path}: expected columns {list(columns)}, found {list(table.columns)}. Run its stage again."
        )
    return table.astype(columns)
