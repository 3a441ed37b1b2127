"""Outcome and site of patients from the clinical tables that people have."""

import logging
import math
import re
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import pandas as pd

from tta_pipeline.config import Inputs
from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets
from tta_pipeline.io.clinical_layouts import Layout, find_layout
from tta_pipeline.io.event_rates import find_exchanged

log = logging.getLogger(__name__)

_TCGA_SITE = re.compile(r"TCGA-([A-Z0-9]{2})-[A-Z0-9]{4}(-|$)")
_TCGA_CASE = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}")
# A cohort is followed for years. Below and above these longest times, days and months have been taken for each other.
_TIME = "Correct the value."
_EVENT = (
    "Write 1 where the event was observed (dead) and 0 where it was not (alive), or set inputs.event_means; a status "
    "such as 1:DECEASED is read by naming inputs.endpoint."
)
_FEWEST_PATIENTS, _LONGEST_DAYS_FROM, _LONGEST_MONTHS_TO = 30, 250.0, 500.0


def read_clinical(inputs: Inputs, *, patients: Collection[str]) -> pd.DataFrame:
    """Outcome and site of those patients who are in the clinical table; other rows are counted, not checked.

    With `inputs.endpoint`, the columns are those of a known layout (see `clinical_layouts`); otherwise they are named
    in the config. A patient may have several rows, as in tables of slides, if they say the same.

    Returns
    -------
    time_days (float64, NaN where not known), event (nullable boolean, True: observed), site ("" where not known) and
    redacted (bool), by patient in the order of the table.

    Raises
    ------
    InputError
        A column is missing, a patient has two outcomes, a time is no number or negative, an indicator is not 0 or 1,
        times that cannot be of their unit, identifiers that are not those of cases, or an indicator whose events are as
        many as a TCGA project has censored patients.
    """
    path = inputs.clinical
    sheet = sheets.read_sheet(path)
    layout = _layout(inputs, sheet)
    columns = [layout.patient, layout.time, layout.event]
    columns += [] if inputs.site_column is None else [inputs.site_column]
    hint = "Name the columns with patient_column, time_column, event_column and site_column in the config's inputs."
    sheets.require_columns(sheet.columns, columns, path=path, hint=hint)
    sheets.require_filled(sheet[layout.patient], what="a patient", path=path)
    _check_cases(sheet[layout.patient], patients, path=path)
    rows = sheet[sheet[layout.patient].isin(set(patients))]
    log.info(
        "%s (%s): %d of %d rows belong to the study; the others are patients with neither a slide nor RNA",
        path,
        layout.name,
        len(rows),
        len(sheet),
    )
    rows = _one_row_each(rows, layout, path)
    table = rows.set_index(layout.patient, drop=False)
    problems: list[str] = []
    number = partial(_column, lines=rows.index, path=path, problems=problems)
    times = number(table[layout.time], _time, wanted="a time of 0 or more", advice=_TIME)
    indicator = number(table[layout.event], layout.indicator, wanted=layout.indicator_wanted, advice=_EVENT)
    if problems:
        raise InputError("\n".join(problems))
    _check_unit(times, layout, inputs, path=path)
    event = indicator == (1.0 if layout.one_means == "event" else 0.0)
    _check_events(event[indicator.notna()], layout, inputs, path=path)
    # A table may have a column without a name: the row numbers of pandas and R.
    redaction = table[layout.redacted] if layout.redacted in table and layout.redacted else [""] * len(table)
    return pd.DataFrame(
        {
            "time_days": times * layout.days_per_unit,
            "event": event.astype("boolean").mask(indicator.isna()),
            "site": [_site(str(name), row, inputs.site_column) for name, row in table.iterrows()],
            "redacted": [not sheets.is_missing(cell) for cell in redaction],
        },
        index=pd.Index(table.index, name="patient_id"),
    )


def read_covariates(inputs: Inputs, *, patients: Collection[str]) -> pd.DataFrame:
    """Clinical covariates of patients as they stand in the table, "" where they are not known.

    Returns
    -------
    Columns patient_id, covariate, value, in the order of the table and of `inputs.covariates`.

    Raises
    ------
    InputError
        A column is missing, or two rows of a patient say different things.
    """
    sheet = sheets.read_sheet(inputs.clinical)
    patient = _layout(inputs, sheet).patient
    hint = "Name columns of the clinical table in inputs.covariates."
    sheets.require_columns(sheet.columns, [patient, *inputs.covariates], path=inputs.clinical, hint=hint)
    rows = sheet.loc[sheet[patient].isin(set(patients)), [patient, *inputs.covariates]].drop_duplicates()
    twice = sheets.first_duplicates(rows[patient])
    if twice:
        raise InputError(
            f"{inputs.clinical}: expected one value of each covariate per patient, found several for "
            f"{sheets.listed(twice)}. Keep one row of each, or leave the covariate out."
        )
    found = [
        (row[patient], name, "" if sheets.is_missing(row[name]) else row[name])
        for _, row in rows.iterrows()
        for name in inputs.covariates
    ]
    return pd.DataFrame(found, columns=["patient_id", "covariate", "value"])


