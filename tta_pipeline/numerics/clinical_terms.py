"""Stage, grade, sex and age as clinical tables write them, as numbers; NaN where a cell says nothing."""

import re
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["age", "sex", "stage", "grade", "number", "category"]

_ROMAN = {"i": 1.0, "ii": 2.0, "iii": 3.0, "iv": 4.0}
_LETTERS = r"(?:\s*[abc]\d?|\s*s)?"  # substages: IIIA, IIIC1, IA2; IS of testis
_STAGE = re.compile(rf"(?:(?:pathologic|clinical|figo|ajcc)\s+)?(?:stage\s*)?(iv|i{{1,3}}|[1-4]){_LETTERS}")
_GRADE = re.compile(r"(?:histologic(?:al)?\s+)?(?:grade\s*|g\s*)?(iv|i{1,3}|[1-4])")
_TNM = re.compile(r"[gtnm]([0-4])(?:[a-d]\d?)?")
_LEVELS = {"low": 1.0, "high": 3.0}
_SEX = {"female": 0.0, "f": 0.0, "woman": 0.0, "male": 1.0, "m": 1.0, "man": 1.0}
_MOST_YEARS, _DAYS_PER_YEAR = 150.0, 365.25
_NAMED: dict[Kind, tuple[str, ...]] = {
    "age": ("age",),
    "sex": ("sex", "gender"),
    "stage": ("stage",),
    "grade": ("grade",),
}


def kind_of(name: str, known: Sequence[str]) -> Kind:
    """What a covariate is, by its name and its known cells.

    One named after age, sex (or gender), stage or grade is that, where most of its known cells read so; any other one
    is a number where all known cells are, else a category.
    """
    words = set(re.split(r"[^a-z]+", name.lower()))
    for kind, names in _NAMED.items():
        if words & set(names) and 2 * int(np.isfinite(numbers_of(kind, known)).sum()) > len(known):
            return kind
    return "number" if known and np.isfinite(numbers_of("number", known)).all() else "category"


def numbers_of(kind: Kind, cells: Sequence[str]) -> NDArray[np.float64]:
    """(cells,), NaN where a cell does not read as its kind, which is no category."""
    return np.array([_READ[kind](cell) for cell in cells], dtype=np.float64)


def stage_number(cell: str) -> float:
    """I to IV as 1 to 4, without their substages: "Stage IIIA", "III", "3", "stage iiic1" are 3.

    "Stage X", "I/II NOS", "Stage 0", "Stage Tis" and whatever else names no one stage of these is NaN.
    """
    return _numeral(_STAGE.fullmatch(_plain(cell)))


def grade_number(cell: str) -> float:
    """G1 to G4, "Grade 2", "3" and "II" as their number, "Low Grade" as 1 and "High Grade" as 3; NaN for GX, GB.

    A table of low and high grade alone has two levels; in one that writes both scales, high grade stands beside G3.
    """
    text = _plain(cell)
    level = re.fullmatch(r"(low|high)(?:[\s-]*grade)?", text)
    return _LEVELS[level.group(1)] if level else _numeral(_GRADE.fullmatch(text))


def tnm_number(cell: str) -> float:
    """The number of a part of a TNM or of a grade with its letter: "T4a" is 4, "N0" 0, "G3" 3; NaN for TX."""
    return _numeral(_TNM.fullmatch(_plain(cell)))


def sex_number(cell: str) -> float:
    """Female 0, male 1; NaN for anything else."""
    return _SEX.get(_plain(cell), np.nan)


def number(cell: str) -> float:
    """A finite number, or NaN."""
    try:
        found = float(cell)
    except ValueError:
        return np.nan
    return found if np.isfinite(found) else np.nan


def years_per_unit(ages: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> float:
    """1 for ages in years; 1/365.25 for ages in days, as GDC writes them: their median is above 150."""
    return 1.0 if float(np.median(ages)) <= _MOST_YEARS else 1 / _DAYS_PER_YEAR


def _plain(cell: str) -> str:
    return re.sub(r"[\s_]+", " ", cell).strip().lower()


def _numeral(found: "re.Match[str] | None") -> float:
    if found is None:
        return np.nan
    text = found.group(1)
    return _ROMAN[text] if text in _ROMAN else float(text)


_READ: dict[Kind, Callable[[str], float]] = {
    "age": number,
    "sex": sex_number,
    "stage": stage_number,
    "grade": grade_number,
    "number": number,
}
