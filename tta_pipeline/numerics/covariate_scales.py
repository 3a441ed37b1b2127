"""Clinical covariates as numbers that a Cox fit can take."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

_ROMAN = {"0": 0, "I": 1, "II": 2, "III": 3, "IV": 4, "V": 5}
_STAGE = re.compile(r"STAGE (0|IV|V|I{1,3})([A-D][0-9]?)?")
_NOT_ASSESSED = re.compile(r"(STAGE |[GTNM])X")
_GRADE = re.compile(r"[GTNM]([0-4])([A-D][0-9]?)?")


@dataclass(frozen=True)
class Encoded:
    """Values by patient, NaN where unknown; `scale` says how they were read. Empty with a reason where they cannot."""

    values: dict[str, float]
    scale: str
    reason: str = ""


def encode(cells: Mapping[str, str]) -> Encoded:
    """A covariate's cells as numbers.

    Numbers stay; a stage ("Stage IIA"), grade ("G3") or part of a TNM (`T4a`) becomes its number, letters behind it
    count no more, and an X ("GX": not assessed) is unknown; two values in words become 0 and 1, in alphabetical order.
    Words of more than two values have no order of their own and are not read.

    Parameters
    ----------
    cells
        patient_id -> text, "" where unknown.
    """
    known = {name: cell.strip() for name, cell in cells.items() if not _NOT_ASSESSED.fullmatch(cell.strip().upper())}
    known = {name: cell for name, cell in known.items() if cell}
    words = sorted(set(known.values()))
    if len(words) < 2:
        return Encoded({}, "", f"{len(words)} different values among {len(known)} patients who have it")
    for read, scale in ((_number, "number"), (_ordinal, "stage or grade")):
        numbers = {word: read(word) for word in words}
        if not any(math.isnan(value) for value in numbers.values()):
            return Encoded(_of(cells, numbers), scale)
    if len(words) == 2:
        return Encoded(_of(cells, {words[0]: 0.0, words[1]: 1.0}), f"0: {words[0]}, 1: {words[1]}")
    return Encoded({}, "", f"{len(words)} values that are neither numbers nor stages, such as {words[0]}, {words[-1]}")


def _of(cells: Mapping[str, str], numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: numbers.get(cell.strip(), math.nan) for name, cell in cells.items()}


def _number(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _ordinal(word: str) -> float:
    if stage := _STAGE.fullmatch(word.upper()):
        return float(_ROMAN[stage.group(1)])
    grade = _GRADE.fullmatch(word.upper())
    return float(grade.group(1)) if grade else math.nan
