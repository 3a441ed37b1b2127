"""The true risk of a simulated cohort."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from tta_pipeline.errors import InputError
from tta_pipeline.io import sheets


def read_truth(path: Path, *, patients: Collection[str]) -> dict[str, float]:
    """True risk of each of `patients` in a simulated cohort, from a TSV with the columns patient_id and risk.

    Raises
    ------
    InputError
        The file, a column or a patient is missing, or a risk is no finite number.
    """
    table = sheets.read_sheet(path)
    sheets.require_columns(table.columns, ["patient_id", "risk"], path=path, hint="It is the config's report.truth.")
    risk = [sheets.number(cell) for cell in table["risk"]]
    bad = [
        f"{sheets.shown(cell)} in line {line}"
        for (line, cell), value in zip(table["risk"].items(), risk, strict=True)
        if not np.isfinite(value)
    ]
    if bad:
        raise InputError(
            f"{path}: column risk: expected a finite number in every row, found {sheets.listed(bad, most=5)}. Correct "
            "the values."
        )
    truth = dict(zip(table["patient_id"], risk, strict=True))
    missing = sorted(set(patients) - set(truth))
    if missing:
        raise InputError(
            f"{path}: expected the true risk of {len(patients)} test patients, found none for {len(missing)}: "
            f"{', '.join(missing[:5])}."
        )
    return {patient: truth[patient] for patient in patients}
