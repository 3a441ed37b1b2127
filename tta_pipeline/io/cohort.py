"""The sheet of slides and the clinical table that a user brings."""

import logging
import math
import re
from collections.abc import Callable, Collection
from pathlib import Path

import pandas as pd

from tta_pipeline.config import Inputs
from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets

log = logging.getLogger(__name__)

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_TCGA_SITE = re.compile(r"TCGA-([A-Z0-9]{2})-[A-Z0-9]{4}(-|$)")
_SLIDE_TYPE = re.compile(r"^TCGA-.*-(DX|TS|MS|BS)[0-9A-Z]*(\.|$)")
_MPP_LIMITS = (0.05, 20.0)
_SLIDE_COLUMNS = ("slide_id", "patient_id", "path", "features", "mask", "mpp")


def read_slides(path: Path) -> pd.DataFrame:
    """The sheet of slides: one row per slide, in the order of the sheet.

    Parameters
    ----------
    path
        CSV or TSV with the columns `slide_id`, `patient_id` (or `case_id`), `path` (whole-slide image) and/or
        `features` (ready-made), and perhaps `mpp` and `mask` (tissue that is marked already); others are ignored.
        Paths are relative to the sheet's folder.

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
    sheet = sheets.read_sheet(path)
    if "patient_id" not in sheet and "case_id" in sheet:
        sheet = sheet.rename(columns={"case_id": "patient_id"})
    hint = "The sheet needs slide_id, patient_id (or case_id), and path or features."
    files = [name for name in ("path", "features") if name in sheet] or ["path"]
    sheets.require_columns(sheet.columns, ["slide_id", "patient_id", *files], path=path, hint=hint)
    table = pd.DataFrame({name: sheet.get(name, "") for name in _SLIDE_COLUMNS})
    if table.empty:
        raise InputError(f"{path}: expected at least one slide, found only a header.")
    for name in ("path", "features", "mask"):
        table[name] = [
            "" if sheets.is_missing(cell) else str(path.parent / Path(cell).expanduser()) for cell in table[name]
        ]
    _check_slides(table, path)
    return table.assign(mpp=[math.nan if sheets.is_missing(cell) else float(cell) for cell in table["mpp"]])


def slide_type(slide_id: str) -> str:
    """DX, TS, MS or BS, as the slide's TCGA barcode says (TCGA-BR-8077-01Z-00-DX1); "" where it says none."""
    found = _SLIDE_TYPE.search(slide_id)
    return found.group(1) if found else ""


def read_clinical(inputs: Inputs, *, patients: Collection[str]) -> pd.DataFrame:
    """Outcome and site of those patients who are in the clinical table; other rows are counted, not checked.

    Returns
    -------
    DataFrame
        time_days (float64, NaN where not known), event (nullable boolean, True: observed) and site ("" where not
        known), by patient in the order of the table.

    Raises
    ------
    InputError
        A column is missing, a patient has two rows, a time is no number or negative, an indicator is not 0 or 1.
    """
    path = inputs.clinical
    sheet = sheets.read_sheet(path)
    columns = [inputs.patient_column, inputs.time_column, inputs.event_column]
    columns += [] if inputs.site_column is None else [inputs.site_column]
    hint = "Name the columns with patient_column, time_column, event_column and site_column in the config's inputs."
    sheets.require_columns(sheet.columns, columns, path=path, hint=hint)
    rows = sheet[sheet[inputs.patient_column].isin(set(patients))]
    log.info(
        "%s: %d of %d rows belong to the study; the others are patients with neither a slide nor RNA",
        path,
        len(rows),
        len(sheet),
    )
    _check_one_row_each(rows[inputs.patient_column], path)
    table = rows.set_index(inputs.patient_column, drop=False)
    days = 1.0 if inputs.time_unit == "days" else inputs.days_per_month
    indicator = _column(table[inputs.event_column], _indicator, wanted="0 or 1", path=path)
    event = indicator == (1.0 if inputs.event_means == "event" else 0.0)
    return pd.DataFrame(
        {
            "time_days": _column(table[inputs.time_column], _time, wanted="a time of 0 or more", path=path) * days,
            "event": event.astype("boolean").mask(indicator.isna()),
            "site": [_site(str(name), row, inputs.site_column) for name, row in table.iterrows()],
        },
        index=pd.Index(table.index, name="patient_id"),
    )


