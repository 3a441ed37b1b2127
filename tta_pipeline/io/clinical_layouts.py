"""Layouts of clinical tables that are published: which columns hold a patient's time and indicator of an endpoint."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets

Endpoint = Literal["OS", "DSS", "PFI", "DFI"]
_SURVPATH = {"OS": "", "DSS": "_dss", "PFI": "_pfi"}
_SURVPATH_DAYS_PER_MONTH = 30.0
# cBioPortal's names of the endpoints that TCGA-CDR calls interval.
_CBIOPORTAL = {"OS": "OS", "DSS": "DSS", "PFI": "PFS", "DFI": "DFS"}


def binary(cell: str) -> float:
    """0 or 1; NaN for anything else."""
    value = sheets.number(cell)
    return value if value in (0.0, 1.0) else math.nan


def binary_before_colon(cell: str) -> float:
    """CBioPortal's status, such as 1:DECEASED."""
    number, colon, _ = cell.partition(":")
    return binary(number) if colon else math.nan


@dataclass(frozen=True)
class Layout:
    """Columns of a clinical table.

    days_per_unit: days in one of the time column. one_means: what a 1 in the indicator says. indicator: reads a cell of
    it. redacted: column that says that a patient's data were withdrawn.
    """

    name: str
    patient: str
    time: str
    event: str
    days_per_unit: float
    one_means: Literal["event", "censorship"]
    indicator: Callable[[str], float] = binary
    indicator_wanted: str = "0 or 1"
    redacted: str = ""


def find_layout(columns: Collection[str], *, endpoint: Endpoint, path: Path, days_per_month: float) -> Layout:
    """The layout that a table's columns show, for one endpoint.

    TCGA-CDR (Liu et al., Cell 173 (2018) 400, table S1): `OS`, `OS.time`, ..., 1 is an event, days. cBioPortal:
    `OS_STATUS` as 1:DECEASED, `OS_MONTHS`; PFS and DFS are PFI and DFI. SurvPath: `censorship_dss`,
    `survival_months_dss`, ..., 1 is censored, months of 30 days. MMP: `dss_censorship`, `dss_survival_days`.

    Raises
    ------
    InputError
        The table is of none of these layouts, or lacks the endpoint.
    """
    low = endpoint.lower()
    suffix = _SURVPATH.get(endpoint, f"_{low}")
    known = [
        Layout("TCGA-CDR", "bcr_patient_barcode", f"{endpoint}.time", endpoint, 1.0, "event", redacted="Redaction"),
        Layout(
            "cBioPortal",
            "PATIENT_ID",
            f"{_CBIOPORTAL[endpoint]}_MONTHS",
            f"{_CBIOPORTAL[endpoint]}_STATUS",
            days_per_month,
            "event",
            binary_before_colon,
            "a status such as 0:LIVING or 1:DECEASED",
        ),
        Layout(
            "SurvPath",
            "case_id",
            f"survival_months{suffix}",
            f"censorship{suffix}",
            _SURVPATH_DAYS_PER_MONTH,
            "censorship",
        ),
        Layout("MMP", "case_id", f"{low}_survival_days", f"{low}_censorship", 1.0, "censorship"),
    ]
    fitting = [layout for layout in known if {layout.patient, layout.time, layout.event} <= set(columns)]
    if len(fitting) != 1:
        wanted = "; ".join(f"{each.name}: {each.patient}, {each.event}, {each.time}" for each in known)
        raise InputError(
            f"{path}: expected the endpoint {endpoint} (inputs.endpoint) in columns of one of the known layouts "
            f"({wanted}), found {sheets.listed(columns, most=40)}. Choose another endpoint, or set inputs.endpoint to "
            "null and name patient_column, time_column and event_column."
        )
    return fitting[0]
