"""Clinical covariates as numbers: what each kind of cell becomes, and what is refused."""

import numpy as np
import pytest

from tta_pipeline.numerics.covariate_scales import encode
from tta_pipeline.numerics.covariates import fit_encoding


@pytest.mark.parametrize(
    ("name", "cells", "values", "scale"),
    [
        ("x", ["61", "70.5", "", "61"], [61, 70.5, np.nan, 61], "number"),
        ("x", ["Stage I", "Stage IIA", "Stage IIIC", "Stage IV", "Stage X"], [1, 2, 3, 4, np.nan], "stage or grade"),
        ("x", ["G1", "g3", "GX"], [1, 3, np.nan], "stage or grade"),
        ("x", ["T4a", "T2", " "], [4, 2, np.nan], "stage or grade"),
        ("x", ["MALE", "FEMALE", "MALE"], [1, 0, 1], "0: FEMALE, 1: MALE"),
        ("gender", ["MALE", "FEMALE", "[Unknown]"], [1, 0, np.nan], "0: female, 1: male"),
        ("tumor_stage", ["Stage I", "III", "Stage IVA", "Stage 0"], [1, 3, 4, np.nan], "stage or grade"),
        ("histological_grade", ["G2", "High Grade", "GB", "G1"], [2, 3, np.nan, 1], "stage or grade"),
        ("age", ["61", "about 60", "70"], [61, np.nan, 70], "number"),
    ],
)
def test_cells_become_numbers(name, cells, values, scale):
    found = encode({str(number): cell for number, cell in enumerate(cells)}, name=name)
    assert list(found.values.values()) == pytest.approx(values, nan_ok=True)
    assert (found.scale, found.reason) == (scale, "")


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (["WHITE", "ASIAN", "BLACK"], "3 values that are neither numbers nor stages, such as ASIAN, WHITE"),
        (["61", "about 60", "70"], "3 values that are neither numbers nor stages, such as 61, about 60"),
        (["61", "inf", "70"], "3 values that are neither numbers nor stages, such as 61, inf"),
        (["MALE", "MALE", ""], "1 different values among 2 patients who have it"),
        (["", ""], "0 different values among 0 patients who have it"),
        ([], "0 different values among 0 patients who have it"),
    ],
)
def test_what_has_no_order_is_not_read(cells, reason):
    found = encode({str(number): cell for number, cell in enumerate(cells)}, name="x")
    assert (found.values, found.reason) == ({}, reason)


def test_report_and_model_read_the_same_numbers() -> None:
    """Up to what the model puts in place of a gap, and its unit of age."""
    cells = {
        "age_at_diagnosis": ["50", "60", "x", "", "80", "40"],
        "gender": ["MALE", "FEMALE", "MALE", "unknown", "", "MALE"],
        "ajcc_pathologic_tumor_stage": ["Stage IIA", "Stage X", "III", "IV", "Stage I", "Stage 0"],
        "grade": ["Low Grade", "High Grade", "G2", "GX", "G4", "GB"],
        "mutations": ["3", "0.5", "-1", "7", "8", ""],
    }
    model = fit_encoding(cells)
    columns = dict(zip(model.kept, model.encode(cells).T, strict=True))
    for name, own in cells.items():
        report = np.array(list(encode({str(row): cell for row, cell in enumerate(own)}, name=name).values.values()))
        read = np.isfinite(report)
        unit = 10 if name == "age_at_diagnosis" else 1
        np.testing.assert_allclose(columns[name][read], report[read] / unit)
        assert (columns[f"{name} missing"] == ~read).all()