def _check_slides(table: pd.DataFrame, path: Path) -> None:
    problems = []
    for line, row in table.iterrows():
        where = f"line {line} (slide {row['slide_id'] or '?'})"
        problems += [f"{where}: {problem}" for problem in _problems_of_slide(row)]
    for column, what in {"slide_id": "slide", "path": "file", "features": "file"}.items():
        values = table.loc[table[column] != "", column]
        for value, lines in values.index.to_series().groupby(values, sort=False):
            if len(lines) > 1:
                problems.append(f"lines {sheets.listed(lines)}: {what} {value} is listed {len(lines)} times")
    if problems:
        raise InputError(
            f"{path}: expected one row per slide, with a patient and a file that exists, found:\n"
            + "\n".join(f"  {problem}" for problem in problems)
            + "\nPaths are relative to the sheet's folder."
        )


def _problems_of_slide(row: pd.Series) -> list[str]:
    problems = []
    if not _SAFE_NAME.fullmatch(row["slide_id"]):
        problems.append(f"slide_id {row['slide_id']!r} is no safe file name (letters, digits, '.', '_', '-')")
    if sheets.is_missing(row["patient_id"]) or not row["patient_id"].isprintable():
        problems.append(f"patient_id {row['patient_id']!r} is missing or not printable")
    if not row["path"] and not row["features"]:
        problems.append("neither path nor features is given")
    problems += [
        f"{name} {row[name]} does not exist"
        for name in ("path", "features", "mask")
        if row[name] and not Path(row[name]).exists()
    ]
    low, high = _MPP_LIMITS
    if not sheets.is_missing(row["mpp"]) and not low < _number(row["mpp"]) < high:
        problems.append(f"mpp {row['mpp']!r} is not between {low} and {high} µm per pixel")
    return problems


def _check_one_row_each(names: pd.Series, path: Path) -> None:
    twice = names[names.duplicated(keep=False)]
    if len(twice):
        found = [f"{name} in lines {sheets.listed(lines)}" for name, lines in twice.index.to_series().groupby(twice)]
        raise InputError(
            f"{path}: expected one row per patient, found {len(found)} patients with more: "
            f"{sheets.listed(found)}. Keep one row of each."
        )


def _column(cells: pd.Series, parse: Callable[[str], float], *, wanted: str, path: Path) -> pd.Series:
    """Numbers of a column; a cell that says that it is not known is NaN, any other that does not fit is an error."""
    values = [math.nan if sheets.is_missing(cell) else parse(cell) for cell in cells]
    wrong = [
        f"{cell!r} of patient {name}"
        for (name, cell), value in zip(cells.items(), values, strict=True)
        if math.isnan(value) and not sheets.is_missing(cell)
    ]
    if wrong:
        raise InputError(
            f"{path}: column {cells.name}: expected {wanted}, found {sheets.listed(wrong)}. "
            "Correct the value, or empty the cell to leave the patient out."
        )
    return pd.Series(values, index=cells.index, dtype="float64")


def _time(cell: str) -> float:
    value = _number(cell)
    return value if 0 <= value < math.inf else math.nan


def _indicator(cell: str) -> float:
    value = _number(cell)
    return value if value in (0.0, 1.0) else math.nan


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _site(patient: str, row: pd.Series, column: str | None) -> str:
    if column is not None:
        return "" if sheets.is_missing(row[column]) else str(row[column])
    barcode = _TCGA_SITE.match(patient)
    return barcode.group(1) if barcode else ""
