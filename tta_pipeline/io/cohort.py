"""The sheet of slides that a user brings."""

import math
import os
import re
from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tta_pipeline.errors import InputError
from tta_pipeline.io import excel, sheets
from tta_pipeline.io.resolution import MPP_LIMITS

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_SLIDE_TYPE = re.compile(r"^TCGA-.*-(DX|TS|MS|BS)[0-9A-Z]*(\.|$)")
_CASE = re.compile(r"(TCGA-[A-Z0-9]{2}-[A-Z0-9]{4})([-.].*)?")
_MOST_PROBLEMS, _SHOWN = 20, 300
_FILE_COLUMNS = ("path", "features", "mask")
_SLIDE_COLUMNS = ("slide_id", "patient_id", "path", "features", "mask", "mpp")


def read_slides(path: Path, *, existing: Collection[str] = _FILE_COLUMNS) -> pd.DataFrame:
    """The sheet of slides: one row per slide, in the order of the sheet.

    Parameters
    ----------
    path
        CSV or TSV with the columns `slide_id`, `patient_id` (or `case_id`), `path` (whole-slide image) and/or
        `features` (ready-made), and perhaps `mpp` and `mask` (tissue that is marked already); others are ignored.
        Paths are relative to the sheet's folder.
    existing
        Columns whose files have to exist.

    Returns
    -------
    DataFrame
        slide_id, patient_id, path, features, mask (text, "" where absent) and mpp (µm per pixel of level 0, or NaN);
        the index holds the line numbers of the sheet.

    Raises
    ------
    InputError
        A column is missing, an identifier is missing, twice or no safe file name, a file is missing or listed twice,
        or an mpp is out of its limits. All such rows are named at once.
    """
    if path.suffix.lower() in excel.SUFFIXES:
        raise InputError(f"{path}: expected CSV or TSV, found an Excel file. Save the sheet as CSV UTF-8.")
    sheet = sheets.read_sheet(path)
    if "patient_id" not in sheet and "case_id" in sheet:
        sheet = sheet.rename(columns={"case_id": "patient_id"})
    names = [str(name) for name in sheet]
    odd = {name: name.lower() for name in names if name not in _SLIDE_COLUMNS and name.lower() in _SLIDE_COLUMNS}
    if odd:
        found = sheets.listed(f"{name!r} instead of {wanted!r}" for name, wanted in odd.items())
        raise InputError(f"{path}: expected columns in lower case, found {found}. Rename them.")
    hint = "The sheet needs slide_id, patient_id (or case_id), and path or features."
    files = [name for name in ("path", "features") if name in sheet] or ["path"]
    sheets.require_columns(sheet.columns, ["slide_id", "patient_id", *files], path=path, hint=hint)
    table = pd.DataFrame({name: sheet.get(name, "") for name in _SLIDE_COLUMNS})
    if table.empty:
        raise InputError(f"{path}: expected at least one slide, found only a header.")
    _check_paths(table, path)
    for name in _FILE_COLUMNS:
        table[name] = ["" if sheets.is_missing(cell) else str(path.parent / _home(cell)) for cell in table[name]]
    _check_slides(table, path, existing=existing)
    return table.assign(mpp=[math.nan if sheets.is_missing(cell) else float(cell) for cell in table["mpp"]])


def slide_type(slide_id: str) -> str:
    """DX, TS, MS or BS, as the slide's TCGA barcode says (TCGA-BR-8077-01Z-00-DX1); "" where it says none."""
    found = _SLIDE_TYPE.search(slide_id)
    return found.group(1) if found else ""


def _home(cell: str) -> Path:
    """A path with ~ expanded; ~somebody stays as it is where nobody is called so."""
    return Path(os.path.expanduser(cell))  # noqa: PTH111 (Path.expanduser stops on strangers)


def _check_paths(table: pd.DataFrame, path: Path) -> None:
    outside = [
        f"line {line}: {name} {cell}"
        for name in _FILE_COLUMNS
        for line, cell in table[name].items()
        if ".." in Path(cell).parts and not _home(cell).is_absolute()
    ]
    if outside:
        raise InputError(
            f"{path}: expected paths below the sheet's folder, or absolute ones, found paths that lead out of it: "
            f"{sheets.listed(outside, most=3)}. Write them as absolute paths if that is meant."
        )


def _check_slides(table: pd.DataFrame, path: Path, *, existing: Collection[str]) -> None:
    problems = []
    for line, row in zip(table.index, table.to_dict("records"), strict=True):
        where = f"line {line} (slide {row['slide_id'] or '?'})"
        problems += [f"{where}: {problem}" for problem in _problems_of_slide(row, existing=existing)]
    for column, what in {"slide_id": "slide", "path": "file", "features": "file"}.items():
        values = table.loc[table[column] != "", column]
        for value, lines in values.index.to_series().groupby(values, sort=False):
            if len(lines) > 1:
                problems.append(f"lines {sheets.listed(lines)}: {what} {value} is listed {len(lines)} times")
    if problems:
        more = f"\n  and {len(problems) - _MOST_PROBLEMS} more" if len(problems) > _MOST_PROBLEMS else ""
        raise InputError(
            f"{path}: expected one row per slide, with a patient and a file that exists, found:\n"
            + "\n".join(f"  {problem}" for problem in problems[:_MOST_PROBLEMS])
            + more
            + ("\nPaths are relative to the sheet's folder." if "does not exist" in "".join(problems) else "")
        )


def _missing(file: str) -> str:
    """Why a path that is given names no file; "" where it does."""
    if not file or os.path.isfile(file):  # noqa: PTH113 (Path.is_file stops on names that are too long)
        return ""
    return "is a folder" if os.path.isdir(file) else "does not exist"  # noqa: PTH112


def _problems_of_slide(row: Mapping[Hashable, Any], *, existing: Collection[str]) -> list[str]:
    problems = []
    if not _SAFE_NAME.fullmatch(row["slide_id"]):
        problems.append(f"slide_id {row['slide_id']!r} is no safe file name (letters, digits, '.', '_', '-')")
    if sheets.is_missing(row["patient_id"]) or not row["patient_id"].isprintable():
        problems.append(f"patient_id {row['patient_id']!r} is missing or not printable")
    case = _CASE.fullmatch(row["patient_id"].upper())
    if case and case.group(1) != row["patient_id"]:
        what = "the barcode of a sample or slide" if case.group(2) else "a case in lower case"
        problems.append(f"patient_id {row['patient_id']} is {what}: write {case.group(1)}")
    if not row["path"] and not row["features"]:
        problems.append("neither path nor features is given")
    problems += [f"{name} {row[name][:_SHOWN]} {_missing(row[name])}" for name in existing if _missing(row[name])]
    low, high = MPP_LIMITS
    if not sheets.is_missing(row["mpp"]) and not low < sheets.number(row["mpp"]) < high:
        problems.append(f"mpp {sheets.shown(row['mpp'])} is not between {low} and {high} µm per pixel")
    return problems
