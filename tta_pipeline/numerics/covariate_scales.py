"""Clinical covariates as numbers that the report's Cox fits can take, one column each."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tta_pipeline.numerics.clinical_terms import Kind, kind_of, numbers_of, stage_number, tnm_number

_NOT_ASSESSED = re.compile(r"(STAGE |[GTNM])X")
_ORDERED = "stage or grade"
_SCALES: dict[Kind, str] = {
    "age": "number",
    "number": "number",
    "sex": "0: female, 1: male",
    "stage": _ORDERED,
    "grade": _ORDERED,
}


@dataclass(frozen=True)
class Encoded:
    """Values by patient, NaN where unknown; `scale` says how they were read. Empty with a reason where they cannot."""

    values: dict[str, float]
    scale: str
    reason: str = ""


def encode(cells: Mapping[str, str], *, name: str) -> Encoded:
    """A covariate's cells as numbers.

    Age, sex, stage, grade and numbers are read as the models read them (`clinical_terms.kind_of`); a cell that does
    not read so, such as an X ("GX": not assessed), is unknown. Of the others, stages and parts of a TNM (`T4a`) become
    their number, letters behind it count no more, where all of them are such; two values in words become 0 and 1, in
    alphabetical order. Words of more than two values have no order of their own and are not read.

    Parameters
    ----------
    cells
        patient_id -> text, "" where unknown.
    name
        Of the covariate.
    """
    known = {one: cell.strip() for one, cell in cells.items() if not _NOT_ASSESSED.fullmatch(cell.strip().upper())}
    known = {one: cell for one, cell in known.items() if cell}
    words = sorted(set(known.values()))
    if len(words) < 2:
        return Encoded({}, "", f"{len(words)} different values among {len(known)} patients who have it")
    kind = kind_of(name, [cell for cell in cells.values() if cell.strip()])
    if kind != "category":
        return Encoded(_of(cells, dict(zip(words, numbers_of(kind, words), strict=True))), _SCALES[kind])
    numbers = dict(zip(words, map(_ordinal, words), strict=True))
    if not any(math.isnan(value) for value in numbers.values()):
        return Encoded(_of(cells, numbers), _ORDERED)
    if len(words) == 2:
        return Encoded(_of(cells, {words[0]: 0.0, words[1]: 1.0}), f"0: {words[0]}, 1: {words[1]}")
    return Encoded({}, "", f"{len(words)} values that are neither numbers nor stages, such as {words[0]}, {words[-1]}")


def _of(cells: Mapping[str, str], numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: numbers.get(cell.strip(), math.nan) for name, cell in cells.items()}


def _ordinal(word: str) -> float:
    stage = stage_number(word)
    return tnm_number(word) if math.isnan(stage) else stage
