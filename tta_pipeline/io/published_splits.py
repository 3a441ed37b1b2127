"""Splits that others have published, or that a user brings: read into repeat, fold, patient_id, role."""

import re
from pathlib import Path

import pandas as pd

from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets, tables

_SURVPATH_FILE = re.compile(r"splits_(\d+)\.csv")
_MMP_FOLDER = re.compile(r"k=(\d+)")
# Who evaluates on "val" and has no third part calls the test part so.
_SURVPATH_ROLES = {"train": "train", "val": "test"}
_THREE_ROLES = {"train": "train", "val": "validation", "test": "test"}
_CASE_COLUMNS = ("case_id", "patient_id")


def read_splits(path: Path) -> pd.DataFrame:
    """Role of each patient in each repeat and fold, in the order of the files.

    Parameters
    ----------
    path
        A TSV or CSV of `repeat`, `fold`, `patient_id`, `role`; or a folder, of one repeat: `splits_{k}.csv` with
        columns `train` and `val`, of which `val` is the test part, as SurvPath publishes them, or with `test` as well,
        and then `val` validates; or `k={k}/` with `train.csv`, `test.csv` and perhaps `val.csv` that have a column
        `case_id`, as MMP publishes them.

    Returns
    -------
    Columns of `tables.SPLITS` as text. For one file the index holds its line numbers, for a folder the name of the file
    or folder of each fold.

    Raises
    ------
    InputError
        The file or folder is of none of these layouts.
    """
    if not path.is_dir():
        table = sheets.read_sheet(path)
        sheets.require_columns(table.columns, tables.SPLITS, path=path, hint="One row per repeat, fold and patient.")
        sheets.require_filled(table["patient_id"], what="a patient", path=path)
        return table[list(tables.SPLITS)]
    survpath = _numbered(path, _SURVPATH_FILE)
    mmp = _numbered(path, _MMP_FOLDER)
    if bool(survpath) == bool(mmp):
        raise InputError(
            f"{path}: expected splits as splits_0.csv, splits_1.csv, ... or as folders k=0, k=1, ..., found "
            f"{'both' if mmp else sheets.listed(sorted(each.name for each in path.iterdir())) or 'an empty folder'}."
        )
    folds = survpath or mmp
    if sorted(folds) != list(range(len(folds))):
        raise InputError(f"{path}: expected folds numbered from 0 without a gap, found {sheets.listed(sorted(folds))}.")
    read = _read_survpath if survpath else _read_mmp
    rows = [
        (place.name, ("0", str(fold), patient_id, role))
        for fold, place in sorted(folds.items())
        for role, patient_id in read(place)
    ]
    places = [place for place, _ in rows]
    return pd.DataFrame([row for _, row in rows], columns=list(tables.SPLITS), index=places, dtype="object")


def _numbered(folder: Path, name: re.Pattern[str]) -> dict[int, Path]:
    found = ((name.fullmatch(path.name), path) for path in folder.iterdir())
    return {int(match.group(1)): path for match, path in found if match}


def _read_survpath(path: Path) -> list[tuple[str, str]]:
    table = sheets.read_sheet(path)
    sheets.require_columns(table.columns, _SURVPATH_ROLES, path=path, hint="One column per part, of case identifiers.")
    roles = _THREE_ROLES if "test" in table else _SURVPATH_ROLES
    return [(role, cell) for name, role in roles.items() for cell in table[name] if not sheets.is_missing(cell)]


def _read_mmp(folder: Path) -> list[tuple[str, str]]:
    found = []
    for name, role in _THREE_ROLES.items():
        path = folder / f"{name}.csv"
        if name == "val" and not path.is_file():
            continue
        table = sheets.read_sheet(path)
        column = next((column for column in _CASE_COLUMNS if column in table), _CASE_COLUMNS[0])
        sheets.require_columns(table.columns, [column], path=path, hint="One row per slide or case.")
        sheets.require_filled(table[column], what="a patient", path=path)
        # A patient with several slides has several rows.
        found += [(role, patient_id) for patient_id in dict.fromkeys(table[column])]
    return found