def _layout(inputs: Inputs, sheet: pd.DataFrame) -> Layout:
    if inputs.endpoint is not None:
        return find_layout(
            sheet.columns, endpoint=inputs.endpoint, path=inputs.clinical, days_per_month=inputs.days_per_month
        )
    return Layout(
        name="columns of the config",
        patient=inputs.patient_column,
        time=inputs.time_column,
        event=inputs.event_column,
        days_per_unit=1.0 if inputs.time_unit == "days" else inputs.days_per_month,
        one_means=inputs.event_means,
    )


def _check_cases(cells: pd.Series, patients: Collection[str], *, path: Path) -> None:
    """Stop where barcodes of the study's samples or slides, or in lower case, stand in the column of cases."""
    cases = {name for name in patients if _TCGA_CASE.fullmatch(name)}
    odd = [
        f"line {line}: {cell}"
        for line, cell in cells.items()
        if (found := _TCGA_CASE.match(cell.upper())) and found.group() in cases and cell not in cases
    ]
    if odd:
        raise InputError(
            f"{path}: column {cells.name}: expected cases such as TCGA-BR-8077, as elsewhere in the study, found "
            f"{len(odd)} barcodes of something else or in lower case: {sheets.listed(odd, most=3)}. Name the column of "
            "cases, shorten them, or write them in upper case."
        )


def _one_row_each(rows: pd.DataFrame, layout: Layout, path: Path) -> pd.DataFrame:
    """The first row of each patient; rows that say something else of the same patient are an error."""
    outcome = rows[[layout.patient, layout.time, layout.event]].drop_duplicates()
    twice = outcome[outcome[layout.patient].duplicated(keep=False)]
    if len(twice):
        said = {
            str(name): [f"{row[layout.time]} with {row[layout.event]} in line {line}" for line, row in own.iterrows()]
            for name, own in twice.groupby(layout.patient)
        }
        found = [f"{name}: {' and '.join(outcomes)}" for name, outcomes in said.items()]
        raise InputError(
            f"{path}: expected one outcome per patient, found {len(found)} patients with more: "
            f"{sheets.listed(found)}. Keep one row of each."
        )
    return rows.drop_duplicates(layout.patient)


def _check_unit(times: pd.Series, layout: Layout, inputs: Inputs, *, path: Path) -> None:
    longest = times.max()
    if not inputs.check_time_unit or times.notna().sum() < _FEWEST_PATIENTS:
        return
    in_days = layout.days_per_unit == 1.0
    if (in_days and longest < _LONGEST_DAYS_FROM) or (not in_days and longest > _LONGEST_MONTHS_TO):
        declared, other = ("days", "months") if in_days else ("months", "days")
        raise InputError(
            f"{path}: column {layout.time}: expected {declared} (inputs.time_unit), found {longest:g} as the longest "
            f"of {int(times.notna().sum())} times, as if they were {other}. Correct time_unit, or set inputs: "
            "{check_time_unit: false} if that is true."
        )


def _check_events(event: pd.Series, layout: Layout, inputs: Inputs, *, path: Path) -> None:
    """Stop where events and censored patients seem to be exchanged."""
    if not inputs.check_event_rate:
        return
    sites = [_site_of_barcode(str(name)) for name in event.index]
    found = find_exchanged(sites, event=event.to_numpy(bool), endpoint=inputs.endpoint)
    if found is not None:
        endpoint = f"{found.endpoint}{'' if inputs.endpoint else ' (the first endpoint that fits)'}"
        raise InputError(
            f"{path}: column {layout.event}: expected about {found.expected:.0f} events among {found.patients} "
            f"patients, as TCGA-CDR counts for {endpoint} of TCGA-{found.project}, found {found.events} where a "
            f"1 says {layout.one_means} (inputs.event_means), as if it said the opposite. Correct event_means or the "
            "table, or set inputs: {check_event_rate: false} if that is true."
        )


def _column(
    cells: pd.Series,
    parse: Callable[[str], float],
    *,
    lines: pd.Index,
    wanted: str,
    advice: str,
    path: Path,
    problems: list[str],
) -> pd.Series:
    """Numbers of a column; a cell that says that it is not known is NaN, any other that does not fit is a problem.

    cells: by patient; lines: of the file, in the same order.
    """
    values = [math.nan if sheets.is_missing(cell) else parse(cell) for cell in cells]
    wrong = [
        f"{sheets.shown(cell)} of patient {name} in line {line}"
        for (name, cell), line, value in zip(cells.items(), lines, values, strict=True)
        if math.isnan(value) and not sheets.is_missing(cell)
    ]
    if wrong:
        problems.append(
            f"{path}: column {cells.name}: expected {wanted}, found {sheets.listed(wrong, most=5)}. {advice} "
            "An empty cell leaves the patient out."
        )
    return pd.Series(values, index=cells.index, dtype="float64")


def _time(cell: str) -> float:
    value = sheets.number(cell)
    return value if 0 <= value < math.inf else math.nan


def _site(patient: str, row: pd.Series, column: str | None) -> str:
    if column is not None:
        return "" if sheets.is_missing(row[column]) else str(row[column])
    return _site_of_barcode(patient)


def _site_of_barcode(patient: str) -> str:
    barcode = _TCGA_SITE.match(patient)
    return barcode.group(1) if barcode else ""
