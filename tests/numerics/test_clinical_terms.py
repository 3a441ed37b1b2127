import numpy as np
import pytest

from tta_pipeline.numerics.clinical_terms import (
    grade_number,
    number,
    sex_number,
    stage_number,
    tnm_number,
    years_per_unit,
)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("Stage I", 1), ("Stage IA", 1), ("IS", 1), ("Stage IB1", 1), ("Stage IIA2", 2), ("IIb", 2), ("stage ii", 2),
        ("Stage IIIC2", 3), ("STAGE_III", 3), ("3", 3), ("FIGO Stage IIIA", 3), ("Stage IVC", 4), ("IV", 4), (" iv", 4),
    ],
)  # fmt: skip
def test_stages_are_read_without_their_substage(cell: str, expected: float) -> None:
    assert stage_number(cell) == expected


@pytest.mark.parametrize("cell", ["", "Stage X", "I/II NOS", "Stage 0", "Stage Tis", "V", "IIIV", "5", "[Discrepancy]"])
def test_what_names_no_stage_is_missing(cell: str) -> None:
    assert np.isnan(stage_number(cell))


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("G1", 1), ("g2", 2), ("Grade 3", 3), ("4", 4), ("II", 2), ("Low Grade", 1), ("high-grade", 3), ("HIGH", 3)],
)
def test_grades(cell: str, expected: float) -> None:
    assert grade_number(cell) == expected


@pytest.mark.parametrize("cell", ["", "GX", "GB", "G5", "[Unknown]", "grade"])
def test_what_names_no_grade_is_missing(cell: str) -> None:
    assert np.isnan(grade_number(cell))


def test_parts_of_a_tnm() -> None:
    assert [tnm_number(cell) for cell in ("T4a", "N0", "m1", "G3", "T1B2")] == [4, 0, 1, 3, 1]
    assert np.isnan([tnm_number(cell) for cell in ("TX", "T", "T5", "4", "Tis", "")]).all()


def test_sexes_and_numbers() -> None:
    assert [sex_number(cell) for cell in ("FEMALE", "male", "F", "M")] == [0, 1, 0, 1]
    assert np.isnan([sex_number("unknown"), number("nan"), number("inf"), number(">89"), number("")]).all()
    assert number("-1e3") == -1000


def test_ages_in_days_are_told_from_years() -> None:
    assert years_per_unit(np.array([40.0, 89.0, 102.0])) == 1
    assert 25_000 * years_per_unit(np.array([20_000.0, 25_000.0])) == pytest.approx(68.4, abs=0.1)
